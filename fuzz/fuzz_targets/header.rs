#![no_main]
//! An accepted header has three members, each once, and says what a slower reading says.

use libfuzzer_sys::fuzz_target;
use scrip_fuzz::sole_meaning;
use scrip_token::Typ;
use scrip_token::compact::{Header, is_kid};
use serde_json::json;

fuzz_target!(|text: &[u8]| {
    let Ok(Header { alg, typ, kid }) = Header::parse(text, Typ::AccessToken) else { return };
    assert!(typ == "at+jwt" && is_kid(&kid));
    assert_eq!(sole_meaning(text), Some(json!({"alg": alg, "typ": typ, "kid": kid})));
});
