//! Private keys as files: one PKCS#8 PEM each, named after its thumbprint, mode 0600.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pem::Pem;
use scrip_token::{Alg, SigningKey};
use zeroize::Zeroizing;

use super::generate::digest_key_name;

/// Largest key file, in bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024;
const PRIVATE_KEY: &str = "PRIVATE KEY";
const DIGEST_KEY: &str = "SCRIP DIGEST KEY";

/// A folder of private keys.
pub struct Files(PathBuf);

/// Why a key's file cannot be used. Names files, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It cannot be read or written. A missing file is an error too, because a key on record is
    /// never made anew.
    #[error("{path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner can read it.
    #[error("{0} can be read by others; `chmod 600` it")]
    Exposed(PathBuf),
    /// It holds something else than the key it is named after.
    #[error("{0} does not hold the key that it is named after")]
    OtherKey(PathBuf),
}

impl Files {
    /// Opens the folder, made with mode 0700 where absent.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn open(folder: &Path) -> Result<Self, HomeError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| HomeError::Io { path: folder.to_owned(), source })?;
        Ok(Self(folder.to_owned()))
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn read(&self, kid: &str, alg: Alg) -> Result<SigningKey, HomeError> {
        let path = self.path(kid);
        let pkcs8 = self.read_pem(&path, PRIVATE_KEY)?;
        match SigningKey::from_pkcs8(alg, &pkcs8) {
            Ok(key) if key.kid() == kid => Ok(key),
            _ => Err(HomeError::OtherKey(path)),
        }
    }

    /// Reads the key of the digests.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn read_digest_key(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, HomeError> {
        let path = self.path(name);
        let bytes = self.read_pem(&path, DIGEST_KEY)?;
        match <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new) {
            Ok(key) if digest_key_name(&key) == name => Ok(key),
            _ => Err(HomeError::OtherKey(path)),
        }
    }

    /// Writes a private key and syncs it, folder included.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn write(&self, kid: &str, pkcs8: &[u8]) -> Result<(), HomeError> {
        self.write_pem(kid, PRIVATE_KEY, pkcs8)
    }

    /// Writes the key of the digests.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn write_digest_key(&self, name: &str, key: &[u8; 32]) -> Result<(), HomeError> {
        self.write_pem(name, DIGEST_KEY, key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    fn read_pem(&self, path: &Path, tag: &str) -> Result<Zeroizing<Vec<u8>>, HomeError> {
        let io = |source| HomeError::Io { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(io)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(HomeError::Exposed(path.to_owned()));
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(HomeError::OtherKey(path.to_owned()));
        }
        let text = Zeroizing::new(std::fs::read(path).map_err(io)?);
        match pem::parse(text.as_slice()) {
            Ok(pem) if pem.tag() == tag => Ok(Zeroizing::new(pem.into_contents())),
            _ => Err(HomeError::OtherKey(path.to_owned())),
        }
    }

    fn write_pem(&self, name: &str, tag: &str, contents: &[u8]) -> Result<(), HomeError> {
        let path = self.path(name);
        let text = Zeroizing::new(pem::encode(&Pem::new(tag, contents)));
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(|source| HomeError::Io { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::generate;

    #[test]
    fn a_key_is_read_back_and_refused_when_exposed_missing_or_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path()).unwrap();
        let (key, pkcs8) = generate(Alg::ES256).unwrap();
        let (other, other_pkcs8) = generate(Alg::ES256).unwrap();
        files.write(key.kid(), &pkcs8).unwrap();
        assert_eq!(files.read(key.kid(), Alg::ES256).unwrap().kid(), key.kid());
        assert!(matches!(files.write(key.kid(), &pkcs8), Err(HomeError::Io { .. })));
        assert!(matches!(files.read(other.kid(), Alg::ES256), Err(HomeError::Io { .. })));

        let path = files.path(key.kid());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o604, 0o640, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(files.read(key.kid(), Alg::ES256), Err(HomeError::Exposed(_))));
        }
        std::fs::remove_file(&path).unwrap();
        files.write(key.kid(), &other_pkcs8).unwrap();
        assert!(matches!(files.read(key.kid(), Alg::ES256), Err(HomeError::OtherKey(_))));
    }

    #[test]
    fn a_digest_key_is_read_back_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path()).unwrap();
        let (name, key) = crate::signer::generate_digest_key();
        files.write_digest_key(&name, &key).unwrap();
        assert_eq!(*files.read_digest_key(&name).unwrap(), *key);
    }
}
