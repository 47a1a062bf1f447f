//! The JWS vectors of Project Wycheproof before the whole verifier. What each of its parts says of
//! them is tested in `scrip-token`, where the vectors lie.

use std::collections::BTreeMap;

use scrip_verify::token::compact::base64url;
use scrip_verify::token::jwk::KeySet;
use scrip_verify::{DenySet, Issuer, Trust};
use serde_json::{Value, json};

use crate::fixture::*;

const FILE: &str =
    include_str!("../../token/tests/vectors/wycheproof_json_web_signature_test.json");

#[test]
fn n15_no_jws_of_others_is_a_token() {
    let verdicts = each_jws(|jws, _| jws.to_owned());
    // Those that are JWS have no `typ`.
    assert_eq!(verdicts, BTreeMap::from([("bad-header", 346), ("malformed", 55)]));
}

#[test]
fn n3_n4_n8_no_signature_over_another_header_counts() {
    let verdicts = each_jws(|jws, jwk| {
        let rest = jws.split_once('.').map_or("", |(_, rest)| rest);
        // The thumbprint of the key, where it is one that we have; the algorithm that it is for.
        let document = json!({"keys": [jwk]}).to_string();
        let set = KeySet::parse(document.as_bytes()).unwrap();
        let (alg, kid) = set
            .keys
            .first()
            .map_or(("ES256", STRANGER.kid()), |(jwk, _)| (jwk.alg.as_str(), &jwk.kid));
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string();
        format!("{}.{rest}", base64url(header))
    });
    assert_eq!(
        verdicts,
        BTreeMap::from([("bad-signature", 255), ("malformed", 49), ("unknown-kid", 97)])
    );
}

/// How often each verdict is given, under the vector's own key and one of ours.
fn each_jws(present: impl Fn(&str, &Value) -> String) -> BTreeMap<&'static str, usize> {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let mut verdicts = BTreeMap::new();
    for group in file["testGroups"].as_array().unwrap() {
        let mut jwk = group.get("public").unwrap_or(&group["private"]).clone();
        jwk.as_object_mut().unwrap().remove("kid"); // ours are thumbprints
        let issuer = Issuer::new(ISS, keys(&[jwk.clone(), ES256.jwk()]), DenySet::default());
        let trust = Trust::one(&issuer, FRESH);
        for test in group["tests"].as_array().unwrap() {
            let token = present(test["jws"].as_str().unwrap(), &jwk);
            let verdict = verifier().verify(&presented(token.as_bytes()), &trust);
            *verdicts.entry(verdict.map_or_else(|why| why.code(), |_| "ok")).or_default() += 1;
        }
    }
    verdicts
}
