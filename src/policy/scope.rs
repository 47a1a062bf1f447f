//! Scopes as a policy grants them.

use std::fmt;

use scrip_token::name::is_scope;
use serde::{Deserialize, Serialize};

/// The scopes of the service's own API.
pub const OPERATOR_SCOPES: [&str; 8] = [
    "scrip:audit",
    "scrip:clients",
    "scrip:feed",
    "scrip:keys",
    "scrip:policies",
    "scrip:revoke",
    "scrip:tokens",
    "scrip:usage",
];

/// One exact scope, or a prefix that ends in `*`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeGrant(Box<str>);

impl ScopeGrant {
    /// Reads `llm:chat`, `db:*` or `*`.
    ///
    /// # Errors
    /// The rule that `text` breaks: the grammar of a scope, or that a `scrip:` scope is one of
    /// [`OPERATOR_SCOPES`] and is granted by its exact name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let literal = text.strip_suffix('*').unwrap_or(text);
        if text != "*" && !is_scope(literal) {
            return Err("not a well-formed scope, nor one that ends in `*`");
        }
        if is_operators(text) && !OPERATOR_SCOPES.contains(&text) {
            return Err("not a scope of this service; `scrip:` scopes are granted by exact name");
        }
        Ok(Self(text.into()))
    }

    /// Whether it grants this exact scope. No pattern, however wide, grants a `scrip:` scope:
    /// whoever writes `*` for an application does not mean to make it an operator.
    #[must_use]
    pub fn covers(&self, scope: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => scope.starts_with(prefix) && !is_operators(scope),
            None => &*self.0 == scope,
        }
    }

    /// Whether it is one exact scope.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.ends_with('*')
    }

    /// Whether it is one of [`OPERATOR_SCOPES`].
    #[must_use]
    pub fn is_operators(&self) -> bool {
        is_operators(&self.0)
    }

    /// The grant's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_operators(scope: &str) -> bool {
    scope.starts_with("scrip:")
}

impl TryFrom<String> for ScopeGrant {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ScopeGrant> for String {
    fn from(grant: ScopeGrant) -> Self {
        grant.0.into()
    }
}

impl fmt::Debug for ScopeGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n44_a_pattern_grants_what_begins_so_and_an_exact_scope_itself() {
        let covers = |grant, scope| ScopeGrant::parse(grant).unwrap().covers(scope);
        assert!(covers("llm:chat", "llm:chat"));
        assert!(!covers("llm:chat", "llm:chat2"));
        assert!(!covers("llm:chat", "llm:cha"));
        assert!(covers("llm:*", "llm:embed"));
        assert!(!covers("llm:*", "db:llm:embed"));
        assert!(covers("*", "tool:payments"));
        for bad in ["", "a*b", "**", "LLM:*", "llm *", "llm:chat ", "llm:\u{200b}*"] {
            assert!(ScopeGrant::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_pattern_grants_an_operators_scope() {
        for pattern in ["*", "s*", "scrip*"] {
            let grant = ScopeGrant::parse(pattern).unwrap();
            assert!(OPERATOR_SCOPES.iter().all(|scope| !grant.covers(scope)), "{pattern}");
        }
        for bad in ["scrip:*", "scrip:re*", "scrip:revok", "scrip:"] {
            assert!(ScopeGrant::parse(bad).is_err(), "{bad}");
        }
        assert!(ScopeGrant::parse("scrip:revoke").unwrap().covers("scrip:revoke"));
    }
}
