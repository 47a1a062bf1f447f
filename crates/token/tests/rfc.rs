//! The examples of RFC 7520, RFC 7797 and RFC 8037: verified where what they use is supported,
//! refused for a stated reason where it is not.

use scrip_token::compact::from_base64url;
use scrip_token::compact::{Compact, CompactError, Header, HeaderError, Typ, base64url};
use scrip_token::jwk::Odd;
use serde_json::Value;

use crate::jose::{HEADER, UNSUPPORTED, load, verify};
use crate::vectors::{list, read, text};

/// The published half of a key: the examples show both.
fn public(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    let members = jwk.as_object_mut().unwrap();
    members.retain(|name, _| !["d", "p", "q", "dp", "dq", "qi"].contains(&name.as_str()));
    jwk
}

fn compact(example: &Value) -> &str {
    text(&example["output"], "compact")
}

/// No serialisation in JSON is read.
fn is_refused_as_json(example: &Value) {
    for form in ["json", "json_flat"] {
        let Some(jws) = example["output"].get(form) else { continue };
        let error = Compact::parse(jws.to_string().as_bytes(), 8192).unwrap_err();
        assert_eq!(error, CompactError::Character { offset: 0 });
    }
}

fn verifies(name: &str) {
    let example = read(name);
    let key = &example["input"]["key"];
    assert_eq!(load(key).unwrap_err(), Odd::Private);
    let payload = verify(compact(&example), &public(key)).unwrap();
    assert_eq!(payload, text(&example["input"], "payload").as_bytes());
    is_refused_as_json(&example);
}

#[test]
fn rfc7520_4_1_rs256_verifies() {
    verifies("rfc7520_4_1.rsa_v15_signature.json");
}

#[test]
fn rfc8037_a_4_ed25519_verifies() {
    verifies("rfc8037_ed25519.json");
}

#[test]
fn rfc7520_4_3_es512_is_not_supported() {
    let example = read("rfc7520_4_3.ecdsa_signature.json");
    let key = public(&example["input"]["key"]);
    assert_eq!(load(&key).unwrap_err(), Odd::Unsupported);
    assert_eq!(verify(compact(&example), &key).unwrap_err(), UNSUPPORTED);
}

#[test]
fn n2_rfc7520_4_4_hs256_is_not_supported() {
    let example = read("rfc7520_4_4.hmac-sha2_integrity_protection.json");
    let key = &example["input"]["key"];
    assert_eq!(load(key).unwrap_err(), Odd::Private);
    assert_eq!(verify(compact(&example), key).unwrap_err(), UNSUPPORTED);
}

#[test]
fn n11_rfc7520_4_5_detached_content_is_refused() {
    let example = read("rfc7520_4_5.signature_with_detached_content.json");
    let error = Compact::parse(compact(&example).as_bytes(), 8192).unwrap_err();
    assert_eq!(error, CompactError::Base64 { segment: "payload" });
    is_refused_as_json(&example);
}

#[test]
fn n16_rfc7520_4_6_an_unprotected_header_is_refused() {
    let example = read("rfc7520_4_6.protecting_specific_header_fields.json");
    is_refused_as_json(&example);
    let flat = &example["output"]["json_flat"];
    let [protected, payload, signature] =
        ["protected", "payload", "signature"].map(|member| text(flat, member));
    let rebuilt = format!("{protected}.{payload}.{signature}");
    assert_eq!(verify(&rebuilt, &example["input"]["key"]).unwrap_err(), UNSUPPORTED);
}

#[test]
fn n16_rfc7520_4_8_several_signatures_are_refused_and_each_is_judged_alone() {
    let example = read("rfc7520_4_8.multiple_signatures.json");
    is_refused_as_json(&example);
    let jws = &example["output"]["json"];
    let payload = text(jws, "payload");
    let verdicts: Vec<_> = list(jws, "signatures")
        .iter()
        .zip(list(&example["input"], "key"))
        .map(|(signature, key)| {
            let protected = signature.get("protected").map_or("", |text| text.as_str().unwrap());
            let rebuilt = format!("{protected}.{payload}.{}", text(signature, "signature"));
            verify(&rebuilt, &public(key))
        })
        .collect();
    let no_header = "the header is not canonical base64url";
    let signed = from_base64url(payload).unwrap();
    assert_eq!(verdicts, [Ok(signed), Err(no_header.to_owned()), Err(UNSUPPORTED.to_owned())]);
}

#[test]
fn n10_n11_rfc7797_an_unencoded_payload_is_refused() {
    let example = read("rfc7797_b64_false.json");
    is_refused_as_json(&example);
    let jws = compact(&example);
    let first_space = jws.find(' ').unwrap();
    let error = Compact::parse(jws.as_bytes(), 8192).unwrap_err();
    assert_eq!(error, CompactError::Character { offset: first_space });

    let segments: Vec<&str> = jws.split('.').collect();
    let header = from_base64url(segments[0]).unwrap();
    let error = Header::parse(&header, Typ::AccessToken).unwrap_err();
    assert!(matches!(error, HeaderError::Json(_)), "{error}");
    let encoded = format!("{}.{}.{}", segments[0], base64url(segments[1]), segments[2]);
    assert_eq!(verify(&encoded, &example["input"]["key"]).unwrap_err(), HEADER);
}
