//! No member may come twice: at no depth, in no spelling, in no document.

use proptest::prelude::*;
use scrip_token::claims::Claims;
use scrip_token::compact::{Header, Typ};
use scrip_token::json;
use scrip_token::jwk::KeySet;
use scrip_token::keys::PublishedKeys;
use serde_json::Value;

/// Everything that claims may hold, and something that nobody knows.
pub(crate) const CLAIMS: &str = r#"{"iss":"https://sts.example","sub":"client:acme/billing",
    "aud":"llm-gateway","client_id":"acme/billing","iat":1795000000,"nbf":1795000000,
    "exp":1795000300,"jti":"01a1ee56-5e7b-7909-8909-090909090909","ver":1,"scope":"llm:chat",
    "models":["gpt-4"],"budget":{"tokens":5000,"request_tokens":100,"requests":9},
    "cidrs":["10.20.0.0/16"],"tenant":"acme","env":"prod",
    "lin":["01a1ee56-5a18-7909-8909-090909090908"],
    "act":{"sub":"client:acme/agent","act":{"sub":"client:acme/planner"}},
    "cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},"cred":"vault:3.1795000000",
    "later":[{"a":{"b":[{"c":1}]}}]}"#;

pub(crate) const HEADER: &str =
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}"#;

/// RFC 8037 appendix A.2 and RFC 7517 appendix A.1.
pub(crate) const SET: &str = r#"{"keys":[
    {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA"},
    {"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
     "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","key_ops":["verify"],"later":[{"a":{"b":1}}]}
    ],"later":{"a":[{"b":1}]}}"#;

pub(crate) const KEYS: &str = r#"{"ver":1,"iss":"https://sts.example","version":1,"iat":1795000000,
    "roots":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}],
    "feed_keys":[],"token_keys":[{"kty":"AKP","later":{"a":1}}]}"#;

#[test]
fn n19_claims_with_a_duplicate_anywhere_are_refused() {
    each_doubling(CLAIMS, |text| Claims::parse(text).is_ok());
}

#[test]
fn n19_a_header_with_a_duplicate_is_refused() {
    each_doubling(HEADER, |text| Header::parse(text, Typ::AccessToken).is_ok());
}

#[test]
fn n19_a_keys_document_with_a_duplicate_anywhere_is_refused() {
    each_doubling(KEYS, |text| PublishedKeys::parse(text).is_ok());
}

#[test]
fn n19_a_key_with_a_duplicate_is_left_out_and_any_other_spoils_the_set() {
    let keys = |text: &[u8]| KeySet::parse(text).map_or(0, |set| set.keys.len());
    each_doubling(SET, |text| keys(text) == 2);
    let inside = SET.replace(r#""kty":"EC""#, r#""kty":"EC","kty":"EC""#);
    assert_eq!(keys(inside.as_bytes()), 1);
    let outside = SET.replace(r#""later":{"#, r#""later":0,"later":{"#);
    assert_eq!(keys(outside.as_bytes()), 0);
}

proptest! {
    #[test]
    fn n19_any_json_with_a_duplicate_anywhere_is_refused(document in json(), at: prop::sample::Index) {
        let members = Doubled::write(&document, None).members;
        prop_assume!(members > 0);
        prop_assert!(json::unambiguous(document.to_string().as_bytes()).is_ok());
        for spelling in SPELLINGS {
            let doubled = Doubled::write(&document, Some((at.index(members), spelling)));
            prop_assert!(json::unambiguous(doubled.text.as_bytes()).is_err(), "{}", doubled.text);
        }
    }
}

/// JSON of at most 7 levels with any names.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 1..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The document passes as it is, and does not with any one of its members twice, however spelt.
fn each_doubling(document: &str, accepts: impl Fn(&[u8]) -> bool) {
    assert!(accepts(document.as_bytes()));
    let document: Value = serde_json::from_str(document).unwrap();
    let members = Doubled::write(&document, None).members;
    for at in 0..members {
        for spelling in SPELLINGS {
            let doubled = Doubled::write(&document, Some((at, spelling))).text;
            assert!(!accepts(doubled.as_bytes()), "{doubled}");
        }
    }
}

type Spelling = fn(&str) -> String;

const SPELLINGS: [Spelling; 3] = [
    |name| Value::from(name).to_string(),
    |name| escaped(name, 1),
    |name| escaped(name, usize::MAX),
];

/// A name with its first characters as `\u` escapes.
fn escaped(name: &str, first: usize) -> String {
    let mut text = String::from('"');
    for c in name.chars().take(first) {
        let units = c
            .encode_utf16(&mut [0; 2])
            .iter()
            .map(|unit| format!("\\u{unit:04X}"))
            .collect::<String>();
        text.push_str(&units);
    }
    let rest: String = name.chars().skip(first).collect();
    text.push_str(Value::from(rest).to_string().trim_start_matches('"'));
    text
}

/// A document written with one of its members, counted in the order of writing, twice.
struct Doubled {
    text: String,
    members: usize,
    which: Option<(usize, Spelling)>,
}

impl Doubled {
    fn write(document: &Value, which: Option<(usize, Spelling)>) -> Self {
        let mut doubled = Self { text: String::new(), members: 0, which };
        doubled.text = doubled.value(document);
        doubled
    }

    fn value(&mut self, value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let mut written = Vec::new();
                let mut again = None;
                for (name, value) in members {
                    let at = self.members;
                    self.members += 1;
                    let value = self.value(value);
                    written.push(format!("{}:{value}", Value::from(name.as_str())));
                    if let Some((_, spelling)) = self.which.filter(|(which, _)| *which == at) {
                        again = Some(format!("{}:{value}", spelling(name)));
                    }
                }
                written.extend(again);
                format!("{{{}}}", written.join(","))
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.value(item)).collect();
                format!("[{}]", items.join(","))
            }
            other => other.to_string(),
        }
    }
}
