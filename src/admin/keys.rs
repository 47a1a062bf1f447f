//! `/v1/keys`: the keys of tokens, of the feed, and the root. Revoking one is a revocation.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use scrip_token::Alg;
use serde_json::{Value, json};

use super::rfc3339;
use crate::app::App;
use crate::audit::Event;
use crate::caller::{Caller, Means, operator};
use crate::clock;
use crate::error::Problem;
use crate::router::{Arrival, RequestId};
use crate::signer::rotation::{self, Rotated, times};
use crate::signer::{self, Key, Purpose, State as KeyState, root};
use crate::store::signing_keys::{self, Times};
use crate::store::{self, Lock, Tx, audit};

/// The scope that this needs.
const SCOPE: &str = "scrip:keys";
/// Heartbeats from the publication of a feed key to its first use. Each tells followers that there
/// are newer keys; one that has heard none of twelve is `Stale` by default.
const FEED_LEAD: u64 = 12;

async fn keeper(app: &App, headers: &HeaderMap, arrival: Arrival) -> Result<Caller, Problem> {
    let means = Means::TokenOrSecret;
    let by = operator(app, headers, arrival.address, arrival.at, SCOPE, means).await?;
    Ok(by.everywhere()?)
}

/// `GET /v1/keys`: all keys, newest first.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    keeper(&app, &headers, arrival).await?;
    let mut session = app.store.read_reserved().await?;
    let mut keys = signer::keys(&mut session).await?;
    keys.sort_by_key(|key| std::cmp::Reverse((key.published, key.jwk.kid.clone())));
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    let items: Vec<Value> = keys.iter().map(|key| show(key, now)).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

/// `POST /v1/keys/{alg}/rotate`, and `feed` or `root` in place of an algorithm: 200 with the active
/// and the next key; 404 for an algorithm that is not in use; 409 while the next key is too young,
/// naming the time.
///
/// # Errors
/// [`Problem`].
pub async fn rotate(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    id: RequestId,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let by = keeper(&app, &headers, arrival).await?;
    let unused = || Problem::not_found("no key of this algorithm is in use");
    let mut tx = app.store.begin(Lock::Revoke).await?;
    app.deny.lock(&mut tx).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let now = clock::seconds(now_ms);
    let keys = signer::keys(&mut tx).await?;
    let rotated = match name.as_str() {
        "root" => {
            let active = root::rotate(&mut tx, &app.signer, &app.config.issuer, now).await?;
            finish(&app, tx, rotation_of(&active), &by, &id, now_ms).await?;
            return Ok(Json(json!({"active": show(&active, now), "next": null})));
        }
        "feed" => {
            let lead = FEED_LEAD * app.config.heartbeat;
            rotation::rotate_feed(&mut tx, &app.signer, &keys, lead, now).await?
        }
        alg => {
            let alg: Alg = alg.parse().map_err(|_| unused())?;
            rotation::rotate(&mut tx, &app.signer, &keys, alg, app.config.key_lead, now).await?
        }
    };
    match rotated {
        Rotated::Done { active, next } => {
            signer::publish_keys(&mut tx, &app.signer, &app.config.issuer, now).await?;
            finish(&app, tx, rotation_of(&active), &by, &id, now_ms).await?;
            Ok(Json(json!({"active": show(&active, now), "next": show(&next, now)})))
        }
        Rotated::TooEarly(at) => {
            let at = rfc3339(at.cast_signed());
            Err(Problem::conflict(format!("the next key may sign from {at} on")))
        }
        Rotated::Unused => Err(unused()),
    }
}

fn rotation_of(active: &Key) -> Event {
    Event::new("key.rotate", "done").target(active.jwk.kid.clone())
}

/// `POST /v1/keys/{kid}/retire`: takes a key away that never signed; one that retires already is
/// left as it is. 200, 404, 409 for a key that signs.
///
/// # Errors
/// [`Problem`].
pub async fn retire(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    id: RequestId,
    headers: HeaderMap,
    Path(kid): Path<String>,
) -> Result<Json<Value>, Problem> {
    let by = keeper(&app, &headers, arrival).await?;
    let mut tx = app.store.begin(Lock::Revoke).await?;
    app.deny.lock(&mut tx).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let now = clock::seconds(now_ms);
    let keys = signer::keys(&mut tx).await?;
    let key = keys.iter().find(|key| key.jwk.kid == kid);
    let key = key.ok_or_else(|| Problem::not_found("there is no such key"))?;
    match key.state(now) {
        _ if key.purpose != Purpose::Token => {
            Err(Problem::conflict("only keys of tokens are taken away unused"))
        }
        KeyState::Active => Err(Problem::conflict("this key signs; rotate first")),
        KeyState::Retiring | KeyState::Retired => Ok(Json(show(key, now))),
        KeyState::Next => {
            let retired = Times { retire_at: Some(now.cast_signed()), ..times(key) };
            signing_keys::set_times(&mut tx, &kid, retired).await?;
            let retired = Key { retire_at: Some(now), ..key.clone() };
            // Each algorithm in use always has a published next key.
            rotation::make(&mut tx, &app.signer, key.jwk.alg, key.purpose, None, now).await?;
            let event = Event::new("key.retire", "done").target(kid);
            signer::publish_keys(&mut tx, &app.signer, &app.config.issuer, now).await?;
            finish(&app, tx, event, &by, &id, now_ms).await?;
            Ok(Json(show(&retired, now)))
        }
    }
}

async fn finish(
    app: &App,
    mut tx: Tx,
    event: Event,
    by: &Caller,
    id: &RequestId,
    now_ms: i64,
) -> Result<(), Problem> {
    let event = event.actor(&by.client).origin(by.address, id.to_string());
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;
    Ok(app.deny.attest_keys(&app.store).await?)
}

fn show(key: &Key, now: u64) -> Value {
    let time = |seconds: Option<u64>| seconds.map(|seconds| rfc3339(seconds.cast_signed()));
    json!({
        "kid": key.jwk.kid, "alg": key.jwk.alg, "use": key.purpose, "state": key.state(now),
        "published": time(Some(key.published)), "active_from": time(key.active_from),
        "retire_at": time(key.retire_at), "revoked_at": time(key.revoked_at),
    })
}
