#![no_main]
//! Our reading and a slower one accept the same texts.

use libfuzzer_sys::fuzz_target;
use scrip_fuzz::sole_meaning;
use scrip_token::json;

fuzz_target!(|text: &[u8]| {
    let verdict = json::unambiguous(text);
    let meaning = sole_meaning(text);
    assert_eq!(verdict.is_ok(), meaning.is_some(), "{verdict:?} {meaning:?}");
    assert_eq!(json::read::<serde_json::Value>(text).ok(), meaning);
});
