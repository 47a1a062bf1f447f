//! The golden set: what stands in it, and how it is written.
//!
//! Verdicts are written here by hand, from the rules; no verifier has a say in them. The test beside
//! the verifier uses this module too, to see that the committed file is what it writes.

mod case;
mod claims;
mod keys;
mod valid;

use std::fmt::Write;

use serde_json::{Value, json};

use self::case::Case;
use self::claims::{ISS, NOW, OTHER_ISS};
use self::keys::{Key, Keys};

const ABOUT: &str = "Scrip tokens, valid and hostile, each with the verdict it must get. README.md \
    beside this file says how to use it. ALL KEYS HERE ARE PUBLIC TEST KEYS: anybody can sign with \
    them, never trust one.";

/// The whole file. `committed` is what it was before: ECDSA signatures are random, so those that
/// are there are kept where what they sign has not changed.
pub(crate) fn text(committed: &str) -> String {
    let keys = Keys::load(&committed_tokens(committed));
    let tokens: Vec<String> = cases(&keys).iter().map(Case::text).collect();
    let signing_keys: Vec<String> = keys.all().map(private).collect();

    let mut text = String::new();
    let _ = write!(
        text,
        "{{\n\"version\": 1,\n\"about\": {},\n\"issuers\": {{\n{}\n}},\n\"signing_keys\": {{\n{}\n}},\n\
         \"defaults\": {{\n{}\n}},\n\"tokens\": [\n{}\n]\n}}\n",
        json!(ABOUT),
        issuers(&keys),
        signing_keys.join(",\n"),
        defaults(),
        tokens.join(",\n"),
    );
    text
}

fn cases(keys: &Keys) -> Vec<Case> {
    valid::cases(keys)
}

fn issuers(keys: &Keys) -> String {
    let issuer = |name: &str, iss: &str, jwks: &[String]| {
        let jwks = jwks.join(",\n    ");
        format!("  \"{name}\": {{\"iss\": \"{iss}\", \"jwks\": {{\"keys\": [\n    {jwks}\n  ]}}}}")
    };
    let jwk = Key::public;
    [
        issuer("main", ISS, &[jwk(&keys.es256), jwk(&keys.eddsa), jwk(&keys.rs256)]),
        issuer("other", OTHER_ISS, &[jwk(&keys.other)]),
    ]
    .join(",\n")
}

fn private(key: &Key) -> String {
    let Key { name, pkcs8, .. } = key;
    let (alg, kid) = (key.alg(), key.kid());
    format!("  \"{name}\": {{\"alg\": \"{alg}\", \"kid\": \"{kid}\", \"pkcs8\": {}}}", json!(pkcs8))
}

fn defaults() -> String {
    [
        format!(r#"  "now": {NOW}"#),
        r#"  "audience": "llm-gateway""#.to_owned(),
        r#"  "env": "prod""#.to_owned(),
        r#"  "max_lifetime": 900"#.to_owned(),
        r#"  "freshness": {"max_staleness": 60, "max_offline": 900, "policy": "deny"}"#.to_owned(),
        format!(
            r#"  "trust": {{"main": {{"information": {{"as_of": {NOW}, "silence": 0}}, "deny": []}}}}"#
        ),
        r#"  "address": "10.1.2.3""#.to_owned(),
        r#"  "derived": "peer""#.to_owned(),
        r#"  "asked": {"scope": "llm:chat", "model": "gpt-4", "size": 1000}"#.to_owned(),
        r#"  "proof": null"#.to_owned(),
    ]
    .join(",\n")
}

/// Every token of the file as it was; none where there was no file.
fn committed_tokens(committed: &str) -> Vec<String> {
    let file: Value = serde_json::from_str(committed).unwrap_or_default();
    let tokens = file["tokens"].as_array().cloned().unwrap_or_default();
    tokens.iter().filter_map(|case| case["token"].as_str().map(str::to_owned)).collect()
}
