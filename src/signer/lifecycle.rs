//! What a key's three times mean, so that replicas agree without talking to each other.

use scrip_token::jwk::{Jwk, KeySet};
use scrip_token::limits::HORIZON;
use serde::Serialize;

use crate::store::StoreError;
use crate::store::signing_keys::SigningKey as Row;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Tokens.
    Token,
    /// Batches, heartbeats and manifests of the deny list.
    Feed,
    /// Keys documents.
    Root,
}

impl Purpose {
    /// As in the database and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Feed => "feed",
            Self::Root => "root",
        }
    }
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Published, so that verifiers know it before it signs.
    Next,
    /// Signs.
    Active,
    /// Signs no more; what it signed is still good.
    Retiring,
    /// Nothing it signed is good any more; it is not published.
    Retired,
}

/// A key with its times, in seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The public half.
    pub jwk: Jwk,
    /// What it signs.
    pub purpose: Purpose,
    /// Since when verifiers can know it.
    pub published: u64,
    /// Since when it signs; `None`: not decided.
    pub active_from: Option<u64>,
    /// When it is taken away. It signs no more from the moment this is set, so no token's `exp`
    /// passes it.
    pub retire_at: Option<u64>,
    /// When it was revoked.
    pub revoked_at: Option<u64>,
}

impl Key {
    /// Where it is in its life at `now`.
    #[must_use]
    pub fn state(&self, now: u64) -> State {
        match (self.active_from, self.retire_at) {
            _ if self.revoked_at.is_some() => State::Retired,
            (_, Some(retire_at)) if retire_at <= now => State::Retired,
            (_, Some(_)) => State::Retiring,
            (Some(active_from), None) if active_from <= now => State::Active,
            _ => State::Next,
        }
    }

    /// From when on a key that is `next` may sign: once every verifier's cache has it.
    #[must_use]
    pub fn ripe_at(&self, lead: u64) -> u64 {
        self.published + lead
    }

    /// The earliest retirement of a key that stops signing at `now`: everything it signed has
    /// expired by then.
    #[must_use]
    pub const fn retirement(now: u64) -> u64 {
        now + HORIZON
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn from_row(row: &Row) -> Result<Self, StoreError> {
        let corrupt = |what: &str| StoreError::Corrupt(format!("signing key {}: {what}", row.kid));
        let mut set = KeySet::from_members([row.jwk.as_str()]);
        let (jwk, _) = set.keys.pop().ok_or_else(|| corrupt("its JWK is not usable"))?;
        let purpose = match row.purpose.as_str() {
            "token" => Purpose::Token,
            "feed" => Purpose::Feed,
            "root" => Purpose::Root,
            _ => return Err(corrupt("its purpose is unknown")),
        };
        let time = |seconds: Option<i64>| seconds.map(i64::unsigned_abs);
        Ok(Self {
            jwk,
            purpose,
            published: row.published.unsigned_abs(),
            active_from: time(row.active_from),
            retire_at: time(row.retire_at),
            revoked_at: time(row.revoked_at),
        })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// Where the JWK cannot be written, which does not happen.
    pub fn to_row(&self) -> Result<Row, serde_json::Error> {
        let time = |seconds: Option<u64>| seconds.map(u64::cast_signed);
        Ok(Row {
            kid: self.jwk.kid.clone(),
            alg: self.jwk.alg.to_string(),
            purpose: self.purpose.as_str().to_owned(),
            jwk: serde_json::to_string(&self.jwk)?,
            published: self.published.cast_signed(),
            active_from: time(self.active_from),
            retire_at: time(self.retire_at),
            revoked_at: time(self.revoked_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scrip_token::Alg;
    use scrip_token::jwk::Material;

    #[test]
    fn n57_n110_state_follows_from_the_times_alone() {
        let material = Material::Ed25519 { x: [7; 32] };
        let jwk = Jwk { alg: Alg::EdDSA, kid: material.thumbprint(), material };
        let mut key = Key {
            jwk,
            purpose: Purpose::Token,
            published: 100,
            active_from: None,
            retire_at: None,
            revoked_at: None,
        };
        assert_eq!(key.state(u64::MAX), State::Next);
        assert_eq!(key.ripe_at(1200), 1300);
        key.active_from = Some(1300);
        assert_eq!((key.state(1299), key.state(1300)), (State::Next, State::Active));
        key.retire_at = Some(Key::retirement(2000));
        assert_eq!((key.state(2000), key.state(2904)), (State::Retiring, State::Retiring));
        assert_eq!(key.state(2905), State::Retired);
        key.revoked_at = Some(1);
        assert_eq!(key.state(0), State::Retired);
    }
}
