#![no_main]
//! A keys document that is accepted is unambiguous, has a root, and keeps its keys when rewritten.

use libfuzzer_sys::fuzz_target;
use scrip_fuzz::sole_meaning;
use scrip_token::jwk::KeySet;
use scrip_token::keys::{KeysDocument, PublishedKeys};

fuzz_target!(|payload: &[u8]| {
    let Ok(read) = PublishedKeys::parse(payload) else { return };
    let said = sole_meaning(payload).expect("a document with a second meaning was accepted");
    assert_eq!(said.as_object().unwrap().len(), 7);
    assert_eq!((&said["iss"], &said["version"]), (&read.iss.as_str().into(), &read.version.into()));

    let jwks = |set: &KeySet| set.keys.iter().map(|(jwk, _)| jwk.clone()).collect::<Vec<_>>();
    let rewritten = KeysDocument {
        ver: 1,
        iss: read.iss.clone(),
        version: read.version,
        iat: read.iat,
        roots: jwks(&read.roots),
        feed_keys: jwks(&read.feed_keys),
        token_keys: jwks(&read.token_keys),
    };
    let again = PublishedKeys::parse(&serde_json::to_vec(&rewritten).unwrap()).unwrap();
    assert!(!rewritten.roots.is_empty());
    for (list, again) in [
        (rewritten.roots, again.roots),
        (rewritten.feed_keys, again.feed_keys),
        (rewritten.token_keys, again.token_keys),
    ] {
        assert!(again.odd.is_empty());
        assert_eq!(list, jwks(&again));
    }
});
