//! What a follower keeps on disk, so that a gateway starts while the service is away.
//!
//! ```text
//! keys                 keys documents from the pin to the newest, one a line
//! highest              the furthest place that a snapshot was of, as JSON
//! evidence             the last two statements that contradicted each other
//! <epoch>/manifest     a signed manifest
//! <epoch>/<sha256>     the blob that it names
//! <epoch>/batches      later batches, `<seq> <JWS>` a line, appended
//! <epoch>/heartbeat    the last verified sign of life
//! ```
//!
//! Earlier epochs stay: their unexpired entries count. All but `highest` is signed and verified
//! when it is read; what does not verify is as good as not there.
//!
//! A batch costs one sync, of the file that it is appended to. A copy that ends before `highest`, or
//! before what its own heartbeat counts, is refused; of one that ends between that and the last batch
//! nobody can tell, and it is no younger than its heartbeat.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scrip_token::deny::{Heartbeat, Manifest};
use scrip_token::{Digest, Jti};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::clock::Moment;
use crate::replica::{Evidence, Object, Outcome, Replica, Snapshot, SnapshotError};
use crate::signed::{FeedKeys, Unproven};

/// Epochs whose files are kept. One begins only after a failure that lost acknowledged data.
const KEPT_EPOCHS: usize = 4;

/// One issuer's directory, locked against a second follower.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    _lock: File,
    /// The place of the stored manifest. Held while anything of an epoch is written.
    stored: Mutex<Option<Place>>,
    /// The furthest place that could not be written. A manifest from there on makes up for it.
    lost: Mutex<Option<Place>>,
}

/// An epoch and a number in it.
type Place = (Jti, u64);

/// Why the copy on disk is no place to go on from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Unproven(#[from] Unproven),
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    #[error("`highest` is malformed")]
    Highest,
    #[error("a stored object does not continue the one before it")]
    Broken,
    #[error("it ends before the furthest place that was reached")]
    Older,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Highest {
    epoch: Jti,
    seq: u64,
}

impl Disk {
    /// Opens or makes the directory.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        make_dir(dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(dir.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::Error(error) => error,
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another follower uses the directory")
            }
        })?;
        let (stored, lost) = (Mutex::default(), Mutex::default());
        Ok(Self { dir: dir.to_owned(), _lock: lock, stored, lost })
    }

    /// The keys documents, oldest first.
    pub(crate) fn keys(&self) -> io::Result<Vec<String>> {
        Ok(read(&self.dir.join("keys"))?.lines().map(str::to_owned).collect())
    }

    pub(crate) fn save_keys(&self, chain: &[(u64, Arc<str>)]) -> io::Result<()> {
        let lines: Vec<&str> = chain.iter().map(|(_, document)| &**document).collect();
        replace(&self.dir, "keys", lines.join("\n").as_bytes())
    }

    /// Replays everything that verifies. With an error the replica has entries, but no place in the
    /// feed.
    pub(crate) fn restore(&self, keys: &FeedKeys, now: Moment) -> (Replica, Result<(), DiskError>) {
        let mut replica = Replica::new(now);
        let replayed = self.replay(keys, &mut replica, now);
        let highest = self.highest();
        let floor = (*highest.as_ref().unwrap_or(&None)).max(self.counted(keys));
        let older = replica.highest() < floor;
        replica.resume(floor, replayed.is_ok() && highest.is_ok());
        let result = match (replayed, highest) {
            (Err(error), _) | (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(_)) if older => Err(DiskError::Older),
            (Ok(()), Ok(_)) => Ok(()),
        };
        (replica, result)
    }

    fn replay(&self, keys: &FeedKeys, replica: &mut Replica, now: Moment) -> Result<(), DiskError> {
        let mut last = Ok(());
        for epoch in self.epochs()? {
            // Only the newest epoch has to be whole; an earlier one gives what it can.
            last = self.replay_epoch(epoch, keys, replica, now);
        }
        last
    }

    fn replay_epoch(
        &self,
        epoch: Jti,
        keys: &FeedKeys,
        replica: &mut Replica,
        now: Moment,
    ) -> Result<(), DiskError> {
        let dir = self.dir.join(epoch.to_string());
        let manifest = keys.prove::<Manifest>(&read(&dir.join("manifest"))?)?;
        let blob = fs::read(dir.join(manifest.object().sha256.to_string()))?;
        let heartbeat = match read(&dir.join("heartbeat"))?.as_str() {
            "" => None,
            jws => Some(keys.prove::<Heartbeat>(jws)?),
        };
        let mut apply = |object| match replica.apply(object, now) {
            Outcome::Applied | Outcome::Known | Outcome::Ahead => {
                // A heartbeat counts only at the place that it is about.
                heartbeat.clone().map(|beat| replica.apply(Object::Heartbeat(beat), now));
                Ok(())
            }
            Outcome::Gap
            | Outcome::Elsewhere
            | Outcome::Late
            | Outcome::Equivocation
            | Outcome::Backwards => Err(DiskError::Broken),
        };
        let place = (epoch, manifest.object().seq);
        apply(Object::Snapshot(Snapshot::new(manifest, blob)?))?;
        *self.stored() = Some(place);
        for line in read(&dir.join("batches"))?.split_inclusive('\n') {
            // A line without its end is one that a crash cut off before it counted.
            let Some((_, jws)) = line.strip_suffix('\n').and_then(|l| l.split_once(' ')) else {
                break;
            };
            apply(Object::Batch(keys.prove(jws)?))?;
        }
        Ok(())
    }

    fn highest(&self) -> Result<Option<(Jti, u64)>, DiskError> {
        match read(&self.dir.join("highest"))?.as_str() {
            "" => Ok(None),
            text => {
                let Highest { epoch, seq } =
                    serde_json::from_str(text).map_err(|_| DiskError::Highest)?;
                Ok(Some((epoch, seq)))
            }
        }
    }

    /// The place that the last sign of life counts.
    fn counted(&self, keys: &FeedKeys) -> Option<(Jti, u64)> {
        let newest = self.epochs().ok()?.pop()?.to_string();
        let jws = read(&self.dir.join(newest).join("heartbeat")).ok()?;
        let heartbeat = keys.prove::<Heartbeat>(&jws).ok()?;
        Some((heartbeat.object().epoch, heartbeat.object().seq))
    }

    /// Stores a snapshot, and drops the batches that are in it. Says whether nothing is missing then
    /// of what could not be written before.
    pub(crate) fn save_snapshot(&self, snapshot: &Snapshot) -> io::Result<bool> {
        let mut stored = self.stored();
        let manifest = snapshot.manifest().object();
        let place = Some((manifest.epoch, manifest.seq));
        if place >= *stored {
            self.replace_snapshot(snapshot)
                .inspect_err(|_| self.lose(manifest.epoch, manifest.seq))?;
            *stored = place;
        }
        let mut lost = self.lost();
        if *lost <= *stored {
            *lost = None;
        }
        Ok(lost.is_none())
    }

    /// Takes note that what belongs to a place was not written. Does not wait for the disk.
    pub(crate) fn lose(&self, epoch: Jti, seq: u64) {
        let mut lost = self.lost();
        *lost = (*lost).max(Some((epoch, seq)));
    }

    fn replace_snapshot(&self, snapshot: &Snapshot) -> io::Result<()> {
        let manifest = snapshot.manifest().object();
        let dir = self.epoch(manifest.epoch)?;
        replace(&dir, &manifest.sha256.to_string(), snapshot.bytes())?;
        replace(&dir, "manifest", snapshot.manifest().text().as_bytes())?;
        let later = |line: &&str| {
            let seq = line.split_once(' ').and_then(|(seq, _)| seq.parse::<u64>().ok());
            seq.is_some_and(|seq| seq > manifest.seq)
        };
        let batches = read(&dir.join("batches"))?;
        let batches: String = batches.split_inclusive('\n').filter(later).collect();
        replace(&dir, "batches", batches.as_bytes())?;
        self.raise(manifest.epoch, manifest.seq)?;
        self.sweep(&dir, manifest.sha256)
    }

    /// Stores a manifest that says of the stored blob that it is still the newest.
    pub(crate) fn save_manifest(&self, manifest: &Manifest, jws: &str) -> io::Result<()> {
        let mut stored = self.stored();
        let place = (manifest.epoch, manifest.seq);
        let dir = self.dir.join(manifest.epoch.to_string());
        let has_blob = dir.join(manifest.sha256.to_string()).exists();
        if !has_blob || stored.is_none_or(|base| place < base) {
            return Ok(());
        }
        replace(&dir, "manifest", jws.as_bytes())?;
        *stored = Some(place);
        Ok(())
    }

    /// Appends a batch; returns how many bytes of batches there are.
    pub(crate) fn append(&self, epoch: Jti, seq: u64, jws: &str) -> io::Result<u64> {
        let _stored = self.stored();
        let append = || -> io::Result<u64> {
            let path = self.epoch(epoch)?.join("batches");
            let mut file =
                OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
            cut_off(&mut file)?;
            file.write_all(format!("{seq} {jws}\n").as_bytes())?;
            file.sync_data()?;
            Ok(file.metadata()?.len())
        };
        append().inspect_err(|_| self.lose(epoch, seq))
    }

    /// Stores a sign of life, unless it counts what is not here.
    pub(crate) fn save_heartbeat(&self, epoch: Jti, jws: &str) -> io::Result<()> {
        let _stored = self.stored();
        if self.lost().is_some() {
            return Ok(());
        }
        replace(&self.epoch(epoch)?, "heartbeat", jws.as_bytes())
    }

    pub(crate) fn save_evidence(&self, evidence: &Evidence) -> io::Result<()> {
        let ours = evidence.ours.as_deref().unwrap_or("-");
        let text = format!("{}\n{ours}\n{}\n", evidence.seq, evidence.theirs);
        replace(&self.dir, "evidence", text.as_bytes())
    }

    fn stored(&self) -> MutexGuard<'_, Option<Place>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Option<Place>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise(&self, epoch: Jti, seq: u64) -> io::Result<()> {
        if matches!(self.highest(), Ok(Some(highest)) if highest >= (epoch, seq)) {
            return Ok(());
        }
        replace(&self.dir, "highest", &serde_json::to_vec(&Highest { epoch, seq })?)
    }

    fn epoch(&self, epoch: Jti) -> io::Result<PathBuf> {
        let dir = self.dir.join(epoch.to_string());
        make_dir(&dir)?;
        Ok(dir)
    }

    fn epochs(&self) -> io::Result<Vec<Jti>> {
        let names = fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        let mut epochs: Vec<Jti> =
            names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// Removes blobs that no manifest names any more, and the oldest epochs.
    fn sweep(&self, dir: &Path, kept: Digest) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let blob = entry.file_name().to_str().and_then(|name| Digest::parse(name).ok());
            if blob.is_some_and(|digest| digest != kept) {
                fs::remove_file(entry.path())?;
            }
        }
        for epoch in self.epochs()?.iter().rev().skip(KEPT_EPOCHS) {
            fs::remove_dir_all(self.dir.join(epoch.to_string()))?;
        }
        Ok(())
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Removes a last line that a crash or a full disk broke off: the next one would become a part of
/// it.
fn cut_off(file: &mut File) -> io::Result<()> {
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last == [b'\n'] {
        return Ok(());
    }
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    file.set_len(whole as u64)
}

/// The file's text, empty where there is no file.
fn read(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

/// Replaces a file that is readable by its owner only.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    atomic::replace(dir, name, bytes, 0o600)
}

#[cfg(test)]
mod tests;
