//! The golden set of `scrip-token`.

use super::case::Case;
use scrip_token::compact::from_base64url;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize)]
pub(super) struct Golden {
    issuers: BTreeMap<String, Issuer>,
    pub(super) signing_keys: BTreeMap<String, SigningKey>,
    defaults: Map<String, Value>,
    tokens: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
    jwks: Value,
}

#[derive(Deserialize)]
pub(super) struct SigningKey {
    pub(super) kid: String,
    pub(super) pkcs8: String,
}

/// What a general library can be told of a token of the set, and the verdict it must get from us.
#[derive(Deserialize)]
struct Token {
    name: String,
    why: String,
    token: String,
    now: u64,
    audience: String,
    trust: BTreeMap<String, Value>,
    verdict: String,
    check: Option<u8>,
}

impl Golden {
    pub(super) fn read() -> Self {
        let text = include_str!("../../../crates/token/golden/golden.json");
        serde_json::from_str(text).expect("as its README describes")
    }

    /// The keys of the issuer whom the mutations are about.
    pub(super) fn jwks(&self) -> String {
        self.issuers["main"].jwks.to_string()
    }

    /// Of those the one with this `kid`.
    pub(super) fn jwk(&self, kid: &str) -> String {
        let mut keys = self.issuers["main"].jwks["keys"].as_array().into_iter().flatten();
        keys.find(|key| key["kid"] == kid).expect("it is published").to_string()
    }

    pub(super) fn cases(&self) -> impl Iterator<Item = Case> {
        self.tokens.iter().map(|token| {
            let mut whole = self.defaults.clone();
            whole.extend(token.clone());
            let token: Token =
                serde_json::from_value(whole.into()).expect("as its README describes");
            let issuer = self.issuer_for(&token);
            Case {
                rule: token.rule(),
                name: token.name,
                token: token.token,
                jwks: issuer.jwks.to_string().into(),
                iss: issuer.iss.clone(),
                aud: token.audience,
                now: token.now,
                refused: (token.verdict != "accepted").then_some(token.verdict),
            }
        })
    }

    /// Of the issuers believed, the one who has the token's key, which is how a caller of several chooses. Where
    /// nobody is believed, the one without keys.
    fn issuer_for(&self, token: &Token) -> &Issuer {
        let header = token.token.split('.').next().and_then(from_base64url);
        let header: Option<Value> = header.and_then(|text| serde_json::from_slice(&text).ok());
        let kid = header.as_ref().map(|header| &header["kid"]);
        let believed: Vec<_> = token.trust.keys().map(|name| &self.issuers[name]).collect();
        let has_key = |issuer: &&&Issuer| {
            let mut keys = issuer.jwks["keys"].as_array().into_iter().flatten();
            keys.any(|key| Some(&key["kid"]) == kid)
        };
        believed.iter().find(has_key).or(believed.first()).unwrap_or(&&self.issuers["empty"])
    }
}

impl Token {
    /// Of what others may accept: neither forged nor meant for somebody else.
    fn rule(&self) -> Option<String> {
        let rule = match (&*self.verdict, self.check) {
            ("accepted" | "unknown-alg" | "wrong-alg" | "bad-signature", _) => return None,
            ("wrong-issuer" | "wrong-audience", _) => return None,
            (_, Some(8..)) => "beyond what a general library is told",
            _ => &self.why,
        };
        Some(rule.to_owned())
    }
}
