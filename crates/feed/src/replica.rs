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
#[derive(Debug, Clone)]
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

#[derive(Debug, Clone)]
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
    Manifest(Proven<Manifest>),
    Snapshot(Snapshot),
}

/// A manifest with the blob that it promises.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    manifest: Proven<Manifest>,
    blob: Arc<Blob>,
    bytes: Arc<Vec<u8>>,
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

    /// The blob as it came.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn new(manifest: Proven<Manifest>, bytes: Vec<u8>) -> Result<Self, SnapshotError> {
        let promised = manifest.object();
        if promised.size != bytes.len() as u64 || promised.sha256 != Digest::of(&bytes) {
            return Err(SnapshotError::Other);
        }
        let blob = Blob::decode(&bytes)?;
        if promised.count != blob.count() as u64 {
            return Err(SnapshotError::Other);
        }
        Ok(Self { manifest, blob: Arc::new(blob), bytes: Arc::new(bytes) })
    }
}

/// What an object did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It changed the copy, or what is known of its age.
    Applied,
    /// Nothing new.
    Known,
    /// Batches are missing before it: fetch them.
    Gap,
    /// It does not continue what we have: fetch a snapshot, or the blob of this manifest.
    Elsewhere,
    /// A manifest of a place that we are past: it says nothing of the present.
    Late,
    /// Another payload than ours for the same number. Evidence is kept; a snapshot may help.
    Equivocation,
    /// From before what was seen already.
    Backwards,
    /// A sign of life from the future.
    Ahead,
}

/// The batch that a copy has got to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HeadBatch {
    pub(crate) epoch: Jti,
    pub(crate) seq: u64,
    pub(crate) text: Arc<str>,
}

impl HeadBatch {
    pub(crate) fn place(&self) -> (Jti, u64) {
        (self.epoch, self.seq)
    }
}

/// Two signed statements that cannot both be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The epoch of both.
    pub epoch: Jti,
    /// Number of the batch in question.
    pub seq: u64,
    /// What they say is its digest.
    pub claimed: Digest,
    /// The batch that we applied, where it is still remembered.
    pub ours: Option<Arc<str>>,
    /// What contradicts it: a batch, a heartbeat or a manifest.
    pub theirs: Arc<str>,
}

impl Evidence {
    /// Whether it shows nothing new after `other`, being one more sign of life of the same fork.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        (self.epoch, self.seq, self.claimed) == (other.epoch, other.seq, other.claimed)
    }
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

    /// The batch that was applied last, where it is remembered: after a snapshot it is not.
    pub(crate) fn head_batch(&self) -> Option<HeadBatch> {
        let at = self.standing.position?;
        let last =
            self.recent.back().filter(|last| last.seq == at.seq && last.digest == at.head)?;
        Some(HeadBatch { epoch: at.epoch, seq: at.seq, text: last.text.clone() })
    }

    pub(crate) fn highest(&self) -> Option<(Jti, u64)> {
        self.highest
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
            Object::Manifest(manifest) => self.manifest(&manifest, now),
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
            return self.accuse(at.seq, batch.prev, proven.text());
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
        self.alive(beat.iat, now)
    }

    /// A manifest is a sign of life where it names what is applied, with or without its blob.
    fn manifest(&mut self, proven: &Proven<Manifest>, now: Moment) -> Outcome {
        let manifest = proven.object();
        if let Some(at) = self.standing.position
            && at.epoch == manifest.epoch
            && at.seq >= manifest.seq
        {
            if at.seq == manifest.seq && at.head == manifest.head {
                return self.alive(manifest.iat, now);
            }
            let known = self.recall(manifest.seq, manifest.head, proven.text());
            return if known == Outcome::Known { Outcome::Late } else { known };
        }
        let place = (manifest.epoch, manifest.seq);
        if self.highest.is_some_and(|highest| place < highest) {
            Outcome::Backwards
        } else {
            Outcome::Elsewhere
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot, now: Moment) -> Outcome {
        let Snapshot { manifest: proven, blob, .. } = snapshot;
        let outcome = self.manifest(proven, now);
        if outcome != Outcome::Elsewhere {
            return outcome;
        }
        let manifest = proven.object();
        if self.standing.position.is_none_or(|at| at.epoch != manifest.epoch) {
            self.forget();
        }
        // A new epoch's entries are added to ours and never replace them: it begins after a
        // failure, and may know less than we do.
        self.deny = if self.deny.is_empty() {
            DenySet::from_blob(blob)
        } else {
            let jtis = blob.jtis.iter();
            let jtis = jtis.map(|&(jti, until)| Entry::Jti { jti, until: until.into() });
            self.deny.with(&jtis.chain(blob.rules.iter().cloned()).collect::<Vec<_>>())
        };
        self.reach(Position { epoch: manifest.epoch, seq: manifest.seq, head: manifest.head });
        let alive = self.alive(manifest.iat, now);
        // The snapshot may be older than our request for it: a later heartbeat says whether
        // anything is missing.
        self.standing.behind = true;
        match alive {
            Outcome::Known => Outcome::Applied,
            outcome => outcome,
        }
    }

    /// Takes note of a sign of life that names what is applied.
    fn alive(&mut self, iat: u64, now: Moment) -> Outcome {
        if iat > self.standing.now(now) + LEEWAY {
            return Outcome::Ahead;
        }
        self.standing.witness(iat, now);
        self.prune();
        if self.standing.refresh(iat, now) { Outcome::Applied } else { Outcome::Known }
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
            Some(ours) if ours != digest => self.accuse(seq, digest, text),
            _ => Outcome::Known,
        }
    }

    fn accuse(&mut self, seq: u64, claimed: Digest, theirs: &Arc<str>) -> Outcome {
        let Some(at) = self.standing.position else { return Outcome::Elsewhere };
        let ours = self.recent.iter().find(|known| known.seq == seq);
        let ours = ours.map(|known| known.text.clone());
        let theirs = theirs.clone();
        self.evidence = Some(Evidence { epoch: at.epoch, seq, claimed, ours, theirs });
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
mod model;
#[cfg(test)]
mod tests;
