//! Which escrows belong to tokens that the deny list ends before their time.

use std::collections::HashSet;

use scrip_token::Jti;
use scrip_token::deny::Entry;

use crate::store::tokens::{self, Matching, Token};
use crate::store::{
    Lock, Store, StoreError, Tx, deny_entries, escrows, installation, now_ms as database_ms,
};

/// Most entries, and most tokens, in one go.
const SLICE: u32 = 500;

/// How far the deny list has been read. Every replica reads it by itself, and from the beginning
/// when it starts, because to note the same twice changes nothing.
#[derive(Debug, Default)]
pub struct Reading {
    epoch: String,
    after: (i64, i64),
}

impl Reading {
    /// Reads what is new, and notes what it ends.
    ///
    /// # Errors
    /// As any statement.
    pub async fn go_on(
        &mut self,
        store: &Store,
        clock_ms: impl Fn() -> i64,
    ) -> Result<(), StoreError> {
        loop {
            let mut session = store.read().await?;
            let now = database_ms(&mut session, clock_ms()).await? / 1000;
            let feed = installation::read(&mut session).await?.ok_or(StoreError::NotMigrated)?;
            if feed.epoch != self.epoch {
                *self = Self { epoch: feed.epoch, after: (0, 0) };
            }
            // With no escrow there is nothing to note: a token that is minted later is not ended by
            // an earlier entry.
            if escrows::next_audience(&mut session, "").await?.is_none() {
                self.after = (feed.seq, i64::MAX);
                return Ok(());
            }
            let epoch = &self.epoch;
            let rows =
                deny_entries::live(&mut session, epoch, feed.seq, now, self.after, SLICE).await?;
            drop(session);
            let Some(last) = rows.last() else { return Ok(()) };
            let after = (last.seq, last.ord);

            // All of them count as denied by the last batch of the page: later is the more
            // cautious.
            let named: HashSet<Jti> = rows.iter().filter_map(|row| row.jti).collect();
            let mut tx = store.begin(Lock::Admin).await?;
            for ended in with_descendants(&mut tx, named, now).await?.chunks(SLICE as usize) {
                escrows::deny(&mut tx, ended, epoch, last.seq).await?;
            }
            tx.commit().await?;
            for row in rows.iter().filter(|row| row.jti.is_none()) {
                let entry = serde_json::from_str(&row.entry)
                    .map_err(|error| StoreError::Corrupt(error.to_string()))?;
                note(store, &entry, (epoch, row.seq), now).await?;
            }
            self.after = after;
        }
    }
}

/// These tokens, and those that were delegated from them: an ancestor's id refuses these too, whoever
/// holds them. All of them are on record by now, for nothing is delegated from what is revoked.
async fn with_descendants(
    tx: &mut Tx,
    named: HashSet<Jti>,
    now: i64,
) -> Result<Vec<Jti>, StoreError> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let delegated = tokens::delegated(tx, now).await?;
    let is_ended = |token: &&Token| token.lin.iter().any(|ancestor| named.contains(ancestor));
    let descendants: Vec<Jti> = delegated.iter().filter(is_ended).map(|token| token.jti).collect();
    Ok(named.into_iter().chain(descendants).collect())
}

/// Notes what an entry ends that names no token, a slice at a time.
async fn note(
    store: &Store,
    entry: &Entry,
    (epoch, seq): (&str, i64),
    now: i64,
) -> Result<(), StoreError> {
    let (which, before) = match entry {
        Entry::Jti { jti, .. } => (Matching::Jti(*jti), u64::MAX),
        Entry::Client { client, before, .. } => (Matching::Client(client.as_str()), *before),
        Entry::Sub { sub, before, .. } => {
            (Matching::Sub { tenant: &sub.tenant, id: &sub.id }, *before)
        }
        Entry::Tenant { tenant, before, .. } => (Matching::Tenant(tenant), *before),
        Entry::Cred { cred, .. } => {
            let (client, version) = (cred.client.as_str(), cred.version.as_str());
            (Matching::Cred { client, version }, u64::MAX)
        }
        Entry::Kid { kid } => (Matching::Kid(kid), u64::MAX),
        Entry::All { before, .. } => (Matching::All, *before),
    };
    let mut after = None;
    loop {
        let mut tx = store.begin(Lock::Admin).await?;
        let live = tokens::live(&mut tx, which, after, now, SLICE).await?;
        let Some(last) = live.last() else { return Ok(()) };
        after = Some(last.jti);
        let ended = live.iter().filter(|token| token.iat.unsigned_abs() <= before);
        let ended: Vec<Jti> = ended.map(|token| token.jti).collect();
        escrows::deny(&mut tx, &ended, epoch, seq).await?;
        tx.commit().await?;
    }
}
