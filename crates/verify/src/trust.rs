//! Whom a verifier believes.

use std::collections::HashMap;
use std::sync::Arc;

use scrip_token::jwk::KeySet;
use scrip_token::signature::VerifyingKey;

use crate::deny::DenySet;
use crate::freshness::Information;

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
                    return Err(TrustError::RepeatedIssuer { iss: issuer.iss.clone() });
                }
                if let Some(kid) = issuer.keys.kids().find(|kid| other.keys.by_kid(kid).is_some()) {
                    return Err(TrustError::SharedKey { kid: kid.to_owned() });
                }
            }
        }
        Ok(Self(Sources::Several(sources)))
    }

    pub(crate) fn key(&self, kid: &str) -> Option<(&'a Issuer, Information, &'a VerifyingKey)> {
        let sources = match &self.0 {
            Sources::One(source) => source.as_slice(),
            Sources::Several(sources) => sources,
        };
        sources.iter().find_map(|&(issuer, information)| {
            issuer.keys.by_kid(kid).map(|key| (issuer, information, key))
        })
    }
}

/// One issuer: its URL, its keys, its deny set. Immutable; a change makes a new one, and sharing
/// the unchanged parts costs nothing.
#[derive(Debug, Clone)]
pub struct Issuer {
    iss: String,
    keys: Keys,
    deny: DenySet,
}

impl Issuer {
    /// `iss` is compared with the claim byte by byte.
    #[must_use]
    pub fn new(iss: impl Into<String>, keys: Keys, deny: DenySet) -> Self {
        Self { iss: iss.into(), keys, deny }
    }

    /// Its URL.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.iss
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
/// Everything published for signing tokens counts, also a key that is not yet active; a key that
/// is not to count any more is left out.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<HashMap<String, VerifyingKey>>);

impl From<KeySet> for Keys {
    /// The odd keys of the set have been left out by [`KeySet`] already.
    fn from(set: KeySet) -> Self {
        Self(Arc::new(set.keys.into_iter().map(|(jwk, key)| (jwk.kid, key)).collect()))
    }
}

impl Keys {
    /// The key of this thumbprint.
    #[must_use]
    pub fn by_kid(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.get(kid)
    }

    /// Every thumbprint, in no order.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
