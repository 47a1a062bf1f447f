//! Who verifies, and how far each has got: read once for all who ask at a time.

use std::sync::Arc;
use std::time::Instant;

use crate::clock;
use crate::latest::Latest;
use crate::store::verifiers::{self, Verifier};
use crate::store::{self, Store, StoreError, installation, readers, sightings};

/// How long a verifier, and whoever else was seen to verify, is remembered. Seconds.
pub(crate) const REMEMBERED: i64 = 7 * 86_400;
/// A verifier acknowledges each heartbeat; it counts as connected if it did within so many.
const BEATS: i64 = 3;

/// The state of all verifiers at one moment.
pub(super) struct Roll {
    /// The feed's epoch.
    pub(super) epoch: String,
    /// Its newest batch.
    pub(super) seq: i64,
    /// In order of their names.
    pub(super) verifiers: Vec<Verifier>,
    /// Whether there may be somebody who verifies and acknowledges nothing.
    pub(super) strangers: bool,
    /// Since when a verifier that is connected has acknowledged. Milliseconds.
    connected_ms: i64,
}

impl Roll {
    async fn read(store: &Store, every: u64) -> Result<Self, StoreError> {
        let mut session = store.read_reserved().await?;
        let now_ms = store::now_ms(&mut session, clock::now_ms()).await?;
        let feed = installation::read(&mut session).await?.ok_or(StoreError::NotMigrated)?;
        let since = now_ms / 1000 - REMEMBERED;
        Ok(Self {
            epoch: feed.epoch,
            seq: feed.seq,
            verifiers: verifiers::all(&mut session).await?,
            strangers: sightings::any(&mut session, since).await?
                || readers::any_silent(&mut session, since).await?,
            connected_ms: now_ms - BEATS * every.cast_signed() * 1000,
        })
    }

    /// Whether a verifier acknowledged lately.
    pub(super) fn is_connected(&self, verifier: &Verifier) -> bool {
        verifier.acked_ms >= self.connected_ms
    }

    /// The verifiers that acknowledged lately.
    pub(super) fn connected(&self) -> impl Iterator<Item = &Verifier> {
        self.verifiers.iter().filter(|verifier| self.is_connected(verifier))
    }

    /// How many batches a verifier has yet to apply; of another epoch, all.
    pub(super) fn behind(&self, verifier: &Verifier) -> i64 {
        if verifier.epoch == self.epoch { self.seq - verifier.seq } else { self.seq }
    }
}

/// A roll, or why there is none.
type Shared = Result<Arc<Roll>, Arc<StoreError>>;

/// The newest roll.
pub(super) struct Rolls {
    store: Store,
    /// Seconds between heartbeats.
    every: u64,
    newest: Latest<Shared>,
}

impl Rolls {
    pub(super) fn new(store: Store, every: u64) -> Self {
        Self { store, every, newest: Latest::default() }
    }

    /// A roll that was begun after `moment`.
    pub(super) async fn after(&self, moment: Instant) -> Shared {
        let read =
            async || Roll::read(&self.store, self.every).await.map(Arc::new).map_err(Arc::new);
        self.newest.after(moment, read).await
    }
}
