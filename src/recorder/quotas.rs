//! What a group of mints takes from the quotas of its clients: all of them are locked at once, and
//! each order reserves after the one before it.
//!
//! The quota is the one that the judgement read: a mint under way while it is lowered may still be
//! counted under the old one. Another kind of window in the policy begins another account.

use std::collections::{BTreeMap, BTreeSet};

use scrip_token::Claims;
use serde_json::json;

use crate::audit::Event;
use crate::escrow::{Allowance, Amount, Quota, Unit, Window};
use crate::policy::{Approved, Charge, Denial};
use crate::prices::PriceList;
use crate::store::escrows::{self, Cost, Escrow};
use crate::store::quotas::{self, Account, Key};
use crate::store::{Inserts, StoreError, Tx, prices};

/// When a mint refused by a lifetime's quota may be tried again: there is no next window, but what
/// the tokens that are out have not used is back within so many seconds.
const LIFETIME: u64 = 3600;

/// Why nothing is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// Too little is left of a quota.
    #[error(
        "{left} of the quota of {quota} {unit} per {window} are left, and the token would take {asked}"
    )]
    Exhausted {
        /// How much that is.
        left: Amount,
        /// How much the quota is.
        quota: Amount,
        /// What it is counted in: `tokens`, or the currency.
        unit: String,
        /// The quota's.
        window: Window,
        /// What it would take.
        asked: Amount,
        /// Seconds until the next window begins; after a lifetime there is none, and it is an hour.
        retry_after: u64,
    },
    /// By the prices there would never be enough, or there is no price.
    #[error(transparent)]
    Denied(#[from] Denial),
}

/// The quotas of a group's clients, which nobody else changes until the transaction ends.
pub struct Quotas {
    now: i64,
    /// The prices with their version, read where a quota in money is asked for.
    prices: Option<(i64, PriceList)>,
    accounts: BTreeMap<Key, Account>,
    escrows: Vec<Escrow>,
    alerts: Vec<Event>,
}

impl Quotas {
    /// Locks what a group may take from, in order of their keys. `now`: database time in seconds.
    ///
    /// # Errors
    /// As any statement.
    pub async fn lock(
        tx: &mut Tx,
        group: impl Iterator<Item = &Approved>,
        now: u64,
    ) -> Result<Self, StoreError> {
        let now = now.cast_signed();
        let (mut keys, mut in_money) = (BTreeSet::new(), false);
        for approved in group {
            let Some((quota, _)) = approved.escrow() else { continue };
            keys.insert(key(approved, quota, now));
            in_money |= quota.money.is_some();
        }
        let latest = if in_money { prices::latest(tx).await? } else { None };
        let prices = latest.map(|row| Ok::<_, StoreError>((row.version, row.list()?)));
        let accounts = quotas::lock(tx, &keys).await?;
        Ok(Self {
            now,
            prices: prices.transpose()?,
            accounts: accounts.into_iter().map(|account| (account.key(), account)).collect(),
            escrows: Vec::new(),
            alerts: Vec::new(),
        })
    }

    /// Moves what is approved into escrow, in each unit that its quota has; nothing where its policy
    /// has none.
    ///
    /// # Errors
    /// [`NotHeld`]; nothing has changed then.
    pub fn take(&mut self, approved: &Approved) -> Result<Option<Taken>, NotHeld> {
        let Some((quota, tokens)) = approved.escrow() else { return Ok(None) };
        let cost = self.cost(approved)?;
        let key = key(approved, quota, self.now);
        let next = quota.window.next(self.now).map(|next| (next - self.now).unsigned_abs());
        let currency = self.prices.as_ref().map_or("", |(_, prices)| prices.currency()).to_owned();
        let exhausted = |unit: Unit, left: u64, most: u64, asked: u64| NotHeld::Exhausted {
            left: unit.amount(left),
            quota: unit.amount(most),
            unit: match unit {
                Unit::Tokens => "tokens".to_owned(),
                Unit::Money => currency.clone(),
            },
            window: quota.window,
            asked: unit.amount(asked),
            retry_after: next.unwrap_or(LIFETIME),
        };
        let Some(account) = self.accounts.get_mut(&key) else {
            return Err(exhausted(Unit::Tokens, 0, 0, tokens));
        };
        let before = (account.tokens, account.money);
        for (unit, asked) in [(Unit::Tokens, tokens), (Unit::Money, cost.held)] {
            let limit = quota.limit(unit);
            let most = limit.unwrap_or(u64::MAX);
            let Err(left) = account.of_mut(unit).balance.reserve(asked, most) else { continue };
            (account.tokens, account.money) = before;
            return Err(exhausted(unit, left, most, asked));
        }
        Ok(Some(Taken { key, quota: quota.clone(), tokens, cost, before }))
    }

    /// What the token may cost; nothing where its quota does not limit money.
    fn cost(&self, approved: &Approved) -> Result<Cost, Denial> {
        let (version, prices) =
            self.prices.as_ref().map(|(version, list)| (*version, list)).unzip();
        let charge = approved.charge(prices)?;
        Ok(charge.map_or_else(Cost::default, |Charge { rate, held }| Cost {
            prices: version.unwrap_or_default(),
            rate: rate.millionths(),
            held: held.millionths(),
            ..Cost::default()
        }))
    }

    /// Keeps what was taken for the token of these claims.
    pub fn keep(&mut self, taken: Taken, claims: &Claims) {
        let Taken { key, quota, tokens, cost, .. } = taken;
        if let Some(account) = self.accounts.get_mut(&key) {
            self.alerts.extend(thresholds(account, &quota));
        }
        let (client, window, starts) = key;
        self.escrows.push(Escrow {
            jti: claims.jti,
            client,
            window,
            starts,
            aud: claims.aud.clone(),
            exp: claims.exp.cast_signed(),
            tokens,
            unreported: quota.unreported,
            denied_epoch: None,
            denied_seq: None,
            spent: None,
            settled: None,
            overrun: 0,
            cost,
        });
    }

    /// Notes that somebody was refused for lack of quota. Then it counts as used up for the alerts:
    /// budgets seldom add up to exactly all of it.
    pub fn go_without(&mut self, approved: &Approved, why: &NotHeld) {
        let (NotHeld::Exhausted { quota: most, .. }, Some((quota, _))) = (why, approved.escrow())
        else {
            return;
        };
        let unit = most.unit();
        let Some(limit) = quota.limit(unit).filter(|_| quota.alerts.contains(&100)) else { return };
        let Some(account) = self.accounts.get_mut(&key(approved, quota, self.now)) else { return };
        let allowance = account.of_mut(unit);
        if allowance.alerted < 100 {
            (allowance.quota, allowance.alerted) = (limit, 100);
            self.alerts.push(threshold(account, unit, 100));
        }
    }

    /// Gives back what was taken last, because the order was a repetition and has its token
    /// already.
    pub fn give_back(&mut self, taken: &Taken) {
        if let Some(account) = self.accounts.get_mut(&taken.key) {
            (account.tokens, account.money) = taken.before;
        }
    }

    /// Puts what it has become with what else is inserted. Yields the alerts that this raises.
    pub fn push(self, inserts: &mut Inserts) -> Vec<Event> {
        let accounts: Vec<Account> = self.accounts.into_values().collect();
        quotas::push(inserts, &accounts);
        escrows::push(inserts, &self.escrows);
        self.alerts
    }
}

/// What one order has taken; to be kept or given back.
#[must_use]
pub struct Taken {
    key: Key,
    quota: Quota,
    tokens: u64,
    cost: Cost,
    before: (Allowance, Allowance),
}

/// An alert for each percentage of a quota that an account has reached since it was asked last.
pub fn thresholds(account: &mut Account, quota: &Quota) -> Vec<Event> {
    let mut alerts = Vec::new();
    for unit in Unit::ALL {
        let Some(limit) = quota.limit(unit) else {
            account.of_mut(unit).quota = 0;
            continue;
        };
        let reached = account.of_mut(unit).reach(limit, &quota.alerts);
        alerts.extend(reached.into_iter().map(|percent| threshold(account, unit, percent)));
    }
    alerts
}

fn threshold(account: &Account, unit: Unit, percent: u64) -> Event {
    let Account { client, window, starts, tenant, .. } = account;
    let Allowance { quota, balance, .. } = account.of(unit);
    let detail = json!({
        "percent": percent, "window": window, "starts": starts, "unit": unit,
        "quota": unit.amount(*quota), "reserved": unit.amount(balance.reserved),
        "spent": unit.amount(balance.spent), "carried": unit.amount(balance.carried),
    });
    Event::new("quota.threshold", "alert").tenant(tenant).target(client).detail(&detail)
}

fn key(approved: &Approved, quota: &Quota, now: i64) -> Key {
    (approved.client().to_string(), quota.window, quota.window.start(now))
}
