//! The writer half: connects, takes objects in, fills gaps, and starts again when it has to.

use std::sync::Arc;
use std::time::Duration;

use scrip_token::deny::{Batch, Heartbeat, Manifest};
use scrip_verify::Issuer;
use tokio::sync::watch;
use tokio::time::{sleep, timeout_at};

use crate::alarm::Alarm;
use crate::clock::Moment;
use crate::compaction::Compaction;
use crate::files::Files;
use crate::follower::Shared;
use crate::keeper::Held;
use crate::origin::{Fault, Origin, Range};
use crate::random::jitter;
use crate::refetch::Bell;
use crate::replica::{Object, Outcome, Replica, Snapshot};
use crate::signed::{Object as Signed, Proven, Unproven};
use crate::standing::State;
use crate::view::{Published, Source};

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// Ranges and snapshots that one attempt to catch up may take.
const MAX_RANGES: usize = 64;
const MAX_SNAPSHOTS: usize = 2;
/// Polls of an origin whose stream is not to be had, before the stream is tried again.
const POLLS: usize = 12;
/// Bytes of batches on disk above which a newer snapshot replaces them.
const COMPACT_AT: u64 = 8 << 20;

/// Follows one issuer's feed. The only one that changes what readers see.
pub(crate) struct Writer {
    pub(crate) origins: Vec<Origin>,
    pub(crate) replica: Replica,
    pub(crate) keys: watch::Receiver<Option<Arc<Held>>>,
    pub(crate) bell: Bell,
    pub(crate) files: Files,
    pub(crate) shared: Arc<Shared>,
    /// Tells that there is something new to read.
    pub(crate) changed: watch::Sender<()>,
    pub(crate) compaction: Compaction,
    pub(crate) state: State,
}

/// What one range of batches led to.
enum Progress {
    Done,
    More,
    Stuck,
}

impl Writer {
    /// Follows for ever.
    pub(crate) async fn follow(mut self) {
        let (mut turn, mut failures) = (0, 0);
        loop {
            // Nothing can be believed before there are keys.
            if self.keys.wait_for(Option::is_some).await.is_err() {
                return;
            }
            let before = self.replica.standing().as_of();
            let Some(origin) = self.origins.get(turn % self.origins.len()).cloned() else { return };
            let result = self.session(&origin).await;

            let younger = self.replica.standing().as_of() > before;
            failures = if younger { 0 } else { failures + 1 };
            if let Err(fault) = &result {
                tracing::info!(origin = %origin.base, %fault, "feed interrupted");
            }
            if result.is_err() || !younger {
                turn += 1;
            }
            sleep(jitter(FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY))).await;
        }
    }

    /// One connection; `Ok` where the origin ended it in good order.
    async fn session(&mut self, origin: &Origin) -> Result<(), Fault> {
        self.catch_up(origin).await?;
        match self.listen(origin).await {
            // Nothing wrong with the way there: something on it may be holding the stream back.
            Err(Fault::Silent | Fault::Status(_) | Fault::Protocol(_)) => self.poll(origin).await,
            result => result,
        }
    }

    async fn listen(&mut self, origin: &Origin) -> Result<(), Fault> {
        let Some(at) = self.replica.standing().position else { return Err(Fault::Unfilled) };
        let mut stream = origin.stream(at.epoch, at.seq).await?;
        let opened = Moment::now().monotonic;
        loop {
            // Only a sign of life that counts moves the deadline; bytes do not.
            let standing = self.replica.standing();
            let silence = Duration::from_secs(standing.silence_limit());
            let deadline = standing.heard().max(opened) + silence;
            tokio::select! {
                event = timeout_at(deadline, stream.next()) => {
                    let event = event.map_err(|_| Fault::Silent)?;
                    let event = event.inspect_err(|fault| self.note(fault))?;
                    let Some(event) = event else { return Ok(()) };
                    match event.kind.as_str() {
                        "batch" => self.take::<Batch>(origin, &event.data, Object::Batch).await?,
                        "heartbeat" => {
                            self.take::<Heartbeat>(origin, &event.data, Object::Heartbeat).await?;
                        }
                        "reset" => return Ok(()),
                        _ => {}
                    }
                }
                changed = self.keys.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    // What is on disk may be signed by a key that is no longer believed.
                    self.compaction.want();
                }
            }
            let held = self.keys.borrow().clone();
            self.compaction.tend(origin, held);
        }
    }

    async fn poll(&mut self, origin: &Origin) -> Result<(), Fault> {
        for _ in 0..POLLS {
            let standing = self.replica.standing();
            if standing.silence(Moment::now()) > 2 * standing.silence_limit() {
                return Err(Fault::Silent);
            }
            let every = Duration::from_secs(standing.every);
            match self.range(origin, Some(every)).await? {
                Progress::Done | Progress::More => sleep(jitter(every)).await,
                Progress::Stuck => self.catch_up(origin).await?,
            }
        }
        Ok(())
    }

    /// Takes in one event of the stream. One that is not believed is dropped; whatever it hid
    /// leaves a gap.
    async fn take<T: Signed>(
        &mut self,
        origin: &Origin,
        jws: &str,
        object: fn(Proven<T>) -> Object,
    ) -> Result<(), Fault> {
        let Ok(proven) = self.prove(jws).await else { return Ok(()) };
        match self.apply(object(proven)).await {
            Outcome::Applied | Outcome::Known | Outcome::Backwards | Outcome::Ahead => Ok(()),
            Outcome::Gap | Outcome::Elsewhere | Outcome::Equivocation => {
                self.catch_up(origin).await
            }
        }
    }

    /// Fetches ranges until nothing is missing, and a snapshot where they do not continue what we
    /// have.
    async fn catch_up(&mut self, origin: &Origin) -> Result<(), Fault> {
        let mut snapshots = 0;
        for _ in 0..MAX_RANGES {
            match self.range(origin, None).await? {
                Progress::Done => return Ok(()),
                Progress::More => {}
                Progress::Stuck if snapshots < MAX_SNAPSHOTS => {
                    snapshots += 1;
                    self.snapshot(origin).await?;
                }
                Progress::Stuck => return Err(Fault::Unfilled),
            }
        }
        Err(Fault::Unfilled)
    }

    async fn range(&mut self, origin: &Origin, wait: Option<Duration>) -> Result<Progress, Fault> {
        let Some(from) = self.replica.standing().position else { return Ok(Progress::Stuck) };
        let range = match origin.batches(from.epoch, from.seq, wait).await {
            Err(Fault::Gone) => return Ok(Progress::Stuck),
            range => range.inspect_err(|fault| self.note(fault))?,
        };
        let Range { batches, heartbeat, more } = range;
        for jws in batches {
            let batch = self.prove(&jws).await?;
            match self.apply(Object::Batch(batch)).await {
                Outcome::Applied | Outcome::Known => {}
                _ => return Ok(Progress::Stuck),
            }
        }
        let advanced = self.replica.standing().position != Some(from);
        if more {
            return Ok(if advanced { Progress::More } else { Progress::Stuck });
        }
        let Some(jws) = heartbeat else { return Ok(Progress::Done) };
        let heartbeat = self.prove(&jws).await?;
        Ok(match self.apply(Object::Heartbeat(heartbeat)).await {
            Outcome::Applied | Outcome::Known | Outcome::Ahead => Progress::Done,
            Outcome::Gap if advanced => Progress::More,
            _ => Progress::Stuck,
        })
    }

    async fn snapshot(&mut self, origin: &Origin) -> Result<(), Fault> {
        let manifest = origin.manifest().await.inspect_err(|fault| self.note(fault))?;
        let manifest = self.prove(&manifest).await?;
        if !self.replica.wants(manifest.object()) {
            self.shared.alarms.raise(Alarm::Backwards, &"a snapshot from before what was seen");
            return Err(Fault::Unfilled);
        }
        let fetched = fetch_blob(origin, manifest).await;
        let (snapshot, blob) = fetched.inspect_err(|fault| self.note(fault))?;
        match self.apply(Object::Snapshot(snapshot.clone())).await {
            Outcome::Applied | Outcome::Ahead => {
                self.files.write(move |disk| disk.save_snapshot(&snapshot, &blob)).await;
                Ok(())
            }
            _ => Err(Fault::Unfilled),
        }
    }

    /// Raises the alarm where an origin did not just fail, but answered with something else.
    fn note(&self, fault: &Fault) {
        if matches!(fault, Fault::Protocol(_) | Fault::TooLong(_)) {
            self.shared.alarms.raise(Alarm::Origin, fault);
        }
    }

    async fn prove<T: Signed>(&mut self, jws: &str) -> Result<Proven<T>, Fault> {
        let prove = |held: Option<Arc<Held>>| match held {
            Some(held) => held.feed.prove(jws),
            None => Err(Unproven::UnknownKey),
        };
        let mut result = prove(self.keys.borrow().clone());
        if matches!(result, Err(Unproven::UnknownKey)) {
            self.bell.unknown_key().await;
            result = prove(self.keys.borrow().clone());
        }
        result.map_err(|error| {
            let alarm = match error {
                Unproven::Payload(_) => Alarm::NotUnderstood,
                _ => Alarm::Unproven,
            };
            self.shared.alarms.raise(alarm, &error);
            Fault::protocol(error)
        })
    }

    /// Applies, publishes, stores: a token is refused before the disk has turned.
    async fn apply(&mut self, object: Object) -> Outcome {
        let outcome = self.replica.apply(object.clone(), Moment::now());
        self.publish();
        match outcome {
            Outcome::Applied => self.persist(object).await,
            Outcome::Known | Outcome::Gap | Outcome::Elsewhere => {}
            Outcome::Equivocation => {
                let Some(evidence) = self.replica.evidence().cloned() else { return outcome };
                self.shared.alarms.raise(Alarm::Equivocation, &evidence);
                self.shared.evidence.store(Some(Arc::new(evidence.clone())));
                self.files.write(move |disk| disk.save_evidence(&evidence)).await;
            }
            Outcome::Backwards => {
                self.shared.alarms.raise(Alarm::Backwards, &"an object of an earlier epoch");
            }
            Outcome::Ahead => {
                self.shared.alarms.raise(Alarm::Ahead, &"a sign of life from the future");
            }
        }
        outcome
    }

    async fn persist(&mut self, object: Object) {
        match object {
            Object::Batch(batch) => {
                let (epoch, seq) = (batch.object().epoch, batch.object().seq);
                let logged =
                    self.files.write(move |disk| disk.append(epoch, seq, batch.text())).await;
                if logged.is_some_and(|bytes| bytes > COMPACT_AT) {
                    self.compaction.want();
                }
            }
            Object::Heartbeat(beat) => {
                let held = self.keys.borrow().as_ref().map(|held| held.version);
                if held.is_none_or(|held| held < beat.object().keys) {
                    self.bell.newer();
                }
                self.files
                    .write(move |disk| disk.save_heartbeat(beat.object().epoch, beat.text()))
                    .await;
            }
            Object::Snapshot(_) => {}
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

/// The snapshot that a manifest promises, with the blob's bytes.
pub(crate) async fn fetch_blob(
    origin: &Origin,
    manifest: Proven<Manifest>,
) -> Result<(Snapshot, Vec<u8>), Fault> {
    let promised = manifest.object();
    let blob = origin.blob(promised.sha256, promised.size).await?;
    let snapshot = Snapshot::new(manifest, &blob).map_err(Fault::protocol)?;
    Ok((snapshot, blob))
}
