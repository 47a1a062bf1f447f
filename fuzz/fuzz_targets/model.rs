#![no_main]
//! A pattern keeps its text, allows models by its letters and nothing that is no model, and covers
//! only what allows no more. Input: a wide pattern, a narrow one and a model, a line each.

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
    let (letters, prefix) = (wide.as_str().trim_end_matches('*'), !wide.is_exact());
    let matches = model == letters || (prefix && model.starts_with(letters));
    assert_eq!(wide.allows(model), matches && is_name(model), "{wide} {model}");
});

fn pattern(text: &str) -> Option<ModelPattern> {
    let pattern = ModelPattern::parse(text).ok()?;
    assert!(pattern.as_str() == text && text.is_ascii() && (1..=128).contains(&text.len()));
    assert!(!text[..text.len() - 1].contains('*'));
    Some(pattern)
}

fn is_name(model: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+-".contains(&b);
    (1..=128).contains(&model.len()) && model.bytes().all(plain)
}
