//! Our copy of the deny list, and the only rules by which it changes. No I/O, no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use scrip_token::blob::{Blob, BlobError};
use scrip_token::deny::{Batch, Entry, Heartbeat, Manifest, first_head};
use scrip_token::limits::LEEWAY;
use scrip_token::{Digest, Jti};
use scrip_verify::DenySet;

use crate::clock::Moment;
use crate::signed::Proven;
use crate::standing::{Position, Standing};

/// Batches whose texts are remembered, so that a second payload for a number is noticed.
const REMEMBERED: usize = 256;
/// Bytes of remembered texts.
const REMEMBERED_BYTES: usize = 4 << 20;
/// Seconds of verified time between two prunings.
const PRUNE_EVERY: u64 = 60;

/// Our copy of one issuer's deny list.
#[derive(Debug)]
pub(crate) struct Replica {
    standing: Standing,
    deny: DenySet,
    recent: VecDeque<Remembered>,
    recent_bytes: usize,
    /// The furthest we have ever been, across restarts. Nothing before it is believed.
    highest: Option<(Jti, u64)>,
    evidence: Option<Evidence>,
    pruned_at: u64,
}

#[derive(Debug)]
struct Remembered {
    seq: u64,
    digest: Digest,
    text: Arc<str>,
}

/// Something that was proven to come from the issuer.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    Batch(Proven<Batch>),
    Heartbeat(Proven<Heartbeat>),
    Snapshot(Snapshot),
}

/// A manifest with the blob that it promises.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    manifest: Proven<Manifest>,
    blob: Arc<Blob>,
}

/// Why bytes are not the blob of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("the blob is not the one that the manifest promises")]
    Other,
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl Snapshot {
    pub(crate) fn manifest(&self) -> &Proven<Manifest> {
        &self.manifest
    }

    pub(crate) fn new(manifest: Proven<Manifest>, blob: &[u8]) -> Result<Self, SnapshotError> {
        let promised = manifest.object();
        if promised.size != blob.len() as u64 || promised.sha256 != Digest::of(blob) {
            return Err(SnapshotError::Other);
        }
        let blob = Blob::decode(blob)?;
        if promised.count != blob.count() as u64 {
            return Err(SnapshotError::Other);
        }
        Ok(Self { manifest, blob: Arc::new(blob) })
    }
}

/// What an object did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The copy, or what is known of its age, is another now.
    Applied,
    /// Nothing new.
    Known,
    /// Batches are missing before it: fetch them.
    Gap,
    /// It does not continue what we have: fetch a snapshot.
    Elsewhere,
    /// Another payload than ours for the same number. Evidence is kept; a snapshot may help.
    Equivocation,
    /// From before what was seen already.
    Backwards,
    /// A sign of life from the future.
    Ahead,
}

/// Two signed statements that cannot both be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Number of the batch in question.
    pub seq: u64,
    /// The batch that we applied, where it is still remembered.
    pub ours: Option<Arc<str>>,
    /// What contradicts it: a batch, a heartbeat or a manifest.
    pub theirs: Arc<str>,
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "two payloads for batch {}", self.seq)
    }
}

impl Replica {
    /// An empty copy: everything is denied until a snapshot is applied.
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            standing: Standing::new(now),
            deny: DenySet::default(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            highest: None,
            evidence: None,
            pruned_at: 0,
        }
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(crate) fn deny(&self) -> &DenySet {
        &self.deny
    }

    pub(crate) fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    pub(crate) fn highest(&self) -> Option<(Jti, u64)> {
        self.highest
    }

    /// Whether a snapshot of this manifest would be taken in.
    pub(crate) fn wants(&self, manifest: &Manifest) -> bool {
        self.highest.is_none_or(|highest| (manifest.epoch, manifest.seq) >= highest)
    }

    /// Ends a replay of what was on disk. `highest` is how far we once were: where the replay does
    /// not reach it, the place in the feed is given up and only the entries are kept.
    pub(crate) fn resume(&mut self, highest: Option<(Jti, u64)>, whole: bool) {
        self.standing.behind = true;
        if !whole || self.highest < highest {
            self.standing.position = None;
            self.forget();
        }
        self.highest = self.highest.max(highest);
    }

    /// Takes an object in, or says why not.
    pub(crate) fn apply(&mut self, object: Object, now: Moment) -> Outcome {
        let outcome = match object {
            Object::Batch(batch) => self.batch(&batch),
            Object::Heartbeat(heartbeat) => self.heartbeat(&heartbeat, now),
            Object::Snapshot(snapshot) => self.snapshot(&snapshot, now),
        };
        if matches!(outcome, Outcome::Gap | Outcome::Elsewhere | Outcome::Equivocation) {
            self.standing.behind = true;
        }
        outcome
    }

    fn batch(&mut self, proven: &Proven<Batch>) -> Outcome {
        let batch = proven.object();
        let Some(at) = self.standing.position else { return Outcome::Elsewhere };
        if batch.epoch != at.epoch {
            return if batch.epoch < at.epoch { Outcome::Backwards } else { Outcome::Elsewhere };
        }
        if batch.seq <= at.seq {
            return self.recall(batch.seq, proven.digest(), proven.text());
        }
        if batch.seq > at.seq + 1 {
            return Outcome::Gap;
        }
        if batch.prev != at.head {
            return self.accuse(at.seq, proven.text());
        }

        self.deny = self.deny.with(&batch.entries);
        self.reach(Position { epoch: at.epoch, seq: batch.seq, head: proven.digest() });
        self.remember(proven);
        Outcome::Applied
    }

    fn heartbeat(&mut self, proven: &Proven<Heartbeat>, now: Moment) -> Outcome {
        let beat = proven.object();
        if beat.iat > self.standing.now(now) + LEEWAY {
            return Outcome::Ahead;
        }
        self.standing.witness(beat.iat, now);
        self.prune();
        let Some(at) = self.standing.position else { return Outcome::Elsewhere };
        if beat.epoch != at.epoch {
            return if beat.epoch < at.epoch { Outcome::Backwards } else { Outcome::Elsewhere };
        }
        if beat.seq > at.seq {
            return Outcome::Gap;
        }
        if beat.seq < at.seq || beat.head != at.head {
            return self.recall(beat.seq, beat.head, proven.text());
        }

        self.standing.every = beat.every;
        if self.standing.refresh(beat.iat, now) { Outcome::Applied } else { Outcome::Known }
    }

    fn snapshot(&mut self, snapshot: &Snapshot, now: Moment) -> Outcome {
        let Snapshot { manifest: proven, blob } = snapshot;
        let manifest = proven.object();
        if !self.wants(manifest) {
            return Outcome::Backwards;
        }
        let same = |at: Position| at.epoch == manifest.epoch && at.seq == manifest.seq;
        if let Some(at) = self.standing.position
            && same(at)
            && at.head != manifest.head
        {
            return self.accuse(at.seq, proven.text());
        }

        if !self.standing.position.is_some_and(same) {
            if self.standing.position.is_none_or(|at| at.epoch != manifest.epoch) {
                self.forget();
            }
            // Added to what we have, never in its place: an epoch that begins after a failure may
            // know less than we do.
            self.deny = if self.deny.is_empty() {
                DenySet::from_blob(blob)
            } else {
                let jtis = blob.jtis.iter();
                let jtis = jtis.map(|&(jti, until)| Entry::Jti { jti, until: until.into() });
                self.deny.with(&jtis.chain(blob.rules.iter().cloned()).collect::<Vec<_>>())
            };
            self.reach(Position { epoch: manifest.epoch, seq: manifest.seq, head: manifest.head });
        }
        if manifest.iat > self.standing.now(now) + LEEWAY {
            return Outcome::Ahead;
        }
        self.standing.witness(manifest.iat, now);
        self.standing.refresh(manifest.iat, now);
        // It may be older than our request for it: only a heartbeat says that nothing is missing.
        self.standing.behind = true;
        self.prune();
        Outcome::Applied
    }

    fn reach(&mut self, position: Position) {
        self.standing.position = Some(position);
        self.highest = self.highest.max(Some((position.epoch, position.seq)));
    }

    fn remember(&mut self, proven: &Proven<Batch>) {
        let (seq, digest, text) = (proven.object().seq, proven.digest(), proven.text().clone());
        self.recent_bytes += text.len();
        self.recent.push_back(Remembered { seq, digest, text });
        while self.recent.len() > REMEMBERED || self.recent_bytes > REMEMBERED_BYTES {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.text.len();
        }
    }

    fn forget(&mut self) {
        self.recent.clear();
        self.recent_bytes = 0;
    }

    /// Judges a statement about a batch that we are past.
    fn recall(&mut self, seq: u64, digest: Digest, text: &Arc<str>) -> Outcome {
        let Some(at) = self.standing.position else { return Outcome::Elsewhere };
        let ours = match seq {
            0 => Some(first_head(at.epoch)),
            _ if seq == at.seq => Some(at.head),
            _ => self.recent.iter().find(|known| known.seq == seq).map(|known| known.digest),
        };
        match ours {
            Some(ours) if ours != digest => self.accuse(seq, text),
            _ => Outcome::Known,
        }
    }

    fn accuse(&mut self, seq: u64, theirs: &Arc<str>) -> Outcome {
        let ours = self.recent.iter().find(|known| known.seq == seq);
        let ours = ours.map(|known| known.text.clone());
        self.evidence = Some(Evidence { seq, ours, theirs: theirs.clone() });
        Outcome::Equivocation
    }

    fn prune(&mut self) {
        let verified = self.standing.verified_time();
        if verified >= self.pruned_at + PRUNE_EVERY {
            self.deny = self.deny.pruned(verified);
            self.pruned_at = verified;
        }
    }
}

#[cfg(test)]
mod tests;
