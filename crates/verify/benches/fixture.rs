//! One issuer, one token of the usual size, one request that it permits.

use std::net::IpAddr;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use scrip_verify::token::jwk::KeySet;
use scrip_verify::token::{Alg, Jti, SigningKey, Typ};
use scrip_verify::{
    Address, Asked, DenySet, Derived, Information, Issuer, Keys, Model, Presented, Proof, Size,
    Verifier,
};
use serde_json::json;

pub(crate) const ISS: &str = "https://sts.example";
pub(crate) const IAT: u64 = 1_795_000_000;
pub(crate) const NOW: u64 = IAT + 100;
/// The feed was heard this second.
pub(crate) const FRESH: Information = Information::Followed { as_of: NOW, silence: 0 };

pub(crate) fn signing_key(alg: Alg) -> SigningKey {
    let pkcs8 = match alg {
        Alg::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| Ok(pair.to_pkcs8v1()?.as_ref().to_vec())),
        Alg::EdDSA => {
            Ed25519KeyPair::generate().and_then(|pair| Ok(pair.to_pkcs8()?.as_ref().to_vec()))
        }
        Alg::RS256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| Ok(pair.as_der()?.as_ref().to_vec())),
    };
    SigningKey::from_pkcs8(alg, &pkcs8.expect("a generated key")).expect("a usable key")
}

/// The document that a verifier fetches.
pub(crate) fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
    json!({ "keys": keys }).to_string()
}

pub(crate) fn issuer(keys: &[&SigningKey], deny: DenySet) -> Issuer {
    let set = KeySet::parse(jwks(keys).as_bytes()).expect("a key set");
    Issuer::new(ISS, Keys::from(set), deny)
}

/// The `n`th token: what a service of some size carries, budgets, models and networks included.
pub(crate) fn token(key: &SigningKey, n: u64) -> String {
    let random: Vec<u8> =
        (0..10).map(|i| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i * 6)) as u8).collect();
    let jti = Jti::new(IAT * 1000 + n % 1000, random.try_into().expect("ten bytes"));
    let claims = json!({
        "iss": ISS, "sub": "client:acme/billing-reports", "aud": "llm-gateway",
        "client_id": "acme/billing-reports", "iat": IAT, "nbf": IAT, "exp": IAT + 300, "jti": jti,
        "ver": 1, "scope": "llm:chat llm:embed", "models": ["gpt-4o-mini", "claude-haiku-*"],
        "budget": {"tokens": 50_000, "request_tokens": 4_000},
        "cidrs": ["10.20.0.0/16"], "tenant": "acme", "env": "prod", "cred": "vault:3.1795000000",
    });
    key.sign(Typ::AccessToken, claims.to_string().as_bytes()).expect("a signature")
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new("llm-gateway", "prod")
}

pub(crate) fn presented(token: &str) -> Presented<'_> {
    Presented {
        token: token.as_bytes(),
        now: NOW,
        address: Address::Known(IpAddr::from([10, 20, 3, 4]), Derived::Peer),
        asked: Asked {
            scope: "llm:chat",
            model: Model::Named("gpt-4o-mini"),
            size: Size::Known(1_200),
        },
        proof: Proof::None,
    }
}
