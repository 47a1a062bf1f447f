//! Key sets: what becomes of each key beside the others.

use scrip_token::jwk::{KeySet, KeySetError, MAX_SET_BYTES, MAX_SET_KEYS, Odd};
use scrip_token::limits::MAX_JSON_MEMBERS;
use scrip_token::signature::Alg;
use serde_json::{Value, json};

use crate::jwk::{KID, ec, okp, rsa, with};

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

#[test]
fn a_key_is_written_as_it_is_read() {
    let whole = with(with(with(okp(), "kid", KID), "alg", "EdDSA"), "use", "sig");
    let keys = set(&[okp(), ec(), rsa(2048)]).keys;
    assert_eq!(keys.len(), 3);
    assert_eq!(serde_json::to_value(&keys[0].0).unwrap(), whole); // RFC 8037 appendix A.3
    let written: Vec<Value> =
        keys.iter().map(|(jwk, _)| serde_json::to_value(jwk).unwrap()).collect();
    let again = set(&written);
    assert!(again.keys.iter().map(|(jwk, _)| jwk).eq(keys.iter().map(|(jwk, _)| jwk)));
}

#[test]
fn n13_n108_an_odd_key_is_left_out_by_name_and_spoils_nothing() {
    let mut off_curve = ec();
    off_curve["y"] = off_curve["x"].clone();
    let twice = r#"{"kty":"OKP","kty":"OKP","crv":"Ed25519"}"#;
    for (odd, reason) in [
        (with(ec(), "use", "enc").to_string(), Odd::Purpose),
        (with(ec(), "alg", "RS256").to_string(), Odd::Contradiction),
        (with(ec(), "kid", "other").to_string(), Odd::Kid),
        (json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}).to_string(), Odd::Unsupported),
        (json!({"kty": "oct", "k": "AAAA"}).to_string(), Odd::Private),
        (off_curve.to_string(), Odd::Key),
        (rsa(1024).to_string(), Odd::Key),
        (twice.to_owned(), Odd::Malformed),
        (format!("{}1{}", "[".repeat(500), "]".repeat(500)), Odd::Malformed),
        (r#"{"kty":"\ud800"}"#.to_owned(), Odd::Malformed),
        ("null".to_owned(), Odd::Malformed),
        ("[]".to_owned(), Odd::Malformed),
        (r#""key""#.to_owned(), Odd::Malformed),
    ] {
        for (position, members) in [
            (0, [odd.clone(), okp().to_string(), rsa(2048).to_string()]),
            (1, [okp().to_string(), odd.clone(), rsa(2048).to_string()]),
            (2, [okp().to_string(), rsa(2048).to_string(), odd.clone()]),
        ] {
            let document = format!(r#"{{"keys":[{}]}}"#, members.join(","));
            let set = KeySet::parse(document.as_bytes()).unwrap();
            let kept: Vec<Alg> = set.keys.iter().map(|(_, key)| key.alg()).collect();
            assert_eq!((kept, set.odd), (vec![Alg::EdDSA, Alg::RS256], vec![(position, reason)]));
        }
    }
}

#[test]
fn a_kid_is_the_thumbprint_or_absent() {
    assert_eq!(set(&[with(okp(), "kid", KID)]).keys[0].0.kid, KID);
    assert_eq!(set(&[okp()]).keys[0].0.kid, KID);
    for (kid, expected) in [
        (json!("other"), Odd::Kid),
        (json!(""), Odd::Kid),
        (json!(KID.to_lowercase()), Odd::Kid),
        (json!(format!("{KID} ")), Odd::Kid),
        (json!("../../dev/null"), Odd::Kid),
        (json!(7), Odd::Malformed),
        (Value::Null, Odd::Malformed),
    ] {
        assert_eq!(set(&[with(okp(), "kid", kid)]).odd, [(0, expected)]);
    }
}

#[test]
fn the_same_key_again_counts_once_however_it_is_written() {
    let named = with(with(okp(), "kid", KID), "use", "sig");
    for again in [named.clone(), okp(), with(named.clone(), "alg", "Ed25519")] {
        let set = set(&[named.clone(), ec(), again]);
        assert_eq!((set.keys.len(), set.odd), (2, vec![(2, Odd::Repeated)]));
    }
}

#[test]
fn keys_that_differ_under_one_kid_are_both_left_out() {
    let named = with(okp(), "kid", KID);
    for (other, odd) in [
        (with(ec(), "kid", KID), Odd::Kid),
        (with(named.clone(), "x", "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Odd::Kid),
        (with(named.clone(), "use", "enc"), Odd::Purpose),
        (with(named.clone(), "key_ops", json!([])), Odd::Purpose),
        (with(named.clone(), "alg", "ES256"), Odd::Contradiction),
        (with(named.clone(), "d", "AQAB"), Odd::Private),
        (with(named.clone(), "x", 7), Odd::Malformed),
        (json!({"kty": "AKP", "kid": KID}), Odd::Unsupported),
        (json!({"kty": "oct", "kid": KID, "k": "AQAB"}), Odd::Private),
        // It names no `kid`, and has the same one.
        (with(okp(), "use", "enc"), Odd::Purpose),
    ] {
        for good in [&named, &okp()] {
            let before = set(&[other.clone(), ec(), good.clone()]);
            assert_eq!(before.odd, [(0, odd), (2, Odd::Conflict)], "{other}");
            let after = set(&[good.clone(), ec(), other.clone(), good.clone()]);
            assert_eq!(after.odd, [(0, Odd::Conflict), (2, odd), (3, Odd::Conflict)], "{other}");
            for set in [before, after] {
                let kept: Vec<Alg> = set.keys.iter().map(|(jwk, _)| jwk.alg).collect();
                assert_eq!(kept, [Alg::ES256]);
            }
        }
    }
}

#[test]
fn n36_n100_n104_a_document_is_shaped_and_bounded() {
    for bad in ["", "{}", "null", "[]", "<html>", r#"{"keys":null}"#, r#"{"keys":{}}"#] {
        assert!(matches!(KeySet::parse(bad.as_bytes()), Err(KeySetError::Json(_))), "{bad}");
    }
    let error = KeySet::parse(b"[]").unwrap_err().to_string();
    assert!(error.contains("expected a JWK Set"), "{error}");
    let empty = KeySet::parse(br#"{"keys":[]}"#).unwrap();
    assert!(empty.keys.is_empty() && empty.odd.is_empty());
    let padded = |bytes: usize| format!(r#"{{"keys":[]{}}}"#, " ".repeat(bytes - 11));
    assert!(KeySet::parse(padded(MAX_SET_BYTES).as_bytes()).is_ok());
    let error = KeySet::parse(padded(MAX_SET_BYTES + 1).as_bytes()).unwrap_err();
    assert_eq!(error, KeySetError::TooLong(MAX_SET_BYTES + 1));
}

#[test]
fn n104_keys_beyond_the_most_are_not_looked_at() {
    let odd = json!({"kty": "AKP"});
    let full = [&vec![odd; MAX_SET_KEYS - 1][..], &[okp()]].concat();
    let full_set = set(&full);
    assert_eq!((full_set.keys.len(), full_set.odd.len()), (1, MAX_SET_KEYS - 1));
    let more = set(&[&full[..], &[ec(), ec()]].concat());
    assert_eq!((more.keys.len(), more.odd.len()), (1, MAX_SET_KEYS));
    assert_eq!(more.odd.last(), Some(&(MAX_SET_KEYS, Odd::TooMany)));
}

#[test]
fn n19_n31_the_document_around_the_keys_is_strict_too() {
    let key = okp();
    let parse = |text: &str| KeySet::parse(text.replace("KEY", &key.to_string()).as_bytes());
    for good in [r#"{"keys":[KEY]}"#, r#" {"later":{"a":[1]}, "keys":[KEY,[],7,"x"]} "#] {
        assert_eq!(parse(good).unwrap().keys.len(), 1, "{good}");
    }
    for bad in [
        r#"{"keys":[KEY],"keys":[KEY]}"#,
        r#"{"keys":[],"keys":[KEY]}"#,
        r#"{"keys":[KEY],"\u006beys":[]}"#,
        r#"{"keys":[KEY],"a":1,"a":1}"#,
        r#"{"keys":[KEY],"a":{"b":1,"b":1}}"#,
        r#"{"keys":[KEY],"a":"\ud800"}"#,
        r#"{"keys":[KEY],"a":[[[[[[[[[]]]]]]]]]}"#,
        r#"{"keys":[KEY]}{}"#,
        r#"{"keys":[KEY],}"#,
        r#"{"keys":[KEY]"#,
        r#"{"Keys":[KEY]}"#,
        r#"[[KEY]]"#,
        r#"{"keys":{"0":KEY}}"#,
        r#"{"keys":KEY}"#,
        "\u{feff}{\"keys\":[KEY]}",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    let wide = |others: usize| {
        let others: String = (0..others).map(|n| format!(r#""{n}":0,"#)).collect();
        parse(&format!(r#"{{{others}"keys":[KEY]}}"#))
    };
    assert!(wide(MAX_JSON_MEMBERS - 1).is_ok() && wide(MAX_JSON_MEMBERS).is_err());
    assert!(KeySet::parse(b"{\"keys\":[],\"a\":\"\xff\"}").is_err());
    assert!(KeySet::parse(b"{\"keys\":[],\"\xff\":0}").is_err());
}
