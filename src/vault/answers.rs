//! What Vault's KV v2 answers with.
//! <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, de::Error};

use super::{Reason, Version, Versions};

/// What every answer is wrapped in.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
}

/// The answer to `metadata/`.
#[derive(Deserialize)]
pub(super) struct Metadata {
    current_version: u64,
    versions: BTreeMap<u64, Entry>,
}

impl Metadata {
    /// # Errors
    /// [`Reason::Unreadable`] where the last version is not the current one.
    pub(super) fn into_versions(self) -> Result<Versions, Reason> {
        let newest = self.versions.last_key_value().map_or(0, |(number, _)| *number);
        if newest != self.current_version {
            return Err(Reason::Unreadable);
        }
        let versions = self.versions.into_iter();
        Ok(Versions::new(versions.map(|(number, entry)| entry.into_version(number)).collect()))
    }
}

#[derive(Deserialize)]
struct Entry {
    created_time: DateTime<Utc>,
    #[serde(deserialize_with = "time_or_empty")]
    deletion_time: Option<DateTime<Utc>>,
    destroyed: bool,
}

impl Entry {
    fn into_version(self, number: u64) -> Version {
        Version {
            number,
            created: self.created_time,
            deleted: self.deletion_time,
            destroyed: self.destroyed,
        }
    }
}

/// The answer to a list.
#[derive(Deserialize)]
pub(super) struct Keys {
    pub(super) keys: Vec<String>,
}

/// The answer to `data/`: the fields of one version.
#[derive(Deserialize)]
pub(super) struct Read {
    pub(super) data: serde_json::Map<String, serde_json::Value>,
}

/// The answer to a write.
#[derive(Deserialize)]
pub(super) struct Written {
    version: u64,
    #[serde(flatten)]
    entry: Entry,
}

impl Written {
    pub(super) fn into_version(self) -> Version {
        self.entry.into_version(self.version)
    }
}

/// Vault writes no time as an empty text.
fn time_or_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(D::Error::custom)
}
