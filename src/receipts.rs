//! Receipts: which verifier enforces what, since when, and by when the others refuse as well.
//!
//! A follower acknowledges the batches that it enforces, and with each heartbeat that it still does
//! and on which terms. Who acknowledges is the authenticated client with the name that it gives its
//! verifier: nobody speaks for another client's. What is made of it is in `receipts/enforced.rs`.

mod enforced;
mod inbox;
mod request;
mod roll;
mod sightings;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::admin::{Page, is_json};
use crate::app::App;
use crate::caller::{Means, operator, operator_with_either};
use crate::clock;
use crate::error::Problem;
use crate::publish::malformed;
use crate::router::Arrival;
use crate::store::revocations::Revocation;
use crate::store::verifiers::{Name, Verifier};
use crate::store::{Store, StoreError, acks};
use crate::strict::Query;
use enforced::{Case, Enforced, SLACK, Standing, judge, shown};
use inbox::{Ack, Inbox};
use request::Asked;
use roll::{Roll, Rolls};

pub use inbox::NotTaken;
pub(crate) use roll::REMEMBERED;
pub use sightings::{Sighting, Sightings};

/// How often what other replicas were told is looked for.
const POLL: Duration = Duration::from_millis(200);
/// Most revocations that wait for receipts at once; beyond it they are answered with what is known.
const MOST_WAITING: usize = 1024;

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
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let means = Means::TokenOrSecret;
    let caller = operator(&app, &headers, arrival.address, arrival.at, "scrip:feed", means).await?;
    is_json(&headers)?;
    let Asked { verifier, head, evidence } = request::parse(&body, &caller.client)?;
    if let Some(jws) = evidence {
        look_at_evidence(&verifier, &jws);
    }
    app.receipts.inbox.take(Ack { verifier, head }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A verifier has a batch that, it says, is signed by us, and the database does not have.
fn look_at_evidence(verifier: &Verifier, jws: &str) {
    let (client, name) = verifier.name();
    tracing::warn!(client, verifier = name, bytes = jws.len(), "evidence of another history");
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
    operator_with_either(&app, &headers, arrival.address, arrival.at, scopes, means).await?;
    let after = page.after().map(|after| {
        after
            .rsplit_once('/')
            .filter(|(client, _)| client.contains('/'))
            .ok_or_else(|| malformed("`after` is not the `next` of this list"))
    });
    let after = after.transpose()?;
    let roll = app.receipts.rolls.after(arrival.at).await?;
    let rows =
        roll.verifiers.iter().filter(|verifier| after.is_none_or(|after| verifier.name() > after));
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

/// What is known of a revocation that is durable, after all who are connected have acknowledged it,
/// or after `wait`. `is_new`: it was committed just now. Never fails: the revocation stands, whatever
/// is known of it.
pub async fn settle(app: &App, revocation: &Revocation, is_new: bool, wait: Duration) -> Value {
    let settled = async {
        let Some(position) = position(revocation) else {
            return Ok(Enforced::expired(revocation));
        };
        let mut taken = app.receipts.taken.clone();
        taken.mark_unchanged();
        let roll = app.receipts.rolls.after(clock::monotonic()).await?;
        let committed_ms = if is_new { roll.now_ms } else { revocation.at_ms };
        let roll = awaited(app, roll, position, wait, taken).await;
        conclude(app, revocation, position, committed_ms, &roll).await
    };
    let enforced = settled.await.unwrap_or_else(|error: Arc<StoreError>| {
        tracing::warn!(%error, "who enforces a revocation is not known");
        Enforced::unknown(revocation)
    });
    enforced.to_json()
}

/// What is known of a revocation now.
///
/// # Errors
/// [`StoreError`].
pub async fn enforced(app: &App, revocation: &Revocation) -> Result<Value, Arc<StoreError>> {
    let Some(position) = position(revocation) else {
        return Ok(Enforced::expired(revocation).to_json());
    };
    let roll = app.receipts.rolls.after(clock::monotonic()).await?;
    let enforced = conclude(app, revocation, position, revocation.at_ms, &roll).await?;
    Ok(enforced.to_json())
}

fn position(revocation: &Revocation) -> Option<(&str, i64)> {
    Some((revocation.epoch.as_deref()?, revocation.seq?))
}

/// The roll in which all who are connected have got to `position`, or the newest when `wait` is over
/// or the service ends.
async fn awaited(
    app: &App,
    mut roll: Arc<Roll>,
    position: (&str, i64),
    wait: Duration,
    mut taken: watch::Receiver<()>,
) -> Arc<Roll> {
    let Ok(_place) = app.receipts.places.try_acquire() else { return roll };
    let over = tokio::time::sleep(wait);
    tokio::pin!(over);
    while !wait.is_zero() && roll.connected().any(|one| one.position() < position) {
        let slept = clock::monotonic();
        let since = tokio::select! {
            () = &mut over => break,
            () = app.shutdown.cancelled() => break,
            Ok(()) = taken.changed() => clock::monotonic(),
            // What was read for somebody else meanwhile is as good.
            () = tokio::time::sleep(POLL) => slept,
        };
        let newer = tokio::select! {
            () = &mut over => break,
            newer = app.receipts.rolls.after(since) => newer,
        };
        // While the database is away, what was known last is.
        roll = newer.unwrap_or(roll);
    }
    roll
}

async fn conclude(
    app: &App,
    revocation: &Revocation,
    position: (&str, i64),
    committed_ms: i64,
    roll: &Roll,
) -> Result<Enforced, Arc<StoreError>> {
    // Who has gone further since has forgotten when it came by here.
    let passed = roll.verifiers.iter().any(|verifier| verifier.position() > position);
    let arrivals = if passed {
        let mut session = app.store.read_reserved().await?;
        acks::arrivals(&mut session, position.0, position.1).await?
    } else {
        Vec::new()
    };
    let arrivals: HashMap<Name<'_>, i64> =
        arrivals.iter().map(|a| ((a.client.as_str(), a.verifier.as_str()), a.at_ms)).collect();
    let standing = |verifier| since(verifier, position, &arrivals);
    let standings: Vec<Standing<'_>> = roll.verifiers.iter().map(standing).collect();
    let case = Case { position, committed_ms, until: revocation.until };
    Ok(judge(&case, &standings, roll.strangers))
}

/// Where the acknowledgement that brought a verifier to `position` is not remembered, its newest move
/// stands for it: that was later.
fn since<'v>(
    verifier: &'v Verifier,
    position: (&str, i64),
    arrivals: &HashMap<Name<'_>, i64>,
) -> Standing<'v> {
    let at = || arrivals.get(&verifier.name()).copied().unwrap_or(verifier.moved_ms);
    Standing { verifier, since_ms: (verifier.position() >= position).then(at) }
}

/// Measures how well verifiers follow. While the database is away, the gauges stay as they are.
pub async fn measure(app: &App) {
    let Ok(roll) = app.receipts.rolls.after(clock::monotonic()).await else { return };
    let farthest = roll.connected().map(|verifier| roll.behind(verifier)).max();
    metrics::gauge!("scrip_verifiers_known").set(roll.verifiers.len() as f64);
    metrics::gauge!("scrip_verifiers_connected").set(roll.connected().count() as f64);
    metrics::gauge!("scrip_verifiers_farthest_behind").set(farthest.unwrap_or(0) as f64);
}
