//! Proof that an object of the feed was signed by whom we believe.

use std::sync::Arc;

use scrip_token::compact::{Compact, CompactError, Header, HeaderError};
use scrip_token::deny::{Batch, Heartbeat, MAX_BATCH_BYTES, MAX_SIGN_OF_LIFE_BYTES, Manifest};
use scrip_token::json::JsonError;
use scrip_token::jwk::KeySet;
use scrip_token::{Digest, Typ, VerifyingKey};

/// An object whose signature, `typ` and `iss` have been checked. Only [`FeedKeys::prove`] makes one.
#[derive(Debug, Clone)]
pub(crate) struct Proven<T> {
    object: T,
    digest: Digest,
    text: Arc<str>,
}

#[cfg(test)]
impl<T: serde::Serialize> Proven<T> {
    /// As if a feed key had signed it, for tests that are not about signatures.
    pub(crate) fn assumed(object: T) -> Self {
        let payload = serde_json::to_string(&object).unwrap();
        Self { object, digest: Digest::of(payload.as_bytes()), text: payload.into() }
    }
}

impl<T> Proven<T> {
    /// The object.
    pub(crate) fn object(&self) -> &T {
        &self.object
    }

    /// Digest of the payload, as `prev` and `head` carry it.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The JWS it came in.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }
}

/// The keys that one issuer signs batches, heartbeats and manifests with.
#[derive(Debug, Default)]
pub(crate) struct FeedKeys {
    issuer: String,
    keys: Vec<(String, VerifyingKey)>,
}

impl FeedKeys {
    pub(crate) fn new(issuer: &str, set: KeySet) -> Self {
        let keys = set.keys.into_iter().map(|(jwk, key)| (jwk.kid, key)).collect();
        Self { issuer: issuer.to_owned(), keys }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes a JWS for what it claims to be, or refuses it. The payload is not looked at before
    /// the signature holds.
    pub(crate) fn prove<T: Object>(&self, jws: &str) -> Result<Proven<T>, Unproven> {
        let compact = Compact::parse(jws.as_bytes(), T::MOST_BYTES)?;
        let header = Header::parse(&compact.header, T::TYP)?;
        let Some((_, key)) = self.keys.iter().find(|(kid, _)| *kid == header.kid) else {
            return Err(Unproven::UnknownKey);
        };
        if !key.alg().is_spelt(&header.alg)
            || !key.verify(compact.signing_input, &compact.signature)
        {
            return Err(Unproven::Signature);
        }
        let object = T::parse(&compact.payload)?;
        if object.iss() != self.issuer {
            return Err(Unproven::Issuer);
        }
        Ok(Proven { object, digest: Digest::of(&compact.payload), text: jws.into() })
    }
}

/// Why an object was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    /// Not a JWS.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// Another kind of object, or not a header of ours.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Signed by a key that is not, or no longer, a feed key of this issuer.
    #[error("signed by an unknown key")]
    UnknownKey,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    Signature,
    /// Signed, and not understood: an unknown `ver`, member or kind of entry.
    #[error("signed, and not understood: {0}")]
    Payload(#[from] JsonError),
    /// Signed for another issuer.
    #[error("`iss` is another issuer")]
    Issuer,
}

/// A kind of object that a feed key signs.
pub(crate) trait Object: Sized {
    const TYP: Typ;
    const MOST_BYTES: usize;
    fn parse(payload: &[u8]) -> Result<Self, JsonError>;
    fn iss(&self) -> &str;
}

macro_rules! object {
    ($($name:ident, $typ:ident, $most:expr;)*) => {$(
        impl Object for $name {
            const TYP: Typ = Typ::$typ;
            const MOST_BYTES: usize = jws_bytes($most);
            fn parse(payload: &[u8]) -> Result<Self, JsonError> {
                Self::parse(payload)
            }
            fn iss(&self) -> &str {
                &self.iss
            }
        }
    )*};
}
object! {
    Batch, DenyBatch, MAX_BATCH_BYTES;
    Heartbeat, DenyHeartbeat, MAX_SIGN_OF_LIFE_BYTES;
    Manifest, DenySnapshot, MAX_SIGN_OF_LIFE_BYTES;
}

/// Longest JWS with a payload of so many bytes: base64, a header, and an RSA signature at most.
pub(crate) const fn jws_bytes(payload: usize) -> usize {
    payload.div_ceil(3) * 4 + 2048
}
