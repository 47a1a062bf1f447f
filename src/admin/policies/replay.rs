//! `POST /v1/policies/{tenant}/{name}/replay`: what would change, tried on requests that were made.

use std::num::NonZeroU16;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use scrip_token::QualifiedName;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SCOPE, read_policy, unknown};
use crate::admin::audit::SCOPE as AUDIT_SCOPE;
use crate::admin::{Look, is_json, rfc3339_ms};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Problem;
use crate::mint;
use crate::mint::request::MintRequest;
use crate::policy::{Asked, Changes, Example, replay};
use crate::store::{StoreError, audit, policies, prices};
use crate::strict::Query;

/// Requests that are tried where nothing is asked.
const USUAL: u16 = 1000;
/// Most requests that are tried, whatever is asked.
const MOST: u16 = 5000;
/// Most events of the tenant that are looked at to find them.
const LOOKED_AT: u32 = 100_000;

/// How many requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    last: Option<NonZeroU16>,
}

/// `POST /v1/policies/{tenant}/{name}/replay?last=`: judges the last requests for tokens, of the
/// clients that have the policy now, under its version that counts and under the one in the body.
/// Nothing is changed and nothing is minted. A quota in money is judged by the prices that count now;
/// what is left of quotas, and rates, are not part of the judgement. Shows what the audit log holds,
/// and so needs its scope too. 200, 400, 401, 403, 404, 413, 415, 503.
///
/// # Errors
/// [`Problem`].
pub async fn try_out(
    State(app): State<Arc<App>>,
    look: Look,
    headers: HeaderMap,
    Path(path): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    look.reach(&app, AUDIT_SCOPE).await?;
    let reach = look.reach(&app, SCOPE).await?;
    is_json(&headers)?;
    let new = read_policy(&app, path, &reach, unknown, &body)?;
    let name = new.name().clone();
    let mut session = app.store.read_for_operator().await?;
    let current = policies::latest(&mut session, name.as_str()).await?.ok_or_else(unknown)?;
    let old = current.terms()?;
    let last = wanted.last.map_or(USUAL, NonZeroU16::get).min(MOST);
    let (tenant, last) = (name.tenant(), u32::from(last));
    let list = prices::current(&mut session).await?;
    let events = audit::mints_under(&mut session, tenant, name.as_str(), LOOKED_AT, last).await?;
    drop(session);

    let since = events.last().map(|event| rfc3339_ms(event.at_ms));
    let found = events.len();
    let requests: Vec<Asked> = events.into_iter().filter_map(asked).collect();
    let tried = requests.len();
    // Thousands of judgements would hold up a thread of the runtime.
    let replayed = tokio::task::spawn_blocking(move || {
        replay(requests, &old, &new, |caller, request, policy| {
            let approved = mint::judge(&app.config, caller, request, policy)?;
            approved.charge(list.as_ref())?;
            Ok(approved)
        })
    });
    let replayed = replayed.await.map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(Json(json!({
        "name": name, "version": current.version, "since": since, "requests": tried,
        "skipped": found - tried, "unchanged": replayed.unchanged,
        "changes": replayed.changes.iter().map(show).collect::<Vec<_>>(),
    })))
}

/// The request of an event; `None` where it was malformed or is not on record, so that no policy
/// decides it.
fn asked(event: audit::Event) -> Option<Asked> {
    #[derive(Deserialize)]
    struct Detail {
        asked: MintRequest,
        cred: String,
    }

    let Detail { asked, cred } = serde_json::from_str(&event.detail).ok()?;
    let client = QualifiedName::parse(&event.actor?).ok()?;
    let address = event.address?.parse().ok()?;
    Some(Asked {
        at_ms: event.at_ms,
        caller: Caller { client, cred, address },
        request: asked,
        request_id: event.request_id,
    })
}

fn show(changes: &Changes) -> Value {
    let examples = changes.examples.iter().map(|Example { asked, was, is }| {
        json!({
            "at": rfc3339_ms(asked.at_ms), "client": asked.caller.client,
            "address": asked.caller.address, "request_id": asked.request_id,
            "asked": asked.request, "was": was, "is": is,
        })
    });
    json!({
        "kind": changes.kind, "count": changes.count, "cases": examples.collect::<Vec<_>>(),
    })
}
