//! A copy of the feed as files, for a CDN or an air gap. Only what was verified is written.

mod site;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use scrip_token::deny::Manifest;
use scrip_verify::{DenySet, Freshness, Issuer, Keys};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::site::Site;
use crate::alarm::{Alarm, Alarms};
use crate::clock::Moment;
use crate::document::Document;
use crate::files::Files;
use crate::follower::{Config, StartError, origins};
use crate::keeper::Keeper;
use crate::keyring::Keyring;
use crate::origin::{Fault, Origin};
use crate::refetch::Rhythm;
use crate::replica::{Object, Outcome, Replica};
use crate::signed::Proven;
use crate::standing::Position;
use crate::view::{Published, Reader, Source};
use crate::writer::fetch_blob;

/// How long a round waits for the first keys.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps a directory that any file server can serve as an origin of the feed.
#[derive(Debug)]
pub struct Mirror {
    /// Each with the `ETag` of the last manifest that was taken in from it.
    origins: Vec<(Origin, Option<HeaderValue>)>,
    site: Arc<Site>,
    /// The same rules as a follower's: it never goes back, and tells a fork.
    replica: Replica,
    keyring: Keyring,
    alarms: Arc<Alarms>,
    _task: AbortOnDropHandle<()>,
}

/// What the directory holds after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The place in the feed that its snapshot is of.
    pub position: Position,
    /// The issuer's time of its manifest, in seconds since the epoch.
    pub as_of: u64,
    /// Version of its keys document.
    pub keys: u64,
}

/// Why a round came to nothing. What was in the directory is there still.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There are no keys yet to believe anything by.
    #[error("no keys document: is the issuer there, and the pinned root its own?")]
    NoKeys,
    /// No origin gave what could be taken; why the last one did not.
    #[error("{0}")]
    Origin(String),
    /// The directory cannot be written.
    #[error("directory: {0}")]
    Dir(#[from] std::io::Error),
}

impl From<Fault> for CopyError {
    fn from(fault: Fault) -> Self {
        Self::Origin(fault.to_string())
    }
}

impl Mirror {
    /// Takes a directory over, with what is in it as far as it verifies. `config` says whom to
    /// copy; its `dir`, `freshness` and `verifier` are of no use here.
    ///
    /// # Errors
    /// [`StartError`] for a configuration that cannot work, or a directory that another mirror has.
    pub async fn open(mut config: Config, dir: PathBuf) -> Result<Self, StartError> {
        // Those who read the copy do not acknowledge in the mirror's name.
        config.verifier = None;
        let (issuer, origins) = origins(&config)?;
        let mut keeper = Keeper::new(&config.issuer, config.root.as_deref());
        let opened = spawn_blocking(move || {
            let site = Site::open(dir)?;
            for document in site.keys()? {
                // One that does not lead on from the pin is left out.
                let _ = keeper.accept(&document);
            }
            let mut replica = Replica::new(Moment::now());
            if let Some(snapshot) = keeper.held().and_then(|held| site.snapshot(&held.feed)) {
                replica.apply(Object::Snapshot(snapshot), Moment::now());
            }
            Ok::<_, std::io::Error>((site, keeper, replica))
        });
        let (site, keeper, replica) =
            opened.await.map_err(|stopped| StartError::Dir(stopped.into()))??;

        let alarms = Arc::new(Alarms::default());
        let (held, keys) = watch::channel(keeper.held().cloned());
        let (rhythm, bell) = Rhythm::new();
        let nobody = Published {
            issuer: Issuer::new(config.issuer, Keys::default(), DenySet::default()),
            source: Source::KeysAlone,
        };
        let document = Document {
            keeper,
            issuer,
            origins: origins.clone(),
            files: Files::new(None, alarms.clone()),
            alarms: alarms.clone(),
            reader: Reader::new(nobody, Freshness::default()),
            held,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(rhythm.keep(document)));
        let origins = origins.into_iter().map(|origin| (origin, None)).collect();
        let keyring = Keyring::new(keys, bell, alarms.clone());
        Ok(Self { origins, site: Arc::new(site), replica, keyring, alarms, _task: task })
    }

    /// One round: the first origin that has something newer, or nothing newer, decides. To be
    /// called again with each heartbeat.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn copy(&mut self) -> Result<Copied, CopyError> {
        if !matches!(timeout(PATIENCE, self.keyring.filled()).await, Ok(Ok(()))) {
            return Err(CopyError::NoKeys);
        }
        let mut last = CopyError::from(Fault::Absent);
        for index in 0..self.origins.len() {
            match self.copy_from(index).await {
                Err(error @ CopyError::Origin(_)) => last = error,
                result => return result,
            }
        }
        Err(last)
    }

    /// What should not have happened, counted.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    async fn copy_from(&mut self, index: usize) -> Result<Copied, CopyError> {
        let Some((origin, tag)) = self.origins.get(index) else { return Err(Fault::Absent.into()) };
        let (origin, mut tag) = (origin.clone(), tag.clone());
        if let Some(jws) = origin.changed_manifest(&mut tag).await? {
            let manifest = self.keyring.prove(&jws).await.map_err(Fault::from)?;
            self.take(&origin, manifest).await?;
            if let Some((_, known)) = self.origins.get_mut(index) {
                *known = tag;
            }
        }
        let keys = self.write_keys().await?;
        let standing = self.replica.standing();
        let position = standing.position.ok_or(Fault::Unfilled)?;
        Ok(Copied { position, as_of: standing.as_of(), keys })
    }

    async fn take(&mut self, origin: &Origin, manifest: Proven<Manifest>) -> Result<(), CopyError> {
        let object = manifest.object();
        self.keyring.expect(object.keys);
        let blob = object.sha256;
        let mut outcome = self.replica.apply(Object::Manifest(manifest.clone()), Moment::now());
        let mut snapshot = None;
        if outcome == Outcome::Elsewhere || (outcome == Outcome::Applied && !self.site.has(blob)) {
            let fetched = fetch_blob(origin, manifest.clone()).await?;
            outcome = match self.replica.apply(Object::Snapshot(fetched.clone()), Moment::now()) {
                Outcome::Known => Outcome::Applied,
                outcome => outcome,
            };
            snapshot = Some(fetched);
        }
        let alarm = match outcome {
            Outcome::Applied => {
                // In this order: whoever reads a manifest finds its blob and the keys that signed
                // it.
                self.write_keys().await?;
                let site = self.site.clone();
                let write = move || site.write(snapshot.as_ref(), &manifest);
                spawn_blocking(write).await.map_err(std::io::Error::from)??;
                return Ok(());
            }
            Outcome::Known => return Ok(()),
            Outcome::Equivocation => Some(Alarm::Equivocation),
            Outcome::Backwards => Some(Alarm::Backwards),
            Outcome::Ahead => Some(Alarm::Ahead),
            Outcome::Late | Outcome::Gap | Outcome::Elsewhere => None,
        };
        if let Some(alarm) = alarm {
            self.alarms.raise(alarm, &"the manifest that was to be copied");
        }
        Err(CopyError::Origin(format!("its manifest is not to be taken: {outcome:?}")))
    }

    /// Writes the keys documents where they are not what they were; returns the newest's version.
    async fn write_keys(&self) -> Result<u64, CopyError> {
        let Some(held) = self.keyring.held() else { return Err(CopyError::NoKeys) };
        let (site, version) = (self.site.clone(), held.version);
        let write = move || site.write_keys(&held.chain);
        spawn_blocking(write).await.map_err(std::io::Error::from)??;
        Ok(version)
    }
}
