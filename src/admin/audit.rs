//! `/v1/audit`: who did what, when, from where, and what came of it.

use std::num::NonZeroU16;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use scrip_token::Jti;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Look, Moment, Page, rfc3339_ms};
use crate::app::App;
use crate::error::Problem;
use crate::store::{StoreError, audit};
use crate::strict::Query;

/// The scope that this needs.
pub(super) const SCOPE: &str = "scrip:audit";

/// Which events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    actor: Option<String>,
    action: Option<String>,
    tenant: Option<String>,
    jti: Option<Jti>,
    since: Option<Moment>,
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

/// `GET /v1/audit?actor=&action=&tenant=&jti=&since=&limit=&after=`: 200, newest first; 400, 401,
/// 403, 503.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    look: Look,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    let page = Page::new(wanted.limit, wanted.after);
    let filter = audit::Filter {
        actor: wanted.actor.as_deref(),
        action: wanted.action.as_deref(),
        jti: wanted.jti,
        since_ms: wanted.since.map(Moment::milliseconds),
    };
    let mut session = app.store.read_for_operator().await?;
    let tenants = reach.within(wanted.tenant.as_deref());
    let events =
        audit::list(&mut session, tenants, &filter, page.after_id()?, page.limit()).await?;
    let items = events.iter().map(show).collect::<Result<_, _>>()?;
    Ok(Json(page.reply(items, events.last().map(|event| event.id.to_string()))))
}

/// An event as it is shown here and sent to the webhook.
pub(crate) fn show(event: &audit::Event) -> Result<Value, StoreError> {
    let detail: Value = serde_json::from_str(&event.detail)
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(json!({
        "id": event.id.to_string(), "at": rfc3339_ms(event.at_ms), "action": event.action,
        "outcome": event.outcome, "actor": event.actor, "tenant": event.tenant,
        "target": event.target, "jti": event.jti, "address": event.address,
        "request_id": event.request_id, "detail": detail,
    }))
}
