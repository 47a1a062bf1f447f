//! Nobody grants more of the service's own API than they have: not a scope, not for another tenant
//! than the one that they are confined to, not for an audience that they do not serve.

use std::fmt;

use serde::Serialize;

use super::rules::SELF_AUDIENCE;
use super::{Policy, ScopeGrant};

/// The first thing in a policy that goes beyond what somebody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beyond {
    /// The `scrip:` scope.
    scope: String,
    /// It would hold outside of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    outside: Option<String>,
    /// It would hold for this audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    serves: Option<String>,
}

impl Policy {
    /// What this policy grants beyond `own`, the policy of whoever grants it; `None`: they have no
    /// policy.
    #[must_use]
    pub fn beyond(&self, own: Option<&Self>) -> Option<Beyond> {
        let grants = self.scopes().iter().filter(|grant| grant.is_operators());
        let mut scopes = grants.map(ScopeGrant::as_str);
        let first = scopes.clone().next()?;
        let beyond = |scope: &str| Beyond { scope: scope.to_owned(), outside: None, serves: None };
        let Some(own) = own else { return Some(beyond(first)) };

        if let Some(scope) = scopes.find(|scope| !own.grants(scope)) {
            return Some(beyond(scope));
        }
        if let Some(tenant) = own.admin_tenant()
            && self.admin_tenant() != Some(tenant)
        {
            return Some(Beyond { outside: Some(tenant.to_owned()), ..beyond(first) });
        }
        let has = |name: &str| own.serves().iter().any(|serves| serves == name);
        // Whoever serves the service itself speaks for it, and so for every audience that it knows.
        let foreign = self.serves().iter().find(|name| !has(name) && !has(SELF_AUDIENCE))?;
        let follows = ["scrip:feed", "scrip:usage"].into_iter().find(|scope| self.grants(scope))?;
        Some(Beyond { serves: Some(foreign.clone()), ..beyond(follows) })
    }
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not yours to grant", self.scope)?;
        if let Some(tenant) = &self.outside {
            write!(f, " outside `{tenant}`: confine it by `admin_tenant`")?;
        }
        if let Some(audience) = &self.serves {
            write!(f, " for the audience `{audience}`, which you do not serve")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(scopes: &[&str], members: &Value) -> Policy {
        let mut policy = json!({
            "name": "acme/x", "audiences": ["self"], "scopes": scopes, "env": "scrip",
        });
        policy.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Policy::from_json(policy.to_string().as_bytes()).unwrap()
    }

    fn beyond(granted: &Policy, own: &Policy) -> Option<Value> {
        granted.beyond(Some(own)).map(|beyond| serde_json::to_value(beyond).unwrap())
    }

    #[test]
    fn a_scope_is_granted_by_whoever_has_it() {
        let one = policy(&["scrip:clients"], &json!({}));
        let two = policy(&["scrip:clients", "scrip:keys"], &json!({}));
        assert_eq!(beyond(&one, &two), None);
        assert_eq!(beyond(&one, &one), None);
        assert_eq!(beyond(&two, &one), Some(json!({"scope": "scrip:keys"})));
        assert!(one.beyond(None).is_some());
        let application = json!({
            "name": "acme/x", "audiences": ["gw"], "scopes": ["*"], "env": "prod",
        });
        let application = Policy::from_json(application.to_string().as_bytes()).unwrap();
        assert_eq!((application.beyond(None), application.beyond(Some(&one))), (None, None));
        assert_eq!(beyond(&one, &application), Some(json!({"scope": "scrip:clients"})));
    }

    #[test]
    fn whoever_is_confined_grants_the_same_confinement() {
        let within = |tenant: &str| policy(&["scrip:clients"], &json!({"admin_tenant": tenant}));
        let free = policy(&["scrip:clients"], &json!({}));
        assert_eq!(beyond(&within("acme"), &within("acme")), None);
        assert_eq!(beyond(&within("acme"), &free), None);
        for wider in [free, within("beta")] {
            let outside = json!({"scope": "scrip:clients", "outside": "acme"});
            assert_eq!(beyond(&wider, &within("acme")), Some(outside));
        }
    }

    #[test]
    fn verifiers_are_registered_for_audiences_that_one_serves() {
        let serves = |names: &[&str]| policy(&["scrip:feed"], &json!({"serves": names}));
        assert_eq!(beyond(&serves(&["a"]), &serves(&["a", "b"])), None);
        assert_eq!(beyond(&serves(&["a", "b"]), &serves(&["self"])), None);
        for (granted, foreign) in [(serves(&["a", "b"]), "b"), (serves(&["self"]), "self")] {
            let beyond = beyond(&granted, &serves(&["a"]));
            assert_eq!(beyond, Some(json!({"scope": "scrip:feed", "serves": foreign})));
        }
    }
}
