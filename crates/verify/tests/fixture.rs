//! One issuer with a key of each algorithm, one good token, one good request.

use std::net::IpAddr;
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use scrip_verify::token::compact::base64url;
use scrip_verify::token::jwk::KeySet;
use scrip_verify::token::{Alg, Claims, Jti, SigningKey, Typ};
use scrip_verify::{
    Address, Asked, DenySet, Derived, Information, Issuer, Keys, Model, Presented, Proof,
    Rejection, Size, Trust, Verified, Verifier,
};
use serde_json::{Value, json};

pub(crate) const ISS: &str = "https://sts.example";
pub(crate) const IAT: u64 = 1_795_000_000;
pub(crate) const EXP: u64 = IAT + 300;
pub(crate) const NOW: u64 = IAT + 100;

/// The feed was heard this second.
pub(crate) const FRESH: Information = Information::Followed { as_of: NOW, silence: 0 };

pub(crate) struct Signer {
    pub(crate) key: SigningKey,
    pkcs8: Vec<u8>,
}

pub(crate) static ES256: LazyLock<Signer> = LazyLock::new(|| Signer::generate(Alg::ES256));
pub(crate) static EDDSA: LazyLock<Signer> = LazyLock::new(|| Signer::generate(Alg::EdDSA));
pub(crate) static RS256: LazyLock<Signer> = LazyLock::new(|| Signer::generate(Alg::RS256));
/// A key that the issuer has not published.
pub(crate) static STRANGER: LazyLock<Signer> = LazyLock::new(|| Signer::generate(Alg::EdDSA));

pub(crate) static ISSUER: LazyLock<Issuer> =
    LazyLock::new(|| issuer(&[&ES256, &EDDSA, &RS256], DenySet::default()));

impl Signer {
    pub(crate) fn generate(alg: Alg) -> Self {
        let pkcs8 = match alg {
            Alg::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .unwrap()
                .to_pkcs8v1()
                .unwrap()
                .as_ref()
                .to_vec(),
            Alg::EdDSA => Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap().as_ref().to_vec(),
            Alg::RS256 => {
                RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref().to_vec()
            }
        };
        Self { key: SigningKey::from_pkcs8(alg, &pkcs8).unwrap(), pkcs8 }
    }

    pub(crate) fn kid(&self) -> &str {
        self.key.kid()
    }

    pub(crate) fn jwk(&self) -> Value {
        serde_json::to_value(self.key.public()).unwrap()
    }

    /// The public half of an RSA key in DER (RFC 5280 section 4.1).
    pub(crate) fn spki(&self) -> Vec<u8> {
        let public = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap().public_key().clone();
        AsDer::<PublicKeyX509Der<'_>>::as_der(&public).unwrap().as_ref().to_vec()
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.key.sign(Typ::AccessToken, claims.to_string().as_bytes()).unwrap()
    }

    /// An Ed25519 signature over whatever an attacker with the key would write.
    pub(crate) fn forge(&self, header: &str, payload: &[u8]) -> String {
        let input = format!("{}.{}", base64url(header), base64url(payload));
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.pkcs8).unwrap();
        format!("{input}.{}", base64url(pair.sign(input.as_bytes())))
    }
}

/// The header that this key's tokens have.
pub(crate) fn header(signer: &Signer) -> String {
    format!(r#"{{"alg":"{}","typ":"at+jwt","kid":"{}"}}"#, signer.key.alg(), signer.kid())
}

pub(crate) fn keys(jwks: &[Value]) -> Keys {
    Keys::from(KeySet::parse(json!({"keys": jwks}).to_string().as_bytes()).unwrap())
}

pub(crate) fn issuer(signers: &[&Signer], deny: DenySet) -> Issuer {
    let jwks: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    Issuer::new(ISS, keys(&jwks), deny)
}

pub(crate) fn jti(n: u8) -> Jti {
    Jti::new(IAT * 1000 + 123, [n; 10])
}

/// Claims that every test begins with; all that limits is there.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISS, "sub": "client:acme/billing", "aud": "llm-gateway",
        "client_id": "acme/billing", "iat": IAT, "nbf": IAT, "exp": EXP, "jti": jti(9),
        "ver": 1, "scope": "llm:chat llm:embed", "models": ["gpt-4", "claude-haiku-*"],
        "budget": {"request_tokens": 1000}, "cidrs": ["10.0.0.0/8", "2001:db8::/32"],
        "tenant": "acme", "env": "prod", "cred": "vault:3.1795000000",
    })
}

pub(crate) fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

pub(crate) fn without(claim: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim);
    claims
}

pub(crate) fn parsed(claims: &Value) -> Claims {
    Claims::parse(claims.to_string().as_bytes()).unwrap()
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new("llm-gateway", "prod")
}

/// A request that the first token permits.
pub(crate) fn presented(token: &[u8]) -> Presented<'_> {
    Presented {
        token,
        now: NOW,
        address: Address::Known(ip("10.1.2.3"), Derived::Peer),
        asked: Asked { scope: "llm:chat", model: Model::Named("gpt-4"), size: Size::Known(1000) },
        proof: Proof::None,
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn judge(token: impl AsRef<[u8]>) -> Result<Verified, Rejection> {
    verifier().verify(&presented(token.as_ref()), &Trust::one(&ISSUER, FRESH))
}

/// The code of the rejection; `ok` where there is none.
pub(crate) fn verdict(token: impl AsRef<[u8]>) -> &'static str {
    judge(token).map_or_else(|rejection| rejection.code(), |_| "ok")
}

/// The verdict on well signed claims.
pub(crate) fn verdict_on(claims: &Value) -> &'static str {
    verdict(EDDSA.token(claims))
}
