//! The test keys, and what can be forged with them.

use std::collections::HashMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
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
    /// With the signatures that were made before, by what they sign.
    Es256(EcdsaKeyPair, HashMap<String, Vec<u8>>),
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
            stranger: key!(EdDSA, "stranger", &[]),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Key> {
        [&self.es256, &self.eddsa, &self.rs256, &self.other, &self.stranger].into_iter()
    }
}

impl Key {
    fn load(alg: Alg, name: &'static str, pkcs8: &'static str, committed: &[String]) -> Self {
        let pem = pem::parse(pkcs8).expect("a key of the set is PEM");
        let der = pem.contents();
        let public = SigningKey::from_pkcs8(alg, der).expect("a key of the set is PKCS#8");
        let pair = match alg {
            Alg::ES256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                .map(|pair| Pair::Es256(pair, signatures(&public, committed))),
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
        let input = format!("{}.{}", base64url(header), base64url(payload));
        let signature = base64url(self.sign(&input));
        format!("{input}.{signature}")
    }

    fn sign(&self, input: &str) -> Vec<u8> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the primitive's interface asks for a handle"
        )]
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Es256(pair, kept) => kept.get(input).cloned().unwrap_or_else(|| {
                let signature = pair.sign(&random, input.as_bytes()).expect("a P-256 key signs");
                signature.as_ref().to_vec()
            }),
            Pair::EdDsa(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature)
                    .expect("an RSA key signs");
                signature
            }
        }
    }
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
