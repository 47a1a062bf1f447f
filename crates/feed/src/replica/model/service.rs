//! The service of the model: what it has said so far, and can be made to say again at any time.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use scrip_token::blob::Blob;
use scrip_token::deny::{Batch, Entry, Heartbeat, Manifest, OBJECT_VERSION, True, first_head};
use scrip_token::{Digest, Jti};

use super::super::{Object, Snapshot};
use super::follower::Message;
use crate::issuer::NOW;
use crate::signed::Proven;

pub(super) const ISS: &str = "https://sts.example";

/// What has happened at the service: all that it ever signed follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Service {
    /// Seconds since the start.
    pub(super) time: u64,
    /// Its epochs, oldest first, each with its batches. Only the last one grows.
    pub(super) epochs: Vec<Vec<Revocation>>,
    /// Every place at every second in which it was there: whatever is dated so was signed, or could
    /// have been.
    pub(super) facts: Vec<Fact>,
}

/// One batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Revocation {
    /// A token, at a second.
    Token { n: u8, at: u64 },
    /// Everything up to a second: what an epoch begins with after a loss.
    All { at: u64 },
}

/// At a second the service was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Fact {
    pub(super) epoch: usize,
    pub(super) seq: usize,
    pub(super) at: u64,
}

pub(super) fn epoch(index: usize) -> Jti {
    Jti::new((NOW + index as u64) * 1000, [index as u8; 10])
}

pub(super) fn token(n: u8) -> Jti {
    Jti::new((NOW - super::AGE) * 1000, [n; 10])
}

impl Service {
    pub(super) fn new() -> Self {
        let mut service = Self { time: 0, epochs: vec![Vec::new()], facts: Vec::new() };
        service.note();
        service
    }

    /// The tokens that it has acknowledged as revoked, and when.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = (u8, u64)> {
        self.epochs.iter().flatten().filter_map(|revocation| match *revocation {
            Revocation::Token { n, at } => Some((n, at)),
            Revocation::All { .. } => None,
        })
    }

    pub(super) fn place(&self) -> (usize, usize) {
        let epoch = self.epochs.len() - 1;
        (epoch, self.epochs[epoch].len())
    }

    pub(super) fn revoke(&mut self) {
        let n = self.acknowledged().count() as u8 + 1;
        let (at, (epoch, _)) = (self.time, self.place());
        self.epochs[epoch].push(Revocation::Token { n, at });
        self.note();
    }

    /// Comes back from a backup: its entries are gone, and it knows that.
    pub(super) fn restore(&mut self) {
        self.epochs.push(vec![Revocation::All { at: self.time }]);
        self.note();
    }

    pub(super) fn tick(&mut self) {
        self.time += 1;
        self.note();
    }

    fn note(&mut self) {
        let ((epoch, seq), at) = (self.place(), self.time);
        self.facts.push(Fact { epoch, seq, at });
    }

    fn head(&self, epoch: usize, seq: usize) -> Digest {
        match seq {
            0 => first_head(self::epoch(epoch)),
            _ => self.batch(epoch, seq).digest(),
        }
    }

    fn batch(&self, epoch: usize, seq: usize) -> Proven<Batch> {
        Proven::assumed(Batch {
            ver: OBJECT_VERSION,
            iss: ISS.to_owned(),
            epoch: self::epoch(epoch),
            seq: seq as u64,
            prev: self.head(epoch, seq - 1),
            iat: NOW,
            entries: vec![self.epochs[epoch][seq - 1].entry()],
        })
    }

    /// What it signed, made once for all the orders in which things happen.
    pub(super) fn object(&self, message: Message) -> Object {
        type Made = HashMap<(Message, Vec<Revocation>), Object>;
        static MADE: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);
        let (epoch, seq) = match message {
            Message::Batch { epoch, seq } => (epoch, seq),
            Message::Heartbeat(fact) | Message::Snapshot(fact) => (fact.epoch, fact.seq),
        };
        let about = self.epochs[epoch][..seq].to_vec();
        let mut made = MADE.lock().unwrap();
        let make = || match message {
            Message::Batch { epoch, seq } => Object::Batch(self.batch(epoch, seq)),
            Message::Heartbeat(fact) => self.heartbeat(fact),
            Message::Snapshot(fact) => self.snapshot(fact),
        };
        made.entry((message, about)).or_insert_with(make).clone()
    }

    fn heartbeat(&self, fact: Fact) -> Object {
        Object::Heartbeat(Proven::assumed(Heartbeat {
            ver: OBJECT_VERSION,
            iss: ISS.to_owned(),
            epoch: self::epoch(fact.epoch),
            seq: fact.seq as u64,
            head: self.head(fact.epoch, fact.seq),
            iat: NOW + fact.at,
            every: 1,
            keys: 1,
        }))
    }

    fn snapshot(&self, fact: Fact) -> Object {
        let entries =
            self.epochs[fact.epoch][..fact.seq].iter().map(|revocation| revocation.entry());
        let blob = Blob::from_entries(entries).unwrap();
        let bytes = blob.encode().unwrap();
        let sha256 = Digest::of(&bytes);
        let manifest = Manifest {
            ver: OBJECT_VERSION,
            iss: ISS.to_owned(),
            epoch: self::epoch(fact.epoch),
            seq: fact.seq as u64,
            head: self.head(fact.epoch, fact.seq),
            iat: NOW + fact.at,
            count: blob.count() as u64,
            size: bytes.len() as u64,
            sha256,
            blob: format!("/v1/deny/blobs/{sha256}"),
            keys: 1,
        };
        Object::Snapshot(Snapshot::new(Proven::assumed(manifest), bytes).unwrap())
    }
}

impl Revocation {
    fn entry(self) -> Entry {
        match self {
            Self::Token { n, .. } => Entry::Jti { jti: token(n), until: NOW + 905 },
            Self::All { at } => Entry::All { all: True, before: NOW + at, until: NOW + at + 905 },
        }
    }
}
