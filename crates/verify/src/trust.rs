//! Whom a verifier believes.

use std::sync::Arc;

use scrip_token::Typ;
use scrip_token::compact::Header;
use scrip_token::jwk::KeySet;
use scrip_token::signature::VerifyingKey;

use crate::deny::DenySet;
use crate::freshness::Information;
use crate::rejection::Rejection;

/// The issuers that are believed at one moment, each with what is known about its revocations.
///
/// Keys, deny rules and freshness belong to one issuer each: no issuer can vouch for, revoke or
/// refresh the tokens of another.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a>(Sources<'a>);

#[derive(Debug, Clone, Copy)]
enum Sources<'a> {
    One([(&'a Issuer, Information); 1]),
    Several(&'a [(&'a Issuer, Information)]),
}

/// Issuers that cannot be believed at the same time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// One key under two issuers: whose tokens does it sign?
    #[error("key {kid} stands under two issuers")]
    SharedKey {
        /// Its thumbprint.
        kid: String,
    },
    /// One issuer twice: whose deny set counts?
    #[error("issuer {iss} is there twice")]
    RepeatedIssuer {
        /// Its URL.
        iss: String,
    },
}

impl<'a> Trust<'a> {
    /// A single issuer.
    #[must_use]
    pub fn one(issuer: &'a Issuer, information: Information) -> Self {
        Self(Sources::One([(issuer, information)]))
    }

    /// Several issuers.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn several(sources: &'a [(&'a Issuer, Information)]) -> Result<Self, TrustError> {
        for (position, (issuer, _)) in sources.iter().enumerate() {
            for (other, _) in sources.iter().take(position) {
                if issuer.iss == other.iss {
                    return Err(TrustError::RepeatedIssuer { iss: issuer.iss().to_owned() });
                }
                if let Some(kid) = issuer.keys.kids().find(|kid| other.keys.by_kid(kid).is_some()) {
                    return Err(TrustError::SharedKey { kid: kid.to_owned() });
                }
            }
        }
        Ok(Self(Sources::Several(sources)))
    }

    /// The key of this thumbprint.
    pub(crate) fn by_kid(&self, kid: &str) -> Result<Trusted<'a>, Rejection> {
        self.find(|key| *key.kid == *kid).ok_or_else(|| {
            if self.sources().iter().all(|(issuer, _)| issuer.keys.is_empty()) {
                Rejection::NoKeys
            } else {
                Rejection::UnknownKid { kid: kid.to_owned() }
            }
        })
    }

    /// The key whose tokens have this decoded header, if they are written as Scrip writes them.
    pub(crate) fn by_header(&self, header: &[u8]) -> Option<Trusted<'a>> {
        self.find(|key| key.header.as_bytes() == header)
    }

    fn find(&self, is_meant: impl Fn(&Published) -> bool) -> Option<Trusted<'a>> {
        // There are few keys: comparing is quicker than hashing.
        self.sources().iter().find_map(|&(issuer, information)| {
            let published = issuer.keys.0.iter().find(|key| is_meant(key))?;
            Some(Trusted { issuer, information, published })
        })
    }

    fn sources(&self) -> &[(&'a Issuer, Information)] {
        match &self.0 {
            Sources::One(source) => source.as_slice(),
            Sources::Several(sources) => sources,
        }
    }
}

/// A key that counts, whose it is, and what is known about that issuer's revocations.
pub(crate) struct Trusted<'a> {
    pub(crate) issuer: &'a Issuer,
    pub(crate) information: Information,
    pub(crate) published: &'a Published,
}

/// One issuer: its URL, its keys, its deny set. Immutable; a change makes a new one, and sharing
/// the unchanged parts costs nothing.
#[derive(Debug, Clone)]
pub struct Issuer {
    iss: Arc<str>,
    keys: Keys,
    deny: DenySet,
}

impl Issuer {
    /// `iss` is compared with the claim byte by byte.
    #[must_use]
    pub fn new(iss: impl Into<String>, keys: Keys, deny: DenySet) -> Self {
        Self { iss: Arc::from(iss.into()), keys, deny }
    }

    /// Its URL.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.iss
    }

    /// Whether its key may sign for `iss`: only its own.
    pub(crate) fn check(&self, iss: &str) -> Result<(), Rejection> {
        if *iss == *self.iss {
            return Ok(());
        }
        Err(Rejection::WrongIssuer { token: iss.to_owned(), expected: self.iss.to_string() })
    }

    pub(crate) fn shared_iss(&self) -> Arc<str> {
        Arc::clone(&self.iss)
    }

    /// The keys that may sign its tokens.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What it has revoked.
    #[must_use]
    pub fn deny(&self) -> &DenySet {
        &self.deny
    }
}

/// Keys that may sign an issuer's tokens, by `kid`. Cloning shares them.
///
/// Every key counts that is published for signing tokens, active or not yet. A key that is not to
/// count any more is no longer published.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<[Published]>);

#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) kid: Arc<str>,
    pub(crate) key: VerifyingKey,
    header: String,
}

impl From<KeySet> for Keys {
    /// The odd keys of the set have been left out by [`KeySet`] already.
    fn from(set: KeySet) -> Self {
        let keys = set.keys.into_iter().map(|(jwk, key)| {
            let header = Header::written(key.alg(), Typ::AccessToken, &jwk.kid);
            Published { kid: jwk.kid.into(), key, header }
        });
        Self(keys.collect())
    }
}

impl Keys {
    /// The key of this thumbprint.
    #[must_use]
    pub fn by_kid(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.iter().find(|published| *published.kid == *kid).map(|published| &published.key)
    }

    /// Every thumbprint, in the order of the set.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|published| &*published.kid)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
