//! `/v1/tokens`: the inventory of issued tokens. What each may do, and whether it still may; never
//! the token itself.

mod denied;
mod search;

use std::num::NonZeroU16;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use scrip_token::limits::HORIZON;
use scrip_token::name::is_scope;
use scrip_token::{Claims, Jti, ModelPattern, QualifiedName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Look, Moment, Page, rfc3339, rfc3339_ms};
use crate::app::App;
use crate::caller::Reach;
use crate::clock;
use crate::error::Problem;
use crate::publish::malformed;
use crate::store::revocations::Revocation;
use crate::store::tokens::{self, Matching, Span, Token};
use crate::store::usage::{self, Sum};
use crate::store::{self, StoreError, Tenants};
use crate::strict::Query;
use denied::Denied;
use search::Search;

/// The scope that this needs.
const SCOPE: &str = "scrip:tokens";

/// Which tokens: those that match every parameter that is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    client: Option<QualifiedName>,
    tenant: Option<String>,
    scope: Option<String>,
    model: Option<ModelPattern>,
    live: Option<bool>,
    issued_after: Option<Moment>,
    issued_before: Option<Moment>,
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

/// `GET /v1/tokens?client=&tenant=&scope=&model=&live=&issued_after=&issued_before=&limit=&after=`:
/// 200, newest first; 400, 401, 403, 503. A page may have fewer items than `limit`, or none, and a
/// `next` all the same: so many tokens are looked at for one page, and no more.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    look: Look,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    if wanted.scope.as_ref().is_some_and(|scope| !is_scope(scope)) {
        return Err(malformed("`scope` is one exact scope"));
    }
    let mut session = app.store.read_for_operator().await?;
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    let search = Search {
        which: match (&wanted.client, reach.within(wanted.tenant.as_deref())) {
            (_, Tenants::Nobody) => Matching::None,
            (Some(client), Tenants::One(tenant)) if client.tenant() != tenant => Matching::None,
            (Some(client), _) => Matching::Client(client.as_str()),
            (None, Tenants::One(tenant)) => Matching::Tenant(tenant),
            (None, Tenants::All) => Matching::All,
        },
        span: Span {
            // No token lives longer, so older ones need not be looked at.
            from: wanted
                .issued_after
                .map(up_to_seconds)
                .max(wanted.live.and_then(|live| live.then_some((now - HORIZON).cast_signed()))),
            until: wanted.issued_before.map(up_to_seconds),
        },
        scope: wanted.scope.as_deref(),
        model: wanted.model.as_ref(),
        live: wanted.live,
    };
    let page = Page::new(wanted.limit, wanted.after);
    let (after, limit) = (page.after_jti()?, page.limit());
    let (items, next) = search.page(&mut session, &reach, after, limit, now).await?;
    Ok(Json(json!({"items": items, "next": next})))
}

/// The first whole second, as tokens are dated, that is not before a moment.
fn up_to_seconds(moment: Moment) -> i64 {
    moment.milliseconds().saturating_add(999).div_euclid(1000)
}

/// `GET /v1/tokens/{jti}`: 200, 401, 403, 404, 503.
///
/// # Errors
/// [`Problem`].
pub async fn show(
    State(app): State<Arc<App>>,
    look: Look,
    Path(jti): Path<String>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    let unknown = || Problem::not_found("no token of this `jti` is on record");
    let jti = Jti::parse(&jti).map_err(|_| unknown())?;
    let mut session = app.store.read_for_operator().await?;
    let row = tokens::by_jti(&mut session, jti).await?;
    let row = row.filter(|row| reach.covers(Some(&row.tenant))).ok_or_else(unknown)?;
    let token = [Issued::read(row)?];
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    let denied = Denied::read(&mut session, &token, now).await?;
    let spent = usage::sums(&mut session, &[jti]).await?.remove(&jti);
    Ok(Json(show_one(&token[0], denied.by(&token[0]), spent, &reach, now)))
}

/// A record, and what it says.
struct Issued {
    row: Token,
    claims: Claims,
}

impl Issued {
    fn read(row: Token) -> Result<Self, StoreError> {
        let claims = Claims::parse(row.claims.as_bytes())
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(Self { row, claims })
    }
}

/// `denied`: whether the token is refused, and by which revocation, which is named only to whoever
/// may look that up. `spent`: what ledgers have counted for it, if any has.
fn show_one(
    token: &Issued,
    denied: Option<Option<&Revocation>>,
    spent: Option<Sum>,
    reach: &Reach,
    now: u64,
) -> Value {
    let Issued { row, claims } = token;
    let revocation = denied.flatten().filter(|by| reach.covers(by.tenant.as_deref()));
    let revocation = revocation.map(
        |by| json!({"id": by.id.to_string(), "reason": by.reason, "at": rfc3339_ms(by.at_ms)}),
    );
    json!({
        "jti": row.jti, "client": row.client, "tenant": row.tenant, "audience": row.aud,
        "issued": rfc3339(row.iat), "expires": rfc3339(row.exp),
        "live": claims.exp > now && denied.is_none(), "revoked": denied.is_some(),
        "revocation": revocation, "kid": row.kid, "claims": claims,
        "spent": spent.map(|Sum { tokens, requests }| json!({"tokens": tokens, "requests": requests})),
    })
}
