//! Tokens with any header and any claims, signed with keys that everybody knows.

use super::golden::Golden;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use scrip_token::Jti;
use scrip_token::compact::base64url;
use serde_json::{Value, json};
use std::fmt::Display;
use std::sync::LazyLock;

pub(super) const ISS: &str = "https://sts.example";
pub(super) const AUD: &str = "llm-gateway";
pub(super) const ENV: &str = "prod";
pub(super) const IAT: u64 = 1_795_000_000;
pub(super) const NOW: u64 = IAT + 100;

/// A token before it is signed.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) signer: &'static Signer,
    pub(super) header: Object,
    pub(super) claims: Object,
}

impl Draft {
    /// A good token: with one of the three algorithms, of one of several shapes.
    pub(super) fn any(rng: &mut Rng) -> Self {
        let signer = rng.pick(&*SIGNERS);
        let claims = rng.pick(&*SHAPES).clone();
        let header = Object::from(json!({
            "alg": format!("{:?}", signer.alg), "typ": "at+jwt", "kid": signer.kid,
        }));
        Self { signer, header, claims }.at(IAT, IAT + 300, rng)
    }

    /// Issued at one time, expiring at another.
    pub(super) fn at(self, iat: u64, exp: u64, rng: &mut Rng) -> Self {
        let jti = Jti::new(iat * 1000 + 123, [rng.below(256) as u8; 10]);
        let claims = self.claims.with("iat", iat).with("nbf", iat).with("exp", exp);
        Self { claims: claims.with("jti", json!(jti)), ..self }
    }

    pub(super) fn signed(&self) -> String {
        self.signer.sign(self.header.text(), self.claims.text())
    }

    /// Signed with another header, in full.
    pub(super) fn headed(&self, header: impl AsRef<[u8]>) -> String {
        self.signer.sign(header, self.claims.text())
    }

    /// Signed with other claims, in full.
    pub(super) fn claiming(&self, claims: impl AsRef<[u8]>) -> String {
        self.signer.sign(self.header.text(), claims)
    }
}

pub(super) struct Signer {
    pub(super) alg: Algorithm,
    pub(super) kid: String,
    /// The public half, as it is published.
    pub(super) jwk: String,
    key: EncodingKey,
}

impl Signer {
    fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let input = format!("{}.{}", base64url(header), base64url(claims));
        let signature = crypto::sign(input.as_bytes(), &self.key, self.alg).expect("it is a key");
        format!("{input}.{signature}")
    }
}

/// With one key for each algorithm.
static SIGNERS: LazyLock<[Signer; 3]> = LazyLock::new(|| {
    let signer = |name, alg, read: fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>| {
        let golden = Golden::read();
        let key = &golden.signing_keys[name];
        let pem = read(key.pkcs8.as_bytes()).expect("a key in PEM");
        Signer { alg, kid: key.kid.clone(), jwk: golden.jwk(&key.kid), key: pem }
    };
    [
        signer("main-es256", Algorithm::ES256, EncodingKey::from_ec_pem),
        signer("main-eddsa", Algorithm::EdDSA, EncodingKey::from_ed_pem),
        signer("main-rs256", Algorithm::RS256, EncodingKey::from_rsa_pem),
    ]
});

/// Claims without their times: the required alone, those of a usual token, all.
static SHAPES: LazyLock<[Object; 3]> = LazyLock::new(|| {
    let required = json!({
        "iss": ISS, "sub": "client:acme/billing", "aud": AUD, "client_id": "acme/billing",
        "ver": 1, "scope": "llm:chat", "tenant": "acme", "env": ENV,
    });
    let with = |claims: &Value, more: Value| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let usual = with(
        &required,
        json!({
            "scope": "llm:chat llm:embed", "models": ["gpt-4o-mini", "claude-*"],
            "budget": {"tokens": 5000, "request_tokens": 1000, "requests": 10},
            "cidrs": ["10.20.0.0/16", "2001:db8::/32"], "cred": "vault:3.1794990000",
        }),
    );
    let all = with(
        &usual,
        json!({
            "lin": [Jti::new(IAT * 1000 - 5000, [1; 10])],
            "act": {"sub": "client:acme/agent", "act": {"sub": "client:acme/planner"}},
            "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
        }),
    );
    [required, usual, all].map(Object::from)
});

/// The text of a JSON object, member by member: a name with its escapes, a value as it stands.
#[derive(Clone)]
pub(super) struct Object(pub(super) Vec<(String, String)>);

impl From<Value> for Object {
    fn from(object: Value) -> Self {
        let members = object.as_object().expect("an object");
        Self(members.iter().map(|(name, value)| (name.clone(), value.to_string())).collect())
    }
}

impl Object {
    /// The member set, or added.
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        match self.0.iter_mut().find(|member| member.0 == name) {
            Some(member) => member.1 = value.to_string(),
            None => self.0.push((name.to_owned(), value.to_string())),
        }
        self
    }

    /// The member added, whether there is one of its name or not, at any place.
    pub(super) fn and(mut self, name: &str, value: impl Display, rng: &mut Rng) -> Self {
        let place = rng.below(self.0.len() + 1);
        self.0.insert(place, (name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.0.retain(|member| member.0 != name);
        self
    }

    pub(super) fn value(&self, name: &str) -> &str {
        &self.0.iter().find(|member| member.0 == name).expect("it has this member").1
    }

    pub(super) fn text(&self) -> String {
        let members: Vec<_> =
            self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// SplitMix64: of one seed always the same numbers.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// One of the words of a list.
    pub(super) fn word<'a>(&mut self, list: &'a str) -> &'a str {
        let words: Vec<&str> = list.split_whitespace().collect();
        words[self.below(words.len())]
    }

    /// One of the members of a list, each written `name=value`.
    pub(super) fn member<'a>(&mut self, list: &'a str) -> (&'a str, &'a str) {
        self.word(list).split_once('=').expect("a name and a value")
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
