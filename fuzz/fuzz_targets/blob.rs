#![no_main]
//! A blob that is read holds no more than its bytes, and loses nothing when it is written again.
//! The bytes may differ: a rule is kept as its batch had it, which another writer spaces otherwise.

use libfuzzer_sys::fuzz_target;
use scrip_token::blob::Blob;
use scrip_token::deny::Entry;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = Blob::decode(bytes) else { return };
    let jtis =
        read.jtis.iter().map(|(jti, until)| Entry::Jti { jti: *jti, until: (*until).into() });
    let entries: Vec<Entry> = jtis.chain(read.rules.iter().cloned()).rev().collect();
    assert_eq!(entries.len(), read.count());

    let written = Blob::from_entries(entries).unwrap();
    assert_eq!(written.jtis, read.jtis);
    assert!(read.rules.iter().all(|rule| written.rules.contains(rule)));
    let rewritten = written.encode().unwrap();
    assert!(rewritten.len() <= bytes.len());
    assert!(written != read || rewritten.len() < bytes.len() || rewritten == bytes);
    assert_eq!(Blob::decode(&rewritten), Ok(written));
});
