//! Check 1: size, characters, three segments of canonical base64url.

use scrip_verify::token::compact::base64url;
use serde_json::json;

use super::case::Case;
use super::claims::Claims;
use super::keys::Keys;

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let good = keys.eddsa.token(&Claims::new());
    let mut cases = shapes(&good);
    cases.extend(characters(&good));
    cases.extend(encodings(keys, &good));
    cases.extend(sizes(keys));
    cases
}

fn shapes(good: &str) -> Vec<Case> {
    const WHY: &str = "three segments, none of them empty (RFC 7515 section 7.1)";
    let (input, signature) = good.rsplit_once('.').expect("a token has segments");
    let (header, payload) = input.split_once('.').expect("a token has segments");
    let json = json!({"payload": payload, "protected": header, "signature": signature});
    [
        ("empty", WHY, String::new()),
        ("dots-alone", WHY, "..".to_owned()),
        ("two-segments", WHY, input.to_owned()),
        ("signature-removed", WHY, format!("{input}.")),
        (
            "payload-removed",
            "detached content (RFC 7515 appendix F)",
            format!("{header}..{signature}"),
        ),
        ("header-removed", WHY, format!(".{payload}.{signature}")),
        ("four-segments", WHY, format!("{good}.{signature}")),
        (
            "five-segments",
            "a JWE (RFC 7516 section 7.1)",
            format!("{good}.{signature}.{signature}"),
        ),
        ("json-serialisation", "the compact form alone (RFC 7515 section 7.2)", json.to_string()),
    ]
    .map(|(name, why, token)| Case::refused("malformed", name, why, token))
    .into()
}

fn characters(good: &str) -> Vec<Case> {
    const WHY: &str =
        "only the token's own characters, A-Z a-z 0-9 - _ and two dots (RFC 7515 section 2)";
    let (input, signature) = good.rsplit_once('.').expect("a token has segments");
    [
        ("space-before", format!(" {good}")),
        ("space-after", format!("{good} ")),
        ("line-feed-after", format!("{good}\n")),
        ("nul-after", format!("{good}\0")),
        ("line-feed-within", format!("{input}\n.{signature}")),
        ("bearer-twice", format!("Bearer {good}")),
        ("question-mark", format!("{good}?")),
        ("percent-encoded", good.replace('.', "%2E")),
        ("comma-separated-twins", format!("{good},{good}")),
        ("letter-beyond-ascii", format!("{good}\u{e9}")),
    ]
    .map(|(name, token)| Case::refused("malformed", name, WHY, token))
    .into()
}

/// All well signed, over the segments as they stand.
fn encodings(keys: &Keys, good: &str) -> Vec<Case> {
    const PADDING: &str = "no padding (RFC 7515 section 2)";
    const BITS: &str =
        "unused bits are zero: one byte string has one spelling (RFC 4648 section 3.5)";
    let Keys { eddsa, .. } = keys;
    let header = base64url(eddsa.header());
    // A payload that leaves unused bits, and one whose encoding needs both special characters.
    let odd = base64url(ending_in_odd_bits(Claims::new().text()));
    let special = base64url(Claims::new().with("x", r#""?>~?>~?>~""#).text());
    let standard = special.replace('-', "+").replace('_', "/");
    assert_ne!(special, standard, "the payload has a special character");
    let (input, signature) = good.rsplit_once('.').expect("a token has segments");
    [
        ("padded-payload", PADDING, eddsa.sealed(&header, &format!("{odd}="))),
        ("padded-signature", PADDING, format!("{input}.{signature}==")),
        (
            "standard-alphabet",
            "the URL-safe alphabet (RFC 4648 section 5)",
            eddsa.sealed(&header, &standard),
        ),
        ("unused-bits-in-the-payload", BITS, eddsa.sealed(&header, &next_letter(&odd))),
        ("unused-bits-in-the-signature", BITS, format!("{input}.{}", next_letter(signature))),
        (
            "lone-letter-at-the-end",
            "no byte string is encoded so (RFC 4648 section 4)",
            format!("{good}AAA"),
        ),
    ]
    .map(|(name, why, token)| Case::refused("malformed", name, why, token))
    .into()
}

fn sizes(keys: &Keys) -> Vec<Case> {
    let Keys { eddsa, .. } = keys;
    // In front of the payload's last brace blanks mean nothing; three more make four more letters.
    let of = |bytes: usize| {
        let text = Claims::new().text();
        let letters = bytes - base64url(eddsa.header()).len() - 2 - 86;
        let blanks = " ".repeat(letters * 3 / 4 - text.len());
        let token = eddsa.forge(&eddsa.header(), format!("{text}{blanks}"));
        assert_eq!(token.len(), bytes);
        token
    };
    vec![
        Case::accepted("of-8192-bytes", "the largest token that is looked at", of(8192)),
        Case::refused("malformed", "of-8193-bytes", "longer than any token may be", of(8193)),
    ]
}

/// With blanks behind it until two bits of its last letter are unused.
fn ending_in_odd_bits(mut text: String) -> String {
    while text.len() % 3 != 2 {
        text.push(' ');
    }
    text
}

/// With the lowest bit of its last letter set, which is unused.
fn next_letter(segment: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = segment.split_at(segment.len() - 1);
    let value = ALPHABET.find(last).expect("a segment has letters of the alphabet alone");
    assert_eq!(value % 2, 0, "the bit is unused");
    format!("{rest}{}", &ALPHABET[value + 1..=value + 1])
}
