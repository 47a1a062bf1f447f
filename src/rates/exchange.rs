//! How replicas learn what the others have granted.
//!
//! Once a second each replica writes down what it granted since, and reads what the others wrote. A
//! mint is charged at once where it is granted, and within two seconds everywhere, even beyond what
//! a limit has left: what replicas together granted too much has to be earned before any of them
//! grants again. So for n replicas a rate of m mints can be exceeded by (n - 1) * (m + two seconds'
//! worth), once, and never in the long run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Rates;
use crate::store::{Lock, Store, StoreError, rate_grants};
use crate::{clock, random};

/// Nobody looks for what was granted longer ago than this, in milliseconds: a replica that was away
/// for longer knows the last minute only.
pub const FORGOTTEN: i64 = 60_000;
/// Longest time, in milliseconds, from an exchange's date to its commit: a statement may take 10 s.
const LATE: i64 = 12_000;

/// What a replica has read.
#[derive(Default)]
pub(super) struct Told {
    /// Up to when, in milliseconds of database time.
    until_ms: i64,
    /// The exchanges near that time that were read: one that is dated before it may be committed
    /// after it.
    exchanges: HashMap<Uuid, i64>,
}

/// Tells the other replicas what was granted here, and charges what they granted.
///
/// # Errors
/// [`StoreError`]; what was granted is told the next time then.
pub async fn exchange(store: &Store, rates: &Rates) -> Result<(), StoreError> {
    let Some(granted) = rates.take_untold() else { return Ok(()) };
    let exchanged = exchange_once(store, rates, &granted).await;
    if exchanged.is_err() {
        rates.still_untold(granted);
    }
    exchanged
}

async fn exchange_once(
    store: &Store,
    rates: &Rates,
    granted: &HashMap<String, Duration>,
) -> Result<(), StoreError> {
    let mut tx = store.begin(Lock::Admin).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let own = random::uuid(now_ms);
    let micros = |cost: &Duration| i64::try_from(cost.as_micros()).unwrap_or(i64::MAX);
    let rows: Vec<_> = granted.iter().map(|(key, cost)| (key.as_str(), micros(cost))).collect();
    rate_grants::insert_many(&mut tx, own, &rows).await?;
    let (since_ms, known) = rates.told(own, now_ms);
    let others = rate_grants::since(&mut tx, since_ms, &known).await?;
    tx.commit().await?;
    rates.charge_others(&others, now_ms, clock::monotonic());
    Ok(())
}

impl Rates {
    fn take_untold(&self) -> Option<HashMap<String, Duration>> {
        let mut mints = self.mints.lock();
        mints.untold.as_mut().map(std::mem::take)
    }

    fn still_untold(&self, granted: HashMap<String, Duration>) {
        let mut mints = self.mints.lock();
        let Some(untold) = &mut mints.untold else { return };
        for (key, cost) in granted {
            *untold.entry(key).or_default() += cost;
        }
    }

    /// From when on to read, and which exchanges of that time have been read already.
    fn told(&self, own: Uuid, now_ms: i64) -> (i64, Vec<Uuid>) {
        let mut mints = self.mints.lock();
        let told = &mut mints.told;
        let since_ms = (told.until_ms - LATE).max(now_ms - FORGOTTEN);
        told.exchanges.retain(|_, at_ms| *at_ms >= since_ms);
        told.exchanges.insert(own, now_ms);
        (since_ms, told.exchanges.keys().copied().collect())
    }

    fn charge_others(&self, others: &[rate_grants::Grant], now_ms: i64, now: Instant) {
        let mut mints = self.mints.lock();
        for grant in others {
            // Charged from when it was granted on: some of it has been earned since.
            let age = Duration::from_millis((now_ms - grant.at_ms()).max(0).unsigned_abs());
            let at = now.checked_sub(age).unwrap_or(now);
            let cost = Duration::from_micros(grant.cost_us.unsigned_abs());
            mints.due.charge(grant.key.as_str(), cost, at);
            mints.told.exchanges.insert(grant.exchange, grant.at_ms());
        }
        mints.told.until_ms = mints.told.until_ms.max(now_ms);
    }
}
