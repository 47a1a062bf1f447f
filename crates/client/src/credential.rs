use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::clock;
use crate::error::ClientError;
use crate::vault::{Reader, Vault};

/// Where a workload keeps its master credential.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum MasterCredential {
    /// The credential itself.
    Text(SecretString),
    /// A file with the credential and nothing else, such as Vault Agent writes. Read again for
    /// each mint.
    File(PathBuf),
    /// Vault's KV v2 engine. Read again every hour, unless told otherwise, and as soon as the service
    /// refuses it.
    Vault(Vault),
}

/// Far shorter than the overlap of a rotation (24 h unless configured), and far longer than a login
/// for each mint would need.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(3600);
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A [`MasterCredential`] ready for reading.
pub(crate) enum Credential {
    Text(SecretString),
    File(PathBuf),
    Vault { reader: Box<Reader>, keep_for: Duration, kept: Option<Kept> },
}

pub(crate) struct Kept {
    secret: SecretString,
    since: Instant,
}

impl Credential {
    /// What the source holds. Of Vault that is what was read within the hour or, while Vault is
    /// away, what was read last: whether that is still good is for the service to decide.
    pub(crate) async fn current(&mut self) -> Result<SecretString, ClientError> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(path) => read_secret(path).await,
            Self::Vault { reader, keep_for, kept } => {
                let now = clock::now().monotonic;
                if let Some(kept) = kept.as_ref().filter(|kept| now < kept.since + *keep_for) {
                    return Ok(kept.secret.clone());
                }
                match (reader.read().await, &kept) {
                    (Ok(secret), _) => {
                        *kept = Some(Kept { secret: secret.clone(), since: now });
                        Ok(secret)
                    }
                    (Err(error), Some(kept)) => {
                        tracing::warn!(%error, "going on with the master credential read before");
                        Ok(kept.secret.clone())
                    }
                    (Err(error), None) => Err(error),
                }
            }
        }
    }

    /// What the source holds now, if that is another secret than the `refused` one.
    pub(crate) async fn instead_of(&mut self, refused: &SecretString) -> Option<SecretString> {
        if let Self::Vault { kept, .. } = self {
            *kept = None;
        }
        match self.current().await {
            Ok(secret) => {
                let same =
                    secret.expose_secret().as_bytes().ct_eq(refused.expose_secret().as_bytes());
                (!bool::from(same)).then_some(secret)
            }
            Err(error) => {
                tracing::warn!(%error, "the refused master credential could not be read again");
                None
            }
        }
    }
}

/// Reads a file that holds one secret, without the line break at its end.
pub(crate) async fn read_secret(path: &Path) -> Result<SecretString, ClientError> {
    let unreadable = |reason: &dyn std::fmt::Display| {
        ClientError::Credential(format!("{}: {reason}", path.display()))
    };
    let file = File::open(path).await.map_err(|error| unreadable(&error))?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .await
        .map_err(|error| unreadable(&error))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(unreadable(&"is empty")),
        // The file may go on beyond what was read: this may be half a secret.
        _ if text.len() as u64 == MAX_FILE_BYTES => Err(unreadable(&"is too long")),
        secret => Ok(SecretString::from(secret)),
    }
}
