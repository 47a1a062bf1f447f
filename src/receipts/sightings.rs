//! Who was seen to verify, or to follow: whoever acknowledges nothing has to be reckoned with. And
//! whose secret is used without a mint: it is not to count as unused.
//!
//! Who reads the feed is on record before it is given anything: a receipt that does not reckon with it
//! was made before, and what it reads then is not older. Only whoever has read a manifest alone, and
//! never asks for a heartbeat, may go by what was so before it came.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use scrip_token::QualifiedName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::inbox::MOST_OF_CLIENT;
use crate::clock;
use crate::store::verifiers::{self, Name};
use crate::store::{self, Lock, Store, StoreError, clients, readers, sightings};

/// One sighting is written once in this time; the use of a secret once in the longer one.
const SPACING: Duration = Duration::from_secs(60);
const USE_SPACING: Duration = Duration::from_secs(3600);
/// Whoever stays is noted again after this time, long before it would be forgotten.
pub(crate) const AGAIN: Duration = Duration::from_secs(3600);
/// Longest wait until somebody is on record. A follower waits 5 s.
const PATIENCE: Duration = Duration::from_secs(4);
/// What could not be written of whoever was served all the same is tried again after this time.
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

    /// In the name of which verifier the feed is read.
    fn name(&self) -> Option<Name<'_>> {
        let Self::Feed(client, Some(name)) = self else { return None };
        Some((client.as_str(), name))
    }
}

/// Takes sightings to be written, several in one commit.
pub struct Sightings {
    queue: mpsc::Sender<(Sighting, Option<oneshot::Sender<()>>)>,
    written: Arc<Written>,
}

/// Those who are to be written, in order of their names, or two replicas could wait for each other;
/// and who waits for it.
type Waiting = BTreeMap<Sighting, Vec<oneshot::Sender<()>>>;

impl Sightings {
    /// Starts the task; it ends when the last `Sightings` is gone and what it holds is written.
    #[must_use]
    pub fn start(store: Store) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, mut seen) = mpsc::channel(MAX_QUEUE);
        let written = Arc::<Written>::default();
        let sightings = Self { queue, written: written.clone() };
        let task = tokio::spawn(async move {
            let (mut waiting, mut arrived) = (Waiting::new(), Vec::new());
            loop {
                tokio::select! {
                    count = seen.recv_many(&mut arrived, MAX_GROUP) => if count == 0 { return },
                    () = sleep(PAUSE), if !waiting.is_empty() => {}
                }
                for (sighting, reply) in arrived.drain(..) {
                    waiting.entry(sighting).or_default().extend(reply);
                }
                if let Err(error) = settle(&store, &mut waiting, &written).await {
                    tracing::warn!(%error, "who was seen is not on record");
                    // The others are told so, and come again.
                    waiting.retain(|sighting, _| *sighting == Sighting::Keys);
                }
            }
        });
        (sightings, task)
    }

    /// Notes that somebody was seen, to be written in a moment; says whether there was room for it.
    pub fn note(&self, sighting: Sighting) -> bool {
        self.written.has(&sighting) || self.queue.try_send((sighting, None)).is_ok()
    }

    /// Returns once it is on record that somebody was seen; says whether it is.
    pub async fn record(&self, sighting: Sighting) -> bool {
        if self.written.has(&sighting) {
            return true;
        }
        let (reply, settled) = oneshot::channel();
        self.queue.try_send((sighting, Some(reply))).is_ok()
            && matches!(timeout(PATIENCE, settled).await, Ok(Ok(())))
    }
}

/// What need not be written again yet, and since when.
#[derive(Default)]
struct Written(Mutex<HashMap<Sighting, Instant>>);

impl Written {
    fn has(&self, sighting: &Sighting) -> bool {
        self.0.lock().get(sighting).is_some_and(|at| at.elapsed() < sighting.spacing())
    }

    fn add(&self, sighting: Sighting) {
        let mut written = self.0.lock();
        if written.len() >= MOST_WRITTEN {
            written.retain(|sighting, at| at.elapsed() < sighting.spacing());
        }
        if written.len() >= MOST_WRITTEN {
            written.clear();
        }
        written.insert(sighting, clock::monotonic());
    }
}

/// Writes all who wait and answers them; those who acknowledge are known without it, which is nearly
/// all.
async fn settle(store: &Store, waiting: &mut Waiting, written: &Written) -> Result<(), StoreError> {
    let named: Vec<Name<'_>> = waiting.keys().filter_map(Sighting::name).collect();
    let mut known = HashSet::new();
    if !named.is_empty() {
        let mut session = store.read_reserved().await?;
        let now_ms = store::now_ms(&mut session, clock::now_ms()).await?;
        let lately = now_ms - AGAIN.as_millis() as i64;
        let verifiers = verifiers::by_names(&mut session, &named).await?;
        let verifiers = verifiers.into_iter().filter(|verifier| verifier.acked_ms > lately);
        known.extend(verifiers.map(|verifier| (verifier.client, verifier.verifier)));
    }
    let acknowledges = |sighting: &Sighting| {
        let name = sighting.name();
        name.is_some_and(|(client, name)| known.contains(&(client.to_owned(), name.to_owned())))
    };
    let answer = |(sighting, replies): (Sighting, Vec<oneshot::Sender<()>>)| {
        written.add(sighting);
        for reply in replies {
            // Whoever asked may have gone away.
            let _ = reply.send(());
        }
    };
    waiting.extract_if(.., |sighting, _| acknowledges(sighting)).for_each(answer);
    if !waiting.is_empty() {
        write(store, waiting.keys()).await?;
        std::mem::take(waiting).into_iter().for_each(answer);
    }
    Ok(())
}

async fn write(store: &Store, seen: impl Iterator<Item = &Sighting>) -> Result<(), StoreError> {
    let mut tx = store.begin(Lock::Feed).await?;
    let now = tx.now_ms(clock::now_ms()).await? / 1000;
    let (mut nameless, mut named, mut used) = (BTreeSet::new(), Vec::new(), Vec::new());
    for sighting in seen {
        match sighting {
            Sighting::Keys => sightings::note(&mut tx, "keys", "", now).await?,
            Sighting::Feed(client, None) => drop(nameless.insert(client.as_str())),
            Sighting::Feed(client, Some(name)) => named.push((client.as_str(), name.as_str())),
            Sighting::Use(client) => used.push(client.as_str()),
        }
    }
    // A client that makes up names is one that gives none.
    let full = if named.is_empty() {
        Vec::new()
    } else {
        readers::with_names(&mut tx, MOST_OF_CLIENT).await?
    };
    let (beyond, readers): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|(client, _)| full.iter().any(|full| full == client));
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
