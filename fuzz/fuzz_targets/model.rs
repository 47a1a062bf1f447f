#![no_main]
//! A pattern keeps its text, allows by its letters, and covers only what allows no more.
//! Input: a wide pattern, a narrow one and a model, a line each.

use libfuzzer_sys::fuzz_target;
use scrip_token::ModelPattern;

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (Some(wide), Some(narrow), model) = (pattern(next()), pattern(next()), next()) else {
        return;
    };
    if wide.covers(&narrow) && narrow.allows(model) {
        assert!(wide.allows(model), "{wide} covers {narrow} but does not allow {model}");
    }
    if narrow.is_exact() {
        assert_eq!(wide.covers(&narrow), wide.allows(narrow.as_str()));
    }
    let letters = wide.as_str().trim_end_matches('*');
    assert_eq!(
        wide.allows(model),
        model == letters || (!wide.is_exact() && model.starts_with(letters))
    );
});

fn pattern(text: &str) -> Option<ModelPattern> {
    let pattern = ModelPattern::parse(text).ok()?;
    assert!(pattern.as_str() == text && text.is_ascii() && (1..=128).contains(&text.len()));
    assert!(!text[..text.len() - 1].contains('*'));
    Some(pattern)
}
