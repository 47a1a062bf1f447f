//! The golden set: what stands in it, and how it is written.
//!
//! Verdicts are written here by hand, from the rules; no verifier has a say in them. The test
//! beside the verifier uses this module too, to see that the committed file is what it writes.

mod case;
mod claims;
mod context;
mod form;
mod header;
mod keys;
mod order;
mod payload;
mod request;
mod revocation;
mod signature;
mod valid;
mod values;

use scrip_verify::token::compact::base64url;
use serde_json::{Value, json};

use self::case::{Case, trust};
use self::claims::{EMPTY_ISS, ISS, NOW, ODD_ISS, OTHER_ISS};
use self::keys::{Key, Keys};

const ABOUT: &str = "Scrip tokens, valid and hostile, each with the verdict it must get. README.md \
    beside this file says how to use it. ALL KEYS HERE ARE PUBLIC TEST KEYS: anybody can sign with \
    them, never trust one.";

/// The whole file. `committed` is what it was before: ECDSA signatures are random, so those that
/// are there are kept where what they sign has not changed.
pub(crate) fn text(committed: &str) -> String {
    let keys = Keys::load(&committed_tokens(committed));
    let tokens: Vec<String> = cases(&keys).iter().map(Case::text).collect();
    let members = [
        ("version", "1".to_owned()),
        ("about", json!(ABOUT).to_string()),
        ("issuers", object(&issuers(&keys))),
        ("signing_keys", object(&keys.all().map(private).collect::<Vec<_>>())),
        ("defaults", object(&defaults())),
        ("tokens", format!("[\n{}\n]", tokens.join(",\n"))),
    ]
    .map(|(name, value)| format!("\"{name}\": {value}"));
    format!("{{\n{}\n}}\n", members.join(",\n"))
}

fn object(members: &[String]) -> String {
    format!("{{\n  {}\n}}", members.join(",\n  "))
}

fn cases(keys: &Keys) -> Vec<Case> {
    [
        valid::cases,
        form::cases,
        header::cases,
        signature::cases,
        payload::cases,
        context::cases,
        revocation::cases,
        request::cases,
        order::cases,
    ]
    .into_iter()
    .flat_map(|cases| cases(keys))
    .collect()
}

fn issuers(keys: &Keys) -> [String; 4] {
    let issuer = |name: &str, iss: &str, jwks: &[String]| {
        let jwks: Vec<String> = jwks.iter().map(|jwk| format!("    {jwk}")).collect();
        let jwks = jwks.join(",\n");
        format!("\"{name}\": {{\"iss\": \"{iss}\", \"jwks\": {{\"keys\": [\n{jwks}\n  ]}}}}")
    };
    let jwk = Key::public;
    let odd = |key: &Key, member: &str, instead: &str| {
        let jwk = key.public();
        assert!(jwk.contains(member), "{jwk} has the member {member}");
        jwk.replace(member, instead)
    };
    let for_signing = r#""use":"sig""#;
    let kid = |key: &Key| format!(r#""kid":"{}""#, key.kid());
    let half = base64url([7; 32]); // any text: what counts is that the member is there
    [
        issuer("main", ISS, &[jwk(&keys.es256), jwk(&keys.eddsa), jwk(&keys.rs256)]),
        issuer("other", OTHER_ISS, &[jwk(&keys.other)]),
        issuer(
            "odd",
            ODD_ISS,
            &[
                r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256","use":"sig"}"#.to_owned(),
                "null".to_owned(),
                odd(&keys.odd_use, for_signing, r#""use":"enc""#),
                odd(&keys.odd_key_ops, for_signing, r#""key_ops":["encrypt"]"#),
                odd(&keys.odd_alg, r#""alg":"EdDSA""#, r#""alg":"ES256""#),
                odd(&keys.odd_kid, &kid(&keys.odd_kid), &kid(&keys.stranger)),
                odd(&keys.odd_private, for_signing, &format!(r#""d":"{half}""#)),
                jwk(&keys.odd_good),
            ],
        ),
        issuer("empty", EMPTY_ISS, &[]),
    ]
}

fn private(key: &Key) -> String {
    let Key { name, pkcs8, .. } = key;
    let (alg, kid) = (key.alg(), key.kid());
    format!("\"{name}\": {{\"alg\": \"{alg}\", \"kid\": \"{kid}\", \"pkcs8\": {}}}", json!(pkcs8))
}

fn defaults() -> [String; 10] {
    [
        format!(r#""now": {NOW}"#),
        r#""audience": "llm-gateway""#.to_owned(),
        r#""env": "prod""#.to_owned(),
        r#""max_lifetime": 900"#.to_owned(),
        r#""freshness": {"max_staleness": 60, "max_offline": 900, "policy": "deny"}"#.to_owned(),
        format!(r#""trust": {}"#, trust("main", NOW, 0, "")),
        r#""address": "10.1.2.3""#.to_owned(),
        r#""derived": "peer""#.to_owned(),
        r#""asked": {"scope": "llm:chat", "model": "gpt-4", "size": 1000}"#.to_owned(),
        r#""proof": null"#.to_owned(),
    ]
}

/// Every token of the file as it was; none where there was no file.
fn committed_tokens(committed: &str) -> Vec<String> {
    let file: Value = serde_json::from_str(committed).unwrap_or_default();
    let tokens = file["tokens"].as_array().cloned().unwrap_or_default();
    tokens.iter().filter_map(|case| case["token"].as_str().map(str::to_owned)).collect()
}
