//! An issuer that signs what the service would, and whatever else a test asks for.
#![allow(dead_code, reason = "each of the two binaries uses its part")]

use aws_lc_rs::signature::Ed25519KeyPair;
use scrip_token::blob::Blob;
use scrip_token::deny::{Batch, Entry, Heartbeat, Manifest, OBJECT_VERSION, first_head};
use scrip_token::jwk::Jwk;
use scrip_token::keys::KeysDocument;
use scrip_token::{Alg, Digest, Jti, SigningKey, Typ};

pub(crate) const NOW: u64 = 1_795_000_000;

pub(crate) struct Issuer {
    pub(crate) iss: String,
    pub(crate) root: SigningKey,
    pub(crate) feed: SigningKey,
    pub(crate) token: SigningKey,
    pub(crate) epoch: Jti,
    pub(crate) batches: Vec<(Digest, String)>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) version: u64,
    pub(crate) iat: u64,
}

pub(crate) fn key() -> SigningKey {
    let pkcs8 = Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap();
    SigningKey::from_pkcs8(Alg::EdDSA, pkcs8.as_ref()).unwrap()
}

pub(crate) fn jti(second: u64, n: u8) -> Jti {
    Jti::new(second * 1000, [n; 10])
}

pub(crate) fn entry(n: u8) -> Entry {
    Entry::Jti { jti: jti(NOW, n), until: NOW + 905 }
}

impl Issuer {
    pub(crate) fn new(iss: &str) -> Self {
        Self {
            iss: iss.to_owned(),
            root: key(),
            feed: key(),
            token: key(),
            epoch: jti(NOW, 0),
            batches: Vec::new(),
            entries: Vec::new(),
            version: 1,
            iat: NOW,
        }
    }

    pub(crate) fn seq(&self) -> u64 {
        self.batches.len() as u64
    }

    pub(crate) fn head(&self) -> Digest {
        self.batches.last().map_or(first_head(self.epoch), |(digest, _)| *digest)
    }

    /// The next batch, recorded.
    pub(crate) fn revoke(&mut self, entries: Vec<Entry>) -> String {
        let batch = self.batch(self.seq() + 1, self.head(), entries.clone());
        self.entries.extend(entries);
        let jws = self.sign(Typ::DenyBatch, &batch);
        self.batches.push((digest(&batch), jws.clone()));
        jws
    }

    pub(crate) fn batch(&self, seq: u64, prev: Digest, entries: Vec<Entry>) -> Batch {
        let (iss, epoch) = (self.iss.clone(), self.epoch);
        Batch { ver: OBJECT_VERSION, iss, epoch, seq, prev, iat: self.iat, entries }
    }

    pub(crate) fn heartbeat(&self) -> String {
        self.sign(Typ::DenyHeartbeat, &self.beat())
    }

    pub(crate) fn beat(&self) -> Heartbeat {
        Heartbeat {
            ver: OBJECT_VERSION,
            iss: self.iss.clone(),
            epoch: self.epoch,
            seq: self.seq(),
            head: self.head(),
            iat: self.iat,
            every: 1,
            keys: self.version,
        }
    }

    pub(crate) fn snapshot(&self) -> (String, Vec<u8>) {
        let (manifest, blob) = self.manifest();
        (self.sign(Typ::DenySnapshot, &manifest), blob)
    }

    pub(crate) fn manifest(&self) -> (Manifest, Vec<u8>) {
        let blob = Blob::from_entries(self.entries.clone()).unwrap();
        let bytes = blob.encode().unwrap();
        let sha256 = Digest::of(&bytes);
        let manifest = Manifest {
            ver: OBJECT_VERSION,
            iss: self.iss.clone(),
            epoch: self.epoch,
            seq: self.seq(),
            head: self.head(),
            iat: self.iat,
            count: blob.count() as u64,
            size: bytes.len() as u64,
            sha256,
            blob: format!("/v1/deny/blobs/{sha256}"),
            keys: self.version,
        };
        (manifest, bytes)
    }

    /// What a failure that lost data leads to.
    pub(crate) fn begin_epoch(&mut self, epoch: Jti) {
        self.epoch = epoch;
        self.batches.clear();
        self.entries.clear();
    }

    pub(crate) fn keys(&self) -> String {
        self.keys_naming(&[&self.root], &[&self.feed], &[&self.token])
    }

    pub(crate) fn keys_naming(
        &self,
        roots: &[&SigningKey],
        feed: &[&SigningKey],
        token: &[&SigningKey],
    ) -> String {
        let public = |keys: &[&SigningKey]| -> Vec<Jwk> {
            keys.iter().map(|key| key.public().clone()).collect()
        };
        let document = KeysDocument {
            ver: OBJECT_VERSION,
            iss: self.iss.clone(),
            version: self.version,
            iat: self.iat,
            roots: public(roots),
            feed_keys: public(feed),
            token_keys: public(token),
        };
        sign(&self.root, Typ::Keys, &document)
    }

    pub(crate) fn sign(&self, typ: Typ, object: &impl serde::Serialize) -> String {
        sign(&self.feed, typ, object)
    }
}

pub(crate) fn sign(key: &SigningKey, typ: Typ, object: &impl serde::Serialize) -> String {
    key.sign(typ, &serde_json::to_vec(object).unwrap()).unwrap()
}

fn digest(batch: &Batch) -> Digest {
    Digest::of(&serde_json::to_vec(batch).unwrap())
}
