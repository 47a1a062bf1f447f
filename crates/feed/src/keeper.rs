//! Whose signatures we believe: the keys documents, from the pinned root to the newest. No I/O.

use std::sync::Arc;

use scrip_token::compact::{Compact, CompactError, Header, HeaderError};
use scrip_token::json::JsonError;
use scrip_token::jwk::Odd;
use scrip_token::keys::{MAX_KEYS_BYTES, PublishedKeys};
use scrip_token::{Typ, VerifyingKey};
use scrip_verify::Keys;

use crate::signed::{FeedKeys, jws_bytes};

/// Keeps the newest keys document of one issuer. Each was signed by the pinned root, or by a root
/// that the document before it names.
#[derive(Debug)]
pub(crate) struct Keeper {
    issuer: String,
    pin: Option<String>,
    /// The documents that lead from the pin to the newest, as short as the rotations allow.
    chain: Vec<Link>,
    held: Option<Arc<Held>>,
}

/// What the newest document says.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) version: u64,
    pub(crate) feed: FeedKeys,
    pub(crate) token: Keys,
    /// The documents that lead from the pin to this one, with their versions. Offered one by one
    /// to a keeper with the same pin they bring it to where this one is.
    pub(crate) chain: Vec<(u64, Arc<str>)>,
    /// Keys left out that carry private material.
    pub(crate) leaked: usize,
}

#[derive(Debug)]
struct Link {
    version: u64,
    text: Arc<str>,
    roots: Vec<(String, VerifyingKey)>,
}

/// Why a keys document was refused. What was held before is held still.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysError {
    /// Not a JWS.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// Another kind of object, or not a header of ours.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Not understood.
    #[error("keys document: {0}")]
    Payload(#[from] JsonError),
    /// Signed by a root that neither the pin nor the document before vouches for. Where roots were
    /// rotated, older versions lead to it.
    #[error("keys document {version} is signed by a root that is not trusted (yet)")]
    UnknownRoot {
        /// The version that it claims to be.
        version: u64,
    },
    /// The signature does not hold.
    #[error("keys document: the signature does not hold")]
    Signature,
    /// Signed for another issuer.
    #[error("keys document: `iss` is another issuer")]
    Issuer,
    /// Older than what is held, or the same version with another content.
    #[error("keys document {version} after {held}")]
    Backwards {
        /// The version that was offered.
        version: u64,
        /// The version that is held.
        held: u64,
    },
    /// It names no feed key that this build can use: nothing could be followed.
    #[error("keys document {version} names no usable feed key")]
    NoFeedKey {
        /// Its version.
        version: u64,
    },
}

impl Keeper {
    /// Trusts the root with the thumbprint `pin`; without one, whoever signed the first document.
    pub(crate) fn new(issuer: &str, pin: Option<&str>) -> Self {
        Self {
            issuer: issuer.to_owned(),
            pin: pin.map(str::to_owned),
            chain: Vec::new(),
            held: None,
        }
    }

    pub(crate) fn held(&self) -> Option<&Arc<Held>> {
        self.held.as_ref()
    }

    /// Whether the next document decides whom we trust, and so has to come from the issuer itself.
    pub(crate) fn is_first_contact(&self) -> bool {
        self.held.is_none() && self.pin.is_none()
    }

    /// Takes a document in; `false`: it is the one that is held.
    pub(crate) fn accept(&mut self, jws: &str) -> Result<bool, KeysError> {
        if self.chain.last().is_some_and(|link| *link.text == *jws) {
            return Ok(false);
        }
        let compact = Compact::parse(jws.as_bytes(), jws_bytes(MAX_KEYS_BYTES))?;
        let header = Header::parse(&compact.header, Typ::Keys)?;
        let document = PublishedKeys::parse(&compact.payload)?;
        let version = document.version;
        let roots = document.roots.keys.into_iter().map(|(jwk, key)| (jwk.kid, key)).collect();
        let offered = Link { version, text: jws.into(), roots };

        let (below, key) =
            self.voucher(&header.kid, &offered).ok_or(KeysError::UnknownRoot { version })?;
        if !key.alg().is_spelt(&header.alg)
            || !key.verify(compact.signing_input, &compact.signature)
        {
            return Err(KeysError::Signature);
        }
        if document.iss != self.issuer {
            return Err(KeysError::Issuer);
        }
        if let Some(held) = self.held.as_ref().map(|held| held.version)
            && version <= held
        {
            return Err(KeysError::Backwards { version, held });
        }
        let leaked =
            leaked(&[&document.roots.odd, &document.feed_keys.odd, &document.token_keys.odd]);
        let feed = FeedKeys::new(&self.issuer, document.feed_keys);
        if feed.is_empty() {
            return Err(KeysError::NoFeedKey { version });
        }

        let token = Keys::from(document.token_keys);
        self.pin.get_or_insert(header.kid.into_owned());
        self.chain.truncate(below);
        self.chain.push(offered);
        let chain = self.chain.iter().map(|link| (link.version, link.text.clone())).collect();
        self.held = Some(Arc::new(Held { version, feed, token, chain, leaked }));
        Ok(true)
    }

    /// The key that may sign `offered`, and how many links have to stay below it: none where the
    /// pin itself signed it, otherwise up to the first that names the signer a root.
    ///
    /// Once a document is held, only its own roots sign the next one: a root that it no longer
    /// names is out, were it the pin itself.
    fn voucher<'k>(&'k self, kid: &str, offered: &'k Link) -> Option<(usize, &'k VerifyingKey)> {
        if self.chain.last().is_some_and(|newest| newest.root(kid).is_none()) {
            return None;
        }
        if self.pin.as_deref().is_none_or(|pin| pin == kid)
            && let Some(key) = offered.root(kid)
        {
            return Some((0, key));
        }
        let links = self.chain.iter().enumerate();
        links.filter_map(|(below, link)| Some((below + 1, link.root(kid)?))).next()
    }
}

/// The version that a document claims to be; nothing of it is proved.
pub(crate) fn claimed_version(jws: &str) -> Option<u64> {
    let compact = Compact::parse(jws.as_bytes(), jws_bytes(MAX_KEYS_BYTES)).ok()?;
    Some(PublishedKeys::parse(&compact.payload).ok()?.version)
}

impl Link {
    fn root(&self, kid: &str) -> Option<&VerifyingKey> {
        self.roots.iter().find(|(known, _)| known == kid).map(|(_, key)| key)
    }
}

fn leaked(sets: &[&Vec<(usize, Odd)>]) -> usize {
    sets.iter().flat_map(|odd| odd.iter()).filter(|(_, odd)| *odd == Odd::Private).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{Issuer, key, sign};

    const ISS: &str = "https://sts.example";

    fn version(keeper: &Keeper) -> u64 {
        keeper.held().unwrap().version
    }

    #[test]
    fn a_pin_decides_and_without_one_the_first_contact() {
        let issuer = Issuer::new(ISS);
        let mut pinned = Keeper::new(ISS, Some(issuer.root.kid()));
        assert!(!pinned.is_first_contact());
        assert_eq!(pinned.accept(&issuer.keys()), Ok(true));
        assert_eq!(pinned.accept(&issuer.keys()), Ok(false));
        assert!(pinned.held().unwrap().token.by_kid(issuer.token.kid()).is_some());
        assert!(pinned.held().unwrap().token.by_kid(issuer.feed.kid()).is_none());

        let stranger = Issuer::new(ISS);
        let mut keeper = Keeper::new(ISS, None);
        assert!(keeper.is_first_contact());
        for keeper in [&mut keeper, &mut Keeper::new(ISS, Some(issuer.root.kid()))] {
            assert_eq!(keeper.accept(&issuer.keys()), Ok(true));
            let unknown = Err(KeysError::UnknownRoot { version: 1 });
            assert_eq!(keeper.accept(&stranger.keys()), unknown);
        }
        let mut other = Keeper::new(ISS, Some(stranger.root.kid()));
        assert_eq!(other.accept(&issuer.keys()), Err(KeysError::UnknownRoot { version: 1 }));
        let mut foreign = Keeper::new("https://sts.example/", None);
        assert_eq!(foreign.accept(&issuer.keys()), Err(KeysError::Issuer));
        assert!(foreign.held().is_none() && foreign.is_first_contact());
    }

    #[test]
    fn n95_a_root_hands_over_to_the_next_and_the_chain_stays_short() {
        let mut issuer = Issuer::new(ISS);
        let pin = issuer.root.kid().to_owned();
        let second_root = key();
        let first = issuer.keys();
        issuer.version += 1;
        let handover =
            issuer.keys_naming(&[&issuer.root, &second_root], &[&issuer.feed], &[&issuer.token]);
        let retired = std::mem::replace(&mut issuer.root, second_root);
        issuer.version += 1;
        let third = issuer.keys();
        issuer.version += 1;
        let fourth = issuer.keys();

        let mut keeper = Keeper::new(ISS, Some(&pin));
        assert_eq!(keeper.accept(&fourth), Err(KeysError::UnknownRoot { version: 4 }));
        for (text, length) in [(&first, 1), (&handover, 1), (&third, 2), (&fourth, 2)] {
            assert_eq!(keeper.accept(text), Ok(true));
            assert_eq!(keeper.held().unwrap().chain.len(), length);
        }
        let mut restored = Keeper::new(ISS, Some(&pin));
        for (_, link) in &keeper.held().unwrap().chain {
            assert_eq!(restored.accept(link), Ok(true));
        }
        assert_eq!(version(&restored), 4);

        issuer.version += 1;
        issuer.root = retired;
        let usurper = issuer.keys();
        assert_eq!(keeper.accept(&usurper), Err(KeysError::UnknownRoot { version: 5 }));
        assert_eq!(version(&keeper), 4);
    }

    #[test]
    fn n82_versions_never_go_back() {
        let mut issuer = Issuer::new(ISS);
        let first = issuer.keys();
        issuer.version = 3;
        let third = issuer.keys();
        let other_third = issuer.keys_naming(&[&issuer.root], &[&issuer.feed], &[]);
        let mut keeper = Keeper::new(ISS, None);
        keeper.accept(&third).unwrap();
        let backwards = |version| Err(KeysError::Backwards { version, held: 3 });
        assert_eq!(keeper.accept(&first), backwards(1));
        assert_eq!(keeper.accept(&other_third), backwards(3));
    }

    #[test]
    fn n100_n103_odd_keys_are_left_out_and_odd_documents_change_nothing() {
        let mut issuer = Issuer::new(ISS);
        let mut keeper = Keeper::new(ISS, None);
        keeper.accept(&issuer.keys()).unwrap();

        issuer.version = 2;
        let no_feed_key = issuer.keys_naming(&[&issuer.root], &[], &[&issuer.token]);
        let good = issuer.keys();
        let (input, signature) = good.rsplit_once('.').unwrap();
        let forged = format!("{input}.{}", issuer.heartbeat().rsplit_once('.').unwrap().1);
        let empty = sign(&issuer.root, Typ::Keys, &serde_json::json!({}));
        let by_feed_key = sign(&issuer.feed, Typ::Keys, &serde_json::json!({}));
        assert_eq!(keeper.accept(&no_feed_key), Err(KeysError::NoFeedKey { version: 2 }));
        assert_eq!(keeper.accept(&forged), Err(KeysError::Signature));
        for odd in
            ["", "{}", "null", "<html>", r#"{"keys":[]}"#, input, signature, &empty, &by_feed_key]
        {
            assert!(keeper.accept(odd).is_err(), "{odd}");
        }
        assert_eq!(version(&keeper), 1);

        let text = issuer.keys_naming(&[&issuer.root], &[&issuer.feed], &[&issuer.token]);
        let payload = Compact::parse(text.as_bytes(), 1 << 16).unwrap().payload;
        let mut value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let mut leaked = serde_json::to_value(key().public()).unwrap();
        leaked["d"] = "AAAA".into();
        let keys = value["token_keys"].as_array_mut().unwrap();
        keys.push(leaked);
        keys.push(serde_json::json!({"kty": "AKP"}));
        assert_eq!(keeper.accept(&sign(&issuer.root, Typ::Keys, &value)), Ok(true));
        let held = keeper.held().unwrap();
        assert_eq!((held.version, held.leaked, held.token.kids().count()), (2, 1, 1));
    }
}
