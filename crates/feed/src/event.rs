//! What a follower takes in, for those who want to see it.

use scrip_token::deny::{Batch, Heartbeat, Manifest};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::alarm::Alarm;
use crate::replica::Object;

/// Events that are kept for one who is slow.
const KEPT: usize = 1024;

/// Something that was verified and taken in, or that should not have happened. Readers' views have
/// changed before it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A batch was applied.
    Batch(Batch),
    /// A sign of life that counted: not a repeated one, nor one that names another place than ours.
    Heartbeat(Heartbeat),
    /// A snapshot was added, or a manifest counted as a sign of life.
    Snapshot(Manifest),
    /// An alarm was raised.
    Alarm {
        /// Which.
        alarm: Alarm,
        /// The circumstances.
        reason: String,
    },
    /// The receiver was too slow for so many events.
    Missed(u64),
}

/// The events of one follower, from when this was asked for.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next one; `None` after the follower has stopped. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Tells all who want to see.
#[derive(Debug, Clone)]
pub(crate) struct Crier(broadcast::Sender<Event>);

impl Default for Crier {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Crier {
    pub(crate) fn listen(&self) -> Events {
        Events(self.0.subscribe())
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.0.receiver_count() > 0 {
            // An error says that those who listened have left meanwhile.
            let _ = self.0.send(event());
        }
    }

    pub(crate) fn tell_of(&self, object: &Object) {
        self.tell(|| match object {
            Object::Batch(batch) => Event::Batch(batch.object().clone()),
            Object::Heartbeat(beat) => Event::Heartbeat(beat.object().clone()),
            Object::Manifest(manifest) => Event::Snapshot(manifest.object().clone()),
            Object::Snapshot(snapshot) => Event::Snapshot(snapshot.manifest().object().clone()),
        });
    }
}
