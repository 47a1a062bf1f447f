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
