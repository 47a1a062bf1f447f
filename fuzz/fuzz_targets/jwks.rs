#![no_main]
//! A key set: each key that counts is public, for signatures, named by its own thumbprint, and
//! stands so in the document; each key that does not is named with a reason.

use aws_lc_rs::digest::{SHA256, digest};
use libfuzzer_sys::fuzz_target;
use scrip_fuzz::sole_meaning;
use scrip_token::compact::base64url;
use scrip_token::jwk::{KeySet, MAX_SET_KEYS};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Document<'d> {
    #[serde(borrow)]
    keys: Vec<&'d RawValue>,
}

fuzz_target!(|document: &[u8]| {
    let Ok(set) = KeySet::parse(document) else { return };
    let Document { keys: members } = serde_json::from_slice(document).unwrap();
    assert_eq!(set.keys.len() + set.odd.len(), members.len().min(MAX_SET_KEYS + 1));
    let odd = |position: &usize| set.odd.iter().any(|(odd, _)| odd == position);
    let good = (0..members.len().min(MAX_SET_KEYS)).filter(|position| !odd(position));
    for ((jwk, key), position) in set.keys.iter().zip(good) {
        let member = sole_meaning(members[position].get().as_bytes()).unwrap();
        assert_eq!(jwk.kid, thumbprint(&member));
        assert!(member["kid"].is_null() || member["kid"] == jwk.kid);
        assert!(member["use"].is_null() || member["use"] == "sig");
        assert!(member["alg"].is_null() || key.alg().is_spelt(member["alg"].as_str().unwrap()));
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(member.get(private).is_none(), "a private key was accepted");
        }
        assert_eq!(set.keys.iter().filter(|(other, _)| other.kid == jwk.kid).count(), 1);
        let alone = json!({"keys": [jwk]}).to_string();
        assert_eq!(&KeySet::parse(alone.as_bytes()).unwrap().keys[0].0, jwk);
    }
});

/// RFC 7638, from the document's own text.
fn thumbprint(member: &Value) -> String {
    let names: &[&str] = match member["kty"].as_str().unwrap() {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        other => panic!("a key of type {other} was accepted"),
    };
    let members: Vec<String> =
        names.iter().map(|name| format!("\"{name}\":{}", member[name])).collect();
    base64url(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()))
}
