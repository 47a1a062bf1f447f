//! Recorded -> signed, with keys whose private halves lie in a home (files; Vault later) and whose
//! times lie in the database.

mod files;
mod generate;
pub mod lifecycle;
mod publish;
pub mod root;
pub mod rotation;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use scrip_token::jwk::Jwk;
use scrip_token::signature::KeyError;
use scrip_token::{Alg, SigningKey, Typ, VerifyingKey, limits};
use secrecy::SecretString;

use crate::recorder::Recorded;
use crate::store::{Session, StoreError, signing_keys};

pub use files::{Files, HomeError};
pub use generate::{generate, generate_digest_key};
pub use lifecycle::{Key, Purpose, State};
pub use publish::publish_keys;

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// This replica does not have the private half.
    #[error("no private key for {0}")]
    NoKey(String),
    /// The primitive failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Above what Envoy and others take.
    #[error("the token would have {0} bytes, at most {most} are built", most = limits::MAX_MINTED_BYTES)]
    TooLarge(usize),
    /// The files of the keys.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The rows of the keys.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is to be signed cannot be written as JSON.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
}

/// The private keys that this replica has.
pub struct Signer {
    home: Files,
    keys: ArcSwap<Keys>,
}

#[derive(Clone, Default)]
struct Keys {
    loaded: HashMap<String, Arc<SigningKey>>,
    /// Never loaded again.
    withdrawn: BTreeSet<String>,
}

impl Signer {
    /// A signer whose keys lie in `folder`; none is loaded yet.
    ///
    /// # Errors
    /// [`HomeError`] where the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self, HomeError> {
        Ok(Self { home: Files::open(folder)?, keys: ArcSwap::default() })
    }

    /// Where the private halves lie.
    #[must_use]
    pub fn home(&self) -> &Files {
        &self.home
    }

    /// Loads the private half of each key that can still be needed and is not loaded yet.
    ///
    /// # Errors
    /// [`HomeError`] for the first one that is missing, readable by others, or another key.
    pub fn load(&self, keys: &[Key], now: u64) -> Result<(), HomeError> {
        let (needed, retired): (Vec<_>, Vec<_>) =
            keys.iter().partition(|key| key.state(now) != State::Retired);
        let mut missing = Ok(());
        let keys = self.keys.load();
        let is_here = |kid| keys.loaded.contains_key(kid) || keys.withdrawn.contains(kid);
        for key in needed.into_iter().filter(|key| !is_here(&key.jwk.kid)) {
            match self.home.read(&key.jwk.kid, key.jwk.alg) {
                Ok(private) => self.adopt(private),
                Err(error) => missing = missing.and(Err(error)),
            }
        }
        // A loaded key without a row stays: it is just being made.
        self.change(|keys| {
            keys.loaded.retain(|kid, _| !retired.iter().any(|key| key.jwk.kid == *kid));
        });
        missing
    }

    /// Takes a key that was just made.
    pub fn adopt(&self, key: SigningKey) {
        let key = Arc::new(key);
        self.change(|keys| {
            if !keys.withdrawn.contains(key.kid()) {
                keys.loaded.insert(key.kid().to_owned(), key.clone());
            }
        });
    }

    /// Keys that are known to be revoked sign nothing more, whatever the database says: after a failover
    /// it may be one that has not heard of it.
    pub fn withdraw(&self, revoked: &BTreeSet<String>) {
        if revoked.is_subset(&self.keys.load().withdrawn) {
            return;
        }
        self.change(|keys| {
            keys.withdrawn.extend(revoked.iter().cloned());
            keys.loaded.retain(|kid, _| !revoked.contains(kid));
        });
    }

    fn change(&self, change: impl Fn(&mut Keys)) {
        self.keys.rcu(|keys| {
            let mut keys = Keys::clone(keys);
            change(&mut keys);
            keys
        });
    }

    /// Whether the private half is here.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        self.keys.load().loaded.contains_key(kid)
    }

    /// Whether the key `kid` made this signature over `message`, and still may; `None` where the key is
    /// not here, for example because another replica has just made it.
    #[must_use]
    pub fn has_signed(&self, kid: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
        let keys = self.keys.load();
        if keys.withdrawn.contains(kid) {
            return Some(false);
        }
        let key = VerifyingKey::new(keys.loaded.get(kid)?.public());
        Some(key.is_ok_and(|key| key.verify(message, signature)))
    }

    /// Signs what has been recorded; nothing else can become a token.
    ///
    /// # Errors
    /// [`SignerError::NoKey`], [`SignerError::Key`], [`SignerError::TooLarge`].
    pub fn sign(&self, recorded: &Recorded) -> Result<SecretString, SignerError> {
        let token = self.sign_as(Typ::AccessToken, recorded.kid(), recorded.payload())?;
        if token.len() > limits::MAX_MINTED_BYTES {
            return Err(SignerError::TooLarge(token.len()));
        }
        Ok(SecretString::from(token))
    }

    /// Signs an object of the feed or a keys document. A key that another replica has just made is
    /// read here: nobody's revocation waits until keys are looked at again.
    ///
    /// # Errors
    /// [`SignerError::NoKey`], [`SignerError::Key`].
    pub fn sign_object(&self, typ: Typ, kid: &str, payload: &[u8]) -> Result<String, SignerError> {
        debug_assert_ne!(typ, Typ::AccessToken, "tokens are signed when recorded");
        if !self.has(kid)
            && let Ok(private) = self.home.read(kid, Alg::EdDSA)
        {
            self.adopt(private);
        }
        self.sign_as(typ, kid, payload)
    }

    fn sign_as(&self, typ: Typ, kid: &str, payload: &[u8]) -> Result<String, SignerError> {
        let keys = self.keys.load();
        let key = keys.loaded.get(kid).ok_or_else(|| SignerError::NoKey(kid.to_owned()))?;
        Ok(key.sign(typ, payload)?)
    }
}

/// All keys of the installation.
///
/// # Errors
/// [`StoreError::Corrupt`] for a row that is no key.
pub async fn keys(from: &mut impl Session) -> Result<Vec<Key>, StoreError> {
    let rows = signing_keys::all(from).await?;
    let keys = rows.iter().filter(|row| row.purpose != "digest").map(Key::from_row);
    keys.collect()
}

/// The key that signs tokens of `alg` now.
#[must_use]
pub fn active(keys: &[Key], alg: Alg, now: u64) -> Option<&Key> {
    keys.iter().find(|key| {
        key.purpose == Purpose::Token && key.jwk.alg == alg && key.state(now) == State::Active
    })
}

/// The key that signs objects of the feed, or keys documents: the one that took over last, which
/// goes on until the next one takes over.
#[must_use]
pub fn single(keys: &[Key], purpose: Purpose, now: u64) -> Option<&Key> {
    let signs = |key: &&Key| {
        key.purpose == purpose && matches!(key.state(now), State::Active | State::Retiring)
    };
    let begun = |key: &&Key| key.active_from.filter(|from| *from <= now);
    keys.iter().filter(signs).filter(|key| begun(key).is_some()).max_by_key(begun)
}

/// The public keys of `purpose` that are published: all but retired ones.
pub fn published_jwks(keys: &[Key], purpose: Purpose, now: u64) -> impl Iterator<Item = &Jwk> {
    keys.iter()
        .filter(move |key| key.purpose == purpose && key.state(now) != State::Retired)
        .map(|key| &key.jwk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_another_replica_has_just_made_signs_here_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let [here, there] = [(); 2].map(|()| Signer::open(folder.path()).unwrap());
        let (key, pkcs8) = generate(Alg::EdDSA).unwrap();
        let sign = |signer: &Signer| signer.sign_object(Typ::Keys, key.kid(), b"{}");
        assert!(matches!(sign(&here), Err(SignerError::NoKey(_))));
        there.home().write(key.kid(), &pkcs8).unwrap();
        assert_eq!(sign(&here).unwrap(), sign(&there).unwrap());
    }

    #[test]
    fn a_key_that_is_just_being_made_survives_a_look_at_the_rows() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::open(folder.path()).unwrap();
        let made = || generate(Alg::EdDSA).unwrap();
        let ((old, old_pkcs8), (new, _)) = (made(), made());
        signer.home().write(old.kid(), &old_pkcs8).unwrap();
        let row = |retire_at| Key {
            jwk: old.public().clone(),
            purpose: Purpose::Token,
            published: 0,
            active_from: Some(0),
            retire_at,
            revoked_at: None,
        };
        let new_kid = new.kid().to_owned();
        signer.adopt(new);
        signer.load(&[row(None)], 10).unwrap();
        assert!(signer.has(old.kid()) && signer.has(&new_kid));
        signer.load(&[row(Some(10))], 10).unwrap();
        assert!(!signer.has(old.kid()) && signer.has(&new_kid));
    }
    #[test]
    fn a_withdrawn_key_signs_nothing_more_whatever_the_rows_say() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::open(folder.path()).unwrap();
        let (key, pkcs8) = generate(Alg::EdDSA).unwrap();
        signer.home().write(key.kid(), &pkcs8).unwrap();
        let active = Key {
            jwk: key.public().clone(),
            purpose: Purpose::Feed,
            published: 0,
            active_from: Some(0),
            retire_at: None,
            revoked_at: None,
        };
        let sign = || signer.sign_object(Typ::Keys, key.kid(), b"{}");
        signer.load(std::slice::from_ref(&active), 10).unwrap();
        let jws = sign().unwrap();
        let (message, signature) = jws.rsplit_once('.').unwrap();
        let signature = scrip_token::compact::from_base64url(signature).unwrap();
        let has_signed = || signer.has_signed(key.kid(), message.as_bytes(), &signature);
        assert_eq!(has_signed(), Some(true));

        signer.withdraw(&[key.kid().to_owned()].into());
        for _ in 0..2 {
            assert!(matches!(sign(), Err(SignerError::NoKey(_))));
            assert_eq!(has_signed(), Some(false));
            signer.load(std::slice::from_ref(&active), 10).unwrap();
        }
    }
}
