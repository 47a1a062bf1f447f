//! Project Wycheproof: every vector, and every disagreement with its reason.

use std::ops::RangeInclusive;

use scrip_token::compact::base64url;
use scrip_token::jwk::Odd;
use serde_json::{Value, json};

use crate::jose::{SIGNATURE, UNSUPPORTED, load, verify};
use crate::vectors::{hex, list, read, text};

/// Vectors marked valid or acceptable that are refused here: which, how, why. None that is marked
/// invalid is accepted.
type Disagreements = &'static [(&'static [RangeInclusive<u64>], &'static str, &'static str)];

const ED25519: Disagreements = &[];

const P256: Disagreements = &[];

const RSA: Disagreements = &[
    (&[8..=8], SIGNATURE, "acceptable: no NULL in DigestInfo; RFC 8017 section 9.2 puts one there"),
    (&[258..=259], "unusable key", "e = 3; FIPS 186-5 appendix A.1.1 asks for more than 2^16"),
];

const JWS: Disagreements = &[
    (&[1..=1, 348..=348, 352..=352, 357..=359, 376..=377], UNSUPPORTED, "HS256 is not enabled"),
    (&[265..=267, 269..=271], UNSUPPORTED, "RS384 and RS512 are not enabled"),
    (&[273..=275, 287..=288], UNSUPPORTED, "PS256 is not enabled"),
    (&[321..=323, 326..=328], UNSUPPORTED, "PS384 and PS512 are not enabled"),
    (&[346..=346, 350..=350], UNSUPPORTED, "PS384, under a key that is labelled PS256"),
    (&[347..=347, 351..=351], UNSUPPORTED, "ES512, under a key labelled ES521: not registered"),
    (
        &[259..=259, 264..=264, 268..=268, 272..=272, 320..=320, 325..=325],
        "the payload is not canonical base64url",
        "an empty payload is no claims",
    ),
    (&[372..=372], "character at offset 43 is not allowed", QUESTION_MARK),
    (&[373..=373], "character at offset 51 is not allowed", QUESTION_MARK),
];

const QUESTION_MARK: &str = "`?` is not base64url: RFC 7515 section 2 has it refused";

#[test]
fn n7_every_ed25519_vector() {
    let file = read("wycheproof_ed25519_test.json");
    primitive(&file, ED25519, |group| group["publicKeyJwk"].clone());
}

#[test]
fn n4_every_p256_vector() {
    let file = read("wycheproof_ecdsa_secp256r1_sha256_p1363_test.json");
    primitive(&file, P256, |group| {
        let point = hex(text(&group["publicKey"], "uncompressed"));
        let (x, y) = point[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
    });
}

#[test]
fn every_rsa_vector() {
    let file = read("wycheproof_rsa_signature_2048_sha256_test.json");
    primitive(&file, RSA, |group| group["keyJwk"].clone());
}

#[test]
fn n1_n2_n3_n8_n13_n16_n17_every_jws_vector() {
    judge(&read("wycheproof_json_web_signature_test.json"), JWS, |group, test| {
        let jwk = group.get("public").unwrap_or(&group["private"]);
        verify(text(test, "jws"), jwk).map(drop)
    });
}

#[test]
fn n103_every_private_key_of_the_jws_vectors_is_refused_as_such() {
    let file = read("wycheproof_json_web_signature_test.json");
    for group in list(&file, "testGroups") {
        assert_eq!(load(&group["private"]).unwrap_err(), Odd::Private);
    }
}

fn primitive(file: &Value, disagreements: Disagreements, jwk: fn(&Value) -> Value) {
    judge(file, disagreements, |group, test| {
        let key = load(&jwk(group)).map_err(|odd| odd.to_string())?;
        let is_genuine = key.verify(&hex(text(test, "msg")), &hex(text(test, "sig")));
        if is_genuine { Ok(()) } else { Err(SIGNATURE.to_owned()) }
    });
}

/// Compares every verdict with the file's, and every disagreement with the table.
fn judge(
    file: &Value,
    disagreements: Disagreements,
    verdict: impl Fn(&Value, &Value) -> Result<(), String>,
) {
    let (mut judged, mut disagreed) = (0, 0);
    for group in list(file, "testGroups") {
        for test in list(group, "tests") {
            let id = test["tcId"].as_u64().unwrap();
            let listed =
                disagreements.iter().find(|(ids, ..)| ids.iter().any(|range| range.contains(&id)));
            let expected = listed.map(|(_, refusal, _)| Err((*refusal).to_owned()));
            let verdict = verdict(group, test);
            match (text(test, "result"), expected) {
                ("invalid", None) => assert!(verdict.is_err(), "tcId {id}: {}", test["comment"]),
                ("invalid", Some(_)) => panic!("tcId {id} is listed, and invalid anyway"),
                (_, expected) => {
                    assert_eq!(verdict, expected.unwrap_or(Ok(())), "tcId {id}: {listed:?}");
                }
            }
            judged += 1;
            disagreed += usize::from(listed.is_some());
        }
    }
    assert_eq!(file["numberOfTests"], judged);
    let listed = disagreements.iter().flat_map(|(ids, ..)| ids.iter().cloned().flatten());
    assert_eq!(listed.count(), disagreed, "one is listed that is not there, or listed twice");
}
