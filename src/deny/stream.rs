//! The feed's publisher: renders each batch and heartbeat once and hands the bytes to everybody
//! who follows.
//!
//! On Postgres the transaction that numbers a batch notifies, so that the commit itself wakes the
//! other replicas. Each listens on a connection beside its pools, and makes a lost one again after
//! 1 to 30 s. Looking once a second bounds the delay where nothing is heard (a lost connection, a
//! pooler that passes no notifications), and `scrip_feed_batches_total{by="polled"}` shows that it
//! was needed. SQLite has one process.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, sleep};
use tokio_util::sync::CancellationToken;

use super::audience::{Broadcast, Frame};
use super::heartbeat::{Beat, Dated};
use super::{DenyList, Position, PublishError, epoch};
use crate::clock;
use crate::store::{Numbered, Store, deny_batches};

/// What a frame of batches is taken to cost, and what it costs more for each follower. Where batches
/// come without a pause, those of this time are sent together, so that writing to all leaves time for
/// everything else.
const TICK: Duration = Duration::from_millis(5);
const TICK_EACH: Duration = Duration::from_micros(10);
/// How much of that may be spent at once after a pause: a batch that comes alone never waits, nor
/// do a few that follow each other.
const AHEAD: Duration = Duration::from_millis(100);
/// How often other replicas' batches are looked for where nothing tells of them.
const POLL: Duration = Duration::from_secs(1);
/// Batches read at once, and sent as one frame.
const PAGE: u32 = 256;
/// Time until a connection that was lost is made again: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

impl Frame {
    /// Renders batches as events (WHATWG HTML section 9.2), in their order; `None` where there are
    /// none. A batch that was pruned to its head is left out.
    #[must_use]
    pub fn batches(batches: &[deny_batches::Batch]) -> Option<Self> {
        let last = batches.last()?;
        let mut text = String::new();
        for batch in batches {
            if let Some(jws) = &batch.jws {
                let (epoch, seq) = (&batch.epoch, batch.seq);
                // Writing to a text cannot fail.
                let _ = write!(text, "event: batch\nid: {epoch}:{seq}\ndata: {jws}\n\n");
            }
        }
        Some(Self { bytes: text.into(), position: last.into(), is_batches: true })
    }

    /// Renders a heartbeat.
    #[must_use]
    pub fn heartbeat(beat: &Beat) -> Self {
        let text = format!("event: heartbeat\ndata: {}\n\n", beat.jws);
        Self { bytes: text.into(), position: beat.position.clone(), is_batches: false }
    }

    /// Renders the hint that a follower cannot go on from where it is.
    #[must_use]
    pub fn reset(reason: &str) -> Bytes {
        format!("event: reset\ndata: {{\"reason\":\"{reason}\"}}\n\n").into()
    }
}

/// Publishes until it is cancelled: batches as they are announced, told of or found, heartbeats
/// every so many seconds. A heartbeat follows the batches that it counts, and counts all that it
/// follows.
pub async fn publish(
    store: Store,
    list: Arc<DenyList>,
    broadcast: Broadcast,
    pulse: watch::Sender<Option<Beat>>,
    every: u64,
    shutdown: CancellationToken,
) {
    let (told, committed) = watch::channel(None);
    let (due, dated) = watch::channel(None);
    let (pushed, others) = watch::channel(());
    let sent = list.follow().borrow().clone();
    let publisher = Publisher {
        store: store.clone(),
        list: list.clone(),
        broadcast,
        pulse,
        pushed,
        every,
        sent,
    };
    let heartbeats = dated.clone();
    let work = async {
        tokio::join!(
            publisher.run(committed, dated),
            beat(&store, &list, every, &due),
            listen(&store, &told),
            attest(&store, &list, heartbeats, others),
        )
    };
    shutdown.run_until_cancelled(Box::pin(work)).await;
}

/// Dates a heartbeat every so many seconds. That takes a commit, for which no batch waits.
async fn beat(store: &Store, list: &DenyList, every: u64, due: &watch::Sender<Option<Dated>>) {
    let mut heart = tokio::time::interval(Duration::from_secs(every));
    heart.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        heart.tick().await;
        match Dated::now(store, list).await {
            Ok(dated) => drop(due.send_replace(Some(dated))),
            Err(error) => tracing::warn!(%error, "no heartbeat"),
        }
    }
}

/// Keeps the witness of what others publish, and tries again what could not be written, with every
/// heartbeat. The disk may hang: followers are worth more, and nothing that they get waits for it.
async fn attest(
    store: &Store,
    list: &DenyList,
    mut dated: watch::Receiver<Option<Dated>>,
    mut others: watch::Receiver<()>,
) {
    loop {
        let changed = tokio::select! {
            changed = dated.changed() => changed,
            changed = others.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        let keys = dated.borrow_and_update().as_ref().map_or(0, |dated| dated.keys);
        if let Err(error) = list.attest_keys_of(store, keys).await {
            tracing::error!(%error, "no witness of what was published");
        }
    }
}

/// Passes on what the database tells of. While nobody listens, batches are found by looking.
async fn listen(store: &Store, told: &watch::Sender<Option<Numbered>>) {
    let mut retry = FIRST_RETRY;
    loop {
        let lost = match store.listen().await {
            Ok(mut listener) => loop {
                match listener.next().await {
                    Ok(numbered) => {
                        retry = FIRST_RETRY;
                        told.send_replace(Some(numbered));
                    }
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        tracing::warn!(error = %lost, "nothing tells of other replicas' batches; looking for them");
        sleep(retry).await;
        retry = LAST_RETRY.min(retry * 2);
    }
}

struct Publisher {
    store: Store,
    list: Arc<DenyList>,
    broadcast: Broadcast,
    pulse: watch::Sender<Option<Beat>>,
    /// Tells that others' batches were published.
    pushed: watch::Sender<()>,
    every: u64,
    sent: Position,
}

impl Publisher {
    async fn run(
        mut self,
        mut committed: watch::Receiver<Option<Numbered>>,
        mut dated: watch::Receiver<Option<Dated>>,
    ) {
        let mut announced = self.list.follow();
        let mut poll = tokio::time::interval(POLL);
        let mut paid = clock::monotonic();
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let woken = tokio::select! {
                Ok(()) = announced.changed() => "announced",
                Ok(()) = committed.changed() => "told",
                Ok(()) = dated.changed() => "heartbeat",
                _ = poll.tick() => "polled",
            };
            let handed = self.hand_on();
            let beat = match woken {
                "heartbeat" => dated.borrow_and_update().clone(),
                _ => None,
            };
            let is_sent = match woken {
                "announced" => {
                    let Position { epoch, seq, .. } = &*announced.borrow_and_update();
                    self.is_sent(epoch, *seq)
                }
                "told" => {
                    let told = committed.borrow_and_update();
                    told.as_ref().is_some_and(|told| self.is_sent(&told.epoch, told.seq))
                }
                "heartbeat" => beat.as_ref().is_some_and(|beat| self.counts(beat)),
                _ => false,
            };
            let found = if is_sent { Ok(0) } else { self.catch_up().await };
            let found = match found {
                Ok(found) => handed + found,
                Err(PublishError::Lost) => {
                    // Another replica may be doing the same; whoever comes second finds it done.
                    if let Err(error) = epoch::renew(&self.store, &self.list).await {
                        tracing::error!(%error, "no new epoch yet");
                    }
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "batches cannot be read");
                    continue;
                }
            };
            if let Some(beat) = beat.filter(|beat| self.counts(beat)) {
                self.beat(beat);
            }
            if found > 0 {
                metrics::counter!("scrip_feed_batches_total", "by" => woken).increment(found);
                // What another replica has revoked wakes those who wait here too.
                self.list.announce(self.sent.clone().into());
                let now = clock::monotonic();
                paid = paid.max(now) + TICK + TICK_EACH * self.broadcast.size();
                sleep(paid.saturating_duration_since(now + AHEAD)).await;
            }
        }
    }

    /// Whether everybody was sent what a heartbeat has to count.
    fn counts(&self, beat: &Dated) -> bool {
        self.is_sent(&beat.from.epoch, beat.from.seq)
    }

    /// Publishes a heartbeat that counts exactly what was sent: any other would make nobody young.
    fn beat(&self, dated: Dated) {
        match dated.sign(&self.list, self.every, self.sent.clone()) {
            Ok(beat) => {
                self.broadcast.publish(Frame::heartbeat(&beat));
                self.pulse.send_replace(Some(beat));
            }
            Err(error) => tracing::warn!(%error, "no heartbeat"),
        }
    }

    fn is_sent(&self, epoch: &str, seq: i64) -> bool {
        epoch == self.sent.epoch && seq <= self.sent.seq
    }

    /// Publishes what this replica has just committed without reading it again, where it follows
    /// what was sent. Says how many batches that were; the others are read from the database.
    fn hand_on(&mut self) -> u64 {
        let mut fresh = self.list.fresh();
        fresh.retain(|batch| !self.is_sent(&batch.epoch, batch.seq));
        let numbers = fresh.iter().map(|batch| (&batch.epoch, batch.seq));
        let following = (self.sent.seq + 1..).map(|seq| (&self.sent.epoch, seq));
        if !numbers.eq(following.take(fresh.len())) {
            return 0;
        }
        self.publish(&fresh)
    }

    fn publish(&mut self, batches: &[deny_batches::Batch]) -> u64 {
        if let Some(frame) = Frame::batches(batches) {
            self.sent = frame.position.clone();
            self.broadcast.publish(frame);
        }
        batches.len() as u64
    }

    /// Publishes what the database has beyond what was sent; says how many batches.
    async fn catch_up(&mut self) -> Result<u64, PublishError> {
        let mut session = self.store.read_reserved().await?;
        let mut found = 0;
        loop {
            let Position { epoch, seq, .. } = &self.sent;
            let batches = deny_batches::after(&mut session, epoch, *seq, PAGE).await?;
            let Some(last) = batches.last() else {
                // Once nothing is left in the epoch that we are in, there may be another.
                let row = self.list.row(&mut session).await?;
                if row.epoch == self.sent.epoch {
                    return Ok(found);
                }
                (self.sent.epoch, self.sent.seq) = (row.epoch, 0);
                continue;
            };
            self.list.witness().note(&last.into());
            found += self.publish(&batches);
            self.pushed.send_replace(());
        }
    }
}
