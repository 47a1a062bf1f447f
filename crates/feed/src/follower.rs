//! Starting a follower, and what its owner holds of it.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use scrip_token::compact::is_kid;
use scrip_verify::{Freshness, Issuer};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::acks::{Acks, is_verifier};
use crate::alarm::{Alarm, Alarms};
use crate::clock::Moment;
use crate::compaction::Compaction;
use crate::disk::Disk;
use crate::document::Document;
use crate::event::Events;
use crate::files::Files;
use crate::keeper::Keeper;
use crate::keyring::Keyring;
use crate::origin::{self, Credential, Origin, is_private};
use crate::refetch::{Bell, Rhythm};
use crate::replica::{Evidence, Replica};
use crate::signed::FeedKeys;
use crate::standing::State;
use crate::view::{Published, Reader, Source};
use crate::writer::{Intake, Writer};

/// Follows the deny list of one issuer.
#[derive(Debug)]
pub struct Follower;

/// Whom to follow, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// Issuer URL, byte for byte as in `iss`. Over `http` only on this machine.
    pub issuer: String,
    /// Where the service answers, in order of preference; empty: at the issuer. Each is given the
    /// credential.
    pub origins: Vec<Url>,
    /// Where copies of the feed are served as files, asked after the origins: a CDN, or what
    /// [`Mirror`](crate::Mirror) writes. They are given no credential and believed in nothing, so
    /// any `http` will do.
    pub mirrors: Vec<Url>,
    /// Thumbprint of the root key (RFC 7638, base64url), as `SCRIP_ROOT` has it. Without it the
    /// first contact with the issuer decides, and with `dir` it decides once.
    pub root: Option<String>,
    /// How the feed's endpoints are opened.
    pub credential: Option<Credential>,
    /// Where to keep what is known, for a start while the service is away; a directory of this
    /// issuer's and this process's own.
    pub dir: Option<PathBuf>,
    /// PEM certificates to trust beside the platform's.
    pub ca: Option<Vec<u8>>,
    /// The freshness contract that is enforced here: the service is told of it, and
    /// [`State::Stale`] is reported by it. For tokens to be judged by it, give it to
    /// [`scrip_verify::Verifier::freshness`] too.
    pub freshness: Freshness,
    /// The name under which to acknowledge what is enforced, `[a-z0-9.-]{1,64}`, one for each
    /// process; the feed is read in it. Without it nothing is acknowledged and nobody waits for this
    /// follower; for a week after the last such reader, the service answers that a revoked token may
    /// be accepted until it expires.
    pub verifier: Option<String>,
}

/// Why a follower does not start. A service that does not answer is no reason.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither `https` nor a loopback address, or not a URL: credentials and keys would travel in
    /// the clear.
    #[error("{0} is neither https nor on this machine")]
    Url(String),
    /// Not a thumbprint.
    #[error("the root is not a SHA-256 thumbprint")]
    Root,
    /// Not the name of a verifier.
    #[error("a verifier's name is [a-z0-9.-]{{1,64}}")]
    Verifier,
    /// The certificates do not parse, or TLS cannot be set up.
    #[error("HTTP client: {0}")]
    Http(String),
    /// The directory cannot be used, or another follower uses it.
    #[error("directory: {0}")]
    Dir(#[from] std::io::Error),
}

/// The follower has been shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the follower has been shut down")]
pub struct Stopped;

impl Config {
    /// Follows `issuer` at the issuer, without a pin, a credential, a directory or a name; the
    /// freshness contract is the default.
    #[must_use]
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            origins: Vec::new(),
            mirrors: Vec::new(),
            root: None,
            credential: None,
            dir: None,
            ca: None,
            freshness: Freshness::default(),
            verifier: None,
        }
    }
}

impl Follower {
    /// Reads what is on disk and begins to follow, on the current Tokio runtime. Returns at once,
    /// whether or not anybody answers: until there is a snapshot the reader's view denies all.
    ///
    /// # Errors
    /// [`StartError`] for a configuration that cannot work.
    pub async fn start(config: Config) -> Result<(Handle, Reader), StartError> {
        let (issuer, origins) = origins(&config)?;
        if config.verifier.as_deref().is_some_and(|name| !is_verifier(name)) {
            return Err(StartError::Verifier);
        }

        let alarms = Arc::new(Alarms::default());
        let keeper = Keeper::new(&config.issuer, config.root.as_deref());
        let dir = config.dir;
        let restored = {
            let alarms = alarms.clone();
            spawn_blocking(move || restore(dir, keeper, &alarms)).await
        };
        let (disk, keeper, replica) =
            restored.map_err(|stopped| StartError::Dir(stopped.into()))??;

        let files = Files::new(disk, alarms.clone());
        let (held, keys) = watch::channel(keeper.held().cloned());
        let token_keys = keeper.held().map(|held| held.token.clone()).unwrap_or_default();
        let published = Published {
            issuer: Issuer::new(config.issuer, token_keys, replica.deny().clone()),
            source: Source::Feed(*replica.standing()),
        };
        let reader = Reader::new(published, config.freshness);
        let (changed, changes) = watch::channel(());
        let (enforced, acknowledged) = watch::channel(None);
        let shared = Arc::new(Shared {
            reader: reader.clone(),
            alarms: alarms.clone(),
            evidence: ArcSwapOption::empty(),
        });
        let (rhythm, bell) = Rhythm::new();
        let acks = config
            .verifier
            .map(|verifier| Acks::new(verifier, config.freshness, &origins, &issuer, acknowledged));
        let document = Document {
            keeper,
            issuer,
            origins: origins.clone(),
            files: files.clone(),
            alarms,
            reader: reader.clone(),
            held,
        };
        let intake = Intake {
            replica,
            keyring: Keyring::new(keys, bell.clone(), shared.alarms.clone()),
            compaction: Compaction::new(files.clone()),
            files: files.clone(),
            shared: shared.clone(),
            changed,
            enforced,
            disputed: None,
            origin: 0,
            state: State::Init,
        };
        let writer = Writer { origins, intake };
        let tasks = [
            Some(tokio::spawn(rhythm.keep(document))),
            Some(tokio::spawn(writer.follow())),
            acks.map(|acks| tokio::spawn(acks.keep())),
        ];
        let tasks = tasks.into_iter().flatten().map(AbortOnDropHandle::new).collect();
        Ok((Handle { shared, changes, bell, tasks, files }, reader))
    }
}

/// The issuer, and all places that serve its feed in order of preference. Checks them and the pin.
pub(crate) fn origins(config: &Config) -> Result<(Origin, Vec<Origin>), StartError> {
    let http = origin::client(config.ca.as_deref())
        .map_err(|error| StartError::Http(error.to_string()))?;
    let origin = |base: Url| {
        if is_private(&base) {
            Ok(Origin {
                base,
                http: http.clone(),
                credential: config.credential.clone(),
                is_mirror: false,
                verifier: config.verifier.clone(),
            })
        } else {
            Err(StartError::Url(base.into()))
        }
    };
    let mirror = |base: Url| match base.scheme() {
        "https" | "http" => {
            let http = http.clone();
            Ok(Origin { base, http, credential: None, is_mirror: true, verifier: None })
        }
        _ => Err(StartError::Url(base.into())),
    };
    let issuer = Url::parse(&config.issuer).map_err(|_| StartError::Url(config.issuer.clone()))?;
    let issuer = origin(issuer)?;
    if config.root.as_deref().is_some_and(|root| !is_kid(root)) {
        return Err(StartError::Root);
    }
    let mut origins: Vec<_> =
        config.origins.iter().cloned().map(origin).collect::<Result<_, _>>()?;
    if origins.is_empty() {
        origins.push(issuer.clone());
    }
    for url in &config.mirrors {
        origins.push(mirror(url.clone())?);
    }
    Ok((issuer, origins))
}

/// What the writer half shares with the handle.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) reader: Reader,
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) evidence: ArcSwapOption<Evidence>,
}

/// A running follower. It stops when this is dropped; readers keep the last view, which ages.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    changes: watch::Receiver<()>,
    bell: Bell,
    tasks: Vec<AbortOnDropHandle<()>>,
    files: Files,
}

impl Handle {
    /// Waits until everything that was revoked is known.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn synced(&self) -> Result<(), Stopped> {
        let mut changes = self.changes.clone();
        while self.state() != State::Synced {
            changes.changed().await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// How well the feed is followed.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.reader.view().state().unwrap_or(State::Init)
    }

    /// To be called where a token names a key that is not known: fetches the keys once for all
    /// who ask, at most every 30 seconds, and returns when that is done or need not be, after 5 s in
    /// any case.
    pub async fn refetch_keys(&self) {
        self.bell.unknown_key().await;
    }

    /// What should not have happened, counted.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.shared.alarms
    }

    /// The last two signed statements of the issuer that contradicted each other.
    #[must_use]
    pub fn evidence(&self) -> Option<Arc<Evidence>> {
        self.shared.evidence.load_full()
    }

    /// What is taken in from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.alarms.crier().listen()
    }

    /// Stops following, waits until nothing is written any more, and gives the directory back.
    pub async fn shutdown(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        self.files.close().await;
    }
}

type Restored = (Option<Disk>, Keeper, Replica);

fn restore(
    dir: Option<PathBuf>,
    mut keeper: Keeper,
    alarms: &Alarms,
) -> Result<Restored, StartError> {
    let now = Moment::now();
    let Some(dir) = dir else { return Ok((None, keeper, Replica::new(now))) };
    let disk = Disk::open(&dir)?;
    for document in disk.keys()? {
        if let Err(error) = keeper.accept(&document) {
            alarms.raise(Alarm::Disk, &error);
            break;
        }
    }
    let nobody = FeedKeys::default();
    let (replica, result) = disk.restore(keeper.held().map_or(&nobody, |held| &held.feed), now);
    if let Err(error) = result {
        alarms.raise(Alarm::Disk, &error);
    }
    Ok((Some(disk), keeper, replica))
}
