//! Who was seen to verify, or to follow: whoever acknowledges nothing has to be reckoned with. And
//! whose secret is used without a mint: it is not to count as unused.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use scrip_token::QualifiedName;
use tokio::sync::mpsc;

use crate::clock;
use crate::store::{Lock, Store, StoreError, clients, sightings};

/// The same is written once in this time; that a secret is used, once in the longer one.
const SPACING: Duration = Duration::from_secs(60);
const USE_SPACING: Duration = Duration::from_secs(3600);
/// What could not be written is tried again after this time.
const PAUSE: Duration = Duration::from_secs(1);
/// Most sightings that wait to be looked at. What comes then is lost, as what comes ten times a
/// second may be.
const MAX_QUEUE: usize = 1024;

/// Somebody who was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sighting {
    /// Whoever reads the plain JWKS, to verify without a feed.
    Keys,
    /// A client that reads the feed.
    Feed(QualifiedName),
    /// A client that proved itself with its secret where a token would have done.
    Use(QualifiedName),
}

impl Sighting {
    fn spacing(&self) -> Duration {
        if let Self::Use(_) = self { USE_SPACING } else { SPACING }
    }
}

/// Takes sightings to be written, off the path of any request.
pub struct Sightings(mpsc::Sender<Sighting>);

impl Sightings {
    /// Starts the task; it ends when the last `Sightings` is gone and what it holds is written.
    #[must_use]
    pub fn start(store: Store) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, mut seen) = mpsc::channel(MAX_QUEUE);
        let task = tokio::spawn(async move {
            let mut written: HashMap<Sighting, Instant> = HashMap::new();
            while let Some(sighting) = seen.recv().await {
                written.retain(|sighting, at| at.elapsed() < sighting.spacing());
                if written.contains_key(&sighting) {
                    continue;
                }
                while let Err(error) = write(&store, &sighting).await {
                    tracing::warn!(%error, "who was seen is not on record");
                    tokio::time::sleep(PAUSE).await;
                }
                written.insert(sighting, clock::monotonic());
            }
        });
        (Self(queue), task)
    }

    /// Notes that somebody was seen.
    pub fn note(&self, sighting: Sighting) {
        // Full: see `MAX_QUEUE`.
        let _ = self.0.try_send(sighting);
    }
}

async fn write(store: &Store, sighting: &Sighting) -> Result<(), StoreError> {
    let mut tx = store.begin(Lock::Feed).await?;
    let now = tx.now_ms(clock::now_ms()).await? / 1000;
    match sighting {
        Sighting::Keys => sightings::note(&mut tx, "keys", "", now).await?,
        Sighting::Feed(client) => sightings::note(&mut tx, "feed", client.as_str(), now).await?,
        Sighting::Use(client) => clients::mark_seen(&mut tx, client.as_str(), now).await?,
    }
    tx.commit().await
}
