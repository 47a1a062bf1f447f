//! Acknowledgements -> durable: groups concurrent ones into one commit.
//!
//! What arrives while a commit runs is the next group. Of those that one verifier sends meanwhile the
//! newest counts, and answers the earlier ones too. One verifier is in a group at most every 250 ms;
//! what it sends sooner waits for that.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use scrip_token::deny::first_head;
use scrip_token::{Digest, Jti};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::store::installation::{self, Installation};
use crate::store::verifiers::{self, Verifier};
use crate::store::{Lock, Store, StoreError, Tx, acks, deny_batches, sightings};

/// Most verifiers in one commit.
const MAX_GROUP: usize = 1000;
/// Most acknowledgements that wait to be looked at.
const MAX_QUEUE: usize = 8192;
/// One verifier's are this far apart.
const SPACING: Duration = Duration::from_millis(250);
/// Most verifiers that one client may have, and most there may be: each is named in the answer to every
/// revocation. A client that makes up names fills its own share only.
pub(super) const MOST_OF_CLIENT: i64 = 1000;
const MOST: i64 = 10_000;

/// Why an acknowledgement does not count.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotTaken {
    /// The commit failed, or is not known to have succeeded.
    #[error("the database is unavailable")]
    Store(#[from] Arc<StoreError>),
    /// Too many are waiting.
    #[error("too many acknowledgements at once")]
    Busy,
    /// It follows another epoch than this one.
    #[error("the epoch is {0}")]
    Epoch(String),
    /// There is no such batch.
    #[error("the newest batch is number {0}")]
    Beyond(i64),
    /// The batch of that number is another one.
    #[error("the batch of that number is another one")]
    Head,
    /// Nothing is known of that batch any more.
    #[error("that batch is forgotten")]
    Forgotten,
    /// No further verifier is remembered.
    #[error("there are {0} verifiers already; one that is silent for 7 days is forgotten")]
    Full(i64),
}

/// Hands acknowledgements to the one task that commits them.
pub(super) struct Inbox(mpsc::Sender<Pending>);

/// What a verifier says of itself, and the head that it has got to.
pub(super) struct Ack {
    pub(super) verifier: Verifier,
    pub(super) head: Digest,
}

struct Pending {
    ack: Ack,
    reply: oneshot::Sender<Result<(), NotTaken>>,
}

/// The newest of one verifier, and all who wait for its answer.
struct Waiting {
    ack: Ack,
    replies: Vec<oneshot::Sender<Result<(), NotTaken>>>,
}

type Name = (String, String);

impl Inbox {
    /// Starts the task; it ends when the inbox is gone and what it holds is settled. `taken` is sent to
    /// after each commit.
    pub(super) fn start(
        store: Store,
        taken: watch::Sender<()>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, arriving) = mpsc::channel(MAX_QUEUE);
        (Self(queue), tokio::spawn(run(store, arriving, taken)))
    }

    /// Returns once the acknowledgement, or a newer one of the same verifier, is durable.
    pub(super) async fn take(&self, ack: Ack) -> Result<(), NotTaken> {
        let (reply, settled) = oneshot::channel();
        self.0.try_send(Pending { ack, reply }).map_err(|_| NotTaken::Busy)?;
        settled.await.map_err(|_| NotTaken::Busy)?
    }
}

async fn run(store: Store, mut arriving: mpsc::Receiver<Pending>, taken: watch::Sender<()>) {
    let mut waiting: HashMap<Name, Waiting> = HashMap::new();
    let mut last: HashMap<Name, Instant> = HashMap::new();
    let mut arrived = Vec::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        let due = |name| last.get(name).map_or_else(clock::monotonic, |at| *at + SPACING);
        let due = waiting.keys().map(due).min();
        tokio::select! {
            count = arriving.recv_many(&mut arrived, MAX_GROUP), if open => open = count > 0,
            () = sleep_until(due), if due.is_some() => {}
        }
        arrived.drain(..).for_each(|pending| enqueue(&mut waiting, pending));

        let now = clock::monotonic();
        last.retain(|_, at| now.saturating_duration_since(*at) < SPACING);
        let group: BTreeMap<Name, Waiting> =
            waiting.extract_if(|name, _| !last.contains_key(name)).take(MAX_GROUP).collect();
        if !group.is_empty() {
            last.extend(group.keys().map(|name| (name.clone(), now)));
            settle(&store, group, &taken).await;
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

fn enqueue(waiting: &mut HashMap<Name, Waiting>, Pending { ack, reply }: Pending) {
    let (client, verifier) = ack.verifier.name();
    match waiting.entry((client.to_owned(), verifier.to_owned())) {
        Entry::Vacant(place) => {
            place.insert(Waiting { ack, replies: vec![reply] });
        }
        Entry::Occupied(mut place) => {
            let held = place.get_mut();
            if held.ack.verifier.position() <= ack.verifier.position() {
                held.ack = ack;
            }
            held.replies.push(reply);
        }
    }
}

/// Commits a group, in order of names, and answers everybody in it.
async fn settle(store: &Store, group: BTreeMap<Name, Waiting>, taken: &watch::Sender<()>) {
    let (acks, replies): (Vec<_>, Vec<_>) =
        group.into_values().map(|waiting| (waiting.ack, waiting.replies)).unzip();
    let settled = match commit(store, &acks).await {
        Ok(settled) => settled,
        Err(error) => vec![Err(NotTaken::Store(Arc::new(error))); acks.len()],
    };
    taken.send_replace(());
    for (replies, settled) in replies.into_iter().zip(settled) {
        for reply in replies {
            // Whoever asked may have gone away; what it said still counts.
            let _ = reply.send(settled.clone());
        }
    }
}

async fn commit(store: &Store, acks: &[Ack]) -> Result<Vec<Result<(), NotTaken>>, StoreError> {
    let mut tx = store.begin(Lock::Feed).await?;
    let mut known = Known::read(&mut tx, acks).await?;
    let (mut said, mut moved) = (Vec::new(), Vec::new());
    let settled: Vec<_> = acks
        .iter()
        .map(|ack| {
            let Some(standing) = known.settle(ack)? else { return Ok(()) };
            if standing.moved_ms == known.now_ms {
                moved.push(standing.clone());
            }
            said.push(standing);
            Ok(())
        })
        .collect();
    verifiers::put_many(&mut tx, &said).await?;
    acks::insert_many(&mut tx, &moved).await?;
    // A verifier that there is no room for verifies all the same: it counts like one that gives no
    // name.
    let full = acks.iter().zip(&settled).filter(|(_, s)| matches!(s, Err(NotTaken::Full(_))));
    for client in full.map(|(ack, _)| &ack.verifier.client).collect::<BTreeSet<_>>() {
        sightings::note(&mut tx, "feed", client, known.now_ms / 1000).await?;
    }
    tx.commit().await?;
    Ok(settled)
}

/// What the database knows of a group.
struct Known {
    now_ms: i64,
    feed: Installation,
    /// The heads of batches, by number.
    heads: HashMap<i64, Digest>,
    verifiers: HashMap<Name, Verifier>,
    /// How many each client has; read where somebody is new.
    counts: HashMap<String, i64>,
}

impl Known {
    async fn read(tx: &mut Tx, acks: &[Ack]) -> Result<Self, StoreError> {
        let now_ms = tx.now_ms(clock::now_ms()).await?;
        let feed = installation::read(tx).await?.ok_or(StoreError::NotMigrated)?;
        let mut seqs: Vec<i64> = acks.iter().map(|ack| ack.verifier.seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        // Nearly all have got to the head, which the row has already.
        seqs.retain(|seq| (1..feed.seq).contains(seq));
        let heads = deny_batches::heads(tx, &feed.epoch, &seqs).await?;
        let mut heads: HashMap<i64, Digest> =
            heads.into_iter().map(|batch| (batch.seq, batch.head)).collect();
        let epoch = Jti::parse(&feed.epoch).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        heads.insert(0, first_head(epoch));
        heads.insert(feed.seq, feed.head);

        let names: Vec<_> = acks.iter().map(|ack| ack.verifier.name()).collect();
        let verifiers = verifiers::by_names(tx, &names).await?;
        let counts =
            if verifiers.len() < acks.len() { verifiers::count(tx).await? } else { Vec::new() };
        let named = |v: Verifier| ((v.client.clone(), v.verifier.clone()), v);
        Ok(Self {
            now_ms,
            feed,
            heads,
            verifiers: verifiers.into_iter().map(named).collect(),
            counts: counts.into_iter().map(|count| (count.client, count.verifiers)).collect(),
        })
    }

    /// The row to be written; `None` for an acknowledgement behind an earlier one. It is not even a
    /// sign of life: otherwise a verifier that was set back would look connected and further than
    /// it is.
    fn settle(&mut self, ack: &Ack) -> Result<Option<Verifier>, NotTaken> {
        let Ack { verifier, head } = ack;
        let (epoch, seq) = verifier.position();
        if epoch != self.feed.epoch {
            return Err(NotTaken::Epoch(self.feed.epoch.clone()));
        }
        if seq > self.feed.seq {
            return Err(NotTaken::Beyond(self.feed.seq));
        }
        match self.heads.get(&seq) {
            None => return Err(NotTaken::Forgotten),
            Some(ours) if ours != head => return Err(NotTaken::Head),
            Some(_) => {}
        }
        let (client, name) = verifier.name();
        let moved_ms = match self.verifiers.get(&(client.to_owned(), name.to_owned())) {
            Some(before) if before.position() > verifier.position() => return Ok(None),
            Some(before) if before.position() == verifier.position() => before.moved_ms,
            Some(_) => self.now_ms,
            None => {
                self.admit(client)?;
                self.now_ms
            }
        };
        Ok(Some(Verifier { moved_ms, acked_ms: self.now_ms, ..verifier.clone() }))
    }

    /// Finds room for another one of a client's.
    fn admit(&mut self, client: &str) -> Result<(), NotTaken> {
        let all: i64 = self.counts.values().sum();
        let of_client = self.counts.entry(client.to_owned()).or_default();
        if *of_client >= MOST_OF_CLIENT {
            return Err(NotTaken::Full(*of_client));
        }
        if all >= MOST {
            return Err(NotTaken::Full(all));
        }
        *of_client += 1;
        Ok(())
    }
}
