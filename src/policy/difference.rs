//! What differs between two policies, member by member, and in which direction.
//!
//! Policies are compared as JSON. A member that is not known here is taken for a restriction, which
//! narrows when it comes and widens when it goes; only the lists of grants are known by name.

use std::collections::{BTreeMap, BTreeSet};

use scrip_token::{Cidr, ModelPattern};
use serde::Serialize;
use serde_json::Value;

use super::{Policy, ScopeGrant};
use crate::prices::Money;

/// One member, or one element of a list, that differs or that only one of the two has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The member's path, such as `budget.tokens`.
    pub member: String,
    /// What the old one says; null where it says nothing.
    pub was: Value,
    /// What the new one says; null where it says nothing.
    pub is: Value,
    /// What that does to what is granted.
    pub effect: Effect,
}

/// What a difference does to what can be had by asking for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Something is granted that was not.
    Widens,
    /// Something was granted that is not.
    Narrows,
    /// The same is granted as before, but a request that leaves something out may get something
    /// else.
    Neither,
    /// It is another thing, neither more nor less.
    Differs,
}

/// What makes `new` another policy than `old`, by the order of the members' paths.
///
/// Whatever `new` grants to a request that leaves nothing out, and `old` does not, some difference
/// [`Effect::Widens`] or [`Effect::Differs`]; the same for what it does not grant any more. The
/// opposite may be said too often: that two networks together are a third one is not seen.
#[must_use]
pub fn differences(old: &Policy, new: &Policy) -> Vec<Difference> {
    let (old, new) = (members(old), members(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut all = Vec::new();
    for path in paths {
        let (was, is) = (old.get(path), new.get(path));
        if was == is {
            continue;
        }
        match (Grants::of(path), was, is) {
            (Some(grants), was, is) if grants.are_listed(was, is) => {
                all.extend(elements(path, grants, was, is));
            }
            (_, was, is) => all.push(Difference {
                member: path.clone(),
                was: was.cloned().unwrap_or_default(),
                is: is.cloned().unwrap_or_default(),
                effect: effect(path, was, is),
            }),
        }
    }
    all
}

/// Every value that is not an object, by its path.
fn members(policy: &Policy) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    let mut open = vec![(String::new(), serde_json::to_value(policy).unwrap_or_default())];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(members) => open.extend(members.into_iter().map(|(name, value)| {
                let below = if path.is_empty() { name } else { format!("{path}.{name}") };
                (below, value)
            })),
            leaf => {
                leaves.insert(path, leaf);
            }
        }
    }
    leaves
}

/// What a member that does not list grants does. Such a member is a restriction: one that is new
/// narrows, and so does a lower number.
fn effect(path: &str, was: Option<&Value>, is: Option<&Value>) -> Effect {
    if path.starts_with("defaults.") || path == "ttl.default" {
        return Effect::Neither;
    }
    match (was, is) {
        (None, _) => Effect::Narrows,
        (_, None) => Effect::Widens,
        (Some(was), Some(is)) => match (amount(path, was), amount(path, is)) {
            (Some(was), Some(is)) if was < is => Effect::Widens,
            (Some(_), Some(_)) => Effect::Narrows,
            _ => Effect::Differs,
        },
    }
}

/// What can be more or less: a number, or money.
fn amount(path: &str, value: &Value) -> Option<u64> {
    match path {
        "quota.money" => Money::parse(value.as_str()?).ok().map(Money::millionths),
        _ => value.as_u64(),
    }
}

/// A list whose elements grant something each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grants {
    Names,
    Scopes,
    Models,
    /// Absent: any.
    Networks,
}

impl Grants {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "audiences" | "serves" => Self::Names,
            "scopes" => Self::Scopes,
            "models" => Self::Models,
            "cidrs" | "mint_from" => Self::Networks,
            _ => return None,
        })
    }

    /// Whether two values can be compared element by element.
    fn are_listed(self, was: Option<&Value>, is: Option<&Value>) -> bool {
        self != Self::Networks || (was.is_some() && is.is_some())
    }

    /// Whether all that `narrow` grants is granted by `wide`.
    fn covers(self, wide: &str, narrow: &str) -> bool {
        match self {
            Self::Names => wide == narrow,
            Self::Scopes => match (ScopeGrant::parse(wide), ScopeGrant::parse(narrow)) {
                (Ok(wide), Ok(narrow)) if narrow.is_exact() => wide.covers(narrow.as_str()),
                // No pattern grants a `scrip:` scope, so what begins alike is all that is compared.
                (Ok(wide), Ok(narrow)) => {
                    let prefix = |grant: &str| grant.trim_end_matches('*').to_owned();
                    !wide.is_exact() && prefix(narrow.as_str()).starts_with(&prefix(wide.as_str()))
                }
                _ => false,
            },
            Self::Models => match (wide.parse::<ModelPattern>(), narrow.parse()) {
                (Ok(wide), Ok(narrow)) => wide.covers(&narrow),
                _ => false,
            },
            Self::Networks => match (Cidr::parse(wide), Cidr::parse(narrow)) {
                (Ok(wide), Ok(narrow)) => wide.covers(&narrow),
                _ => false,
            },
        }
    }
}

fn elements(
    path: &str,
    grants: Grants,
    was: Option<&Value>,
    is: Option<&Value>,
) -> Vec<Difference> {
    let (was, is) = (texts(was), texts(is));
    let beyond = |text: &str, others: &[&str], effect| {
        if others.iter().any(|other| grants.covers(other, text)) { Effect::Neither } else { effect }
    };
    let removed = was.iter().filter(|text| !is.contains(text)).map(|text| Difference {
        member: path.to_owned(),
        was: Value::from(*text),
        is: Value::Null,
        effect: beyond(text, &is, Effect::Narrows),
    });
    let added = is.iter().filter(|text| !was.contains(text)).map(|text| Difference {
        member: path.to_owned(),
        was: Value::Null,
        is: Value::from(*text),
        effect: beyond(text, &was, Effect::Widens),
    });
    let mut elements: Vec<_> = removed.chain(added).collect();
    if elements.is_empty() {
        // The same elements in another order: a token whose request leaves them out lists them in
        // that order.
        elements.push(Difference {
            member: path.to_owned(),
            was: Value::from(was),
            is: Value::from(is),
            effect: Effect::Neither,
        });
    }
    elements
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compared(old: &Value, new: &Value) -> Value {
        let policy = |members: &Value| {
            let mut policy = json!({
                "name": "acme/billing", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod",
            });
            for (member, value) in members.as_object().unwrap() {
                policy[member] = value.clone();
            }
            Policy::from_json(policy.to_string().as_bytes()).unwrap()
        };
        let lines = differences(&policy(old), &policy(new)).into_iter().map(|line| {
            let Difference { member, was, is, effect } = line;
            json!([member, was, is, effect])
        });
        lines.collect()
    }

    #[test]
    fn lists_of_grants_are_compared_by_what_they_cover() {
        let old =
            json!({"scopes": ["llm:*", "db:a"], "models": ["gpt-4o"], "cidrs": ["10.0.0.0/8"]});
        let new = json!({
            "scopes": ["llm:chat", "llm:e*", "db:*"], "models": ["gpt-*"],
            "cidrs": ["10.1.0.0/16", "192.0.2.0/24"], "audiences": ["gw", "gw2"],
        });
        assert_eq!(
            compared(&old, &new),
            json!([
                ["audiences", null, "gw2", "widens"],
                ["cidrs", "10.0.0.0/8", null, "narrows"],
                ["cidrs", null, "10.1.0.0/16", "neither"],
                ["cidrs", null, "192.0.2.0/24", "widens"],
                ["models", "gpt-4o", null, "neither"],
                ["models", null, "gpt-*", "widens"],
                ["scopes", "llm:*", null, "narrows"],
                ["scopes", "db:a", null, "neither"],
                ["scopes", null, "llm:chat", "neither"],
                ["scopes", null, "llm:e*", "neither"],
                ["scopes", null, "db:*", "widens"],
            ])
        );
        assert_eq!(compared(&old, &old), json!([]));
    }

    #[test]
    fn a_restriction_narrows_when_it_comes_and_widens_when_it_goes() {
        let old = json!({
            "mint_from": ["10.0.0.0/8"], "budget": {"tokens": 100, "requests": 5},
            "ttl": {"default": 300, "max": 600}, "env": "prod",
            "quota": {"tokens": 900, "money": "9.50", "window": "day"},
        });
        let new = json!({
            "quota": {"money": "10", "window": "day"},
            "cidrs": ["10.0.0.0/8"], "budget": {"tokens": 200, "request_tokens": 9},
            "ttl": {"default": 60, "max": 500}, "env": "dev", "bind_to_caller": true,
            "defaults": {"budget": {"tokens": 7}},
        });
        assert_eq!(
            compared(&old, &new),
            json!([
                ["bind_to_caller", null, true, "narrows"],
                ["budget.request_tokens", null, 9, "narrows"],
                ["budget.requests", 5, null, "widens"],
                ["budget.tokens", 100, 200, "widens"],
                ["cidrs", null, ["10.0.0.0/8"], "narrows"],
                ["defaults.budget.tokens", null, 7, "neither"],
                ["env", "prod", "dev", "differs"],
                ["mint_from", ["10.0.0.0/8"], null, "widens"],
                ["quota.money", "9.5", "10", "widens"],
                ["quota.tokens", 900, null, "widens"],
                ["ttl.default", 300, 60, "neither"],
                ["ttl.max", 600, 500, "narrows"],
            ])
        );
        let reordered = compared(&json!({"scopes": ["a", "b"]}), &json!({"scopes": ["b", "a"]}));
        assert_eq!(reordered, json!([["scopes", ["a", "b"], ["b", "a"], "neither"]]));
    }
}
