//! Names: tenants, clients, environments, scopes.

use crate::limits::MAX_SCOPES;
use crate::text::{text_form, text_shown};

/// A text that does not match the grammar of its kind. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed {kind}")]
pub struct Malformed {
    /// What it should have been.
    pub kind: &'static str,
}

/// Whether `text` is `[a-z0-9][a-z0-9-]{0,62}`: a tenant, the second half of a client's or a
/// policy's name, an environment.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=63)
        && bytes.first() != Some(&b'-')
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// `<tenant>/<name>`: the name of a client or of a policy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName(Box<str>);

impl QualifiedName {
    /// Reads `<tenant>/<name>`.
    ///
    /// # Errors
    /// [`Malformed`] unless both halves are labels ([`is_label`]).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        match text.split_once('/') {
            Some((tenant, name)) if is_label(tenant) && is_label(name) => Ok(Self(text.into())),
            _ => Err(Malformed { kind: "<tenant>/<name>" }),
        }
    }

    /// The first half.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.0.split_once('/').map_or("", |(tenant, _)| tenant)
    }

    /// The second half.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// Both halves.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Scopes as they stand in a token: exact names, single spaces, no repetition.
///
/// A scope is `[a-z0-9:._/-]{1,64}`; a token carries 1 to [`MAX_SCOPES`] of them
/// (RFC 6749 section 3.3, narrowed).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scopes(Box<str>);

impl Scopes {
    /// Reads a `scope` claim or parameter.
    ///
    /// # Errors
    /// [`Malformed`] for an empty text, another separator than one space, a name outside the
    /// grammar, a repeated name, or more than [`MAX_SCOPES`].
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed { kind: "list of scopes" };
        let mut seen: Vec<&str> = Vec::new();
        for scope in text.split(' ') {
            if !is_scope(scope) || seen.contains(&scope) || seen.len() == MAX_SCOPES {
                return Err(malformed);
            }
            seen.push(scope);
        }
        Ok(Self(text.into()))
    }

    /// Whether `scope` is one of them.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.as_bytes().split(|b| *b == b' ').any(|held| held == scope.as_bytes())
    }

    /// Each scope, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }

    /// The claim's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is one exact scope, `[a-z0-9:._/-]{1,64}`.
#[must_use]
pub fn is_scope(text: &str) -> bool {
    matches!(text.len(), 1..=64)
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b':' | b'.' | b'_' | b'/' | b'-'))
}

text_form!(QualifiedName, Scopes);
text_shown!(QualifiedName, Scopes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n43_names_have_one_spelling() {
        let name = QualifiedName::parse("acme/billing-2").unwrap();
        assert_eq!((name.tenant(), name.name()), ("acme", "billing-2"));
        assert_eq!(name.as_str(), "acme/billing-2");
        let long = format!("a/{}", "b".repeat(64));
        for bad in ["", "acme", "Acme/x", "acme/", "/x", "a/b/c", "acme/-x", "a b/c", "a/..", &long]
        {
            assert!(QualifiedName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn n27_scopes_take_ascii_names_and_single_spaces_only() {
        let two = Scopes::parse("llm:chat db:private-documents").unwrap();
        assert!(two.contains("llm:chat"));
        assert_eq!(two.as_str(), "llm:chat db:private-documents");
        assert_eq!(two.iter().collect::<Vec<_>>(), ["llm:chat", "db:private-documents"]);
        let many = vec!["a"; 10_000].join(" ");
        for bad in [
            "",
            " ",
            "a ",
            " a",
            "a  b",
            "a\tb",
            "a\nb",
            "llm:*",
            "LLM:chat",
            "llm:chat\u{200b}",
            "\u{feff}llm",
            "llm\u{a0}chat",
            "\u{0430}bc",
            "a a",
            &many,
            &"x".repeat(65),
        ] {
            assert!(Scopes::parse(bad).is_err(), "{bad:?}");
        }
        assert!(!Scopes::parse("llm:chat").unwrap().contains("llm"));
    }
}
