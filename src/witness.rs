//! What this replica knows to have been published, in a file beside the keys. A database that does
//! not have it (any more) has lost what was acknowledged, and is found out by it.
//!
//! The folder is shared: each replica writes a file of its own, and a start looks at all of them.
//!
//! A file is named by the first number that no running process has locked, not by an address or a
//! host: which file was whose does not matter, because a start reads all of them, and clears away
//! those of replicas that have ended. The root's thumbprint is in it, because a database restored
//! from before a rotation of the root would sign with one that nobody believes any more.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use scrip_token::{Digest, Jti};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::deny::Position;
use crate::signer::{self, Purpose};
use crate::store::{Session, StoreError, installation};

/// Most replicas that share a folder.
const MOST: u32 = 64;
/// Largest file, in bytes: tens of thousands of revoked keys.
const MAX_BYTES: u64 = 4 << 20;
/// How long a write is waited for: a disk that hangs is as good as one that refuses.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Testimony {
    /// The epoch, a UUIDv7 in text.
    pub epoch: String,
    /// Number of its newest batch; 0: none yet.
    pub seq: i64,
    /// Digest of that batch's payload; of the epoch's text before the first.
    pub head: Digest,
    /// Database time of the newest batch, in seconds: nothing that was revoked is dated later.
    pub at: u64,
    /// Version of the newest keys document.
    pub keys: i64,
    /// Thumbprint of the root that signed it.
    pub root: String,
    /// Every key that was revoked.
    pub revoked: BTreeSet<String>,
}

impl Testimony {
    /// What the database says; `None` before bootstrap.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(from: &mut impl Session, now: u64) -> Result<Option<Self>, StoreError> {
        let Some(row) = installation::read(from).await? else { return Ok(None) };
        let keys = signer::keys(from).await?;
        let root = signer::single(&keys, Purpose::Root, now);
        let revoked = keys.iter().filter(|key| key.revoked_at.is_some());
        Ok(Some(Self {
            epoch: row.epoch,
            seq: row.seq,
            head: row.head,
            at: 0,
            keys: row.keys_version,
            root: root.map(|root| root.jwk.kid.clone()).unwrap_or_default(),
            revoked: revoked.map(|key| key.jwk.kid.clone()).collect(),
        }))
    }

    /// The place up to which it knows what was published. Epochs are UUIDv7s, and so in order of
    /// time.
    #[must_use]
    pub fn place(&self) -> (&str, i64) {
        (&self.epoch, self.seq)
    }

    /// Adds what another one knows; nothing is taken back.
    pub fn add(&mut self, other: Self) {
        if self.place() < other.place() {
            (self.epoch, self.seq, self.head) = (other.epoch, other.seq, other.head);
        }
        if self.keys < other.keys {
            (self.keys, self.root) = (other.keys, other.root);
        }
        self.at = self.at.max(other.at);
        self.revoked.extend(other.revoked);
    }
}

/// Why there is no record of what was published.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A file that cannot be read, locked or written.
    #[error("{path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that is no testimony. It is not replaced, because what it knew would be forgotten.
    #[error("{0} is not a witness of this version")]
    Malformed(PathBuf),
    /// All places are taken.
    #[error("{MOST} replicas share {0} already")]
    Full(PathBuf),
    /// The disk neither writes nor refuses.
    #[error("the disk does not answer")]
    Hung,
    /// The process is ending.
    #[error("interrupted")]
    Interrupted,
}

/// This replica's file, held by a lock that ends with the process, however it ends.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    number: u32,
    _lock: File,
}

impl Place {
    /// Takes the first free place of the folder, and reads what all files in it say. Which of them
    /// was this replica's before does not matter: none is forgotten.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn take(folder: &Path) -> Result<(Self, Vec<Testimony>), WitnessError> {
        for number in 1..=MOST {
            let Some(lock) = lock(folder, number)? else { continue };
            let place = Self { folder: folder.to_owned(), number, _lock: lock };
            let all = (1..=MOST).filter_map(|number| read(&file(folder, number)).transpose());
            return Ok((place, all.collect::<Result<_, _>>()?));
        }
        Err(WitnessError::Full(folder.to_owned()))
    }

    /// Removes the files of replicas that have ended. To be called when what they say is in this
    /// one's file.
    fn clear(&self) -> Result<(), WitnessError> {
        for number in (1..=MOST).filter(|number| *number != self.number) {
            let left = file(&self.folder, number);
            if left.exists()
                && let Some(_lock) = lock(&self.folder, number)?
            {
                fs::remove_file(&left).map_err(at(&left))?;
            }
        }
        Ok(())
    }

    /// Writes a new file in the place of the old one, and syncs both file and folder.
    fn write(&self, testimony: &Testimony) -> Result<(), WitnessError> {
        let path = file(&self.folder, self.number);
        let new = path.with_extension("new");
        let write = || {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(testimony)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(at(&path))
    }
}

/// What this process knows; its file follows.
pub struct Witness {
    known: Mutex<Known>,
    /// The change that is written.
    written: Arc<AtomicU64>,
    place: Arc<tokio::sync::Mutex<Place>>,
}

#[derive(Clone)]
struct Known {
    testimony: Testimony,
    /// Counts changes.
    change: u64,
}

impl Witness {
    /// A witness that knows `testimony`, and has yet to write it.
    #[must_use]
    pub fn new(place: Place, testimony: Testimony) -> Self {
        Self {
            known: Mutex::new(Known { testimony, change: 1 }),
            written: Arc::default(),
            place: Arc::new(tokio::sync::Mutex::new(place)),
        }
    }

    /// What is known to have been published.
    #[must_use]
    pub fn known(&self) -> Testimony {
        self.known.lock().testimony.clone()
    }

    /// Takes note of a database time.
    pub fn note_time(&self, now: u64) {
        let mut known = self.known.lock();
        known.testimony.at = known.testimony.at.max(now);
    }

    /// Takes note of a position.
    pub fn note(&self, position: &Position) {
        let mut known = self.known.lock();
        let testimony = &mut known.testimony;
        if (&testimony.epoch, testimony.seq) < (&position.epoch, position.seq) {
            testimony.epoch.clone_from(&position.epoch);
            (testimony.seq, testimony.head) = (position.seq, position.head);
            known.change += 1;
        }
    }

    /// Takes note of all that another one knows.
    pub fn add(&self, testimony: Testimony) {
        let mut known = self.known.lock();
        let before = known.testimony.clone();
        known.testimony.add(testimony);
        if known.testimony != before {
            known.change += 1;
        }
    }

    /// Returns when all that is known by now is on disk; within 2 s in any case. All who wait share
    /// a write.
    ///
    /// # Errors
    /// [`WitnessError`]; the next call tries again.
    pub async fn sync(&self) -> Result<(), WitnessError> {
        let wanted = self.known.lock().change;
        // A disk that hangs concerns nobody who has nothing to write.
        if self.written.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        timeout(PATIENCE, self.write(wanted)).await.unwrap_or(Err(WitnessError::Hung))
    }

    async fn write(&self, wanted: u64) -> Result<(), WitnessError> {
        // Held by the write itself: who asked may be gone before it ends.
        let place = self.place.clone().lock_owned().await;
        if self.written.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let Known { testimony, change } = self.known.lock().clone();
        let written = self.written.clone();
        let writing = tokio::task::spawn_blocking(move || {
            place.write(&testimony)?;
            if written.load(Ordering::Acquire) == 0 {
                place.clear()?;
            }
            written.store(change, Ordering::Release);
            Ok(())
        });
        writing.await.unwrap_or(Err(WitnessError::Interrupted))
    }
}

fn file(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("witness-{number}.json"))
}

/// `None` where another process holds it.
fn lock(folder: &Path, number: u32) -> Result<Option<File>, WitnessError> {
    let path = folder.join(format!("witness-{number}.lock"));
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(WitnessError::Io { path, source }),
    }
}

fn read(path: &Path) -> Result<Option<Testimony>, WitnessError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(WitnessError::Io { path: path.to_owned(), source }),
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return Err(WitnessError::Malformed(path.to_owned()));
        }
        Ok(_) => {}
    }
    let bytes = match fs::read(path) {
        // Another start has just taken over what this file said, and removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(at(path))?,
    };
    match serde_json::from_slice::<Testimony>(&bytes) {
        Ok(testimony) if Jti::parse(&testimony.epoch).is_ok() => Ok(Some(testimony)),
        _ => Err(WitnessError::Malformed(path.to_owned())),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WitnessError {
    let path = path.to_owned();
    |source| WitnessError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use scrip_token::deny::first_head;

    use super::*;

    fn testimony(seq: i64) -> Testimony {
        let epoch = Jti::new(1_700_000_000_000, [7; 10]);
        let (root, revoked) = (String::new(), BTreeSet::new());
        let (epoch, head) = (epoch.to_string(), first_head(epoch));
        Testimony { epoch, seq, head, at: 0, keys: 1, root, revoked }
    }

    fn position(seq: i64) -> Position {
        let Testimony { epoch, head, .. } = testimony(seq);
        Position { epoch, seq, head }
    }

    #[tokio::test]
    async fn a_start_reads_what_every_replica_wrote_and_clears_away_those_that_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (place, none) = Place::take(folder.path()).unwrap();
        assert!(none.is_empty());
        let first = Witness::new(place, testimony(3));
        first.sync().await.unwrap();
        let second = Witness::new(Place::take(folder.path()).unwrap().0, testimony(5));
        second.sync().await.unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(folder.path().join("witness-2.json")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);

        // The second ends. Whoever comes next takes a free place, and knows what both knew.
        drop(second);
        let (place, found) = Place::take(folder.path()).unwrap();
        assert_eq!(found, [testimony(3), testimony(5)]);
        drop(first);
        let third = Witness::new(place, testimony(5));
        third.sync().await.unwrap();
        let (_place, found) = Place::take(folder.path()).unwrap();
        assert_eq!(found, [testimony(5)], "the first has ended, and its file with it");
    }

    #[tokio::test]
    async fn nothing_is_ever_lowered() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::new(Place::take(folder.path()).unwrap().0, testimony(5));
        witness.note(&position(7));
        witness.note(&position(6));
        witness.add(Testimony { keys: 4, revoked: ["a".to_owned()].into(), ..testimony(1) });
        witness.add(Testimony { keys: 2, revoked: ["b".to_owned()].into(), ..testimony(2) });
        witness.sync().await.unwrap();
        drop(witness);
        let (_, found) = Place::take(folder.path()).unwrap();
        let revoked = ["a".to_owned(), "b".to_owned()].into();
        assert_eq!(found, [Testimony { keys: 4, revoked, ..testimony(7) }]);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_said_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::create_dir(&path).unwrap();
        let witness = Witness::new(Place::take(&path).unwrap().0, testimony(1));
        witness.sync().await.unwrap();
        let away = folder.path().join("away");
        fs::rename(&path, &away).unwrap();
        witness.sync().await.expect("there is nothing new to write");
        witness.note(&position(2));
        assert!(matches!(witness.sync().await, Err(WitnessError::Io { .. })));
        fs::rename(&away, &path).unwrap();
        witness.sync().await.unwrap();
        drop(witness);
        assert_eq!(Place::take(&path).unwrap().1, [testimony(2)]);
    }

    #[tokio::test]
    async fn n117_a_disk_that_hangs_is_waited_for_two_seconds_and_by_nobody_without_news() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::new(Place::take(folder.path()).unwrap().0, testimony(1));
        witness.sync().await.unwrap();
        // Whoever opens it waits for somebody who reads it.
        let pipe = folder.path().join("witness-1.new");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        witness.sync().await.expect("there is nothing new to write");
        witness.note(&position(2));
        let hung = timeout(3 * PATIENCE, witness.sync()).await.expect("it is given up");
        assert!(matches!(hung, Err(WitnessError::Hung)), "{hung:?}");
        let behind = timeout(3 * PATIENCE, witness.sync()).await.expect("so is what waits for it");
        assert!(matches!(behind, Err(WitnessError::Hung)), "{behind:?}");

        // A pipe cannot be synced: that write fails, and the next one finds a file.
        fs::read(&pipe).unwrap();
        fs::remove_file(&pipe).unwrap();
        witness.sync().await.unwrap();
        drop(witness);
        assert_eq!(Place::take(folder.path()).unwrap().1, [testimony(2)]);
    }

    #[test]
    fn a_file_that_is_no_testimony_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for odd in ["", "{}", "null", r#"{"epoch":1}"#] {
            fs::write(folder.path().join("witness-9.json"), odd).unwrap();
            assert!(matches!(Place::take(folder.path()), Err(WitnessError::Malformed(_))), "{odd}");
        }
    }
}
