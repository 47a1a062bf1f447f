//! The directory, laid out as the service's paths are.
//!
//! ```text
//! .well-known/scrip-keys               the newest keys document
//! .well-known/scrip-keys-versions/<N>  those that lead to it, and all that ever did
//! v1/deny/blobs/<sha256>               the blob of the manifest, and of the one before
//! v1/deny/snapshot                     the manifest
//! ```
//!
//! A file server passes over the query of `scrip-keys?version=N`; a follower that gets the newest
//! document for it asks for the file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use scrip_token::Digest;
use scrip_token::deny::Manifest;

use crate::atomic;
use crate::origin::{BLOBS, KEYS, KEYS_VERSIONS, MANIFEST};
use crate::replica::Snapshot;
use crate::signed::{FeedKeys, Proven};

/// Everybody may read: there is nothing here that a follower is not told.
const MODE: u32 = 0o644;

/// A directory that one mirror writes.
#[derive(Debug)]
pub(super) struct Site {
    dir: PathBuf,
    _lock: File,
    /// The blob of the manifest that is there.
    blob: Mutex<Option<Digest>>,
}

impl Site {
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        for path in [KEYS_VERSIONS, BLOBS] {
            fs::create_dir_all(at(&dir, path))?;
        }
        let lock = File::open(&dir)?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::Error(error) => error,
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another mirror writes it")
            }
        })?;
        Ok(Self { dir, _lock: lock, blob: Mutex::default() })
    }

    /// The keys documents, oldest first.
    pub(super) fn keys(&self) -> io::Result<Vec<String>> {
        let mut documents = Vec::new();
        for entry in fs::read_dir(at(&self.dir, KEYS_VERSIONS))? {
            let entry = entry?;
            if let Some(version) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                documents.push((version, fs::read_to_string(entry.path())?));
            }
        }
        documents.sort_unstable_by_key(|(version, _): &(u64, String)| *version);
        Ok(documents.into_iter().map(|(_, document)| document).collect())
    }

    /// What was written last, as far as it verifies.
    pub(super) fn snapshot(&self, keys: &FeedKeys) -> Option<Snapshot> {
        let manifest = fs::read_to_string(at(&self.dir, MANIFEST)).ok()?;
        let manifest: Proven<Manifest> = keys.prove(&manifest).ok()?;
        let digest = manifest.object().sha256;
        let blob = fs::read(at(&self.dir, BLOBS).join(digest.to_string())).ok()?;
        let snapshot = Snapshot::new(manifest, blob).ok()?;
        *self.blob.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        Some(snapshot)
    }

    pub(super) fn has(&self, blob: Digest) -> bool {
        at(&self.dir, BLOBS).join(blob.to_string()).exists()
    }

    /// Writes the blob where it is a new one, then the manifest. The blob of the manifest before
    /// stays until the next one: somebody may just have read that manifest.
    pub(super) fn write(
        &self,
        snapshot: Option<&Snapshot>,
        manifest: &Proven<Manifest>,
    ) -> io::Result<()> {
        let newest = manifest.object().sha256;
        let blobs = at(&self.dir, BLOBS);
        if let Some(snapshot) = snapshot {
            atomic::replace(&blobs, &newest.to_string(), snapshot.bytes(), MODE)?;
        }
        self.replace(MANIFEST, manifest.text().as_bytes())?;
        let mut blob = self.blob.lock().unwrap_or_else(PoisonError::into_inner);
        let before = blob.replace(newest).filter(|before| *before != newest);
        let Some(before) = before else { return Ok(()) };
        for entry in fs::read_dir(blobs)? {
            let entry = entry?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| Digest::parse(name).ok());
            if digest.is_some_and(|digest| digest != newest && digest != before) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes the documents that are not there yet, the newest last.
    pub(super) fn write_keys(&self, chain: &[(u64, Arc<str>)]) -> io::Result<()> {
        let versions = at(&self.dir, KEYS_VERSIONS);
        for (version, document) in chain {
            let name = version.to_string();
            if !is(&versions.join(&name), document) {
                atomic::replace(&versions, &name, document.as_bytes(), MODE)?;
            }
        }
        match chain.last() {
            Some((_, newest)) if !is(&at(&self.dir, KEYS), newest) => {
                self.replace(KEYS, newest.as_bytes())
            }
            _ => Ok(()),
        }
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = at(&self.dir, path);
        match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
            (Some(dir), Some(name)) => atomic::replace(dir, name, bytes, MODE),
            _ => Ok(()),
        }
    }
}

fn is(path: &Path, text: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())
}

/// Where the file for a path of the service is.
fn at(dir: &Path, path: &str) -> PathBuf {
    dir.join(path.trim_start_matches('/'))
}
