//! The keys document, `scrip-keys+jwt`: which keys followers believe.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deny::OBJECT_VERSION;
use crate::json::{self, JsonError};
use crate::jwk::{Jwk, KeySet};
use crate::limits::MAX_INTEGER;

/// Largest payload of a keys document, in bytes.
pub const MAX_KEYS_BYTES: usize = 64 * 1024;

/// A keys document to be signed by the root key.
#[derive(Debug, Clone, Serialize)]
pub struct KeysDocument {
    /// [`OBJECT_VERSION`].
    pub ver: u64,
    /// Issuer URL.
    pub iss: String,
    /// Its number, from 1, without gaps.
    pub version: u64,
    /// Database time.
    pub iat: u64,
    /// Keys that may sign the next document.
    pub roots: Vec<Jwk>,
    /// Keys that sign batches, heartbeats and manifests.
    pub feed_keys: Vec<Jwk>,
    /// Keys that sign tokens.
    pub token_keys: Vec<Jwk>,
}

/// A keys document as read, each list member by member.
#[derive(Debug)]
pub struct PublishedKeys {
    /// Issuer URL.
    pub iss: String,
    /// Its number.
    pub version: u64,
    /// Database time.
    pub iat: u64,
    /// Keys that may sign the next document.
    pub roots: KeySet,
    /// Keys that sign batches, heartbeats and manifests.
    pub feed_keys: KeySet,
    /// Keys that sign tokens.
    pub token_keys: KeySet,
}

impl PublishedKeys {
    /// Reads the decoded payload of a JWS. The caller verifies the signature; a first contact has
    /// to look into the document to find the root that it pins.
    ///
    /// # Errors
    /// [`JsonError`] for anything unknown, ambiguous or too long, and where no root is usable.
    pub fn parse(payload: &[u8]) -> Result<Self, JsonError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Document<'d> {
            ver: u64,
            iss: String,
            version: u64,
            iat: u64,
            #[serde(borrow)]
            roots: Vec<&'d RawValue>,
            #[serde(borrow)]
            feed_keys: Vec<&'d RawValue>,
            #[serde(borrow)]
            token_keys: Vec<&'d RawValue>,
        }
        json::bounded(payload, MAX_KEYS_BYTES)?;
        json::unambiguous(payload)?;
        let document: Document<'_> = serde_json::from_slice(payload)?;
        let set =
            |members: Vec<&RawValue>| KeySet::from_members(members.into_iter().map(RawValue::get));
        let keys = Self {
            iss: document.iss,
            version: document.version,
            iat: document.iat,
            roots: set(document.roots),
            feed_keys: set(document.feed_keys),
            token_keys: set(document.token_keys),
        };
        if document.ver != OBJECT_VERSION || keys.version >= MAX_INTEGER || keys.iat >= MAX_INTEGER
        {
            return Err(JsonError::custom("unknown `ver`, or a number of 2^53 or more"));
        }
        if keys.roots.keys.is_empty() {
            return Err(JsonError::custom("no usable root key"));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// RFC 8037 appendix A.2.
    fn jwk() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn document() -> Value {
        json!({"ver": 1, "iss": "https://sts.example", "version": 3, "iat": 5, "roots": [jwk()],
            "feed_keys": [{"kty": "AKP"}, jwk()], "token_keys": []})
    }

    fn with(member: &str, value: Value) -> Result<PublishedKeys, JsonError> {
        let mut document = document();
        document[member] = value;
        PublishedKeys::parse(document.to_string().as_bytes())
    }

    #[test]
    fn each_list_is_read_member_by_member() {
        let keys = with("iat", json!(6)).unwrap();
        assert_eq!((keys.iss.as_str(), keys.version, keys.iat), ("https://sts.example", 3, 6));
        let counts = |set: &KeySet| (set.keys.len(), set.odd.len());
        assert_eq!(counts(&keys.roots), (1, 0));
        assert_eq!(counts(&keys.feed_keys), (1, 1));
        assert_eq!(counts(&keys.token_keys), (0, 0));
    }

    #[test]
    fn n79_a_document_is_versioned_bounded_and_strict() {
        for (member, odd) in [
            ("ver", json!(2)),
            ("ver", json!(0)),
            ("version", json!(MAX_INTEGER)),
            ("version", json!(-1)),
            ("iat", json!(MAX_INTEGER)),
            ("token_keys", Value::Null),
            ("later", json!(1)),
        ] {
            assert!(with(member, odd.clone()).is_err(), "{member} {odd}");
        }
        assert!(with("version", json!(MAX_INTEGER - 1)).is_ok());
        assert!(with("iat", json!(MAX_INTEGER - 1)).is_ok());
        let padded = |length: usize| {
            let document = document().to_string();
            let padding = " ".repeat(length - document.len());
            PublishedKeys::parse((document + &padding).as_bytes())
        };
        assert!(padded(65_536).is_ok());
        assert!(padded(65_537).is_err());
    }

    #[test]
    fn a_document_without_a_usable_root_is_none() {
        assert!(with("roots", json!([])).is_err());
        assert!(with("roots", json!([{"kty": "AKP"}])).is_err());
    }
}
