//! The compact form: one token has one spelling.

use proptest::prelude::*;
use scrip_verify::token::compact::base64url;
use scrip_verify::token::limits::MAX_TOKEN_BYTES;
use serde_json::json;

use crate::fixture::*;

#[test]
fn n16_n33_only_three_whole_segments_are_a_token() {
    let good = ES256.token(&claims());
    let [header, payload, signature] = *good.split('.').collect::<Vec<_>>() else { panic!() };
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "....".into(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}.{signature}"),
        format!("{good}.{signature}.{signature}"),
        json!({"protected": header, "payload": payload, "signature": signature}).to_string(),
    ] {
        assert_eq!(verdict(&bad), "malformed", "{bad}");
    }
    assert_eq!(verdict(&good[..good.len() - 2]), "bad-signature");
    assert_ne!(verdict(&good[..good.len() - 4]), "ok");
}

#[test]
fn n17_n18_nothing_but_canonical_base64url() {
    let good = EDDSA.token(&claims());
    for bad in [
        format!("{good}="),
        format!("{good}=="),
        good.replace('.', "=."),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}\0"),
        format!("{good}?"),
        format!("{good}+"),
        format!("{good}/"),
        format!("Bearer {good}"),
        format!("Bearer Bearer {good}"),
        good.replacen('.', ".\n", 1),
    ] {
        assert_eq!(verdict(&bad), "malformed", "{bad:?}");
    }
    // 64 bytes leave four unused bits in the last character.
    let last = good.bytes().last().unwrap();
    assert!(b"AQgw".contains(&last));
    for other in (b'A'..=b'Z').filter(|other| !b"AQ".contains(other)) {
        let twin = [&good.as_bytes()[..good.len() - 1], &[other]].concat();
        assert_eq!(verdict(twin), "malformed");
    }
}

#[test]
fn n32_length_is_judged_before_anything_else() {
    for length in [MAX_TOKEN_BYTES + 1, 1 << 20] {
        assert_eq!(verdict("A".repeat(length)), "malformed");
        let padded = with("later", json!("x".repeat(length)));
        assert_eq!(verdict_on(&padded), "malformed");
    }
    assert_eq!(verdict_on(&with("later", json!("x".repeat(5_000)))), "ok");
}

proptest! {
    #[test]
    fn a_changed_token_is_refused(position: proptest::sample::Index, byte: u8) {
        let good = EDDSA.token(&claims()).into_bytes();
        let position = position.index(good.len());
        prop_assume!(good[position] != byte);
        let mut bad = good;
        bad[position] = byte;
        prop_assert_ne!(verdict(bad), "ok");
    }

    #[test]
    fn a_cut_token_is_refused(length: proptest::sample::Index) {
        let good = EDDSA.token(&claims());
        prop_assert_ne!(verdict(&good[..length.index(good.len())]), "ok");
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>, header: String, payload: Vec<u8>) {
        prop_assert_ne!(verdict(&bytes), "ok");
        prop_assert_ne!(verdict(EDDSA.forge(&header, &payload)), "ok");
        let jws = format!("{}.{}.{}", base64url(header), base64url(payload), base64url(bytes));
        prop_assert_ne!(verdict(jws), "ok");
    }
}
