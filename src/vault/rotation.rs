//! New secrets in Vault: written by check-and-set, so that two who write at once agree.

use scrip_token::QualifiedName;
use secrecy::SecretString;

use super::{Vault, VaultError, Versions};
use crate::secret;

/// What Vault has of a client after one has been written.
pub struct InVault {
    /// Every version, the newest included.
    pub versions: Versions,
    /// The newest secret where it was written here. One that somebody else wrote is used, but never
    /// shown.
    pub secret: Option<SecretString>,
}

impl InVault {
    /// Adopts the secret that is there, else writes one. `now` in seconds.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn adopt_or_write(
        vault: &Vault,
        client: &QualifiedName,
        now: u64,
    ) -> Result<Self, VaultError> {
        let versions = vault.every_version(client).await?;
        match versions.newest() {
            Some(newest) if !newest.has_ended(now) => {
                // So that a secret which cannot be used is reported now, and not at the first
                // failed proof.
                vault.secret(client, newest.number).await?;
                Ok(Self { versions, secret: None })
            }
            _ => Self::follow(vault, client, versions).await,
        }
    }

    /// Writes a new secret after those that are there.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn rotate(vault: &Vault, client: &QualifiedName) -> Result<Self, VaultError> {
        let versions = vault.every_version(client).await?;
        Self::follow(vault, client, versions).await
    }

    /// Writes a new secret after `versions`, by check-and-set: who loses adopts the winner's.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn follow(
        vault: &Vault,
        client: &QualifiedName,
        versions: Versions,
    ) -> Result<Self, VaultError> {
        let secret = secret::generate(client.tenant());
        let newest = versions.newest().map_or(0, |version| version.number);
        match vault.write(client, &secret, newest).await {
            Ok(version) => {
                let versions = versions.iter().cloned().chain([version]).collect();
                Ok(Self { versions: Versions::new(versions), secret: Some(secret) })
            }
            Err(VaultError::Conflict) => {
                Ok(Self { versions: vault.every_version(client).await?, secret: None })
            }
            Err(error) => Err(error),
        }
    }
}

impl Vault {
    /// Every version of a client's secret; none where there is no secret.
    ///
    /// # Errors
    /// [`VaultError::Denied`], [`VaultError::Away`].
    pub async fn every_version(&self, client: &QualifiedName) -> Result<Versions, VaultError> {
        match self.versions(client).await {
            Err(VaultError::NotFound) => Ok(Versions::default()),
            found => found,
        }
    }
}
