//! Ends escrows: what was used is spent, the rest goes back to the window that it came from.
//!
//! * Once **every ledger** of a token's audience has reported all up to beyond the token's end, nothing
//!   more can come. The end is that of its life, with the leeway that verifiers add; for a revoked token
//!   it is the time since when the verifier beside each ledger refuses it.
//! * Where a ledger has said nothing for a grace after that, all of the escrow counts as spent, and an
//!   alert names the ledger.
//! * Where nobody counts for an audience, the policy has said what silence means.
//!
//! A ledger's silence is an alert when the first escrow is lost by it, and the next one comes not before
//! the ledger has caught up, once an hour at most. The alert belongs to the ledger's tenant; those whose
//! budgets are lost see them as spent, and whose ledger counts for them is not said. What waits for a
//! ledger that does not report waits in an index, and costs nothing. Settling adds nothing to what is
//! out, so thresholds are looked at where something is added: at mints and reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scrip_token::Jti;
use scrip_token::limits::LEEWAY;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::denied::Reading;
use super::used::Used;
use crate::app::App;
use crate::audit::Event;
use crate::clock;
use crate::escrow::{self, Unit, Unreported};
use crate::store::escrows::{self, Due, Escrow};
use crate::store::ledgers::{self, Ledger};
use crate::store::{Lock, StoreError, Tx, acks, audit, quotas};

/// How often something is settled.
const EVERY: Duration = Duration::from_secs(5);
/// Most escrows of each kind in one transaction, for which mints of the same clients wait.
const SLICE: u32 = 300;

/// Settles until shutdown.
pub async fn keep_settling(app: &App) {
    let mut reading = Reading::default();
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = interval.tick() => {}
        }
        if let Err(error) = settle_all(app, &mut reading).await {
            tracing::warn!(%error, "escrows are not settled");
        }
    }
}

/// One audience after the other; what is wrong with one keeps no other waiting.
async fn settle_all(app: &App, reading: &mut Reading) -> Result<(), StoreError> {
    reading.go_on(&app.store, clock::now_ms).await?;
    let mut audience = String::new();
    while let Some(next) = escrows::next_audience(&mut app.store.read().await?, &audience).await? {
        audience = next;
        if let Err(error) = settle_audience(app, &audience).await {
            tracing::warn!(%error, audience, "escrows of an audience are not settled");
        }
    }
    Ok(())
}

/// A slice at a time, so that mints have their turn in between.
async fn settle_audience(app: &App, audience: &str) -> Result<(), StoreError> {
    while !app.shutdown.is_cancelled() {
        let mut tx = app.store.begin(Lock::Admin).await?;
        let now = tx.now_ms(clock::now_ms()).await? / 1000;
        let grace = app.config.ledger_grace.into();
        let settled = settle(&mut tx, audience, now, grace, SLICE).await?;
        tx.commit().await?;
        let Settled { escrows, forfeited, silent } = settled;
        metrics::counter!("scrip_escrows_settled_total").increment(escrows);
        metrics::counter!("scrip_escrows_forfeited_total").increment(forfeited);
        metrics::counter!("scrip_alerts_total", "of" => "ledger.silent").increment(silent);
        if escrows < SLICE.into() {
            break;
        }
    }
    Ok(())
}

/// How much has been settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many escrows.
    pub escrows: u64,
    /// How many of them are taken to be spent because a ledger is silent.
    pub forfeited: u64,
    /// How many ledgers an alert has been raised of.
    pub silent: u64,
}

/// Settles what is due of an audience at `now`, `limit` escrows of each kind at most. What another
/// transaction is settling is left to it. Ledgers may report for `grace` after a token's end. Seconds.
///
/// # Errors
/// As any statement.
pub async fn settle(
    tx: &mut Tx,
    audience: &str,
    now: i64,
    grace: i64,
    limit: u32,
) -> Result<Settled, StoreError> {
    let ledgers = ledgers::of_audience(tx, audience).await?;
    let due = due(tx, audience, &ledgers, now, grace, limit).await?;
    let is_forfeited = |silence: &Unreported| !ledgers.is_empty() && *silence == Unreported::Spent;
    let forfeited = due.values().filter(|(_, silence)| is_forfeited(silence));
    let forfeited: Vec<i64> = forfeited.map(|(escrow, _)| escrow.exp).collect();
    let used = Used::of(tx, &due.values().map(|(escrow, _)| escrow).collect::<Vec<_>>()).await?;
    let accounts: BTreeSet<quotas::Key> =
        due.values().map(|(escrow, _)| escrow.account()).collect();
    let accounts = quotas::lock(tx, &accounts).await?;
    let mut accounts: BTreeMap<_, _> =
        accounts.into_iter().map(|account| (account.key(), account)).collect();

    let mut settled = Vec::with_capacity(due.len());
    for (mut escrow, silence) in due.into_values() {
        let [tokens, cost] = Unit::ALL.map(|unit| {
            let held = escrow.held(unit);
            let spent = escrow::spent(held, used.by(escrow.jti, unit), silence);
            if let Some(account) = accounts.get_mut(&escrow.account()) {
                account.of_mut(unit).balance.settle(held, spent);
            }
            spent
        });
        (escrow.spent, escrow.settled) = (Some(tokens.cast_signed()), Some(now));
        escrow.cost.spent = cost;
        settled.push(escrow);
    }
    for settled in settled.chunks(1000) {
        escrows::put_many(tx, settled).await?;
    }
    quotas::put_many(tx, &accounts.into_values().collect::<Vec<_>>()).await?;
    let silent = match forfeited.iter().max() {
        Some(last) => alert(tx, audience, *last, now).await?,
        None => 0,
    };
    Ok(Settled { escrows: settled.len() as u64, forfeited: forfeited.len() as u64, silent })
}

/// Raises an alert for each ledger that tokens which expired up to `exp` have waited for in vain: once,
/// until it has reported all up to the alert. Says how many.
async fn alert(tx: &mut Tx, audience: &str, exp: i64, now: i64) -> Result<u64, StoreError> {
    let silent = ledgers::fall_silent(tx, audience, exp + LEEWAY.cast_signed(), now).await?;
    let alerts: Vec<_> = silent
        .iter()
        .map(|Ledger { client, instance, complete_until, .. }| {
            let tenant = client.split_once('/').map_or(client.as_str(), |(tenant, _)| tenant);
            let detail = json!({
                "instance": instance, "audience": audience, "complete_until": complete_until,
            });
            let event = Event::new("ledger.silent", "alert").tenant(tenant).target(client);
            event.detail(&detail).at(now * 1000)
        })
        .collect();
    if !alerts.is_empty() {
        audit::insert_many(tx, &alerts).await?;
    }
    Ok(alerts.len() as u64)
}

/// What is due, and what silence means for each.
async fn due(
    tx: &mut Tx,
    audience: &str,
    ledgers: &[Ledger],
    now: i64,
    grace: i64,
    limit: u32,
) -> Result<BTreeMap<Jti, (Escrow, Unreported)>, StoreError> {
    let leeway = LEEWAY.cast_signed();
    let Some(complete) = ledgers.iter().map(|ledger| ledger.complete_until).min() else {
        let over = escrows::take(tx, audience, Due::Expired(now - leeway), limit).await?;
        let judged = over.into_iter().map(|one| {
            let silence = one.unreported;
            (one.jti, (one, silence))
        });
        return Ok(judged.collect());
    };
    let mut due = escrows::take(tx, audience, Due::Expired(now - leeway - grace), limit).await?;
    due.extend(escrows::take(tx, audience, Due::Expired(complete - leeway), limit).await?);
    let enforced = enforced(tx, ledgers).await?;
    if let Some((epoch, seq)) = &enforced {
        due.extend(escrows::take(tx, audience, Due::Denied(epoch, *seq), limit).await?);
    }
    let judged = due.into_iter().map(|one| {
        let silence = silence(&one, complete - leeway, enforced.as_ref());
        (one.jti, (one, silence))
    });
    Ok(judged.collect())
}

/// What silence means for an escrow. Judged by the escrow itself, not by which statement found it: an
/// overdue one may be reported completely too, and not be in the slice of those.
fn silence(escrow: &Escrow, reported: i64, enforced: Option<&(String, i64)>) -> Unreported {
    let denied = escrow.denied_epoch.clone().zip(escrow.denied_seq);
    let is_refused = denied.is_some_and(|by| enforced.is_some_and(|enforced| by <= *enforced));
    if escrow.exp < reported || is_refused { Unreported::Released } else { Unreported::Spent }
}

/// The last batch that every ledger's verifier enforced at a time up to which the ledger has reported
/// all; `None` while there is one of whom that is not known.
async fn enforced(tx: &mut Tx, ledgers: &[Ledger]) -> Result<Option<(String, i64)>, StoreError> {
    let mut least: Option<(String, i64)> = None;
    for ledger in ledgers {
        let name = (ledger.client.as_str(), ledger.instance.as_str());
        let Some(reached) = acks::reached(tx, name, ledger.complete_until * 1000).await? else {
            return Ok(None);
        };
        least = Some(least.map_or_else(|| reached.clone(), |least| least.min(reached.clone())));
    }
    Ok(least)
}
