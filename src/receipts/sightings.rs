//! Who was seen to verify, or to follow: whoever acknowledges nothing has to be reckoned with. And
//! whose secret is used without a mint: it is not to count as unused.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use scrip_token::QualifiedName;
use tokio::sync::mpsc;

use super::inbox::MOST_OF_CLIENT;
use crate::clock;
use crate::store::verifiers::{self, Name};
use crate::store::{Lock, Store, StoreError, Tx, clients, readers, sightings};

/// The same is written once in this time; that a secret is used, once in the longer one.
const SPACING: Duration = Duration::from_secs(60);
const USE_SPACING: Duration = Duration::from_secs(3600);
/// Whoever stays is noted again after this time, long before it would be forgotten.
pub(crate) const AGAIN: Duration = Duration::from_secs(3600);
/// What could not be written is tried again after this time.
const PAUSE: Duration = Duration::from_secs(1);
/// Most sightings in one commit.
const MAX_GROUP: usize = 256;
/// Most sightings that wait to be looked at.
const MAX_QUEUE: usize = 8192;
/// Most that are known to be written; beyond it all are written again.
const MOST_WRITTEN: usize = 65_536;

/// Somebody who was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sighting {
    /// Whoever reads the plain JWKS, to verify without a feed.
    Keys,
    /// A client that reads the feed, in the name of a verifier or, acknowledging nothing, of nobody.
    Feed(QualifiedName, Option<String>),
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
            let mut arrived = Vec::new();
            while seen.recv_many(&mut arrived, MAX_GROUP).await > 0 {
                written.retain(|sighting, at| at.elapsed() < sighting.spacing());
                if written.len() > MOST_WRITTEN {
                    written.clear();
                }
                // In order of their names, or two replicas could wait for each other.
                let group: BTreeSet<Sighting> =
                    arrived.drain(..).filter(|sighting| !written.contains_key(sighting)).collect();
                if group.is_empty() {
                    continue;
                }
                while let Err(error) = write(&store, &group).await {
                    tracing::warn!(%error, "who was seen is not on record");
                    tokio::time::sleep(PAUSE).await;
                }
                let now = clock::monotonic();
                written.extend(group.into_iter().map(|sighting| (sighting, now)));
            }
        });
        (Self(queue), task)
    }

    /// Notes that somebody was seen; says whether there was room for it.
    pub fn note(&self, sighting: Sighting) -> bool {
        self.0.try_send(sighting).is_ok()
    }
}

async fn write(store: &Store, group: &BTreeSet<Sighting>) -> Result<(), StoreError> {
    let mut tx = store.begin(Lock::Feed).await?;
    let now = tx.now_ms(clock::now_ms()).await? / 1000;
    let (mut nameless, mut named, mut used) = (BTreeSet::new(), Vec::new(), Vec::new());
    for sighting in group {
        match sighting {
            Sighting::Keys => sightings::note(&mut tx, "keys", "", now).await?,
            Sighting::Feed(client, None) => drop(nameless.insert(client.as_str())),
            Sighting::Feed(client, Some(name)) => named.push((client.as_str(), name.as_str())),
            Sighting::Use(client) => used.push(client.as_str()),
        }
    }
    let silent = silent(&mut tx, named, now).await?;
    // A client that makes up names is one that gives none.
    let full = match silent.is_empty() {
        true => Vec::new(),
        false => readers::with_names(&mut tx, MOST_OF_CLIENT).await?,
    };
    let (beyond, readers): (Vec<_>, Vec<_>) =
        silent.into_iter().partition(|(client, _)| full.iter().any(|full| full == client));
    nameless.extend(beyond.iter().map(|(client, _)| client));
    for client in nameless {
        sightings::note(&mut tx, "feed", client, now).await?;
    }
    readers::note_many(&mut tx, &readers, now).await?;
    tx.commit().await?;

    for client in used {
        let mut tx = store.begin(Lock::Feed).await?;
        clients::mark_seen(&mut tx, client, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Those of `named` that have not acknowledged of late: nearly none.
async fn silent<'n>(
    tx: &mut Tx,
    mut named: Vec<Name<'n>>,
    now: i64,
) -> Result<Vec<Name<'n>>, StoreError> {
    let known = verifiers::by_names(tx, &named).await?;
    let lately = (now - AGAIN.as_secs().cast_signed()) * 1000;
    named.retain(|name| !known.iter().any(|one| one.name() == *name && one.acked_ms > lately));
    Ok(named)
}
