//! The follower of the model: the real rules, and a disk as `disk.rs` keeps it.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::super::{Object, Outcome, Replica};
use super::service::{Fact, Service};
use crate::clock::Moment;

/// The rules by which an object is taken in: [`Replica::apply`], or broken ones, which the model
/// has to find out.
pub(super) type Rules = fn(&mut Replica, Object, Moment) -> Outcome;

#[derive(Debug, Clone)]
pub(super) struct Follower {
    pub(super) replica: Replica,
    disk: Disk,
}

/// What survives a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Disk {
    epochs: BTreeMap<usize, Stored>,
    highest: Option<(usize, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stored {
    manifest: Fact,
    batches: Vec<usize>,
    heartbeat: Option<Fact>,
}

/// Something that the network may deliver, whenever and as often as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Message {
    Batch { epoch: usize, seq: usize },
    Heartbeat(Fact),
    Snapshot(Fact),
}

impl Follower {
    pub(super) fn new(now: Moment) -> Self {
        Self { replica: Replica::new(now), disk: Disk::default() }
    }

    /// Takes a message in and stores it. A crash in between is a crash before it came: nothing was
    /// acknowledged yet.
    pub(super) fn take(
        &mut self,
        message: Message,
        service: &Service,
        rules: Rules,
        now: Moment,
    ) -> Outcome {
        let outcome = rules(&mut self.replica, service.object(message), now);
        let is_snapshot = matches!(message, Message::Snapshot(_));
        if outcome == Outcome::Applied || (outcome == Outcome::Ahead && is_snapshot) {
            self.disk.store(message);
        }
        outcome
    }

    /// Loses its memory, and reads its disk as `Disk::restore` does.
    pub(super) fn crash(&mut self, service: &Service, rules: Rules, now: Moment) {
        let mut replica = Replica::new(now);
        for (epoch, stored) in &self.disk.epochs {
            let batches =
                stored.batches.iter().map(|seq| Message::Batch { epoch: *epoch, seq: *seq });
            for message in std::iter::once(Message::Snapshot(stored.manifest)).chain(batches) {
                rules(&mut replica, service.object(message), now);
                if let Some(beat) = stored.heartbeat {
                    rules(&mut replica, service.object(Message::Heartbeat(beat)), now);
                }
            }
        }
        let highest = self.disk.highest;
        let highest = highest.map(|(epoch, seq)| (super::service::epoch(epoch), seq as u64));
        replica.resume(highest, true);
        self.replica = replica;
    }

    /// The furthest place that was stored, and so may have been acknowledged.
    pub(super) fn stored(&self) -> Option<(usize, usize)> {
        self.disk.highest
    }

    /// What the network does once it works again, in the order in which a writer asks for it.
    pub(super) fn catch_up(&mut self, service: &Service, now: Moment) {
        let (epoch, seq) = service.place();
        let newest = Fact { epoch, seq, at: service.time };
        let mut deliver = |message| self.take(message, service, Replica::apply, now);
        for _ in 0..2 {
            for seq in 1..=seq {
                deliver(Message::Batch { epoch, seq });
            }
            let outcome = deliver(Message::Heartbeat(newest));
            if matches!(outcome, Outcome::Applied | Outcome::Known) {
                return;
            }
            deliver(Message::Snapshot(newest));
        }
    }

    fn key(&self) -> impl Hash + PartialEq + use<> {
        let (replica, start) = (&self.replica, super::start());
        let standing = replica.standing();
        let at = standing.position.map(|at| (at.epoch, at.seq, at.head));
        let remembered: Vec<_> = replica.recent.iter().map(|known| known.digest).collect();
        let elapsed = standing.heard().duration_since(start.monotonic);
        let at_start = Moment { wall: 0, ..start };
        let times = (standing.as_of(), elapsed, standing.now(at_start), standing.age(at_start));
        // It has the first batches of each epoch, so their number and the place tell which.
        let denied = replica.deny.len();
        (at, standing.behind, times, remembered, denied, replica.highest, self.disk.clone())
    }
}

impl PartialEq for Follower {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Hash for Follower {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Disk {
    fn store(&mut self, message: Message) {
        let reached = match message {
            Message::Batch { epoch, seq } => {
                self.epochs.get_mut(&epoch).unwrap().batches.push(seq);
                (epoch, seq)
            }
            Message::Heartbeat(fact) => {
                self.epochs.get_mut(&fact.epoch).unwrap().heartbeat = Some(fact);
                return;
            }
            Message::Snapshot(fact) => {
                let fresh = Stored { manifest: fact, batches: Vec::new(), heartbeat: None };
                let stored = self.epochs.entry(fact.epoch).or_insert(fresh);
                stored.manifest = fact;
                stored.batches.retain(|seq| *seq > fact.seq);
                (fact.epoch, fact.seq)
            }
        };
        self.highest = self.highest.max(Some(reached));
    }
}
