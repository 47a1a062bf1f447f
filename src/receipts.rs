//! Receipts: which verifier enforces what, since when, and by when the others refuse as well.
//!
//! A follower acknowledges the batches that it enforces, and with each heartbeat that it still does
//! and on which terms. Who acknowledges is the authenticated client with the name that it gives its
//! verifier: nobody speaks for another client's. What is made of it is in `receipts/enforced.rs`.
//!
//! What comes behind an earlier acknowledgement changes nothing, not even whether its verifier is
//! connected: one that was set back shows as silent. So that one follower is not hidden by another
//! with the same credential, a follower reads the feed under the name that it will acknowledge
//! under (`X-Scrip-Verifier`), and is missed from its first look on. Whoever gives no name
//! acknowledges nothing: a mirror, or a follower of before this header. With no verifier known,
//! `all` is false. Where the database cannot say who enforces a revocation that it has just
//! committed, the answer is 201 with the worst case.

mod enforced;
mod inbox;
mod request;
mod roll;
mod settle;
mod sightings;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode};
use scrip_token::deny::MAX_BATCH_BYTES;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::admin::{Page, is_json};
use crate::app::App;
use crate::caller::{Means, operator, operator_with_either};
use crate::clock;
use crate::deny::epoch;
use crate::error::{Failure, Problem};
use crate::publish::malformed;
use crate::router::Arrival;
use crate::store::Store;
use crate::store::verifiers::Verifier;
use crate::strict::Query;
use enforced::{SLACK, shown};
use inbox::{Ack, Inbox};
use request::Asked;
use roll::{Roll, Rolls};

pub use inbox::NotTaken;
pub(crate) use request::is_name;
pub(crate) use roll::REMEMBERED;
pub use settle::{enforced, settle};
pub(crate) use sightings::AGAIN;
pub use sightings::{Sighting, Sightings};

/// Most revocations that wait for receipts at once; beyond it they are answered with what is known.
const MOST_WAITING: usize = 1024;

/// Largest acknowledgement, in bytes: with a whole batch as evidence. It is read once its sender is
/// proved; strangers get no such room.
pub(crate) const MAX_BODY: usize = 2 * MAX_BATCH_BYTES;

/// Takes acknowledgements, and wakes who waits for them.
pub struct Receipts {
    inbox: Inbox,
    /// Something was taken here.
    taken: watch::Receiver<()>,
    rolls: Rolls,
    places: Semaphore,
}

impl Receipts {
    /// Starts the task that takes them; it ends when the `Receipts` are gone and what it holds is
    /// settled. `every`: seconds between heartbeats.
    #[must_use]
    pub fn start(store: Store, every: u64) -> (Self, tokio::task::JoinHandle<()>) {
        let (wake, taken) = watch::channel(());
        let (inbox, task) = Inbox::start(store.clone(), wake);
        let places = Semaphore::new(MOST_WAITING);
        (Self { inbox, taken, rolls: Rolls::new(store, every), places }, task)
    }
}

/// `POST /v1/deny/acks`: 204 once it is durable; 400 for what cannot be, such as a batch beyond the
/// newest or another one than ours; 401, 403; 409 for another epoch, or a verifier too many; 413,
/// 415, 503. One verifier's are taken every 250 ms, the newest of those that came meanwhile.
///
/// # Errors
/// [`Problem`].
pub async fn acknowledge(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    request: Request,
) -> Result<StatusCode, Problem> {
    let means = Means::TokenOrSecret;
    let by = operator(&app, &headers, arrival.address, arrival.at, "scrip:feed", means).await?;
    let caller = by.everywhere()?;
    is_json(&headers)?;
    let body = Bytes::from_request(request, &()).await;
    let body = body.map_err(|rejection| unreadable(rejection.status()))?;
    let Asked { verifier, head, evidence } = request::parse(&body, &caller.client)?;
    if let Some(jws) = evidence {
        look_at_evidence(&app, &verifier, &jws).await?;
    }
    app.receipts.inbox.take(Ack { verifier, head }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn unreadable(status: StatusCode) -> Problem {
    let (code, detail) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is too large"),
        _ => ("invalid-request", "the request could not be read"),
    };
    Problem(Failure::new(status, code, detail))
}

/// Looks at a batch that a verifier says we signed, and the database does not have.
async fn look_at_evidence(app: &App, verifier: &Verifier, jws: &str) -> Result<(), Problem> {
    let found = epoch::contradicted(&app.store, &app.deny, jws).await?;
    let (client, name) = verifier.name();
    tracing::warn!(client, verifier = name, ?found, "evidence of another history");
    Ok(())
}

/// `GET /v1/deny/verifiers`: in order of their names. 200, 400, 401, 403, 503.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    let (means, scopes) = (Means::TokenOrSecret, ["scrip:revoke", "scrip:audit"]);
    let by =
        operator_with_either(&app, &headers, arrival.address, arrival.at, scopes, means).await?;
    let (_, reach) = by.within();
    let after = page.after().map(|after| {
        after
            .rsplit_once('/')
            .filter(|(client, _)| client.contains('/'))
            .ok_or_else(|| malformed("`after` is not the `next` of this list"))
    });
    let after = after.transpose()?;
    let roll = app.receipts.rolls.after(arrival.at).await?;
    let named = roll.verifiers.iter().filter(|one| reach.covers(tenant_of(&one.client)));
    let rows = named.filter(|verifier| after.is_none_or(|after| verifier.name() > after));
    let rows: Vec<&Verifier> = rows.take(page.limit() as usize).collect();
    let items = rows.iter().map(|verifier| show_one(&roll, verifier)).collect();
    let last = rows.last().map(|last| format!("{}/{}", last.client, last.verifier));
    let mut reply = page.reply(items, last);
    reply["epoch"] = json!(roll.epoch);
    reply["seq"] = json!(roll.seq);
    Ok(Json(reply))
}

fn show_one(roll: &Roll, verifier: &Verifier) -> Value {
    let Verifier { as_of, max_staleness, allow_for, .. } = verifier;
    let ms = |seconds: i64| seconds.saturating_mul(1000);
    let stale = as_of.saturating_add(*max_staleness).saturating_add(*allow_for);
    json!({
        "client": verifier.client, "verifier": verifier.verifier,
        "connected": roll.is_connected(verifier), "seq": verifier.seq,
        "behind": roll.behind(verifier), "acked_at": shown(verifier.acked_ms),
        "as_of": shown(ms(*as_of)), "max_staleness": max_staleness, "policy": verifier.policy,
        "refuses_by": shown(ms(stale.saturating_add(SLACK))),
    })
}

/// The tenant of the client that a verifier authenticates as.
fn tenant_of(client: &str) -> Option<&str> {
    client.split_once('/').map(|(tenant, _)| tenant)
}

/// Measures how well verifiers follow. While the database is away, the gauges stay as they are.
pub async fn measure(app: &App) {
    let Ok(roll) = app.receipts.rolls.after(clock::monotonic()).await else { return };
    let farthest = roll.connected().map(|verifier| roll.behind(verifier)).max();
    metrics::gauge!("scrip_verifiers_known").set(roll.verifiers.len() as f64);
    metrics::gauge!("scrip_verifiers_connected").set(roll.connected().count() as f64);
    metrics::gauge!("scrip_verifiers_farthest_behind").set(farthest.unwrap_or(0) as f64);
}
