//! The keys that are believed now, and how others are asked for.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;

use crate::alarm::{Alarm, Alarms};
use crate::keeper::Held;
use crate::refetch::Bell;
use crate::signed::{Object, Proven, Unproven};

/// What the newest keys document says, as whoever fetches it publishes it.
#[derive(Debug)]
pub(crate) struct Keyring {
    held: watch::Receiver<Option<Arc<Held>>>,
    bell: Bell,
    alarms: Arc<Alarms>,
}

impl Keyring {
    pub(crate) fn new(
        held: watch::Receiver<Option<Arc<Held>>>,
        bell: Bell,
        alarms: Arc<Alarms>,
    ) -> Self {
        Self { held, bell, alarms }
    }

    /// Waits for the first keys. An error means that there will be none.
    pub(crate) async fn filled(&mut self) -> Result<(), RecvError> {
        self.held.wait_for(Option::is_some).await.map(drop)
    }

    /// Waits for other keys. An error means that there will be none.
    pub(crate) async fn changed(&mut self) -> Result<(), RecvError> {
        self.held.changed().await
    }

    /// Whether there are other keys since this or [`Keyring::changed`] said so last.
    pub(crate) fn has_changed(&mut self) -> bool {
        let changed = self.held.has_changed().unwrap_or(false);
        self.held.mark_unchanged();
        changed
    }

    pub(crate) fn held(&self) -> Option<Arc<Held>> {
        self.held.borrow().clone()
    }

    /// Asks for newer keys where `version` is newer than ours.
    pub(crate) fn expect(&self, version: u64) {
        if self.held().is_none_or(|held| held.version < version) {
            self.bell.newer();
        }
    }

    /// Proves that a text is what it claims to be. Where its key is not known, keys are fetched
    /// first.
    pub(crate) async fn prove<T: Object>(&self, jws: &str) -> Result<Proven<T>, Unproven> {
        let prove = || match self.held() {
            Some(held) => held.feed.prove(jws),
            None => Err(Unproven::UnknownKey),
        };
        let mut result = prove();
        if matches!(result, Err(Unproven::UnknownKey)) {
            self.bell.unknown_key().await;
            result = prove();
        }
        result.inspect_err(|error| {
            let alarm = match error {
                Unproven::Payload(_) => Alarm::NotUnderstood,
                _ => Alarm::Unproven,
            };
            self.alarms.raise(alarm, error);
        })
    }
}
