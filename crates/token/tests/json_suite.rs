//! JSONTestSuite: what is no JSON is no claims, no header and no key set either, nor a part of one.

use scrip_token::claims::Claims;
use scrip_token::compact::{Header, Typ};
use scrip_token::json;
use scrip_token::jwk::KeySet;
use scrip_token::keys::PublishedKeys;

use crate::duplicates::{CLAIMS, HEADER, KEYS, SET};
use crate::vectors::path;

/// Valid JSON that is refused all the same.
const OURS: [(&str, &str); 2] = [
    ("y_object_duplicated_key.json", "duplicate member"),
    ("y_object_duplicated_key_and_value.json", "duplicate member"),
];

#[test]
fn n31_no_parser_accepts_what_is_no_json() {
    for (name, text) in files("n_", 188) {
        assert!(json::unambiguous(&text).is_err(), "{name}");
        assert!(json::read::<serde_json::Value>(&text).is_err(), "{name}");
        assert!(is_refused_everywhere(&text), "{name}");
        assert_eq!(accepted_inside(&text), [false, false], "{name}");
    }
}

#[test]
fn all_json_is_unambiguous_but_for_duplicates() {
    for (name, text) in files("y_", 95) {
        match OURS.iter().find(|(refused, _)| *refused == name) {
            None => {
                assert_eq!(json::unambiguous(&text), Ok(()), "{name}");
                assert_eq!(accepted_inside(&text), [true, true], "{name}");
            }
            Some((_, rule)) => {
                let error = json::unambiguous(&text).unwrap_err().to_string();
                assert!(error.contains(rule), "{name}: {error}");
                assert_eq!(accepted_inside(&text), [false, false], "{name}");
            }
        }
        assert!(is_refused_everywhere(&text), "{name}");
    }
}

#[test]
fn n31_what_parsers_may_decide_is_decided_alike_everywhere() {
    for (name, text) in files("i_", 35) {
        assert!(is_refused_everywhere(&text), "{name}");
        assert_eq!(accepted_inside(&text), [json::unambiguous(&text).is_ok(); 2], "{name}");
    }
}

/// As a whole: none of the files is any of our documents.
fn is_refused_everywhere(text: &[u8]) -> bool {
    Claims::parse(text).is_err()
        && Header::parse(text, Typ::AccessToken).is_err()
        && KeySet::parse(text).is_err()
        && PublishedKeys::parse(text).is_err()
}

/// As the value of a member that nobody knows: of claims, of a key set. A header and a keys
/// document have no such members. As a key of a set it is never usable.
fn accepted_inside(text: &[u8]) -> [bool; 2] {
    let with = |document: &str| {
        let open = document.strip_suffix('}').unwrap().as_bytes();
        [open, b",\"unknown\":", text, b"}"].concat()
    };
    let key = [b"{\"keys\":[", text, b"]}"].concat();
    assert!(KeySet::parse(&key).map_or(true, |set| set.keys.is_empty()));
    [Claims::parse(&with(CLAIMS)).is_ok(), KeySet::parse(&with(SET)).is_ok()]
}

#[test]
fn the_documents_that_the_files_are_put_into_are_good() {
    assert_eq!(accepted_inside(br#"[1,{"a":null}]"#), [true, true]);
    assert!(KeySet::parse(SET.as_bytes()).is_ok_and(|set| set.odd.is_empty()));
    assert!(Header::parse(HEADER.as_bytes(), Typ::AccessToken).is_ok());
    assert!(PublishedKeys::parse(KEYS.as_bytes()).is_ok());
}

fn files(prefix: &str, count: usize) -> Vec<(String, Vec<u8>)> {
    let directory = std::fs::read_dir(path("json_test_suite")).unwrap();
    let files: Vec<(String, Vec<u8>)> = directory
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect();
    assert_eq!(files.len(), count);
    files
}
