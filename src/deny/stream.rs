//! The feed's publisher: renders each batch and heartbeat once and hands the bytes to everybody
//! who follows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::heartbeat::{Beat, beat};
use super::{DenyList, Position, PublishError, epoch};
use crate::store::{Store, deny_batches};

/// Frames that a follower may be behind before it is cut; it resumes where it was.
const MAX_BEHIND: usize = 1024;
/// How often other replicas' batches are looked for.
const POLL: Duration = Duration::from_secs(1);
/// Batches read at once.
const PAGE: u32 = 256;

/// One event of the stream, rendered (WHATWG HTML section 9.2).
#[derive(Clone, Debug)]
pub struct Frame {
    /// The bytes, ready to send.
    pub bytes: Bytes,
    /// What has been published once this has been sent.
    pub position: Position,
    /// Whether it is a batch, which is sent once; a heartbeat is sent to everybody.
    pub is_batch: bool,
}

impl Frame {
    /// Renders a batch.
    #[must_use]
    pub fn batch(position: Position, jws: &str) -> Self {
        let Position { epoch, seq, .. } = &position;
        let text = format!("event: batch\nid: {epoch}:{seq}\ndata: {jws}\n\n");
        Self { bytes: text.into(), position, is_batch: true }
    }

    /// Renders a heartbeat.
    #[must_use]
    pub fn heartbeat(beat: &Beat) -> Self {
        let text = format!("event: heartbeat\ndata: {}\n\n", beat.jws);
        Self { bytes: text.into(), position: beat.position.clone(), is_batch: false }
    }

    /// Renders the hint that a follower cannot go on from where it is.
    #[must_use]
    pub fn reset(reason: &str) -> Bytes {
        format!("event: reset\ndata: {{\"reason\":\"{reason}\"}}\n\n").into()
    }
}

/// Everybody who follows.
#[derive(Clone)]
pub struct Audience(broadcast::Sender<Frame>);

impl Default for Audience {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_BEHIND))
    }
}

impl Audience {
    /// Joins; frames from now on are received.
    #[must_use]
    pub fn join(&self) -> broadcast::Receiver<Frame> {
        self.0.subscribe()
    }

    /// How many follow.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.receiver_count()
    }
}

/// Publishes until it is cancelled: batches as they are announced or found, heartbeats every so
/// many seconds. A heartbeat follows the batches that it counts.
pub async fn publish(
    store: Store,
    list: Arc<DenyList>,
    audience: Audience,
    pulse: watch::Sender<Option<Beat>>,
    every: u64,
    shutdown: CancellationToken,
) {
    let mut announced = list.follow();
    let mut sent = announced.borrow_and_update().clone();
    let mut heart = tokio::time::interval(Duration::from_secs(every));
    let mut poll = tokio::time::interval(POLL);
    heart.set_missed_tick_behavior(MissedTickBehavior::Delay);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_beat = tokio::select! {
            () = shutdown.cancelled() => return,
            changed = announced.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            _ = heart.tick() => true,
            _ = poll.tick() => false,
        };
        announced.borrow_and_update();
        // The heartbeat is made first: whatever it counts is then found and sent before it.
        let made = if is_beat { Some(beat(&store, &list, every).await) } else { None };
        if let Err(error) = catch_up(&store, &list, &audience, &mut sent).await {
            tracing::warn!(%error, "batches cannot be read");
            if matches!(error, PublishError::Lost) {
                // Another replica may be doing the same; whoever comes second finds it done.
                if let Err(error) = epoch::renew(&store, &list).await {
                    tracing::error!(%error, "no new epoch yet");
                }
            }
            continue;
        }
        // What another replica has revoked wakes those who wait here too.
        list.announce(sent.clone());
        match made {
            Some(Ok(made)) => {
                if let Err(error) = list.attest_keys_of(&store, made.keys).await {
                    tracing::error!(%error, "no witness of what was published");
                }
                pulse.send_replace(Some(made.clone()));
                metrics::gauge!("scrip_followers").set(audience.size() as f64);
                let _ = audience.0.send(Frame::heartbeat(&made));
            }
            Some(Err(error)) => tracing::warn!(%error, "no heartbeat"),
            None => {}
        }
    }
}

async fn catch_up(
    store: &Store,
    list: &DenyList,
    audience: &Audience,
    sent: &mut Position,
) -> Result<(), PublishError> {
    let mut session = store.read_reserved().await?;
    let row = list.row(&mut session).await?;
    if row.epoch != sent.epoch {
        sent.epoch = row.epoch;
        sent.seq = 0;
    }
    loop {
        let batches = deny_batches::after(&mut session, &sent.epoch, sent.seq, PAGE).await?;
        let full = batches.len() == PAGE as usize;
        if let Some(last) = batches.last() {
            let last = Position { epoch: last.epoch.clone(), seq: last.seq, head: last.head };
            // Followers are worth more than the witness: they get what is revoked in any case.
            if let Err(error) = list.attest(&last).await {
                tracing::error!(%error, "no witness of what others revoked");
            }
        }
        for batch in batches {
            *sent = Position { epoch: batch.epoch, seq: batch.seq, head: batch.head };
            if let Some(jws) = &batch.jws {
                // Nobody following is no error.
                let _ = audience.0.send(Frame::batch(sent.clone(), jws));
            }
        }
        if !full {
            return Ok(());
        }
    }
}
