//! The writer half: connects, fills gaps, and starts again when it has to.
//!
//! An origin that answers 404 for batches and stream is a copy in files. Its manifest is polled,
//! and its date counts as a heartbeat's does; a manifest that is late is no alarm. An origin that
//! calls our place unknown (410) and then offers less than we have is one. After some looks at a
//! copy the origins are tried again from the first.

mod intake;

use std::time::Duration;

use scrip_token::deny::{Batch, Heartbeat, Manifest};
use tokio::time::{sleep, timeout_at};

pub(crate) use self::intake::Intake;
use crate::clock::Moment;
use crate::origin::{Fault, Origin, Range};
use crate::random::jitter;
use crate::replica::{Object, Outcome, Snapshot};
use crate::signed::{Object as Signed, Proven, Unproven};

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// Most ranges and snapshots in one attempt to catch up.
const MAX_RANGES: usize = 64;
const MAX_SNAPSHOTS: usize = 2;
/// Polls of an origin whose stream cannot be had before the stream is tried again.
const POLLS: usize = 12;

/// Follows one issuer's feed. The only one that changes what readers see.
pub(crate) struct Writer {
    pub(crate) origins: Vec<Origin>,
    pub(crate) intake: Intake,
}

/// Looks at a copy in files before the origins are tried again from the first.
const REREADS: usize = 4;

/// How an origin serves the feed.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// By stream or in ranges: batches arrive as they are made.
    Live,
    /// By files, a manifest and its blob: as late as the copying and our polling make it.
    Copy,
}

/// What one range of batches led to.
enum Progress {
    Done,
    More,
    /// The heartbeat counts batches that the range did not have; they may have come in between.
    Short,
    /// It does not continue what we have.
    Stuck,
    /// The origin does not know where we are.
    Lost,
}

impl Writer {
    /// Follows for ever.
    pub(crate) async fn follow(mut self) {
        let (mut turn, mut failures) = (0, 0);
        loop {
            // Nothing can be believed before there are keys.
            if self.intake.keyring.filled().await.is_err() {
                return;
            }
            let before = self.intake.standing().as_of();
            let Some(origin) = self.origins.get(turn).cloned() else { return };
            self.intake.enforce(turn);
            let result = self.session(&origin).await;

            let younger = self.intake.standing().as_of() > before;
            failures = if younger { 0 } else { failures + 1 };
            turn = match result {
                Ok(Way::Live) if younger => turn,
                // An origin before the copy may be back, and would be quicker.
                Ok(Way::Copy) if younger => 0,
                Ok(_) => turn + 1,
                Err(fault) => {
                    tracing::info!(origin = %origin.base, %fault, "feed interrupted");
                    turn + 1
                }
            } % self.origins.len();
            sleep(jitter(FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY))).await;
        }
    }

    /// One connection; `Ok` where the origin ended it in good order.
    async fn session(&mut self, origin: &Origin) -> Result<Way, Fault> {
        match self.catch_up(origin).await {
            Err(Fault::Absent) => return self.reread(origin).await,
            result => result?,
        }
        match self.listen(origin).await {
            // The origin can be reached, but something on the way may hold streams back: it is
            // polled.
            Err(Fault::Silent | Fault::Absent | Fault::Status(_) | Fault::Protocol(_)) => {
                self.poll(origin).await
            }
            result => result,
        }
    }

    async fn listen(&mut self, origin: &Origin) -> Result<Way, Fault> {
        let Some(at) = self.intake.standing().position else { return Err(Fault::Unfilled) };
        let mut stream = origin.stream(at.epoch, at.seq).await?;
        let opened = Moment::now().monotonic;
        loop {
            // Only a sign of life that counts moves the deadline, other bytes do not.
            let standing = self.intake.standing();
            let silence = Duration::from_secs(standing.silence_limit());
            let deadline = standing.heard().max(opened) + silence;
            let event = tokio::select! {
                event = timeout_at(deadline, stream.next()) => event,
                changed = self.intake.keyring.changed() => match changed {
                    Ok(()) => {
                        // What is on disk may be signed by a key that is no longer believed.
                        self.intake.compaction.want();
                        continue;
                    }
                    Err(_) => return Ok(Way::Live),
                },
            };
            let event = event.map_err(|_| Fault::Silent)?;
            let event = event.inspect_err(|fault| self.intake.note(fault))?;
            let Some(event) = event else { return Ok(Way::Live) };
            match event.kind.as_str() {
                "batch" => self.take::<Batch>(origin, &event.data, Object::Batch).await?,
                "heartbeat" => {
                    self.take::<Heartbeat>(origin, &event.data, Object::Heartbeat).await?;
                }
                "reset" => return Ok(Way::Live),
                _ => {}
            }
            self.intake.tend(origin);
        }
    }

    async fn poll(&mut self, origin: &Origin) -> Result<Way, Fault> {
        for _ in 0..POLLS {
            let every = self.patience()?;
            match self.range(origin, Some(every)).await? {
                Progress::Done => sleep(jitter(every)).await,
                Progress::More => {}
                Progress::Short | Progress::Stuck | Progress::Lost => {
                    self.catch_up(origin).await?;
                }
            }
            self.intake.tend(origin);
        }
        Ok(Way::Live)
    }

    /// Follows files that somebody keeps up to date: a manifest with a later date is a sign of
    /// life, and one of a later place is followed by its blob.
    async fn reread(&mut self, origin: &Origin) -> Result<Way, Fault> {
        let mut tag = None;
        for _ in 0..REREADS {
            if let Some(jws) = origin.changed_manifest(&mut tag).await? {
                let manifest = self.intake.keyring.prove(&jws).await?;
                match self.manifest(origin, manifest.clone()).await? {
                    Outcome::Applied => {
                        // Files have no heartbeat that says that this is all: the manifest stands
                        // for it.
                        self.intake.apply(Object::Manifest(manifest)).await;
                    }
                    // A copy may be late, which is no alarm, and makes nothing younger.
                    Outcome::Known | Outcome::Ahead | Outcome::Late => {}
                    _ => return Err(Fault::Unfilled),
                }
            }
            self.intake.tend(origin);
            let every = self.patience()?;
            sleep(every / 2 + jitter(every / 2)).await;
        }
        Ok(Way::Copy)
    }

    /// The time between two polls, or a fault where an origin has shown nothing new for too long.
    fn patience(&self) -> Result<Duration, Fault> {
        let standing = self.intake.standing();
        if standing.silence(Moment::now()) > 2 * standing.silence_limit() {
            Err(Fault::Silent)
        } else {
            Ok(Duration::from_secs(standing.every))
        }
    }

    /// Takes in one event of the stream. One that is not believed is dropped; whatever it hid
    /// leaves a gap.
    async fn take<T: Signed>(
        &mut self,
        origin: &Origin,
        jws: &str,
        object: fn(Proven<T>) -> Object,
    ) -> Result<(), Fault> {
        let Ok(proven) = self.intake.keyring.prove(jws).await else { return Ok(()) };
        match self.intake.apply(object(proven)).await {
            Outcome::Gap | Outcome::Elsewhere | Outcome::Equivocation => {
                self.catch_up(origin).await
            }
            _ => Ok(()),
        }
    }

    /// Fetches ranges until nothing is missing, and a snapshot where they do not continue what we
    /// have.
    async fn catch_up(&mut self, origin: &Origin) -> Result<(), Fault> {
        let (mut snapshots, mut short) = (0, false);
        for _ in 0..MAX_RANGES {
            let progress = self.range(origin, None).await?;
            match progress {
                Progress::Done => return Ok(()),
                Progress::More => {}
                Progress::Short if !short => short = true,
                Progress::Short | Progress::Stuck | Progress::Lost => {
                    if snapshots == MAX_SNAPSHOTS {
                        break;
                    }
                    snapshots += 1;
                    let outcome = self.snapshot(origin).await?;
                    if outcome == Outcome::Late && matches!(progress, Progress::Lost) {
                        // The origin has lost our place, or claims that it has.
                        self.intake.refuse_older();
                    }
                    if !matches!(outcome, Outcome::Applied | Outcome::Known | Outcome::Ahead) {
                        break;
                    }
                }
            }
        }
        Err(Fault::Unfilled)
    }

    async fn range(&mut self, origin: &Origin, wait: Option<Duration>) -> Result<Progress, Fault> {
        let Some(from) = self.intake.standing().position else { return Ok(Progress::Stuck) };
        let range = match origin.batches(from.epoch, from.seq, wait).await {
            Err(Fault::Gone) => return Ok(Progress::Lost),
            range => range.inspect_err(|fault| self.intake.note(fault))?,
        };
        let Range { batches, heartbeat, more } = range;
        for jws in batches {
            let batch = match self.intake.keyring.prove(&jws).await {
                // The key was withdrawn after it had signed this: only a snapshot leads past it.
                Err(Unproven::UnknownKey) => return Ok(Progress::Stuck),
                batch => batch?,
            };
            match self.intake.apply(Object::Batch(batch)).await {
                Outcome::Applied | Outcome::Known => {}
                _ => return Ok(Progress::Stuck),
            }
        }
        let advanced = self.intake.standing().position != Some(from);
        if more {
            return Ok(if advanced { Progress::More } else { Progress::Stuck });
        }
        let Some(jws) = heartbeat else { return Ok(Progress::Done) };
        let heartbeat = self.intake.keyring.prove(&jws).await?;
        Ok(match self.intake.apply(Object::Heartbeat(heartbeat)).await {
            Outcome::Applied | Outcome::Known | Outcome::Ahead => Progress::Done,
            Outcome::Gap if advanced => Progress::More,
            Outcome::Gap => Progress::Short,
            _ => Progress::Stuck,
        })
    }

    async fn snapshot(&mut self, origin: &Origin) -> Result<Outcome, Fault> {
        let manifest = origin.manifest().await.inspect_err(|fault| self.intake.note(fault))?;
        let manifest = self.intake.keyring.prove(&manifest).await?;
        self.manifest(origin, manifest).await
    }

    /// Takes a manifest in, with its blob where that is needed.
    async fn manifest(
        &mut self,
        origin: &Origin,
        manifest: Proven<Manifest>,
    ) -> Result<Outcome, Fault> {
        match self.intake.apply(Object::Manifest(manifest.clone())).await {
            Outcome::Elsewhere => {}
            outcome => return Ok(outcome),
        }
        let fetched = fetch_blob(origin, manifest).await;
        let snapshot = fetched.inspect_err(|fault| self.intake.note(fault))?;
        Ok(self.intake.apply(Object::Snapshot(snapshot)).await)
    }
}

/// The snapshot that a manifest promises.
pub(crate) async fn fetch_blob(
    origin: &Origin,
    manifest: Proven<Manifest>,
) -> Result<Snapshot, Fault> {
    let promised = manifest.object();
    let blob = origin.blob(promised.sha256, promised.size).await?;
    Snapshot::new(manifest, blob).map_err(Fault::protocol)
}
