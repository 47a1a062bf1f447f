//! What a pattern covers, by trying every model.

use scrip_token::ModelPattern;

/// Every text over two letters, up to a length.
fn texts(longest: usize) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut newest = texts.clone();
    for _ in 0..longest {
        newest = newest.iter().flat_map(|text| ["a", "A"].map(|c| format!("{text}{c}"))).collect();
        texts.extend_from_slice(&newest);
    }
    texts
}

#[test]
fn n45_a_pattern_covers_another_if_it_allows_all_of_its_models() {
    let models = texts(5);
    let patterns: Vec<ModelPattern> = texts(3)
        .iter()
        .flat_map(|text| [text.clone(), format!("{text}*")])
        .filter_map(|text| ModelPattern::parse(&text).ok())
        .collect();
    assert_eq!((models.len(), patterns.len()), (63, 29));
    for wide in &patterns {
        for narrow in &patterns {
            let mut allowed = models.iter().filter(|model| narrow.allows(model));
            let all = allowed.all(|model| wide.allows(model));
            assert_eq!(wide.covers(narrow), all, "{wide} {narrow}");
        }
    }
}

#[test]
fn n28_a_pattern_allows_what_its_text_says() {
    for model in texts(4) {
        for literal in texts(3) {
            let prefix = ModelPattern::parse(&format!("{literal}*")).unwrap();
            let is_prefix = model.as_bytes().get(..literal.len()) == Some(literal.as_bytes());
            // The empty text is no model.
            assert_eq!(prefix.allows(&model), is_prefix && !model.is_empty(), "{prefix} {model}");
            let Ok(exact) = ModelPattern::parse(&literal) else { continue };
            assert_eq!(exact.allows(&model), model == literal, "{exact} {model}");
            assert!(exact.is_exact() && !prefix.is_exact());
        }
    }
}

#[test]
fn n28_no_pattern_allows_a_name_that_is_none() {
    let long = "a".repeat(129);
    for odd in ["a b", "a\u{200b}", "a*", "a%2e", "a\n", "", &long] {
        for pattern in ["*", "a*"] {
            assert!(!ModelPattern::parse(pattern).unwrap().allows(odd), "{pattern} {odd:?}");
        }
    }
    assert!(ModelPattern::parse("a*").unwrap().allows(&long[1..]));
}
