//! Check 2: a header of exactly `alg`, `typ`, `kid`. All well signed: only their form is wrong.

use super::case::Case;
use super::claims::Claims;
use super::keys::{Key, Keys, hmac_signed};

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = members(keys);
    cases.extend(types(keys));
    cases.extend(key_ids(keys));
    cases.extend(texts(keys));
    cases.extend(algorithms(keys));
    cases
}

fn signed(key: &Key, header: &str) -> String {
    key.forge(header, Claims::new().text())
}

fn members(keys: &Keys) -> Vec<Case> {
    const CRIT: &str =
        "no extension is understood, so `crit` is refused in every form (RFC 7515 section 4.1.11)";
    const KEY: &str = "keys come from the issuer, never from a token (RFC 8725 section 3.10)";
    const B64: &str = "the payload is always encoded; `b64` is no member of this header (RFC 7797)";
    const KNOWN: &str = "an unknown header member is refused";
    const TWICE: &str = "a member stands once, however it is escaped (RFC 7515 section 4)";
    let jwk = format!(r#""jwk":{}"#, keys.stranger.public());
    let kid = format!(r#""kid":"{}""#, keys.es256.kid());
    let rows = [
        ("crit-unknown", CRIT, r#""crit":["x"],"x":1"#),
        ("crit-empty", CRIT, r#""crit":[]"#),
        ("crit-text", CRIT, r#""crit":"exp""#),
        ("crit-alg", CRIT, r#""crit":["alg"]"#),
        ("crit-b64", CRIT, r#""crit":["b64"],"b64":false"#),
        ("crit-null", CRIT, r#""crit":null"#),
        ("b64-false", B64, r#""b64":false"#),
        ("b64-true", B64, r#""b64":true"#),
        ("jku", KEY, r#""jku":"http://169.254.169.254/""#),
        ("x5u", KEY, r#""x5u":"file:///etc/passwd""#),
        ("x5c", KEY, r#""x5c":["MIIB"]"#),
        ("jwk-of-its-own-signer", KEY, &jwk),
        ("zip", "nothing is compressed (RFC 7516 section 4.1.3)", r#""zip":"DEF""#),
        (
            "p2c",
            "nothing is derived from a password (RFC 7518 section 4.8.1)",
            r#""p2c":2147483647"#,
        ),
        ("cty", KNOWN, r#""cty":"JWT""#),
        ("header-member-unknown", KNOWN, r#""x":1"#),
        ("alg-twice", TWICE, r#""alg":"EdDSA""#),
        ("alg-twice-by-escape", TWICE, r#""\u0061lg":"none""#),
        ("kid-twice", TWICE, &kid),
        ("typ-twice", TWICE, r#""typ":"at+jwt""#),
    ];
    let eddsa = &keys.eddsa;
    let mut cases: Vec<Case> = rows
        .map(|(name, why, member)| {
            let header = eddsa.header().replace('}', &format!(",{member}}}"));
            Case::refused("bad-header", name, why, signed(eddsa, &header))
        })
        .into();
    let header = eddsa.header().replace('}', &format!(",{jwk}}}"));
    let attacked = signed(&keys.stranger, &header);
    cases.push(Case::refused("bad-header", "jwk-of-an-attacker", KEY, attacked));
    cases
}

fn types(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "`typ` is exactly `at+jwt` (RFC 9068 section 2.1, RFC 8725 section 3.11)";
    let kid = keys.eddsa.kid();
    let mut cases: Vec<Case> = [
        ("typ-jwt", r#""JWT""#),
        ("typ-of-a-logout-token", r#""logout+jwt""#),
        ("typ-of-a-deny-batch", r#""scrip-deny-batch+jwt""#),
        ("typ-of-the-keys-document", r#""scrip-keys+jwt""#),
        ("typ-in-upper-case", r#""AT+JWT""#),
        ("typ-in-full", r#""application/at+jwt""#),
        ("typ-null", "null"),
        ("typ-in-an-array", r#"["at+jwt"]"#),
        ("typ-empty", r#""""#),
    ]
    .map(|(name, typ)| {
        let header = format!(r#"{{"alg":"EdDSA","typ":{typ},"kid":"{kid}"}}"#);
        Case::refused("bad-header", name, WHY, signed(&keys.eddsa, &header))
    })
    .into();
    let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
    cases.push(Case::refused("bad-header", "typ-missing", WHY, signed(&keys.eddsa, &header)));
    cases
}

fn key_ids(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "`kid` is a thumbprint, 43 letters of base64url (RFC 7638 section 3), before it \
        is looked up";
    let kid = keys.eddsa.kid();
    let mut cases: Vec<Case> = [
        ("kid-empty", String::new()),
        ("kid-path", "../../dev/null".to_owned()),
        ("kid-sql", "x' UNION SELECT 'k".to_owned()),
        ("kid-shell", "|sleep 10".to_owned()),
        ("kid-line-feed", r"a\r\nb".to_owned()),
        ("kid-nul", format!(r"{kid}\u0000")),
        ("kid-right-to-left-override", format!(r"\u202e{kid}")),
        ("kid-one-letter-short", kid[..42].to_owned()),
        ("kid-one-letter-long", format!("{kid}A")),
        ("kid-padded", format!("{kid}=")),
        ("kid-of-another-alphabet", format!("{}+", &kid[..42])),
    ]
    .map(|(name, kid)| {
        let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#);
        Case::refused("bad-header", name, WHY, signed(&keys.eddsa, &header))
    })
    .into();
    cases.extend(
        [
            ("kid-missing", r#"{"alg":"EdDSA","typ":"at+jwt"}"#.to_owned()),
            ("kid-number", r#"{"alg":"EdDSA","typ":"at+jwt","kid":7}"#.to_owned()),
            ("kid-null", r#"{"alg":"EdDSA","typ":"at+jwt","kid":null}"#.to_owned()),
            ("kid-in-an-array", format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":["{kid}"]}}"#)),
        ]
        .map(|(name, header)| Case::refused("bad-header", name, WHY, signed(&keys.eddsa, &header))),
    );
    cases
}

fn texts(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "the header is one JSON object in UTF-8 (RFC 7515 section 4, RFC 8259)";
    let good = keys.eddsa.header();
    [
        ("header-null", WHY, "null".to_owned()),
        ("header-array", WHY, format!("[{good}]")),
        ("header-text", WHY, r#""at+jwt""#.to_owned()),
        ("header-empty-object", WHY, "{}".to_owned()),
        ("header-cut", WHY, good[..good.len() - 1].to_owned()),
        ("header-with-more-behind-it", WHY, format!("{good}{{}}")),
        (
            "header-with-byte-order-mark",
            "no byte order mark (RFC 8259 section 8.1)",
            format!("\u{feff}{good}"),
        ),
        ("header-with-trailing-comma", WHY, good.replace('}', ",}")),
        ("header-of-1025-bytes", "at most 1024 bytes", format!("{good:1025}")),
    ]
    .map(|(name, why, header)| Case::refused("bad-header", name, why, signed(&keys.eddsa, &header)))
    .into()
}

fn algorithms(keys: &Keys) -> Vec<Case> {
    const NONE: &str = "a token is signed (RFC 8725 section 3.2)";
    const KNOWN: &str = "ES256, EdDSA, RS256 and no other (RFC 8725 section 3.1)";
    const HMAC: &str = "a public key is no secret (RFC 8725 section 2.1)";
    let mut cases: Vec<Case> = [
        ("alg-none", NONE, "none"),
        ("alg-none-capitalised", NONE, "None"),
        ("alg-none-in-upper-case", NONE, "NONE"),
        ("alg-none-in-mixed-case", NONE, "nOnE"),
        ("alg-empty", NONE, ""),
        ("alg-in-lower-case", "names are compared byte by byte (RFC 7515 section 4.1.1)", "eddsa"),
        ("alg-with-nul", KNOWN, r"EdDSA\u0000"),
        ("alg-es384", KNOWN, "ES384"),
        ("alg-es256k", KNOWN, "ES256K"),
        ("alg-ps256", KNOWN, "PS256"),
        ("alg-rs512", KNOWN, "RS512"),
        ("alg-ed448", KNOWN, "Ed448"),
        ("alg-hs256", KNOWN, "HS256"),
    ]
    .map(|(name, why, alg)| {
        let header = keys.eddsa.header().replace("EdDSA", alg);
        Case::refused("unknown-alg", name, why, signed(&keys.eddsa, &header))
    })
    .into();
    let rs256 = &keys.rs256;
    let header = rs256.header().replace("RS256", "HS256");
    cases.extend(
        [
            (
                "hs256-with-the-public-key-in-pem",
                pem::encode(&pem::Pem::new("PUBLIC KEY", rs256.spki())).into_bytes(),
            ),
            ("hs256-with-the-public-key-in-der", rs256.spki()),
            ("hs256-with-the-jwk", rs256.public().into_bytes()),
            ("hs256-with-no-secret", Vec::new()),
        ]
        .map(|(name, secret)| {
            let token = hmac_signed(&header, &Claims::new(), &secret);
            Case::refused("unknown-alg", name, HMAC, token)
        }),
    );
    let kid = keys.eddsa.kid();
    cases.extend(
        [("alg-missing", ""), ("alg-null", r#""alg":null,"#), ("alg-number", r#""alg":1,"#)].map(
            |(name, alg)| {
                let header = format!(r#"{{{alg}"typ":"at+jwt","kid":"{kid}"}}"#);
                Case::refused("bad-header", name, KNOWN, signed(&keys.eddsa, &header))
            },
        ),
    );
    cases
}
