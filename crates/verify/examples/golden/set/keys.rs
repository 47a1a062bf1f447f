//! The test keys, and what can be forged with them.

use std::cell::RefCell;
use std::collections::HashMap;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaEncoding, RsaKeyPair,
};
use scrip_verify::token::compact::{base64url, from_base64url};
use scrip_verify::token::{Alg, SigningKey, VerifyingKey};

use super::claims::Claims;

/// Every key of the set.
pub(super) struct Keys {
    pub(super) es256: Key,
    pub(super) eddsa: Key,
    pub(super) rs256: Key,
    /// Of the other issuer.
    pub(super) other: Key,
    /// Of the issuer whose JWKS has odd members: this one is not.
    pub(super) odd_good: Key,
    /// Its JWK is for encryption.
    pub(super) odd_use: Key,
    /// Its JWK is for encryption by another member.
    pub(super) odd_key_ops: Key,
    /// Its JWK names the algorithm of another kind of key.
    pub(super) odd_alg: Key,
    /// Its JWK has a `kid` that is not its thumbprint.
    pub(super) odd_kid: Key,
    /// Its JWK carries the private half.
    pub(super) odd_private: Key,
    /// Of nobody.
    pub(super) stranger: Key,
}

pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) pkcs8: &'static str,
    public: SigningKey,
    pair: Pair,
}

enum Pair {
    /// With the signatures that it has made, by what they sign: one for each text, because ECDSA
    /// would make another each time.
    Es256(EcdsaKeyPair, RefCell<HashMap<String, Vec<u8>>>),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

macro_rules! key {
    ($alg:ident, $name:literal, $committed:expr) => {
        Key::load(
            Alg::$alg,
            $name,
            include_str!(concat!("../../../../token/golden/keys/", $name, ".pem")),
            $committed,
        )
    };
}

impl Keys {
    /// `committed` are tokens whose ECDSA signatures are to be kept.
    pub(super) fn load(committed: &[String]) -> Self {
        Self {
            es256: key!(ES256, "main-es256", committed),
            eddsa: key!(EdDSA, "main-eddsa", &[]),
            rs256: key!(RS256, "main-rs256", &[]),
            other: key!(EdDSA, "other-eddsa", &[]),
            odd_good: key!(EdDSA, "odd-good", &[]),
            odd_use: key!(EdDSA, "odd-use", &[]),
            odd_key_ops: key!(EdDSA, "odd-key-ops", &[]),
            odd_alg: key!(EdDSA, "odd-alg", &[]),
            odd_kid: key!(EdDSA, "odd-kid", &[]),
            odd_private: key!(EdDSA, "odd-private", &[]),
            stranger: key!(EdDSA, "stranger", &[]),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Key> {
        [
            &self.es256,
            &self.eddsa,
            &self.rs256,
            &self.other,
            &self.odd_good,
            &self.odd_use,
            &self.odd_key_ops,
            &self.odd_alg,
            &self.odd_kid,
            &self.odd_private,
            &self.stranger,
        ]
        .into_iter()
    }
}

impl Key {
    fn load(alg: Alg, name: &'static str, pkcs8: &'static str, committed: &[String]) -> Self {
        let pem = pem::parse(pkcs8).expect("a key of the set is PEM");
        let der = pem.contents();
        let public = SigningKey::from_pkcs8(alg, der).expect("a key of the set is PKCS#8");
        let pair = match alg {
            Alg::ES256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                .map(|pair| Pair::Es256(pair, RefCell::new(signatures(&public, committed)))),
            Alg::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::EdDsa),
            Alg::RS256 => RsaKeyPair::from_pkcs8(der).map(Pair::Rs256),
        };
        Self { name, pkcs8, public, pair: pair.expect("the key has just been read") }
    }

    pub(super) fn alg(&self) -> Alg {
        self.public.alg()
    }

    pub(super) fn kid(&self) -> &str {
        self.public.kid()
    }

    /// The JWK, as it is published.
    pub(super) fn public(&self) -> String {
        serde_json::to_string(self.public.public()).expect("a JWK is JSON")
    }

    /// The header that this key's tokens have.
    pub(super) fn header(&self) -> String {
        format!(r#"{{"alg":"{}","typ":"at+jwt","kid":"{}"}}"#, self.alg(), self.kid())
    }

    /// A token as the mint makes it.
    pub(super) fn token(&self, claims: &Claims) -> String {
        self.forge(&self.header(), claims.text())
    }

    /// Whatever one who has the key would write, well signed.
    pub(super) fn forge(&self, header: &str, payload: impl AsRef<[u8]>) -> String {
        self.sealed(&base64url(header), &base64url(payload))
    }

    /// The signature over two segments, whatever they are.
    pub(super) fn sealed(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = base64url(self.sign(&input));
        format!("{input}.{signature}")
    }

    fn sign(&self, input: &str) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair, made) => {
                let sign = || pair.sign(&random(), input.as_bytes()).expect("a P-256 key signs");
                let mut made = made.borrow_mut();
                made.entry(input.to_owned()).or_insert_with(|| sign().as_ref().to_vec()).clone()
            }
            Pair::EdDsa(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
            Pair::Rs256(_) => self.sign_rsa(&RSA_PKCS1_SHA256, input),
        }
    }

    /// With an RSA key, by this padding and digest.
    pub(super) fn sign_rsa(&self, encoding: &'static dyn RsaEncoding, input: &str) -> Vec<u8> {
        let pair = self.rsa();
        let mut signature = vec![0; pair.public_modulus_len()];
        let signed = pair.sign(encoding, &random(), input.as_bytes(), &mut signature);
        signed.expect("an RSA key signs");
        signature
    }

    /// The public half of an RSA key in DER (RFC 5280 section 4.1).
    pub(super) fn spki(&self) -> Vec<u8> {
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(self.rsa().public_key());
        der.expect("a public key has a DER form").as_ref().to_vec()
    }

    fn rsa(&self) -> &RsaKeyPair {
        match &self.pair {
            Pair::Rs256(pair) => pair,
            Pair::Es256(..) | Pair::EdDsa(_) => panic!("{} is no RSA key", self.name),
        }
    }
}

/// A token under an HMAC (RFC 7518 section 3.2), as if `secret` were one.
pub(super) fn hmac_signed(header: &str, claims: &Claims, secret: &[u8]) -> String {
    let input = format!("{}.{}", base64url(header), base64url(claims.text()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", base64url(tag))
}

fn random() -> SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "the primitive's interface asks for a handle")]
    SystemRandom::new()
}

/// The signatures by this key among the tokens, by what they sign. Of two for one text the first
/// counts: the other is its mirror image.
fn signatures(key: &SigningKey, tokens: &[String]) -> HashMap<String, Vec<u8>> {
    let key = VerifyingKey::new(key.public()).expect("a key of the set is usable");
    let mut kept = HashMap::new();
    for token in tokens {
        let Some((input, signature)) = token.rsplit_once('.') else { continue };
        let Some(signature) = from_base64url(signature) else { continue };
        if key.verify(input.as_bytes(), &signature) {
            kept.entry(input.to_owned()).or_insert(signature);
        }
    }
    kept
}
