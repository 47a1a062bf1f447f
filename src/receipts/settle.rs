//! The answer to a revocation: who enforces it, now or after a wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::enforced::{Case, Enforced, Standing, judge};
use super::roll::Roll;
use crate::app::App;
use crate::caller::Reach;
use crate::clock;
use crate::store::revocations::Revocation;
use crate::store::verifiers::{Name, Verifier};
use crate::store::{StoreError, acks};

/// How often to look for what other replicas were told.
const POLL: Duration = Duration::from_millis(200);

/// What is known of a durable revocation once all who are connected have acknowledged it, or after
/// `wait`. Never fails: the revocation stands, whatever is known of it.
pub async fn settle(app: &App, reach: &Reach, revocation: &Revocation, wait: Duration) -> Value {
    let settled = async {
        let Some(position) = position(revocation) else {
            return Ok(Enforced::expired(revocation));
        };
        let mut taken = app.receipts.taken.clone();
        taken.mark_unchanged();
        let roll = app.receipts.rolls.after(clock::monotonic()).await?;
        let roll = awaited(app, roll, position, wait, taken).await;
        conclude(app, revocation, position, &roll).await
    };
    let enforced = settled.await.unwrap_or_else(|error: Arc<StoreError>| {
        tracing::warn!(%error, "who enforces a revocation is not known");
        Enforced::unknown(revocation)
    });
    enforced.to_json(reach)
}

/// What is known of a revocation now.
///
/// # Errors
/// [`StoreError`].
pub async fn enforced(
    app: &App,
    reach: &Reach,
    revocation: &Revocation,
) -> Result<Value, Arc<StoreError>> {
    let Some(position) = position(revocation) else {
        return Ok(Enforced::expired(revocation).to_json(reach));
    };
    let roll = app.receipts.rolls.after(clock::monotonic()).await?;
    let enforced = conclude(app, revocation, position, &roll).await?;
    Ok(enforced.to_json(reach))
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
    if wait.is_zero() {
        return roll;
    }
    let Ok(_place) = app.receipts.places.try_acquire() else { return roll };
    let over = tokio::time::sleep(wait);
    tokio::pin!(over);
    while roll.connected().any(|one| one.position() < position) {
        let slept = clock::monotonic();
        let since = tokio::select! {
            () = &mut over => break,
            () = app.shutdown.cancelled() => break,
            Ok(()) = taken.changed() => clock::monotonic(),
            // A roll that was read for somebody else meanwhile is as good.
            () = tokio::time::sleep(POLL) => slept,
        };
        let newer = tokio::select! {
            () = &mut over => break,
            newer = app.receipts.rolls.after(since) => newer,
        };
        // While the database is away, the last roll is what is known.
        roll = newer.unwrap_or(roll);
    }
    roll
}

async fn conclude(
    app: &App,
    revocation: &Revocation,
    position: (&str, i64),
    roll: &Roll,
) -> Result<Enforced, Arc<StoreError>> {
    // For a verifier that has gone further since, its row no longer says when it got here.
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
    let case = Case { position, at_ms: revocation.at_ms, until: revocation.until };
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
