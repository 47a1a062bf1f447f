//! `POST /v1/revocations`, its list, and RFC 7009 `POST /oauth2/revoke`.
//!
//! One way, in one transaction: what is on record already, the entry, its number and signed batch,
//! the audit event. The reply follows the commit; then everybody who follows is woken.

mod request;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use scrip_token::QualifiedName;
use scrip_token::deny::Entry;
use scrip_token::limits::{HORIZON, LEEWAY};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admin::{Page, rfc3339, rfc3339_ms};
use crate::app::App;
use crate::audit::Event;
use crate::caller::{self, Caller, Means, operator};
use crate::deny::{PublishError, subject};
use crate::error::{Failure, OAuthError, Problem};
use crate::introspect::inspect;
use crate::mint::{NO_STORE, read_form, token_parameter};
use crate::router::{Arrival, RequestId};
use crate::signer::{self, Purpose, rotation};
use crate::store::revocations::Revocation;
use crate::store::tokens::{self, Matching};
use crate::store::{Lock, StoreError, Tx, audit, clients, revocations};
use crate::strict::Query;
use crate::{clock, random};
use request::{Selector, parse};

/// The scope that this needs.
const SCOPE: &str = "scrip:revoke";

/// `POST /v1/revocations`: 201 with the revocation, 200 with the first one where it is revoked
/// already, 400, 401, 403, 404 for an unknown client or key, 415, 503.
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
    crate::admin::is_json(&headers)?;
    let asked = parse(&body)?;
    let order = Order { by, selector: asked.selector, reason: asked.reason, note: asked.note, id };
    let (status, revocation) = revoke(&app, order).await?;
    Ok((status, Json(show_one(&revocation)?)).into_response())
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
    operator(&app, &headers, arrival.address, arrival.at, SCOPE, means).await?;
    let after = page.after_id()?;
    let mut session = app.store.read_reserved().await?;
    let rows = revocations::list(&mut session, after, page.limit()).await?;
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
    operator(&app, &headers, arrival.address, arrival.at, SCOPE, means).await?;
    let unknown = || Problem::not_found("there is no such revocation");
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let mut session = app.store.read_reserved().await?;
    let row = revocations::by_id(&mut session, id).await?.ok_or_else(unknown)?;
    Ok(Json(show_one(&row)?))
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
    let address = arrival.address;
    let proved = caller::authenticate(&app, &headers, &form, address, arrival.at).await?;
    let token = token_parameter(&form)?;
    // A forged token makes no entry: the signature is checked before anything else happens.
    if let Some(authentic) = inspect(&app, token.as_bytes()).await? {
        let claims = authentic.claims();
        if claims.client_id != proved.caller.client {
            let detail = "the token was issued to another client";
            let status = StatusCode::BAD_REQUEST;
            return Err(OAuthError(Failure::new(status, "unauthorized_client", detail)));
        }
        let selector = Selector::Jti(claims.jti);
        let (reason, note) = ("other".to_owned(), "revoked by its holder (RFC 7009)".to_owned());
        revoke(&app, Order { by: proved.caller, selector, reason, note, id }).await?;
    }
    Ok((StatusCode::OK, NO_STORE).into_response())
}

/// Who revokes what.
struct Order {
    by: Caller,
    selector: Selector,
    reason: String,
    note: String,
    id: RequestId,
}

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum NotRevoked {
    /// The database, or the list.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// There is no such client or key.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// A time that lies more than the leeway ahead.
    #[error("`{0}` lies in the future")]
    Ahead(&'static str),
}

impl From<StoreError> for NotRevoked {
    fn from(error: StoreError) -> Self {
        Self::Publish(error.into())
    }
}

async fn revoke(app: &App, order: Order) -> Result<(StatusCode, Revocation), NotRevoked> {
    let mut tx = app.store.begin(Lock::Revoke).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let now = clock::seconds(now_ms);
    let found = order.selector.resolve(&mut tx, now).await?;

    // Already revoked: the first revocation is the answer, and the list does not grow.
    if let Some(first) = revocations::by_subject(&mut tx, &found.subject).await?
        && first.before.map_or(found.before.is_none(), |cut| {
            found.asked_before.is_none_or(|before| cut.unsigned_abs() >= before)
                && found.before.is_some_and(|needed| cut.unsigned_abs() >= needed)
        })
    {
        return Ok((StatusCode::OK, first));
    }

    let position = match &found.entry {
        Some(entry) => Some(app.deny.append(&mut tx, now_ms, std::slice::from_ref(entry)).await?),
        None => None,
    };
    if let Selector::Kid(kid) = &order.selector {
        withdraw(app, &mut tx, kid, now).await?;
    }
    let revocation = Revocation {
        id: random::uuid(now_ms),
        epoch: position.as_ref().map(|position| position.epoch.clone()),
        seq: position.as_ref().map(|position| position.seq),
        selector: order.selector.to_json().to_string(),
        subject: found.subject,
        before: found.before.map(u64::cast_signed),
        reason: order.reason,
        note: order.note,
        by_whom: order.by.client.to_string(),
        at_ms: now_ms,
        until: found.entry.as_ref().and_then(Entry::until).map(u64::cast_signed),
        known: found.known,
    };
    revocations::insert(&mut tx, &revocation).await?;
    let detail = json!({
        "selector": order.selector.to_json(), "reason": revocation.reason,
        "note": revocation.note, "seq": revocation.seq,
    });
    let mut event = Event::new("revoke", "done")
        .actor(&order.by.client)
        .target(revocation.subject.clone())
        .origin(order.by.address, order.id.to_string())
        .detail(&detail);
    if let Some(tenant) = &found.tenant {
        event = event.tenant(tenant);
    }
    if let Selector::Jti(jti) = order.selector {
        event = event.jti(jti);
    }
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;

    if let Selector::Kid(_) = order.selector {
        // What was published before is not to be served again, whatever becomes of the database.
        app.last_jwks.store(None);
    }
    if let Some(position) = position {
        app.deny.announce(position);
    }
    metrics::counter!("scrip_revocations_total").increment(1);
    tracing::info!(subject = revocation.subject, by = revocation.by_whom, "revoked");
    let status = if revocation.seq.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, revocation))
}

/// Takes a key of tokens out of use and publishes what takes its place.
async fn withdraw(app: &App, tx: &mut Tx, kid: &str, now: u64) -> Result<(), PublishError> {
    let keys = signer::keys(tx).await?;
    if let Some(key) = keys.iter().find(|key| key.jwk.kid == kid && key.revoked_at.is_none()) {
        rotation::revoke(tx, &app.signer, &keys, key, now).await?;
        signer::publish_keys(tx, &app.signer, &app.config.issuer, now).await?;
    }
    Ok(())
}

/// What a selector means at this moment.
struct Found {
    subject: String,
    /// Whose tokens it kills, where they are one tenant's.
    tenant: Option<String>,
    entry: Option<Entry>,
    /// The cut, for selectors that have one.
    before: Option<u64>,
    /// The cut that was asked for.
    asked_before: Option<u64>,
    known: bool,
}

impl Selector {
    async fn resolve(&self, tx: &mut Tx, now: u64) -> Result<Found, NotRevoked> {
        match self {
            Self::Jti(jti) => {
                if jti.seconds() > now + LEEWAY {
                    return Err(NotRevoked::Ahead("/selector/jti"));
                }
                let row = tokens::by_jti(tx, *jti).await?;
                let until = match &row {
                    Some(row) => row.exp.unsigned_abs() + LEEWAY,
                    None => jti.seconds() + HORIZON,
                };
                let entry = Entry::Jti { jti: *jti, until };
                Ok(Found {
                    subject: subject::of_entry(&entry),
                    known: row.is_some(),
                    tenant: row.map(|row| row.tenant),
                    // No token of that age is accepted anywhere: there is nothing to deny.
                    entry: (until > now).then_some(entry),
                    before: None,
                    asked_before: None,
                })
            }
            Self::Client { client, before } => {
                if before.is_some_and(|before| before > now + LEEWAY) {
                    return Err(NotRevoked::Ahead("/selector/before"));
                }
                if clients::by_id(tx, client.as_str()).await?.is_none() {
                    return Err(NotRevoked::Unknown("client"));
                }
                let entry = cut_client(tx, client, *before, now).await?;
                let Entry::Client { before: cut, .. } = entry else {
                    return Err(NotRevoked::Unknown("client"));
                };
                Ok(Found {
                    subject: subject::of_entry(&entry),
                    tenant: Some(client.tenant().to_owned()),
                    entry: Some(entry),
                    before: Some(cut),
                    asked_before: *before,
                    known: true,
                })
            }
            Self::Kid(kid) => {
                let keys = signer::keys(tx).await?;
                let known = keys.iter().any(|k| k.jwk.kid == *kid && k.purpose == Purpose::Token);
                if !known {
                    return Err(NotRevoked::Unknown("key of tokens"));
                }
                let entry = Entry::Kid { kid: kid.clone() };
                Ok(Found {
                    subject: subject::of_entry(&entry),
                    tenant: None,
                    entry: Some(entry),
                    before: None,
                    asked_before: None,
                    known: true,
                })
            }
        }
    }
}

/// The entry that kills every token of a client up to `before`; where nothing is asked, up to now
/// and to the newest one on record.
///
/// # Errors
/// [`StoreError`].
pub async fn cut_client(
    tx: &mut Tx,
    client: &QualifiedName,
    before: Option<u64>,
    now: u64,
) -> Result<Entry, StoreError> {
    let before = match before {
        Some(before) => before,
        None => {
            let of_client = Matching::Client(client.as_str());
            let newest = tokens::newest_iat(tx, of_client, now.cast_signed()).await?;
            now.max(newest.unwrap_or_default().unsigned_abs())
        }
    };
    Ok(Entry::Client { client: client.clone(), before, until: before + HORIZON })
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
