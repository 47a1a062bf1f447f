//! `/v1/tokens`: the inventory of issued tokens. What each may do, and whether it still may; never
//! the token itself.

use std::num::NonZeroU16;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use scrip_token::{Claims, Jti, QualifiedName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, rfc3339};
use crate::app::App;
use crate::caller::{Means, operator};
use crate::error::Problem;
use crate::publish::malformed;
use crate::router::Arrival;
use crate::store::tokens::{self, Matching, Token};
use crate::store::{Session, StoreError};
use crate::strict::Query;
use crate::{clock, deny};

/// The scope that this needs.
const SCOPE: &str = "scrip:tokens";

/// Which tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    client: Option<QualifiedName>,
    tenant: Option<String>,
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

/// `GET /v1/tokens?client=&tenant=&limit=&after=`: 200, newest first; 400, 401, 403, 503.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    operator(&app, &headers, arrival.address, arrival.at, SCOPE, Means::Token).await?;
    let which = match (&wanted.client, &wanted.tenant) {
        (Some(client), None) => Matching::Client(client.as_str()),
        (None, Some(tenant)) => Matching::Tenant(tenant),
        (None, None) => Matching::All,
        (Some(_), Some(_)) => return Err(malformed("`client` names its tenant already")),
    };
    let page = Page::new(wanted.limit, wanted.after);
    let mut session = app.store.read().await?;
    let rows = tokens::list(&mut session, which, page.after_jti()?, page.limit()).await?;
    let now = clock::now_seconds();
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(show_one(&mut session, row, now).await?);
    }
    Ok(Json(page.reply(items, rows.last().map(|row| row.jti.to_string()))))
}

/// `GET /v1/tokens/{jti}`: 200, 401, 403, 404, 503.
///
/// # Errors
/// [`Problem`].
pub async fn show(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    Path(jti): Path<String>,
) -> Result<Json<Value>, Problem> {
    operator(&app, &headers, arrival.address, arrival.at, SCOPE, Means::Token).await?;
    let unknown = || Problem::not_found("no token of this `jti` is on record");
    let jti = Jti::parse(&jti).map_err(|_| unknown())?;
    let mut session = app.store.read().await?;
    let row = tokens::by_jti(&mut session, jti).await?.ok_or_else(unknown)?;
    Ok(Json(show_one(&mut session, &row, clock::now_seconds()).await?))
}

/// Of a token that has expired, entries of the deny list may be pruned: it is not looked up there.
async fn show_one(session: &mut impl Session, row: &Token, now: u64) -> Result<Value, StoreError> {
    let claims = Claims::parse(row.claims.as_bytes())
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let current = claims.exp > now;
    let revoked = current && deny::is_denied(session, &claims, &row.kid, now).await?;
    Ok(json!({
        "jti": row.jti, "client": row.client, "tenant": row.tenant, "audience": row.aud,
        "issued": rfc3339(row.iat), "expires": rfc3339(row.exp), "live": current && !revoked,
        "revoked": revoked, "kid": row.kid, "claims": claims,
    }))
}
