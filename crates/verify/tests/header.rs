//! Headers, all well signed: only their form is wrong.

use crate::fixture::*;

fn signed(header: &str) -> &'static str {
    verdict(EDDSA.forge(header, claims().to_string().as_bytes()))
}

fn and(members: &str) -> String {
    header(&EDDSA).replace('}', &format!(",{members}}}"))
}

#[test]
fn n8_n9_n10_n11_n15_n33_three_members_and_no_other() {
    assert_eq!(signed(&header(&EDDSA)), "ok");
    let jwk = STRANGER.jwk();
    for members in [
        &*format!(r#""jwk":{jwk}"#),
        r#""jku":"http://169.254.169.254/""#,
        r#""x5u":"file:///etc/passwd""#,
        r#""x5c":["MIIB"]"#,
        r#""crit":["x"]"#,
        r#""crit":[]"#,
        r#""crit":"exp""#,
        r#""crit":["alg"]"#,
        r#""crit":["x","x"],"x":1"#,
        r#""crit":["b64"],"b64":false"#,
        r#""b64":false"#,
        r#""zip":"DEF""#,
        r#""p2c":2147483648"#,
        r#""enc":"A256GCM""#,
        r#""cty":"JWT""#,
    ] {
        assert_eq!(signed(&and(members)), "bad-header", "{members}");
    }
}

#[test]
fn n8_a_key_in_the_header_is_not_believed() {
    let header = header(&EDDSA).replace('}', &format!(r#","jwk":{}}}"#, STRANGER.jwk()));
    assert_eq!(verdict(STRANGER.forge(&header, claims().to_string().as_bytes())), "bad-header");
}

#[test]
fn n12_kid_is_a_thumbprint_before_anything_is_done_with_it() {
    for odd in [
        r#""""#,
        "7",
        "null",
        "[]",
        r#""../../dev/null""#,
        r#""x' UNION SELECT 'k""#,
        r#""|sleep 10""#,
        r#""a\r\nb""#,
        r#""\u0000""#,
        r#""\u202e""#,
        &format!("\"{}\"", "k".repeat(42)),
        &format!("\"{}\"", "k".repeat(44)),
        &format!("\"{}\"", "k".repeat(700)),
        &format!("\"{}.\"", "k".repeat(42)),
    ] {
        let kid = format!("\"{}\"", EDDSA.kid());
        assert_eq!(signed(&header(&EDDSA).replace(&kid, odd)), "bad-header", "{odd}");
    }
    assert_eq!(signed(r#"{"alg":"EdDSA","typ":"at+jwt"}"#), "bad-header");
    let huge = header(&EDDSA).replace(EDDSA.kid(), &"k".repeat(1 << 20));
    assert_eq!(signed(&huge), "malformed");
}

#[test]
fn n15_only_an_access_token_is_an_access_token() {
    for typ in [
        "JWT",
        "logout+jwt",
        "AT+JWT",
        "application/at+jwt",
        "scrip-deny-batch+jwt",
        "scrip-deny-heartbeat+jwt",
        "scrip-keys+jwt",
        "",
    ] {
        assert_eq!(signed(&header(&EDDSA).replace("at+jwt", typ)), "bad-header", "{typ}");
    }
    assert_eq!(signed(&format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, EDDSA.kid())), "bad-header");
}

#[test]
fn n19_duplicate_members_are_refused_however_they_are_spelt() {
    for members in [
        r#""alg":"EdDSA""#,
        r#""\u0061lg":"none""#,
        &format!(r#""kid":"{}""#, EDDSA.kid()),
        r#""typ":"at+jwt""#,
    ] {
        assert_eq!(signed(&and(members)), "bad-header", "{members}");
    }
}

#[test]
fn n31_a_header_that_is_no_object_is_refused() {
    for odd in ["", "null", "[1]", "\"x\"", "{}", "{", "\u{feff}{}", &"[".repeat(900)] {
        let expected = if odd.is_empty() { "malformed" } else { "bad-header" };
        assert_eq!(signed(odd), expected, "{odd}");
    }
    assert_eq!(signed(&format!("{}x", header(&EDDSA))), "bad-header");
}
