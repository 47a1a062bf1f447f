//! `POST /v1/revocations`, its list, and RFC 7009 `POST /oauth2/revoke`.
//!
//! There is one way, in one transaction: look at what is on record, add the entry with its number
//! and signed batch, write the audit event. The reply follows the commit; then everybody who
//! follows is woken.

mod docket;
mod enact;
mod known;
mod line;
mod preview;
mod request;
mod revoker;
mod selector;
mod unissued;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use scrip_token::Digest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admin::{Page, rfc3339, rfc3339_ms};
use crate::app::App;
use crate::caller::{self, Means, Reach, operator};
use crate::deny::{Position, PublishError};
use crate::error::{Failure, OAuthError, Problem};
use crate::introspect::{Inspected, inspect};
use crate::mint::{NO_STORE, idempotency_key, read_form, token_parameter};
use crate::receipts;
use crate::router::{Arrival, RequestId};
use crate::store::revocations::{self, Revocation};
use crate::store::{Lane, StoreError};
use crate::strict::Query;
use preview::preview;
use request::{Asked, parse};

pub use enact::{Draft, Grounds, enact};
pub use revoker::{Order, Revoked, Revoker};
pub use selector::{Found, Selector, Target};

/// The route under which its `Idempotency-Key`s are remembered.
const ROUTE: &str = "POST /v1/revocations";
/// The scope that this needs.
const SCOPE: &str = "scrip:revoke";

/// `POST /v1/revocations`: 201 with the revocation, 200 with the first one where it is revoked
/// already, 400, 401, 403, 404 for an unknown client, tenant or key, 409 for an `Idempotency-Key`
/// that came with another request, 415, 429 for one too many of the caller's, or of tokens that were
/// never issued, 503. With `dry_run` 200 with what it would kill.
///
/// # Errors
/// [`Problem`].
pub async fn create(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    id: RequestId,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let means = Means::TokenOrSecret;
    let by = operator(&app, &headers, arrival.address, arrival.at, SCOPE, means).await?;
    let (by, reach) = by.within();
    crate::admin::is_json(&headers)?;
    let repeat = idempotency_key(&headers).map_err(Problem)?;
    let Asked { selector, grounds, dry_run, wait } = parse(&body)?;
    if dry_run {
        return Ok(Json(preview(&app, &selector, &reach).await?).into_response());
    }
    let repeat = repeat.map(|key| (key, Digest::of(&body)));
    let order = Order { by, reach: reach.clone(), selector, grounds, id, repeat };
    let Revoked { status, revocation } = revoke(&app, order).await?;
    let enforced = receipts::settle(&app, &reach, &revocation, wait).await;
    Ok((status, Json(show_whole(&revocation, enforced)?)).into_response())
}

/// `GET /v1/revocations`: newest first.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    let means = Means::TokenOrSecret;
    let by = operator(&app, &headers, arrival.address, arrival.at, SCOPE, means).await?;
    let (_, reach) = by.within();
    let after = page.after_id()?;
    let mut session = app.store.read_reserved().await?;
    let rows = revocations::list(&mut session, reach.within(None), after, page.limit()).await?;
    let items = rows.iter().map(show_one).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(page.reply(items, rows.last().map(|row| row.id.to_string()))))
}

/// `GET /v1/revocations/{id}`: 200, 404.
///
/// # Errors
/// [`Problem`].
pub async fn show(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let means = Means::TokenOrSecret;
    let by = operator(&app, &headers, arrival.address, arrival.at, SCOPE, means).await?;
    let (_, reach) = by.within();
    let unknown = || Problem::not_found("there is no such revocation");
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let mut session = app.store.read_reserved().await?;
    let row = revocations::by_id(&mut session, id).await?;
    let row = row.filter(|row| reach.covers(row.tenant.as_deref())).ok_or_else(unknown)?;
    drop(session);
    Ok(Json(show_whole(&row, receipts::enforced(&app, &reach, &row).await?)?))
}

/// `POST /oauth2/revoke` (RFC 7009): a client revokes a token of its own. 200 for a token that is
/// revoked now, and for one that is not valid; 400 `unauthorized_client` for somebody else's; 401,
/// 503.
///
/// # Errors
/// [`OAuthError`].
pub async fn by_token(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    id: RequestId,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    let form = read_form(&headers, &body)?;
    let (address, lane) = (arrival.address, Lane::Reserved);
    let proved = caller::authenticate(&app, &headers, &form, address, arrival.at, lane).await?;
    let token = token_parameter(&form)?;
    // A forged token makes no entry: the signature is checked before anything else happens.
    match inspect(&app, token.as_bytes(), lane).await? {
        None => {}
        // Whoever hears that it was revoked already hears an acknowledgement too.
        Some(Inspected { is_denied: true, .. }) => attest(&app).await?,
        Some(Inspected { claims, .. }) if claims.client_id != proved.caller.client => {
            let detail = "the token was issued to another client";
            let status = StatusCode::BAD_REQUEST;
            return Err(OAuthError(Failure::new(status, "unauthorized_client", detail)));
        }
        Some(Inspected { claims, .. }) => {
            let selector = Selector { target: Target::Jti(claims.jti), before: None };
            let note = "revoked by its holder (RFC 7009)".to_owned();
            let grounds = Grounds { reason: "other".to_owned(), note };
            let (by, reach) = (proved.caller, Reach::EVERYWHERE);
            revoke(&app, Order { by, reach, selector, grounds, id, repeat: None }).await?;
        }
    }
    Ok((StatusCode::OK, NO_STORE).into_response())
}

/// Why nothing was revoked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotRevoked {
    /// The database, or the list.
    #[error(transparent)]
    Publish(#[from] Arc<PublishError>),
    /// There is no such client, tenant or key; none that the operator reaches.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// The operator is confined to a tenant, and this is about everybody's tokens.
    #[error("confined to a tenant")]
    Confined,
    /// A time that lies more than the leeway ahead.
    #[error("`{0}` lies in the future")]
    Ahead(&'static str),
    /// The `Idempotency-Key` came with another request before.
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    /// The caller has as many waiting as it may: the other places are for others.
    #[error("too many of this client's revocations are waiting")]
    TooMany,
    /// As many tokens that were never issued are denied as the list may have, or as many of this
    /// caller's as are left.
    #[error("too many tokens that were never issued here are revoked already")]
    TooManyUnissued,
    /// Too many revocations are waiting, everybody's together.
    #[error("too many revocations are waiting")]
    Busy,
}

impl From<PublishError> for NotRevoked {
    fn from(error: PublishError) -> Self {
        Self::Publish(Arc::new(error))
    }
}

impl From<StoreError> for NotRevoked {
    fn from(error: StoreError) -> Self {
        PublishError::from(error).into()
    }
}

async fn revoke(app: &App, order: Order) -> Result<Revoked, NotRevoked> {
    let is_key = matches!(order.selector.target, Target::Kid(_));
    let revoked = app.revoker.revoke(order).await?;
    // Acknowledged only with a witness, so that it is not forgotten, whatever becomes of the
    // database.
    if is_key {
        app.deny.attest_keys(&app.store).await?;
    } else {
        app.deny.witness().sync().await.map_err(PublishError::from)?;
    }
    Ok(revoked)
}

/// Returns when there is a witness of all that was published, whoever committed it.
///
/// # Errors
/// [`PublishError`].
pub async fn attest(app: &App) -> Result<(), PublishError> {
    let row = app.deny.row(&mut app.store.read_reserved().await?).await?;
    app.deny.acknowledge(Position::from(&row).into()).await
}

fn show_whole(row: &Revocation, enforced: Value) -> Result<Value, StoreError> {
    let mut shown = show_one(row)?;
    shown["enforced"] = enforced;
    Ok(shown)
}

fn show_one(row: &Revocation) -> Result<Value, StoreError> {
    let selector: Value = serde_json::from_str(&row.selector)
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(json!({
        "id": row.id.to_string(), "selector": selector, "reason": row.reason, "note": row.note,
        "by": row.by_whom, "at": rfc3339_ms(row.at_ms), "epoch": row.epoch, "seq": row.seq,
        "until": row.until.map(rfc3339), "known": row.known,
    }))
}
