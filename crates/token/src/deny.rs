//! The deny list as it travels: entries, and the signed objects that carry them.
//!
//! Everything unknown is refused as a whole. A verifier that skipped an entry it does not
//! understand would enforce less than was acknowledged, in silence.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::json::{self, JsonError, present};
use crate::jti::Jti;
use crate::limits::MAX_INTEGER;
use crate::name::{QualifiedName, is_label};

/// Most entries in one batch.
pub const MAX_BATCH_ENTRIES: usize = 1024;
/// Largest payload of a batch, in bytes.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// Largest payload of a heartbeat or a manifest, in bytes.
pub const MAX_SIGN_OF_LIFE_BYTES: usize = 4096;

/// One entry: which tokens are refused. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Entry {
    /// One token and, through `lin`, everything delegated from it.
    Jti {
        /// Which.
        jti: Jti,
        /// When the entry may be forgotten.
        until: u64,
    },
    /// A client's tokens with `iat <= before`.
    Client {
        /// Which.
        client: QualifiedName,
        /// The cut.
        before: u64,
        /// When the entry may be forgotten.
        until: u64,
    },
    /// A subject's tokens with `iat <= before`.
    Sub {
        /// Which.
        sub: Subject,
        /// The cut.
        before: u64,
        /// When the entry may be forgotten.
        until: u64,
    },
    /// A tenant's tokens with `iat <= before`.
    Tenant {
        /// Which.
        tenant: String,
        /// The cut.
        before: u64,
        /// When the entry may be forgotten.
        until: u64,
    },
    /// Every token traded for one version of a master credential.
    Cred {
        /// Which.
        cred: Credential,
        /// When the entry may be forgotten.
        until: u64,
    },
    /// Everything a signing key signed, for ever: a stolen key can date its tokens as it likes.
    Kid {
        /// Which.
        kid: String,
    },
    /// Every token with `iat <= before`.
    All {
        /// Always true.
        all: True,
        /// The cut.
        before: u64,
        /// When the entry may be forgotten.
        until: u64,
    },
}

/// A subject within its tenant; `id` is the text of the `sub` claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The tenant.
    pub tenant: String,
    /// The text of the `sub` claim.
    pub id: String,
}

/// A version of a client's master credential; `version` is the text of the `cred` claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The client.
    pub client: QualifiedName,
    /// The text of the `cred` claim.
    pub version: String,
}

/// The JSON literal `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "bool")]
pub struct True;

impl From<True> for bool {
    fn from(True: True) -> Self {
        true
    }
}

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? {
            Ok(Self)
        } else {
            Err(D::Error::custom("only `true` is allowed"))
        }
    }
}

impl Entry {
    /// When the entry may be forgotten; `None`: never.
    #[must_use]
    pub fn until(&self) -> Option<u64> {
        match self {
            Self::Jti { until, .. }
            | Self::Client { until, .. }
            | Self::Sub { until, .. }
            | Self::Tenant { until, .. }
            | Self::Cred { until, .. }
            | Self::All { until, .. } => Some(*until),
            Self::Kid { .. } => None,
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    /// Decides by the members that are there; a combination that is none of the seven is refused.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Members {
            #[serde(default, deserialize_with = "present")]
            jti: Option<Jti>,
            #[serde(default, deserialize_with = "present")]
            client: Option<QualifiedName>,
            #[serde(default, deserialize_with = "present")]
            sub: Option<Subject>,
            #[serde(default, deserialize_with = "present")]
            tenant: Option<String>,
            #[serde(default, deserialize_with = "present")]
            cred: Option<Credential>,
            #[serde(default, deserialize_with = "present")]
            kid: Option<String>,
            #[serde(default, deserialize_with = "present")]
            all: Option<True>,
            #[serde(default, deserialize_with = "present")]
            before: Option<u64>,
            #[serde(default, deserialize_with = "present")]
            until: Option<u64>,
        }
        let m = Members::deserialize(deserializer)?;
        if m.before.into_iter().chain(m.until).any(|t| t >= MAX_INTEGER) {
            return Err(D::Error::custom("a time is 2^53 or more"));
        }
        let entry =
            match (m.jti, m.client, m.sub, m.tenant, m.cred, m.kid, m.all, m.before, m.until) {
                (Some(jti), None, None, None, None, None, None, None, Some(until)) => {
                    Self::Jti { jti, until }
                }
                (None, Some(client), None, None, None, None, None, Some(before), Some(until)) => {
                    Self::Client { client, before, until }
                }
                (None, None, Some(sub), None, None, None, None, Some(before), Some(until)) => {
                    Self::Sub { sub, before, until }
                }
                (None, None, None, Some(tenant), None, None, None, Some(before), Some(until))
                    if is_label(&tenant) =>
                {
                    Self::Tenant { tenant, before, until }
                }
                (None, None, None, None, Some(cred), None, None, None, Some(until)) => {
                    Self::Cred { cred, until }
                }
                (None, None, None, None, None, Some(kid), None, None, None)
                    if crate::compact::is_kid(&kid) =>
                {
                    Self::Kid { kid }
                }
                (None, None, None, None, None, None, Some(all), Some(before), Some(until)) => {
                    Self::All { all, before, until }
                }
                _ => return Err(D::Error::custom("not one of the seven kinds of entry")),
            };
        Ok(entry)
    }
}

/// A batch of entries, `scrip-deny-batch+jwt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// [`OBJECT_VERSION`].
    pub ver: u64,
    /// Issuer URL.
    pub iss: String,
    /// Epoch, a UUIDv7.
    pub epoch: Jti,
    /// Its number, from 1.
    pub seq: u64,
    /// Digest of the payload of the batch before it; of the epoch's text for the first.
    pub prev: Digest,
    /// When it was signed.
    pub iat: u64,
    /// At most [`MAX_BATCH_ENTRIES`].
    pub entries: Vec<Entry>,
}

/// A sign of life, `scrip-deny-heartbeat+jwt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// [`OBJECT_VERSION`].
    pub ver: u64,
    /// Issuer URL.
    pub iss: String,
    /// Epoch, a UUIDv7.
    pub epoch: Jti,
    /// Number of the newest batch; 0: none yet.
    pub seq: u64,
    /// Digest of its payload.
    pub head: Digest,
    /// Database time, read before `seq` and `head` were.
    pub iat: u64,
    /// Seconds until the next one.
    pub every: u64,
    /// Version of the newest keys document.
    pub keys: u64,
}

/// What a snapshot holds, `scrip-deny-snapshot+jwt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`OBJECT_VERSION`].
    pub ver: u64,
    /// Issuer URL.
    pub iss: String,
    /// Epoch, a UUIDv7.
    pub epoch: Jti,
    /// Number of the newest batch that is in it.
    pub seq: u64,
    /// Digest of that batch's payload.
    pub head: Digest,
    /// Database time, read before `seq` and `head` were.
    pub iat: u64,
    /// Entries in the blob.
    pub count: u64,
    /// Bytes of the blob.
    pub size: u64,
    /// Digest of the blob.
    pub sha256: Digest,
    /// Path of the blob, at the origin that the manifest came from.
    pub blob: String,
    /// Version of the newest keys document.
    pub keys: u64,
}

/// The `ver` of every signed object.
pub const OBJECT_VERSION: u64 = 1;

/// `head` and `prev` of an epoch without batches: the digest of its text.
#[must_use]
pub fn first_head(epoch: Jti) -> Digest {
    Digest::of(epoch.to_string().as_bytes())
}

macro_rules! parse {
    ($($name:ident, $most:expr;)*) => {$(
        impl $name {
            /// Reads the decoded payload of a verified JWS.
            ///
            /// # Errors
            /// [`JsonError`] for anything unknown, ambiguous, out of bounds or too long.
            pub fn parse(payload: &[u8]) -> Result<Self, JsonError> {
                json::bounded(payload, $most)?;
                let object: Self = json::read(payload)?;
                let times_and_numbers = [object.ver, object.seq, object.iat];
                if object.ver != OBJECT_VERSION || times_and_numbers.iter().any(|n| *n >= MAX_INTEGER) {
                    return Err(JsonError::custom("unknown `ver`, or a number of 2^53 or more"));
                }
                object.check()
            }
        }
    )*};
}
parse! {
    Batch, MAX_BATCH_BYTES;
    Heartbeat, MAX_SIGN_OF_LIFE_BYTES;
    Manifest, MAX_SIGN_OF_LIFE_BYTES;
}

impl Batch {
    fn check(self) -> Result<Self, JsonError> {
        if self.seq == 0 || self.entries.is_empty() || self.entries.len() > MAX_BATCH_ENTRIES {
            return Err(JsonError::custom("a batch has a number and 1 to 1024 entries"));
        }
        Ok(self)
    }
}

impl Heartbeat {
    fn check(self) -> Result<Self, JsonError> {
        if !(1..=60).contains(&self.every) {
            return Err(JsonError::custom("`every` is 1 to 60 seconds"));
        }
        Ok(self)
    }
}

impl Manifest {
    fn check(self) -> Result<Self, JsonError> {
        if self.blob != format!("/v1/deny/blobs/{}", self.sha256) {
            return Err(JsonError::custom("`blob` does not name `sha256`"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const JTI: &str = "01a1ee56-5e7b-7fff-bfff-ffffffffffff";

    fn kinds() -> [Value; 7] {
        [
            json!({"jti": JTI, "until": 9}),
            json!({"client": "acme/billing", "before": 1, "until": 9}),
            json!({"sub": {"tenant": "acme", "id": "client:acme/billing"}, "before": 1, "until": 9}),
            json!({"tenant": "acme", "before": 1, "until": 9}),
            json!({"cred": {"client": "acme/billing", "version": "vault:3.1795000000"}, "until": 9}),
            json!({"kid": "k".repeat(43)}),
            json!({"all": true, "before": 1, "until": 9}),
        ]
    }

    fn entry(value: &Value) -> Result<Entry, JsonError> {
        json::read(value.to_string().as_bytes())
    }

    #[test]
    fn the_seven_kinds_read_and_write_the_same() {
        for kind in kinds() {
            assert_eq!(serde_json::to_value(entry(&kind).unwrap()).unwrap(), kind);
        }
    }

    #[test]
    fn an_entry_is_kept_until_its_time_and_one_for_a_key_for_ever() {
        for kind in kinds() {
            assert_eq!(entry(&kind).unwrap().until(), kind["until"].as_u64(), "{kind}");
        }
    }

    #[test]
    fn n92_anything_but_the_seven_kinds_is_refused() {
        for kind in kinds() {
            let mut more = kind.clone();
            more["later"] = json!(1);
            assert!(entry(&more).is_err(), "{more}");
            for member in kind.as_object().unwrap().keys() {
                let mut less = kind.clone();
                less.as_object_mut().unwrap().remove(member);
                assert!(entry(&less).is_err(), "{less}");
            }
            for other in kinds() {
                let mut both = kind.clone();
                both.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
                assert!(kind == other || entry(&both).is_err(), "{both}");
            }
        }
        for odd in [
            json!({"all": false, "before": 1, "until": 9}),
            json!({"jti": JTI, "until": "9"}),
            json!({"jti": JTI, "until": 1.5}),
            json!({"jti": JTI, "until": 1_u64 << 53}),
            json!({"kid": "short"}),
            json!({"tenant": "Acme", "before": 1, "until": 9}),
            json!({"jti": JTI, "until": null}),
            json!({"jti": JTI, "until": 9, "kid": null}),
            json!([]),
            json!({}),
        ] {
            assert!(entry(&odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn n79_objects_are_bounded_and_strict() {
        let head = first_head(Jti::parse(JTI).unwrap());
        let batch = |entries: Value| {
            json!({"ver": 1, "iss": "https://sts.example", "epoch": JTI, "seq": 7, "prev": head,
                "iat": 5, "entries": entries})
        };
        let parse = |value: Value| Batch::parse(value.to_string().as_bytes());
        assert!(parse(batch(json!(kinds()))).is_ok());
        assert!(parse(batch(json!(vec![kinds()[0].clone(); 1024]))).is_ok());
        assert!(parse(batch(json!(vec![kinds()[0].clone(); 1025]))).is_err());
        assert!(parse(batch(json!([]))).is_err());
        for (member, odd) in [
            ("ver", json!(2)),
            ("seq", json!(0)),
            ("seq", json!(-1)),
            ("seq", json!(1_u64 << 53)),
            ("prev", json!("00")),
            ("epoch", json!("x")),
            ("more", json!(1)),
            ("iat", json!(null)),
        ] {
            let mut value = batch(json!(kinds()));
            value[member] = odd;
            assert!(parse(value.clone()).is_err(), "{member} {value}");
        }
        for garbage in ["", "{", "null", "[]", "\u{0}"] {
            assert!(Batch::parse(garbage.as_bytes()).is_err());
            assert!(Heartbeat::parse(garbage.as_bytes()).is_err());
            assert!(Manifest::parse(garbage.as_bytes()).is_err());
        }
        assert!(Heartbeat::parse(&vec![b' '; MAX_SIGN_OF_LIFE_BYTES + 1]).is_err());
    }

    #[test]
    fn a_heartbeat_promises_the_next_within_a_minute() {
        let every = |seconds: u64| {
            let heartbeat = json!({"ver": 1, "iss": "https://sts.example", "epoch": JTI, "seq": 0,
                "head": first_head(Jti::parse(JTI).unwrap()), "iat": 5, "every": seconds, "keys": 3});
            Heartbeat::parse(heartbeat.to_string().as_bytes())
        };
        for (seconds, holds) in [(0, false), (1, true), (60, true), (61, false)] {
            assert_eq!(every(seconds).is_ok(), holds, "{seconds}");
        }
    }

    #[test]
    fn a_manifest_names_its_blob_by_digest() {
        let digest = Digest::of(b"blob");
        let naming = |path: String| {
            let manifest = json!({"ver": 1, "iss": "https://sts.example", "epoch": JTI, "seq": 7,
                "head": digest, "iat": 5, "count": 2, "size": 56, "sha256": digest, "blob": path,
                "keys": 3});
            Manifest::parse(manifest.to_string().as_bytes())
        };
        assert!(naming(format!("/v1/deny/blobs/{digest}")).is_ok());
        for other in
            [Digest::of(b"other").to_string(), format!("{digest}?"), format!("../{digest}")]
        {
            assert!(naming(format!("/v1/deny/blobs/{other}")).is_err(), "{other}");
        }
    }
}
