//! Whether what a policy gives by itself is a whole token.

use scrip_token::QualifiedName;

use super::{Denial, Policy, PolicyError, SELF_AUDIENCE, ScopeGrant, Terms, judge};
use crate::caller::Caller;
use crate::mint::request::MintRequest;

/// As short as a `cred` can be.
const CRED: &str = "vault:1.1795000000";

impl Policy {
    /// Refuses a policy under which a request that leaves all to it gets a token longer than any may
    /// be, whoever asks. Checked when a policy is applied, in addition to the rules that every
    /// stored version keeps.
    ///
    /// # Errors
    /// [`PolicyError::Rule`].
    pub fn whole(self, issuer: &str) -> Result<Self, PolicyError> {
        let Self(terms) = &self;
        let length = |name: &String| if name == SELF_AUDIENCE { issuer.len() } else { name.len() };
        let shortest = terms.audiences.iter().min_by_key(|name| length(name));
        // Where the policy grants only patterns, each request has to name a scope, and may name a
        // short one.
        let lacks_scope = !terms.scopes.iter().any(ScopeGrant::is_exact);
        let lacks_model = !terms.models.iter().any(scrip_token::ModelPattern::is_exact);
        let least = Self(Terms {
            audiences: shortest.into_iter().cloned().collect(),
            scopes: if lacks_scope && terms.defaults.scopes.is_none() {
                ScopeGrant::parse("a").into_iter().collect()
            } else {
                terms.scopes.clone()
            },
            models: if lacks_model { Vec::new() } else { terms.models.clone() },
            cidrs: terms.cidrs.clone().filter(|_| !terms.bind_to_caller),
            mint_from: None,
            ..terms.clone()
        });
        let Ok(client) = QualifiedName::parse(&format!("{}/a", terms.name.tenant())) else {
            return Ok(self);
        };
        let caller = Caller { client, cred: CRED.to_owned(), address: [0, 0, 0, 0].into() };
        match judge(&caller, &MintRequest::default(), &least, issuer) {
            Err(Denial::TooLong { .. }) => Err(PolicyError::Rule {
                member: "defaults",
                rule: "make a token longer than the 4095 bytes that any may have; name fewer",
            }),
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ISSUER: &str = "https://sts.example";

    fn refused(members: &Value) -> bool {
        let mut policy = json!({
            "name": "acme/billing", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod",
        });
        for (member, value) in members.as_object().unwrap() {
            policy[member] = value.clone();
        }
        let policy = Policy::from_json(policy.to_string().as_bytes()).unwrap();
        policy.whole(ISSUER).is_err()
    }

    #[test]
    fn defaults_that_no_token_can_carry_are_refused() {
        let names =
            |n: usize| (0..n).map(|i| format!("{i:02}{}", "m".repeat(60))).collect::<Vec<_>>();
        for (members, expected) in [
            (json!({}), false),
            (json!({"models": names(30)}), false),
            (json!({"models": names(64)}), true),
            (json!({"models": names(64), "defaults": {"models": names(1)}}), false),
            (json!({"models": ["*"], "defaults": {"models": names(64)}}), true),
            (json!({"scopes": ["*"], "models": names(64)}), true),
            (json!({"scopes": names(64)}), true),
            (json!({"scopes": names(64), "models": ["*"]}), true),
            (json!({"scopes": names(64), "mint_from": ["10.0.0.0/8"]}), true),
            (json!({"scopes": names(64), "audiences": ["a", "b", "self"]}), true),
            (json!({"scopes": ["*"], "models": ["*"]}), false),
            (json!({"scopes": names(40), "audiences": ["a".repeat(256)]}), true),
            (json!({"scopes": names(40), "audiences": ["a".repeat(256), "b"]}), false),
        ] {
            assert_eq!(refused(&members), expected, "{members}");
        }
    }

    #[test]
    fn one_that_is_applied_is_judged_so() {
        let list: Vec<String> = (0..64).map(|i| format!("{i:02}{}", "m".repeat(60))).collect();
        let file = format!(
            "name = \"acme/x\"\naudiences = [\"gw\"]\nscopes = [\"a\"]\nenv = \"prod\"\n\
             models = {list:?}\n"
        );
        let error = Policy::from_toml(file.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("longer than the 4095 bytes"), "{error}");
    }
}
