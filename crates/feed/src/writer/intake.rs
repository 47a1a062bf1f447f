//! How a proven object gets to the readers: applied, published, stored, acknowledged.

use std::sync::Arc;

use scrip_verify::Issuer;
use tokio::sync::watch;

use crate::acks::Enforced;
use crate::alarm::Alarm;
use crate::clock::Moment;
use crate::compaction::Compaction;
use crate::files::Files;
use crate::follower::Shared;
use crate::keyring::Keyring;
use crate::origin::{Fault, Origin};
use crate::replica::{HeadBatch, Object, Outcome, Replica};
use crate::standing::{Standing, State};
use crate::view::{Published, Source};

/// Bytes of batches on disk above which a newer snapshot replaces them.
const COMPACT_AT: u64 = 8 << 20;

/// Takes objects in.
pub(crate) struct Intake {
    pub(crate) replica: Replica,
    pub(crate) keyring: Keyring,
    pub(crate) files: Files,
    pub(crate) compaction: Compaction,
    pub(crate) shared: Arc<Shared>,
    /// Tells that there is something new to read.
    pub(crate) changed: watch::Sender<()>,
    pub(crate) enforced: watch::Sender<Option<Enforced>>,
    /// What we had when an origin last contradicted it, or offered less.
    pub(crate) disputed: Option<HeadBatch>,
    /// Which origin is followed.
    pub(crate) origin: usize,
    pub(crate) state: State,
}

impl Intake {
    /// Keeps the copy on disk short, and signed by keys that are still believed.
    pub(crate) fn tend(&mut self, origin: &Origin) {
        if self.keyring.has_changed() {
            self.compaction.want();
        }
        self.compaction.tend(origin, self.keyring.held());
    }

    pub(crate) fn standing(&self) -> &Standing {
        self.replica.standing()
    }

    /// Raises the alarm where an origin did not just fail, but answered with something else.
    pub(crate) fn note(&self, fault: &Fault) {
        if matches!(fault, Fault::Protocol(_) | Fault::TooLong(_)) {
            self.shared.alarms.raise(Alarm::Origin, fault);
        }
    }

    /// Applies, publishes, stores, acknowledges. A token is refused without waiting for the disk.
    pub(crate) async fn apply(&mut self, object: Object) -> Outcome {
        let outcome = self.replica.apply(object.clone(), Moment::now());
        self.publish();
        match outcome {
            Outcome::Applied => {
                self.shared.alarms.crier().tell_of(&object);
                self.persist(object).await;
            }
            Outcome::Known | Outcome::Gap | Outcome::Elsewhere | Outcome::Late => {}
            Outcome::Equivocation => {
                self.dispute();
                self.accuse().await;
            }
            Outcome::Backwards if matches!(object, Object::Manifest(_)) => self.refuse_older(),
            Outcome::Backwards => {
                self.shared.alarms.raise(Alarm::Backwards, &"an object of an earlier epoch");
            }
            Outcome::Ahead => {
                self.shared.alarms.raise(Alarm::Ahead, &"a sign of life from the future");
                // A snapshot from the future makes nothing young, but its entries are enforced.
                if matches!(object, Object::Snapshot(_)) {
                    self.persist(object).await;
                }
            }
        }
        self.enforce(self.origin);
        outcome
    }

    /// Raises the alarm for a snapshot of a place that we are past, and remembers the batch that
    /// its origin seems to lack.
    pub(crate) fn refuse_older(&mut self) {
        self.shared.alarms.raise(Alarm::Backwards, &"a snapshot from before what was seen");
        self.dispute();
        self.enforce(self.origin);
    }

    fn dispute(&mut self) {
        self.disputed = self.replica.head_batch().or(self.disputed.take());
    }

    /// Has our place acknowledged to the origin that is followed.
    pub(crate) fn enforce(&mut self, origin: usize) {
        self.origin = origin;
        let standing = self.replica.standing();
        let enforced = standing.position.map(|position| Enforced {
            position,
            as_of: standing.as_of(),
            origin,
            head: self.replica.head_batch(),
            disputed: self.disputed.clone(),
        });
        self.enforced.send_if_modified(|known| {
            let changed = *known != enforced;
            if changed {
                *known = enforced;
            }
            changed
        });
    }

    /// Keeps evidence and raises the alarm, once for each contradiction: a fork goes on giving
    /// signs of life.
    async fn accuse(&mut self) {
        let Some(evidence) = self.replica.evidence().cloned() else { return };
        let known = self.shared.evidence.load();
        if known.as_ref().is_some_and(|known| known.repeats(&evidence)) {
            return;
        }
        self.shared.alarms.raise(Alarm::Equivocation, &evidence);
        self.shared.evidence.store(Some(Arc::new(evidence.clone())));
        self.files.write(move |disk| disk.save_evidence(&evidence)).await;
    }

    async fn persist(&mut self, object: Object) {
        match object {
            Object::Batch(batch) => {
                let (epoch, seq) = (batch.object().epoch, batch.object().seq);
                let logged =
                    self.files.write(move |disk| disk.append(epoch, seq, batch.text())).await;
                if logged.is_none() {
                    self.files.lose(epoch, seq);
                }
                if logged.is_none_or(|bytes| bytes > COMPACT_AT) {
                    self.compaction.want();
                }
            }
            Object::Heartbeat(beat) => {
                self.keyring.expect(beat.object().keys);
                self.files
                    .write(move |disk| disk.save_heartbeat(beat.object().epoch, beat.text()))
                    .await;
            }
            Object::Manifest(manifest) => {
                self.keyring.expect(manifest.object().keys);
                self.files
                    .write(move |disk| disk.save_manifest(manifest.object(), manifest.text()))
                    .await;
            }
            Object::Snapshot(snapshot) => {
                let manifest = snapshot.manifest().object();
                let (epoch, seq) = (manifest.epoch, manifest.seq);
                self.keyring.expect(manifest.keys);
                let saved = self.files.write(move |disk| disk.save_snapshot(&snapshot)).await;
                if saved.is_none() {
                    self.files.lose(epoch, seq);
                }
                if saved != Some(true) {
                    self.compaction.want();
                }
            }
        }
    }

    fn publish(&mut self) {
        let standing = *self.replica.standing();
        self.shared.reader.update(|published| Published {
            issuer: Issuer::new(
                published.issuer.iss(),
                published.issuer.keys().clone(),
                self.replica.deny().clone(),
            ),
            source: Source::Feed(standing),
        });
        self.changed.send_replace(());

        let state = self.shared.reader.view().state().unwrap_or(self.state);
        if state != self.state {
            tracing::info!(from = ?self.state, to = ?state, "deny list");
            self.state = state;
        }
    }
}
