//! What must hold for a policy beyond the types of its members.

use std::num::NonZeroU64;

use scrip_token::limits::{
    MAX_CIDRS, MAX_INTEGER, MAX_LIFETIME, MAX_MODELS, MAX_SCOPES, MIN_LIFETIME,
};
use scrip_token::name::is_label;
use scrip_token::{Budget, Cidr};

use super::{PolicyError, Rotate, ScopeGrant, Terms};
use crate::prices::Money;
use crate::rates::Rate;
use crate::strict::are_different;

/// The audience that stands for the issuer's URL.
pub const SELF_AUDIENCE: &str = "self";
/// The environment of the service's own API.
pub const OPERATOR_ENV: &str = "scrip";

/// Most audiences in one list.
const MAX_AUDIENCES: usize = 16;
/// Most percentages of a quota at which an alert is raised.
const MAX_ALERTS: usize = 8;

/// Refuses terms that contradict themselves, or that grant what no token can carry.
pub(super) fn check(terms: &Terms) -> Result<(), PolicyError> {
    check_bounds(terms)?;
    check_defaults(terms)?;
    check_binding(terms)?;
    check_operators(terms)
}

fn check_bounds(terms: &Terms) -> Result<(), PolicyError> {
    let Terms { audiences, scopes, models, cidrs, mint_from, ttl, .. } = terms;
    rule(is_label(&terms.env), "env", "matches [a-z0-9][a-z0-9-]{0,62}")?;
    rule(
        (1..=MAX_AUDIENCES).contains(&audiences.len()) && are_audiences(audiences),
        "audiences",
        "has 1 to 16 different names, each of 1 to 256 printable ASCII characters",
    )?;
    rule(
        (1..=MAX_SCOPES).contains(&scopes.len()) && are_different(scopes),
        "scopes",
        "has 1 to 64 different scopes",
    )?;
    rule(
        models.len() <= MAX_MODELS && are_different(models),
        "models",
        "has at most 64 different patterns",
    )?;
    let networks = "is absent or has 1 to 32 different networks";
    rule(cidrs.as_deref().is_none_or(are_networks), "cidrs", networks)?;
    rule(mint_from.as_deref().is_none_or(are_networks), "mint_from", networks)?;
    rule(
        terms.rate.is_none_or(|rate| rate.mints() <= Rate::MOST),
        "rate.mints",
        "is at most 1000000",
    )?;
    rule((MIN_LIFETIME..=MAX_LIFETIME).contains(&ttl.max), "ttl.max", "is 60 to 900 seconds")?;
    rule(
        (MIN_LIFETIME..=ttl.max).contains(&ttl.default),
        "ttl.default",
        "is at least 60 seconds and not above `ttl.max`",
    )?;
    check_quota(terms)?;
    check_rotation(terms)
}

fn check_rotation(terms: &Terms) -> Result<(), PolicyError> {
    let Some(rotate) = &terms.rotate else { return Ok(()) };
    let [after, grace] = Rotate::BOUNDS;
    rule(after.contains(&rotate.after), "rotate.after", "is 30 to 90 days")?;
    rule(grace.contains(&rotate.grace), "rotate.grace", "is at most 30 days")
}

/// One token's budget is never above the quota of all.
fn check_quota(terms: &Terms) -> Result<(), PolicyError> {
    let Some(quota) = &terms.quota else { return Ok(()) };
    let Budget { tokens, .. } = terms.budget;
    let is_limited = quota.tokens.is_some() || quota.money.is_some();
    rule(is_limited, "quota", "limits `tokens`, `money` or both")?;
    let countable = |tokens: NonZeroU64| tokens.get() < MAX_INTEGER;
    rule(quota.tokens.is_none_or(countable), "quota.tokens", "is below 2^53")?;
    let something = |money: Money| money > Money::default();
    rule(quota.money.is_none_or(something), "quota.money", "is more than nothing")?;
    rule(
        quota.alerts.len() <= MAX_ALERTS
            && are_different(&quota.alerts)
            && quota.alerts.iter().all(|percent| (1..=100).contains(percent)),
        "quota.alerts",
        "has at most 8 different percentages from 1 to 100",
    )?;
    let within = |tokens: Option<NonZeroU64>| match (tokens, quota.tokens) {
        (Some(tokens), Some(most)) => tokens <= most,
        _ => true,
    };
    rule(within(tokens), "budget.tokens", "is not above `quota.tokens`")?;
    rule(within(terms.defaults.budget.tokens), "defaults.budget", "is not above `quota.tokens`")?;
    let is_operators = terms.scopes.iter().any(ScopeGrant::is_operators);
    rule(!is_operators, "quota", "goes with tokens for LLMs: no `scrip:` scope uses any")
}

fn check_defaults(terms: &Terms) -> Result<(), PolicyError> {
    let defaults = &terms.defaults;
    if let Some(scopes) = &defaults.scopes {
        let granted = |scope: &ScopeGrant| {
            scope.is_exact() && terms.scopes.iter().any(|grant| grant.covers(scope.as_str()))
        };
        rule(
            (1..=MAX_SCOPES).contains(&scopes.len())
                && are_different(scopes)
                && scopes.iter().all(granted),
            "defaults.scopes",
            "has 1 to 64 different exact scopes that `scopes` grants",
        )?;
    }
    if let Some(models) = &defaults.models {
        rule(
            models.len() <= MAX_MODELS
                && are_different(models)
                && models.iter().all(|model| terms.models.iter().any(|grant| grant.covers(model))),
            "defaults.models",
            "has at most 64 different patterns that `models` grants",
        )?;
    }
    if let Some(cidrs) = &defaults.cidrs {
        let granted = |cidr| {
            let networks = terms.cidrs.as_deref();
            networks.is_none_or(|grants| grants.iter().any(|grant| grant.covers(cidr)))
        };
        rule(
            are_networks(cidrs) && cidrs.iter().all(granted),
            "defaults.cidrs",
            "has 1 to 32 different networks that lie inside `cidrs`",
        )?;
    }
    let within =
        amounts(defaults.budget).into_iter().zip(amounts(terms.budget)).all(|pair| match pair {
            (Some(default), Some(most)) => default <= most,
            _ => true,
        });
    rule(within, "defaults.budget", "is not above `budget`")
}

/// A token that is bound to its caller works from one address, which must be one to ask from.
fn check_binding(terms: &Terms) -> Result<(), PolicyError> {
    if !terms.bind_to_caller {
        return Ok(());
    }
    rule(terms.defaults.cidrs.is_none(), "defaults.cidrs", "does not go with `bind_to_caller`")?;
    let (Some(cidrs), Some(mint_from)) = (&terms.cidrs, &terms.mint_from) else { return Ok(()) };
    let meets = |from: &Cidr| cidrs.iter().any(|cidr| cidr.covers(from) || from.covers(cidr));
    rule(
        mint_from.iter().any(meets),
        "mint_from",
        "lies outside `cidrs`, where tokens work that are bound to their caller",
    )
}

/// Tokens for the service's own API have an audience and an environment of their own, and open no
/// LLM.
fn check_operators(terms: &Terms) -> Result<(), PolicyError> {
    let follows = |name: &str| matches!(name, "scrip:feed" | "scrip:usage");
    if terms.scopes.iter().any(|grant| follows(grant.as_str())) {
        rule(
            (1..=MAX_AUDIENCES).contains(&terms.serves.len()) && are_audiences(&terms.serves),
            "serves",
            "names the 1 to 16 audiences that `scrip:feed` or `scrip:usage` is granted for",
        )?;
    } else {
        rule(terms.serves.is_empty(), "serves", "goes with `scrip:feed` or `scrip:usage`")?;
    }
    rule(
        terms.admin_tenant.as_deref().is_none_or(is_label),
        "admin_tenant",
        "matches [a-z0-9][a-z0-9-]{0,62}",
    )?;
    if !terms.scopes.iter().any(ScopeGrant::is_operators) {
        return rule(terms.admin_tenant.is_none(), "admin_tenant", "goes with a `scrip:` scope");
    }
    rule(
        terms.audiences == [SELF_AUDIENCE],
        "audiences",
        "is `[\"self\"]` where a `scrip:` scope is granted",
    )?;
    rule(terms.env == OPERATOR_ENV, "env", "is `scrip` where a `scrip:` scope is granted")
}

fn rule(holds: bool, member: &'static str, rule: &'static str) -> Result<(), PolicyError> {
    if holds { Ok(()) } else { Err(PolicyError::Rule { member, rule }) }
}

fn are_audiences(names: &[String]) -> bool {
    let well_formed =
        |name: &String| matches!(name.len(), 1..=256) && name.bytes().all(|b| b.is_ascii_graphic());
    are_different(names) && names.iter().all(well_formed)
}

fn are_networks(cidrs: &[Cidr]) -> bool {
    (1..=MAX_CIDRS).contains(&cidrs.len()) && are_different(cidrs)
}

fn amounts(budget: Budget) -> [Option<u64>; 3] {
    [budget.tokens, budget.request_tokens, budget.requests].map(|member| member.map(u64::from))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::policy::{Policy, PolicyError};

    /// The member that a policy of these members is refused for.
    fn refused(members: &Value) -> Option<&'static str> {
        let mut policy = json!({
            "name": "acme/billing", "audiences": ["gw"], "scopes": ["llm:chat", "db:*"],
            "models": ["gpt-4o", "claude-*"], "cidrs": ["10.0.0.0/8"], "env": "prod",
            "ttl": {"default": 300, "max": 600}, "budget": {"tokens": 100, "requests": 5},
        });
        for (member, value) in members.as_object().unwrap() {
            policy[member] = value.clone();
        }
        match Policy::from_json(policy.to_string().as_bytes()) {
            Ok(_) => None,
            Err(PolicyError::Rule { member, .. }) => Some(member),
            Err(other) => panic!("{members}: {other}"),
        }
    }

    #[test]
    fn what_no_token_can_carry_is_not_granted() {
        let names = |n: usize| (0..n).map(|i| format!("n{i}")).collect::<Vec<_>>();
        let quota =
            |alerts: Value| json!({"quota": {"tokens": 100, "window": "hour", "alerts": alerts}});
        let networks = |n: usize| (0..n).map(|i| format!("10.{i}.0.0/16")).collect::<Vec<_>>();
        for (members, member) in [
            (json!({}), None),
            (json!({"env": "Prod"}), Some("env")),
            (json!({"env": ""}), Some("env")),
            (json!({"audiences": []}), Some("audiences")),
            (json!({"audiences": ["gw", "gw"]}), Some("audiences")),
            (json!({"audiences": [""]}), Some("audiences")),
            (json!({"audiences": ["g w"]}), Some("audiences")),
            (json!({"audiences": ["g\u{200b}w"]}), Some("audiences")),
            (json!({"audiences": ["g".repeat(257)]}), Some("audiences")),
            (json!({"audiences": names(16)}), None),
            (json!({"audiences": names(17)}), Some("audiences")),
            (json!({"scopes": []}), Some("scopes")),
            (json!({"scopes": ["llm:chat", "llm:chat"]}), Some("scopes")),
            (json!({"scopes": names(64)}), None),
            (json!({"scopes": names(65)}), Some("scopes")),
            (json!({"models": []}), None),
            (json!({"models": names(64)}), None),
            (json!({"models": names(65)}), Some("models")),
            (json!({"models": ["a", "a"]}), Some("models")),
            (json!({"cidrs": []}), Some("cidrs")),
            (json!({"cidrs": networks(32)}), None),
            (json!({"cidrs": networks(33)}), Some("cidrs")),
            (json!({"mint_from": []}), Some("mint_from")),
            (json!({"mint_from": networks(33)}), Some("mint_from")),
            (json!({"ttl": {"default": 60, "max": 60}}), None),
            (json!({"ttl": {"default": 60, "max": 59}}), Some("ttl.max")),
            (json!({"ttl": {"default": 60, "max": 901}}), Some("ttl.max")),
            (json!({"ttl": {"default": 59, "max": 600}}), Some("ttl.default")),
            (json!({"ttl": {"default": 601, "max": 600}}), Some("ttl.default")),
            (json!({"budget": {"tokens": (1_u64 << 53) - 1}}), None),
            (json!({"quota": {"tokens": 100, "window": "day"}}), None),
            (json!({"quota": {"tokens": 99, "window": "day"}}), Some("budget.tokens")),
            (
                json!({
                    "budget": {"requests": 1}, "quota": {"tokens": 99, "window": "day"},
                    "defaults": {"budget": {"tokens": 100}},
                }),
                Some("defaults.budget"),
            ),
            (json!({"quota": {"tokens": 1_u64 << 53, "window": "day"}}), Some("quota.tokens")),
            (json!({"quota": {"money": "0.01", "window": "day"}}), None),
            (json!({"quota": {"money": "0.01", "tokens": 100, "window": "day"}}), None),
            (
                json!({"quota": {"money": "1", "tokens": 99, "window": "day"}}),
                Some("budget.tokens"),
            ),
            (json!({"quota": {"money": "0.00", "window": "day"}}), Some("quota.money")),
            (json!({"quota": {"window": "day"}}), Some("quota")),
            (quota(json!([])), None),
            (quota(json!([1, 2, 3, 4, 5, 6, 99, 100])), None),
            (quota(json!([1, 2, 3, 4, 5, 6, 7, 8, 9])), Some("quota.alerts")),
            (quota(json!([0])), Some("quota.alerts")),
            (quota(json!([101])), Some("quota.alerts")),
            (quota(json!([50, 50])), Some("quota.alerts")),
            (json!({"rotate": {"after": 30, "grace": 0}}), None),
            (json!({"rotate": {"after": 90, "grace": 30, "refuse": true}}), None),
            (json!({"rotate": {"after": 29}}), Some("rotate.after")),
            (json!({"rotate": {"after": 91}}), Some("rotate.after")),
            (json!({"rotate": {"after": 60, "grace": 31}}), Some("rotate.grace")),
        ] {
            assert_eq!(refused(&members), member, "{members}");
        }
    }

    #[test]
    fn defaults_lie_inside_the_grants() {
        for (defaults, member) in [
            (json!({"scopes": ["llm:chat", "db:a"]}), None),
            (json!({"scopes": ["db:*"]}), Some("defaults.scopes")),
            (json!({"scopes": ["llm:embed"]}), Some("defaults.scopes")),
            (json!({"scopes": []}), Some("defaults.scopes")),
            (json!({"models": ["gpt-4o", "claude-haiku-*"]}), None),
            (json!({"models": []}), None),
            (json!({"models": ["*"]}), Some("defaults.models")),
            (json!({"cidrs": ["10.1.0.0/16"]}), None),
            (json!({"cidrs": ["10.0.0.0/7"]}), Some("defaults.cidrs")),
            (json!({"cidrs": []}), Some("defaults.cidrs")),
            (json!({"budget": {"tokens": 100, "request_tokens": 9}}), None),
            (json!({"budget": {"tokens": 101}}), Some("defaults.budget")),
        ] {
            assert_eq!(refused(&json!({"defaults": defaults})), member, "{defaults}");
        }
    }

    #[test]
    fn what_is_bound_to_its_caller_can_be_asked_for_from_where_it_works() {
        let bound = |members: Value| {
            let mut policy = json!({"bind_to_caller": true});
            policy.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            refused(&policy)
        };
        assert_eq!(bound(json!({})), None);
        assert_eq!(bound(json!({"mint_from": ["192.0.2.0/24", "10.1.0.0/16"]})), None);
        assert_eq!(bound(json!({"mint_from": ["0.0.0.0/0"]})), None);
        assert_eq!(bound(json!({"mint_from": ["192.0.2.0/24", "::/0"]})), Some("mint_from"));
        assert_eq!(bound(json!({"mint_from": ["192.0.2.0/24"], "bind_to_caller": false})), None);
        let defaults = json!({"defaults": {"cidrs": ["10.1.0.0/16"]}});
        assert_eq!(bound(defaults), Some("defaults.cidrs"));
    }

    #[test]
    fn an_operators_policy_opens_the_services_own_api_and_nothing_else() {
        let operator = json!({"audiences": ["self"], "env": "scrip", "scopes": ["scrip:revoke"]});
        let with = |member: &str, value: Value| {
            let mut members = operator.clone();
            members[member] = value;
            refused(&members)
        };
        assert_eq!(refused(&operator), None);
        assert_eq!(with("env", json!("prod")), Some("env"));
        assert_eq!(with("audiences", json!(["llm-gateway"])), Some("audiences"));
        assert_eq!(with("audiences", json!(["self", "llm-gateway"])), Some("audiences"));
        assert_eq!(with("serves", json!(["llm-gateway"])), Some("serves"));
        assert_eq!(with("admin_tenant", json!("acme")), None);
        for odd in ["Acme", "", "acme/billing", "*"] {
            assert_eq!(with("admin_tenant", json!(odd)), Some("admin_tenant"), "{odd}");
        }
        assert_eq!(refused(&json!({"admin_tenant": "acme"})), Some("admin_tenant"));
        assert_eq!(with("quota", json!({"tokens": 100, "window": "day"})), Some("quota"));
        for scope in ["scrip:feed", "scrip:usage"] {
            assert_eq!(with("scopes", json!([scope])), Some("serves"));
            let serving = json!({
                "audiences": ["self"], "env": "scrip", "scopes": [scope], "serves": ["llm-gateway"],
            });
            assert_eq!(refused(&serving), None);
        }
    }
}
