//! Proves master credentials held in Vault, out of keyed digests in memory.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use ring::hmac;
use scrip_token::QualifiedName;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{mpsc, watch},
    time::timeout_at,
};

use super::{
    Vault, VaultError, VersionName, Versions,
    digests::{Digest, Digests, Entry, Refresh},
};
use crate::clock;

/// Most clients remembered at once.
const MAX_CLIENTS: usize = 65_536;
/// Clients read at once by [`MasterCredentials::refresh`].
const PARALLEL: usize = 8;
/// Whom Vault is asked about for the sake of those of whom it keeps nothing.
const NOBODY: &str = "nobody/at-all";
/// No version is good by overlap for longer, whatever a client's own overlap.
const LONGEST_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// The credentials of clients whose source is Vault. Cheap to clone.
#[derive(Clone)]
pub struct MasterCredentials(Arc<Shared>);

/// What came of proving a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It is a good version's secret.
    Good {
        /// Which one: what the token says in `cred`.
        version: VersionName,
    },
    /// It is no good version's secret.
    Bad,
    /// Nobody can say now.
    Away,
}

/// A version that Vault shows destroyed or deleted. Told once for each version and start of the
/// service, so it may be known already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whose it is.
    pub client: QualifiedName,
    /// The version.
    pub version: VersionName,
}

impl MasterCredentials {
    /// `key` makes the digests; versions seen ended are sent to `ended`, again at the next refresh
    /// where it has no room.
    #[must_use]
    pub fn new(vault: Vault, key: hmac::Key, ended: mpsc::Sender<Ended>) -> Self {
        let digests = Mutex::new(Digests::new(MAX_CLIENTS, clock::monotonic()));
        let nobody = QualifiedName::parse(NOBODY).expect("a name of the right form");
        Self(Arc::new(Shared { vault, key, ended, nobody, digests }))
    }

    /// Whether `presented` is a good version of the secret of `client`, at
    /// `now` in unix seconds.
    ///
    /// Answers from memory where it can. A mismatch, and what has not been seen for long, is read
    /// again and judged anew; a read that is not over by `deadline` goes on without the caller,
    /// and Vault counts as away. So it does where too many ask at once; where only this client does,
    /// what was read a moment ago counts.
    pub async fn prove(
        &self,
        client: &QualifiedName,
        overlap: Duration,
        presented: &SecretString,
        now: u64,
        deadline: Instant,
    ) -> Proof {
        let shared = &self.0;
        let presented = shared.digest(presented);
        let settings = shared.vault.settings();
        let seen = settings.refresh * 2;
        let judge = |within| shared.matching(client, &presented, overlap, now, within);

        let away = self.is_away();
        if let Some(version) = judge(if away { settings.grace } else { seen }) {
            return Proof::Good { version };
        }
        if away {
            return Proof::Away;
        }
        let asked = clock::monotonic();
        let refresh = shared.digests.lock().refresh(client, asked);
        let is_spent = matches!(refresh, Refresh::Spent);
        let over = match self.running(client, refresh, now) {
            // The sender never sends: that it is gone is the news.
            Some(mut running) => timeout_at(deadline.into(), running.changed()).await.is_ok(),
            None => !is_spent,
        };
        let away = self.is_away();
        if let Some(version) = judge(if away { settings.grace } else { settings.grace.max(seen) }) {
            return Proof::Good { version };
        }
        // By how long it took and not by when it was over: one may have been under way already, of this
        // client's, or of whoever is nobody too.
        let in_time = |entry: &Entry| entry.took.is_some_and(|took| asked + took <= deadline);
        let digests = shared.digests.lock();
        let settled = digests.entry(client).is_some_and(|entry| entry.settled && in_time(entry));
        if over && settled && !away { Proof::Bad } else { Proof::Away }
    }

    /// What [`Self::prove`] says of a wrong secret, for whoever Vault keeps nothing of: it is asked
    /// about nobody, and so is as slow, as busy or as far away as for those whom it keeps.
    pub async fn prove_nobody(&self, now: u64, deadline: Instant) -> Proof {
        let (nobody, none) = (&self.0.nobody, SecretString::default());
        match self.prove(nobody, Duration::ZERO, &none, now, deadline).await {
            Proof::Good { .. } | Proof::Bad => Proof::Bad,
            Proof::Away => Proof::Away,
        }
    }

    /// Reads what Vault has of each of `clients`, at `now` in unix seconds. To be called with those
    /// that have live tokens, every [`Settings::refresh`](super::Settings::refresh), and with one
    /// whose secret has just been written.
    pub async fn refresh(&self, clients: impl IntoIterator<Item = QualifiedName>, now: u64) {
        stream::iter(clients)
            .for_each_concurrent(PARALLEL, async |client| {
                let refresh = self.0.digests.lock().begin(&client, clock::monotonic());
                if let Some(mut running) = self.running(&client, refresh, now) {
                    // Closed when it is over, which `changed` calls an error.
                    let _ = running.changed().await;
                }
            })
            .await;
    }

    /// What Vault last said of a client's versions; `None` where it was not asked yet.
    #[must_use]
    pub fn versions(&self, client: &QualifiedName) -> Option<Versions> {
        self.0.digests.lock().entry(client).map(|entry| entry.versions.clone())
    }

    /// Whether Vault is away, so that every failed proof is [`Proof::Away`], other sources'
    /// included.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.0.vault.away().is_some()
    }

    /// Vault itself.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.0.vault
    }

    /// The refresh to wait for, started in a task of its own: who asked first may leave.
    fn running(
        &self,
        client: &QualifiedName,
        refresh: Refresh,
        now: u64,
    ) -> Option<watch::Receiver<()>> {
        match refresh {
            Refresh::Refused | Refresh::Spent => None,
            Refresh::Join(running) => Some(running),
            Refresh::Start(over, running) => {
                let shared = Arc::clone(&self.0);
                let client = client.clone();
                tokio::spawn(async move {
                    shared.load(&client, now).await;
                    drop(over);
                });
                Some(running)
            }
        }
    }
}

struct Shared {
    vault: Vault,
    key: hmac::Key,
    ended: mpsc::Sender<Ended>,
    nobody: QualifiedName,
    digests: Mutex<Digests>,
}

impl Shared {
    fn matching(
        &self,
        client: &QualifiedName,
        presented: &Digest,
        overlap: Duration,
        now: u64,
        within: Duration,
    ) -> Option<VersionName> {
        let digests = self.digests.lock();
        let entry = digests.entry(client)?;
        let age = clock::monotonic().saturating_duration_since(entry.answered?);
        if age > within {
            return None;
        }
        entry.matching(presented, overlap.min(LONGEST_OVERLAP), now)
    }

    /// Asks Vault what it has of `client`, and remembers.
    async fn load(&self, client: &QualifiedName, now: u64) {
        let asked = clock::monotonic();
        let known = match self.digests.lock().entry(client) {
            Some(entry) => entry.digests.clone(),
            None => Vec::new(),
        };
        let read = self.read(client, known, now).await;
        let mut digests = self.digests.lock();
        let Some(entry) = digests.entry_mut(client) else { return };
        entry.took = Some(asked.elapsed());
        match read {
            Ok((versions, known)) => {
                entry.versions = versions;
                entry.digests = known;
                self.end(client, entry, now);
            }
            Err(VaultError::Away(reason)) => {
                entry.settled = false;
                tracing::debug!(%client, %reason, "cannot read a master credential");
                return;
            }
            // Refuses, but kills no tokens: only metadata that show a version ended do that.
            Err(error) => {
                let is_news = entry.answered.is_none() || !entry.digests.is_empty();
                if is_news && *client != self.nobody {
                    tracing::error!(%client, %error, "a master credential is refused");
                }
                entry.versions = Versions::default();
                entry.digests = Vec::new();
            }
        }
        entry.answered = Some(asked);
        entry.settled = true;
    }

    /// The versions there are, and the digests of those that can be good; a version never changes,
    /// so one that is `known` is not read again.
    async fn read(
        &self,
        client: &QualifiedName,
        known: Vec<(VersionName, Option<Digest>)>,
        now: u64,
    ) -> Result<(Versions, Vec<(VersionName, Option<Digest>)>), VaultError> {
        let versions = self.vault.versions(client).await?;
        let mut digests = Vec::new();
        for version in versions.good(LONGEST_OVERLAP, now) {
            let name = version.name();
            if let Some(found) = known.iter().find(|(version, _)| *version == name) {
                digests.push(*found);
                continue;
            }
            match self.vault.secret(client, version.number).await {
                Ok(secret) => digests.push((name, Some(self.digest(&secret)))),
                Err(VaultError::Away(reason)) => return Err(reason.into()),
                Err(error) => {
                    tracing::error!(%client, version = %name, %error, "a master credential is refused");
                    if matches!(error, VaultError::Unusable(_)) {
                        digests.push((name, None));
                    }
                }
            }
        }
        Ok((versions, digests))
    }

    fn end(&self, client: &QualifiedName, entry: &mut Entry, now: u64) {
        entry
            .ended
            .retain(|(name, _)| entry.versions.iter().any(|version| version.name() == *name));
        for version in entry.versions.ended(now) {
            let name = version.name();
            if !entry.ended.iter().any(|(ended, _)| *ended == name) {
                entry.ended.push((name, false));
            }
        }
        for (version, told) in &mut entry.ended {
            if !*told {
                let ended = Ended { client: client.clone(), version: *version };
                *told = self.ended.try_send(ended).is_ok();
            }
        }
        let ended: Vec<VersionName> = entry.ended.iter().map(|(name, _)| *name).collect();
        entry.versions.end(&ended);
    }

    fn digest(&self, secret: &SecretString) -> Digest {
        let tag = hmac::sign(&self.key, secret.expose_secret().as_bytes());
        let mut digest = Digest::default();
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}
