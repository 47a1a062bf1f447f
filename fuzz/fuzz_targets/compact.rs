#![no_main]
//! One token has one spelling: what is taken apart goes together to the same bytes.

use libfuzzer_sys::fuzz_target;
use scrip_token::compact::{Compact, base64url};
use scrip_token::limits::MAX_TOKEN_BYTES;

fuzz_target!(|jws: &[u8]| {
    let Ok(compact) = Compact::parse(jws, MAX_TOKEN_BYTES) else { return };
    assert!(jws.len() <= MAX_TOKEN_BYTES);
    let signed = [base64url(&compact.header), base64url(&compact.payload)].join(".");
    assert_eq!(compact.signing_input, signed.as_bytes());
    assert_eq!(jws, [signed, base64url(&compact.signature)].join(".").as_bytes());
});
