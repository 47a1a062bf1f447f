//! Where Vault is and how to log in.

use std::{io, path::PathBuf, time::Duration};

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::Reason;

const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Where Vault is, where its secrets are, and how to log in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://vault.internal:8200`; without user, query or fragment.
    pub addr: Url,
    /// Where the KV v2 engine is mounted.
    pub mount: String,
    /// What stands between the mount and `<tenant>/<name>`.
    pub prefix: String,
    /// Vault Enterprise's namespace.
    pub namespace: Option<String>,
    /// PEM file of the only authorities trusted for `addr`; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// How to log in. The login's policies must let it look itself up and renew itself, as Vault's
    /// own `default` does.
    pub auth: Auth,
    /// How often [`MasterCredentials::refresh`](super::MasterCredentials::refresh) is meant to be
    /// called. What has not been seen for twice as long is read again before it counts.
    pub refresh: Duration,
    /// How long after it was last seen a credential goes on while Vault is away.
    pub grace: Duration,
}

/// How to log in. What is a file is read again at each login.
#[derive(Debug, Clone)]
pub enum Auth {
    /// With a token that somebody else obtained.
    Token(Source),
    /// <https://developer.hashicorp.com/vault/docs/auth/approle>
    AppRole {
        /// Where the method is mounted, mostly `approle`.
        mount: String,
        /// Names the role.
        role_id: Source,
        /// Proves it.
        secret_id: Source,
    },
    /// <https://developer.hashicorp.com/vault/docs/auth/kubernetes>
    Kubernetes {
        /// Where the method is mounted, mostly `kubernetes`.
        mount: String,
        /// The role's name.
        role: String,
        /// The service account's token.
        jwt: Source,
    },
}

/// Where a secret of the login comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The secret itself.
    Value(SecretString),
    /// A file: its first 64 KiB, without the white space around them.
    File(PathBuf),
}

impl Source {
    pub(super) async fn read(&self) -> Result<SecretString, Reason> {
        self.read_plain().await.map(SecretString::from)
    }

    /// For the request types, which take their secrets plain.
    pub(super) async fn read_plain(&self) -> Result<String, Reason> {
        let path = match self {
            Self::Value(secret) => return Ok(secret.expose_secret().to_owned()),
            Self::File(path) => path,
        };
        let mut text = Zeroizing::new(String::new());
        let read = async {
            let file = tokio::fs::File::open(path).await?;
            file.take(MAX_FILE_BYTES).read_to_string(&mut text).await
        };
        match read.await {
            Ok(_) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            Ok(_) => Err(Reason::Login("the file of the secret is empty")),
            Err(_) => Err(Reason::Login("the file of the secret cannot be read")),
        }
    }
}

/// Why a [`Vault`](super::Vault) cannot be started at all.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// Not an http(s) address, or one with more in it than a host and a path.
    #[error("the address of Vault must be http or https, without user, query and fragment")]
    Address,
    /// Nothing that fits into a header.
    #[error("the namespace of Vault is not one line of text")]
    Namespace,
    /// The authorities' file.
    #[error("cannot read {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The authorities' certificates.
    #[error("{path} has no certificate in PEM form")]
    Ca {
        /// The file.
        path: PathBuf,
    },
    /// The HTTP client.
    #[error("no HTTP client: {0}")]
    Http(String),
}
