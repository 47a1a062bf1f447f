use super::acme::Acme;
use super::service::Installation;
use super::until::until;
use scrip_feed::{Alarm, Config, Credential, Follower, Handle, Reader, State};
use scrip_token::Jti;
use scrip_verify::{Information, Rejection, Verifier};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway with a disk of its own, in this process.
pub struct Gateway {
    handle: Handle,
    reader: Reader,
    /// Its disk, where nobody else brought one.
    _dir: Option<TempDir>,
}

impl Gateway {
    /// Follows at the issuer; returns when it is in step.
    pub async fn start(acme: &Acme) -> Self {
        Self::at(acme, &[&acme.installation]).await
    }

    /// Acknowledges what it enforces under this name.
    pub async fn named(acme: &Acme, name: &str) -> Self {
        Self::following(Config { verifier: Some(name.to_owned()), ..config(acme) }).await
    }

    /// Follows at the first of these replicas that answers.
    pub async fn at(acme: &Acme, replicas: &[&Installation]) -> Self {
        let origins = replicas.iter().map(|replica| replica.url().parse().unwrap()).collect();
        Self::following(Config { origins, ..config(acme) }).await
    }

    /// Trusts this root, and whichever it handed over to.
    pub async fn pinned(acme: &Acme, root: &str) -> Self {
        Self::following(Config { root: Some(root.to_owned()), ..config(acme) }).await
    }

    /// Keeps its copy in this folder.
    pub async fn kept_in(acme: &Acme, dir: PathBuf) -> Self {
        let gateway = Self::alone(acme, dir).await;
        gateway.handle.synced().await.unwrap();
        gateway
    }

    /// Goes on by the copy in this folder, whether the service is there or not.
    pub async fn alone(acme: &Acme, dir: PathBuf) -> Self {
        let config = Config { dir: Some(dir), ..config(acme) };
        let (handle, reader) = Follower::start(config).await.unwrap();
        Self { handle, reader, _dir: None }
    }

    async fn following(config: Config) -> Self {
        let dir = TempDir::with_prefix("scrip-follower-").unwrap();
        let config = Config { dir: Some(dir.path().join("feed")), ..config };
        let (handle, reader) = Follower::start(config).await.unwrap();
        handle.synced().await.unwrap();
        Self { handle, reader, _dir: Some(dir) }
    }

    /// Ends it in good order; its disk is free for the next.
    pub async fn end(self) {
        self.handle.shutdown().await;
    }

    pub fn epoch(&self) -> Jti {
        self.reader.view().position().expect("it has a snapshot").epoch
    }

    /// Waits until `token` is accepted.
    pub async fn accepts(&self, token: &str) {
        until("the token is accepted", PATIENCE, async || self.judge(token).ok()).await;
    }

    /// Waits until `token` is refused, by the list or because nobody vouches for its key any more.
    pub async fn refuses(&self, token: &str) {
        until("the token is refused", PATIENCE, async || match self.judge(token) {
            Ok(()) => None,
            Err(Rejection::Revoked(_) | Rejection::UnknownKid { .. }) => Some(()),
            Err(other) => panic!("{other}"),
        })
        .await;
    }

    /// Whether `token` is revoked, as far as is known at this moment; panics where anything else is
    /// wrong with it.
    pub fn knows_of(&self, token: &str) -> bool {
        match self.judge(token) {
            Ok(()) => false,
            Err(Rejection::Revoked(_)) => true,
            Err(other) => panic!("{other}"),
        }
    }

    fn judge(&self, token: &str) -> Result<(), Rejection> {
        let view = self.reader.view();
        let verifier = Verifier::new("llm-gateway", "prod");
        verifier.authenticate(token.as_bytes(), view.now(), &view.trust()).map(drop)
    }

    /// It is in step, and no alarm has been raised, ever.
    pub async fn is_calm(&self) {
        self.is_in_step().await;
        for alarm in Alarm::ALL {
            assert_eq!(self.alarms(alarm), 0, "{alarm:?}");
        }
    }

    pub fn alarms(&self, alarm: Alarm) -> u64 {
        self.handle.alarms().count(alarm)
    }

    /// For three signs of life.
    pub async fn is_in_step(&self) {
        for _ in 0..3 {
            let heard = self.as_of();
            until("the next sign of life", PATIENCE, async || {
                (self.as_of() > heard && self.handle.state() == State::Synced).then_some(())
            })
            .await;
        }
    }

    fn as_of(&self) -> u64 {
        match self.reader.view().information() {
            Information::Followed { as_of, .. } => as_of,
            other => panic!("{other:?}"),
        }
    }
}

fn config(acme: &Acme) -> Config {
    let credential = Credential::Basic {
        id: acme.gateway.id.clone(),
        secret: acme.gateway.secret.clone().into(),
    };
    Config { credential: Some(credential), ..Config::new(acme.installation.url()) }
}
