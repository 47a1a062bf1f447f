//! Master credentials held in Vault's KV v2: one secret for each client at
//! `<mount>/<prefix>/<tenant>/<name>`, field `secret`.
//!
//! [`Vault`] speaks to the server, [`Versions`] judges which versions are good, and
//! [`MasterCredentials`] proves what a client presents, out of keyed digests in memory.

mod answers;
mod credentials;
mod digests;
mod rotation;
mod session;
mod settings;
mod transport;
mod versions;

use std::{sync::Arc, time::Duration};

use rustify::endpoint::Endpoint;
use scrip_token::QualifiedName;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::task::AbortOnDropHandle;
use vaultrs::api::kv2::requests::{
    ListSecretsRequest, ReadSecretMetadataRequest, ReadSecretRequest, SetSecretRequest,
    SetSecretRequestOptions,
};

pub use credentials::{Ended, MasterCredentials, Proof};
pub use rotation::InVault;
pub use settings::{Auth, InvalidSettings, Settings, Source};
pub use transport::{MAX_BODY_BYTES, TIMEOUT};
pub use versions::{MAX_GOOD, Version, VersionName, Versions};

use crate::clock;
use answers::{Envelope, Keys, Metadata, Read, Written};
use session::Session;
use transport::{LOST, Reply, Transport};

/// Characters that a secret must have when somebody else put it into Vault.
pub const MIN_SECRET_CHARS: usize = 32;

/// How long a login is kept that Vault knows but denies what it asks for. Then a new one is tried,
/// because the role may have been given other policies.
const RELOGIN_AFTER: Duration = Duration::from_secs(60);

/// Vault, logged in for as long as this lives.
pub struct Vault {
    core: Arc<Core>,
    keeper: AbortOnDropHandle<()>,
}

/// Why Vault did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// 404: there is no such secret or no such version (any more).
    #[error("Vault has no such secret")]
    NotFound,
    /// 403 for a login that Vault knows.
    #[error("Vault denies access to the secret")]
    Denied,
    /// The check-and-set of a write lost: there is a newer version than the one expected.
    #[error("the secret has been written by somebody else")]
    Conflict,
    /// The version is there, but no secret that counts.
    #[error("the secret in Vault cannot be used: {0}")]
    Unusable(&'static str),
    /// No answer that decides anything.
    #[error("Vault is away: {0}")]
    Away(#[from] Reason),
}

/// Why Vault counts as away. Never repeats what was sent, nor anything Vault said that is not
/// known to be harmless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Connecting or answering took longer than [`TIMEOUT`].
    #[error("no answer in time")]
    TimedOut,
    /// No connection, no TLS session, or one that broke.
    #[error("{0}")]
    Unreachable(String),
    /// A status that is no answer to the question: 503 sealed, 501 uninitialised, a redirect ..
    #[error("status {status} ({})", said.unwrap_or("no reason given"))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Vault's own words.
        said: Option<&'static str>,
    },
    /// More than [`MAX_BODY_BYTES`].
    #[error("the answer is too large")]
    TooLarge,
    /// Not the JSON that Vault answers with.
    #[error("the answer is not Vault's")]
    Unreadable,
    /// What was to be sent makes no request.
    #[error("the request cannot be sent")]
    Unsendable,
    /// There is nothing to log in with.
    #[error("cannot log in: {0}")]
    Login(&'static str),
}

impl Vault {
    /// Starts to log in and to stay logged in, inside the current tokio runtime. Vault need not be
    /// there yet.
    ///
    /// # Errors
    /// [`InvalidSettings`] for an address, a namespace or a certificate that cannot be right.
    pub fn start(settings: Settings) -> Result<Self, InvalidSettings> {
        let transport = Transport::new(&settings)?;
        let state = watch::Sender::new(State::LoggingIn);
        let core = Arc::new(Core { settings, transport, state });
        let keeper = tokio::spawn(session::keep(Arc::clone(&core)));
        Ok(Self { core, keeper: AbortOnDropHandle::new(keeper) })
    }

    /// The task that stays logged in.
    #[must_use]
    pub fn keeper(&self) -> AbortHandle {
        self.keeper.abort_handle()
    }

    /// Every version of a client's secret.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::Denied`], [`VaultError::Away`].
    pub async fn versions(&self, client: &QualifiedName) -> Result<Versions, VaultError> {
        let request = ReadSecretMetadataRequest {
            mount: self.core.settings.mount.clone(),
            path: self.path(client),
        };
        let reply = self.core.call(&request).await?;
        Ok(judged(&reply)?.parse::<Envelope<Metadata>>()?.data.into_versions()?)
    }

    /// The secret of one version.
    ///
    /// # Errors
    /// As [`Vault::versions`]; [`VaultError::Unusable`] without a text of [`MIN_SECRET_CHARS`] or
    /// more in the field `secret`.
    pub async fn secret(
        &self,
        client: &QualifiedName,
        version: u64,
    ) -> Result<SecretString, VaultError> {
        let request = ReadSecretRequest {
            mount: self.core.settings.mount.clone(),
            path: self.path(client),
            version: Some(version),
        };
        let reply = self.core.call(&request).await?;
        let mut read = judged(&reply)?.parse::<Envelope<Read>>()?.data;
        let Some(serde_json::Value::String(mut text)) = read.data.remove("secret") else {
            return Err(VaultError::Unusable("it has no text in the field `secret`"));
        };
        // `vault kv put secret=@file` keeps the file's last line break, which whoever reads the same
        // file as a credential leaves off.
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        let secret = SecretString::from(text);
        if secret.expose_secret().chars().count() < MIN_SECRET_CHARS {
            return Err(VaultError::Unusable("it has fewer than 32 characters"));
        }
        Ok(secret)
    }

    /// Writes a new version by check-and-set: only where `newest` is still the last one there (0:
    /// there is none). Who loses reads the winner's.
    ///
    /// # Errors
    /// [`VaultError::Conflict`], [`VaultError::Denied`], [`VaultError::Away`]. After `Away` the
    /// write may have happened all the same.
    pub async fn write(
        &self,
        client: &QualifiedName,
        secret: &SecretString,
        newest: u64,
    ) -> Result<Version, VaultError> {
        let request = SetSecretRequest {
            mount: self.core.settings.mount.clone(),
            path: self.path(client),
            data: serde_json::json!({ "secret": secret.expose_secret() }),
            options: Some(SetSecretRequestOptions {
                cas: u32::try_from(newest).map_err(|_| VaultError::Conflict)?,
            }),
        };
        let reply = self.core.call(&request).await?;
        if reply.said() == Some(LOST) {
            return Err(VaultError::Conflict);
        }
        Ok(judged(&reply)?.parse::<Envelope<Written>>()?.data.into_version())
    }

    /// The names of what is in the folder of a tenant, or in the one above all tenants; those of
    /// folders end in a slash. Nothing where there is no such folder.
    ///
    /// # Errors
    /// [`VaultError::Denied`], [`VaultError::Away`].
    pub async fn list(&self, tenant: Option<&str>) -> Result<Vec<String>, VaultError> {
        let prefix = &self.core.settings.prefix;
        let request = ListSecretsRequest {
            mount: self.core.settings.mount.clone(),
            path: tenant.map_or_else(|| prefix.clone(), |tenant| format!("{prefix}/{tenant}")),
        };
        let reply = self.core.call(&request).await?;
        match judged(&reply) {
            Ok(reply) => Ok(reply.parse::<Envelope<Keys>>()?.data.keys),
            Err(VaultError::NotFound) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Why Vault is away, where it is.
    #[must_use]
    pub fn away(&self) -> Option<Reason> {
        match &*self.core.state.borrow() {
            State::Away(reason) => Some(reason.clone()),
            State::LoggingIn | State::Ready(_) => None,
        }
    }

    /// What this was started with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    fn path(&self, client: &QualifiedName) -> String {
        format!("{}/{client}", self.core.settings.prefix)
    }
}

/// What the task that stays logged in shares with those who ask.
struct Core {
    settings: Settings,
    transport: Transport,
    state: watch::Sender<State>,
}

/// The circuit breaker: the first request that finds Vault away turns `Ready` into `Away`, where
/// every further one fails at once until the keeper has found Vault again.
#[derive(Clone)]
enum State {
    LoggingIn,
    Ready(Arc<Session>),
    Away(Reason),
}

impl State {
    fn is(&self, session: &Arc<Session>) -> bool {
        matches!(self, Self::Ready(current) if Arc::ptr_eq(current, session))
    }
}

impl Core {
    async fn call<E: Endpoint>(&self, request: &E) -> Result<Reply, VaultError> {
        let session = self.session().await?;
        let reply = self.send(request, &session).await?;
        if reply.status.as_u16() != 403 {
            return Ok(reply);
        }
        let known = match session::look_up(self, &session.token).await {
            Ok(_) => true,
            Err(Reason::Refused { status: 403, .. }) => false,
            Err(reason) => return Err(self.report(&session, reason).into()),
        };
        let age = clock::monotonic().saturating_duration_since(session.since);
        if known && age < RELOGIN_AFTER {
            return Ok(reply);
        }
        self.relogin(&session);
        let session = self.session().await?;
        self.send(request, &session).await
    }

    async fn send<E: Endpoint>(
        &self,
        request: &E,
        session: &Arc<Session>,
    ) -> Result<Reply, VaultError> {
        let sent = self.transport.send(request, Some(&session.token)).await;
        sent.map_err(|reason| self.report(session, reason).into())
    }

    async fn session(&self) -> Result<Arc<Session>, Reason> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::LoggingIn));
        match settled.await.map(|state| state.clone()) {
            Ok(State::Ready(session)) => Ok(session),
            Ok(State::Away(reason)) => Err(reason),
            Ok(State::LoggingIn) | Err(_) => Err(Reason::Login("nobody tries to")),
        }
    }

    /// Asks for a new login. Only the first caller does; the others find one under way, or already
    /// another session.
    fn relogin(&self, session: &Arc<Session>) {
        self.state.send_if_modified(|state| {
            let current = state.is(session);
            if current {
                *state = State::LoggingIn;
            }
            current
        });
    }

    fn ready(&self, session: Arc<Session>) {
        if let State::Away(reason) = self.state.send_replace(State::Ready(session)) {
            tracing::info!(%reason, "Vault is back");
        }
    }

    fn away(&self, reason: &Reason) {
        let was = self.state.send_replace(State::Away(reason.clone()));
        if !matches!(was, State::Away(_)) {
            tracing::error!(%reason, "Vault is away");
        }
    }

    /// Reports that Vault is away, as a request with `session` found; ignored if Vault was found
    /// again since. That the answer about one secret is too large or unreadable says nothing about
    /// the others.
    fn report(&self, session: &Arc<Session>, reason: Reason) -> Reason {
        let general =
            matches!(reason, Reason::TimedOut | Reason::Unreachable(_) | Reason::Refused { .. });
        let turned = self.state.send_if_modified(|state| {
            let turns = general && state.is(session);
            if turns {
                *state = State::Away(reason.clone());
            }
            turns
        });
        if turned {
            tracing::error!(%reason, "Vault is away");
        }
        reason
    }
}

fn judged(reply: &Reply) -> Result<&Reply, VaultError> {
    match reply.status.as_u16() {
        404 => Err(VaultError::NotFound),
        403 => Err(VaultError::Denied),
        _ => Ok(reply),
    }
}
