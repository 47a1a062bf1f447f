//! Model patterns: an exact name, `prefix*`, or `*`. Byte-exact, case-sensitive.

use crate::name::Malformed;
use crate::text::{text_form, text_shown};

const MAX_MODEL_BYTES: usize = 128;

/// Whether `name` is one exact model, `[A-Za-z0-9._:/@+-]{1,128}`.
#[must_use]
pub fn is_model(name: &str) -> bool {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'@' | b'+' | b'-')
    };
    matches!(name.len(), 1..=MAX_MODEL_BYTES) && name.bytes().all(plain)
}

/// One pattern of a `models` claim, at most 128 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelPattern(Box<str>);

impl ModelPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`Malformed`] for anything but `[A-Za-z0-9._:/@+-]*` with an optional final `*`, for an
    /// empty text, and above 128 bytes.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let literal = text.strip_suffix('*').unwrap_or(text);
        if text.len() <= MAX_MODEL_BYTES && (is_model(literal) || text == "*") {
            Ok(Self(text.into()))
        } else {
            Err(Malformed { kind: "model pattern" })
        }
    }

    /// Whether the pattern allows exactly this model. No pattern allows a name that is none
    /// ([`is_model`]): `prefix*` must not wave through what an upstream might read as something
    /// else.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix) && is_model(model),
            None => &*self.0 == model,
        }
    }

    /// Whether every model that `narrower` allows is allowed by `self` too.
    #[must_use]
    pub fn covers(&self, narrower: &Self) -> bool {
        match (self.0.strip_suffix('*'), narrower.0.strip_suffix('*')) {
            (Some(wide), Some(narrow)) => narrow.starts_with(wide),
            (None, Some(_)) => false,
            (_, None) => self.allows(&narrower.0),
        }
    }

    /// Whether it is one exact name.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.ends_with('*')
    }

    /// The pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_form!(ModelPattern);
text_shown!(ModelPattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ModelPattern {
        ModelPattern::parse(text).unwrap()
    }

    #[test]
    fn n28_names_match_to_the_byte() {
        assert_eq!(pattern("gpt-4").as_str(), "gpt-4");
        assert!(pattern("gpt-4").allows("gpt-4"));
        for other in ["gpt-4-32k", "GPT-4", "gpt-4\u{200b}", "gpt", "", "gpt-4 ", "gpt%2d4"] {
            assert!(!pattern("gpt-4").allows(other), "{other}");
        }
        assert!(pattern("claude-haiku-*").allows("claude-haiku-4"));
        assert!(!pattern("claude-haiku-*").allows("claude-opus-4"));
        for bad in ["", "a*b", "**", "gpt 4", "gpt-4\u{200b}", "%2e", "a\n"] {
            assert!(ModelPattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn n45_a_pattern_grants_only_what_it_covers() {
        assert!(pattern("claude-haiku-*").covers(&pattern("claude-haiku-4*")));
        assert!(pattern("claude-haiku-*").covers(&pattern("claude-haiku-4")));
        assert!(!pattern("claude-haiku-*").covers(&pattern("claude-*")));
        assert!(!pattern("gpt-4").covers(&pattern("gpt-4*")));
        assert!(pattern("*").covers(&pattern("*")));
    }
}
