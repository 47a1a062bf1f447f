//! What a group of mints takes from the quotas of its clients: all of them are locked at once, and
//! each order reserves after the one before it.

use std::collections::{BTreeMap, BTreeSet};

use scrip_token::Claims;
use serde_json::json;

use crate::audit::Event;
use crate::escrow::{Balance, Quota, Window};
use crate::policy::Approved;
use crate::store::escrows::{self, Escrow};
use crate::store::quotas::{self, Account, Key};
use crate::store::{StoreError, Tx, audit};

/// When a mint refused by a lifetime's quota may be tried again: there is no next window, but what
/// the tokens that are out have not used is back within so many seconds.
const LIFETIME: u64 = 3600;

/// Too little is left of a quota. Amounts are LLM tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{left} of the quota of {quota} tokens per {window} are left, and the token would take {asked}"
)]
pub struct Exhausted {
    left: u64,
    quota: u64,
    window: Window,
    asked: u64,
    /// Seconds until the next window begins; after a lifetime there is none, and it is an hour.
    pub retry_after: u64,
}

/// The quotas of a group's clients, nobody else's to change until the transaction ends.
pub struct Quotas {
    now: i64,
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
        let keys: BTreeSet<Key> =
            group.filter_map(|approved| Some(key(approved, approved.escrow()?.0, now))).collect();
        let accounts = quotas::lock(tx, &keys).await?;
        Ok(Self {
            now,
            accounts: accounts.into_iter().map(|account| (account.key(), account)).collect(),
            escrows: Vec::new(),
            alerts: Vec::new(),
        })
    }

    /// Moves what is approved into escrow; nothing where its policy has no quota.
    ///
    /// # Errors
    /// What is left, where that is less.
    pub fn take(&mut self, approved: &Approved) -> Result<Option<Taken>, Exhausted> {
        let Some((quota, tokens)) = approved.escrow() else { return Ok(None) };
        let (key, most) = (key(approved, quota, self.now), quota.tokens.get());
        let next = quota.window.next(self.now).map(|next| (next - self.now).unsigned_abs());
        let exhausted = |left| Exhausted {
            left,
            quota: most,
            window: quota.window,
            asked: tokens,
            retry_after: next.unwrap_or(LIFETIME),
        };
        let account = self.accounts.get_mut(&key).ok_or_else(|| exhausted(0))?;
        let before = account.balance;
        if let Err(left) = account.balance.reserve(tokens, most) {
            // It is used up when somebody goes away without: budgets seldom add up to all of it.
            if quota.alerts.contains(&100) && account.alerted < 100 {
                (account.quota, account.alerted) = (most, 100);
                self.alerts.push(alert(account, 100));
            }
            return Err(exhausted(left));
        }
        Ok(Some(Taken { key, quota: quota.clone(), tokens, before }))
    }

    /// Keeps what was taken for the token of these claims.
    pub fn keep(&mut self, taken: Taken, claims: &Claims) {
        let Taken { key, quota, tokens, .. } = taken;
        if let Some(account) = self.accounts.get_mut(&key) {
            account.quota = quota.tokens.get();
            let reached = account.balance.reached(account.quota, &quota.alerts, account.alerted);
            for percent in reached {
                account.alerted = account.alerted.max(percent);
                self.alerts.push(alert(account, percent));
            }
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
        });
    }

    /// Gives back what was taken last, for a token that there was already.
    pub fn give_back(&mut self, taken: &Taken) {
        if let Some(account) = self.accounts.get_mut(&taken.key) {
            account.balance = taken.before;
        }
    }

    /// Writes what has been kept, and the alerts; says how many those are.
    ///
    /// # Errors
    /// As any statement.
    pub async fn write(self, tx: &mut Tx, now_ms: i64) -> Result<u64, StoreError> {
        let accounts: Vec<Account> = self.accounts.into_values().collect();
        quotas::put_many(tx, &accounts).await?;
        escrows::insert_many(tx, &self.escrows).await?;
        let alerts: Vec<_> = self.alerts.into_iter().map(|alert| alert.at(now_ms)).collect();
        if !alerts.is_empty() {
            audit::insert_many(tx, &alerts).await?;
        }
        Ok(alerts.len() as u64)
    }
}

/// What one order has taken; to be kept or given back.
#[must_use]
pub struct Taken {
    key: Key,
    quota: Quota,
    tokens: u64,
    before: Balance,
}

fn key(approved: &Approved, quota: &Quota, now: i64) -> Key {
    (approved.client().to_string(), quota.window, quota.window.start(now))
}

fn alert(account: &Account, percent: u64) -> Event {
    let Account { client, window, starts, tenant, quota, balance, .. } = account;
    let detail = json!({
        "percent": percent, "window": window, "starts": starts, "quota": quota,
        "reserved": balance.reserved, "spent": balance.spent, "carried": balance.carried,
    });
    Event::new("quota.threshold", "alert").tenant(tenant).target(client).detail(&detail)
}
