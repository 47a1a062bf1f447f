#![no_main]
//! The objects of the feed: an accepted one says exactly what a slower reading says, so that
//! nothing in it was passed over, and reads back equal.

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use scrip_fuzz::sole_meaning;
use scrip_token::deny::{Batch, Heartbeat, MAX_BATCH_ENTRIES, Manifest};
use scrip_token::json::JsonError;
use serde::Serialize;

fuzz_target!(|payload: &[u8]| {
    same(payload, Heartbeat::parse);
    same(payload, Manifest::parse);
    if let Some(batch) = same(payload, Batch::parse) {
        assert!(batch.seq > 0 && (1..=MAX_BATCH_ENTRIES).contains(&batch.entries.len()));
    }
});

fn same<T, F>(payload: &[u8], parse: F) -> Option<T>
where
    T: Serialize + PartialEq + Debug,
    F: Fn(&[u8]) -> Result<T, JsonError>,
{
    let object = parse(payload).ok()?;
    let written = serde_json::to_value(&object).unwrap();
    assert_eq!(sole_meaning(payload).as_ref(), Some(&written));
    assert_eq!(parse(written.to_string().as_bytes()).as_ref(), Ok(&object));
    Some(object)
}
