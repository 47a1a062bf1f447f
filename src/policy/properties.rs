//! Random requests under random policies: nothing is granted beyond either, and nothing is refused
//! that both allow.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use scrip_token::{Budget, Claims, Jti, ModelPattern, QualifiedName};
use serde_json::{Value, json};

use super::{Denial, Effect, Policy, differences, judge};
use crate::caller::Caller;
use crate::mint::request::{LlmInference, MintRequest};

const ISSUER: &str = "https://sts.example";
const IAT: u64 = 1_795_000_000;

const GRANTS: &[&str] = &["*", "llm:*", "db:*", "llm:chat", "llm:embed", "db:private", "tool:a"];
const SCOPES: &[&str] =
    &["llm:chat", "llm:embed", "db:private", "db:public", "tool:a", "scrip:keys"];
const MODELS: &[&str] = &["*", "gpt-*", "gpt-4*", "gpt-4", "gpt-4o", "claude-*", "claude-opus"];
const CIDRS: &[&str] = &[
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3/32",
    "192.0.2.0/24",
    "::/0",
    "2001:db8::/32",
];
const AUDIENCES: &[&str] = &["gw", "gw-batch", "self"];

/// Every model and address that the lists above can tell apart.
const EACH_MODEL: &[&str] = &["gpt-3", "gpt-4", "gpt-4o", "gpt-4-32k", "claude-opus", "mistral"];
const EACH_ADDRESS: &[&str] =
    &["10.1.2.3", "10.1.2.4", "10.2.0.1", "192.0.2.1", "8.8.8.8", "2001:db8::1", "2001:db9::1"];

#[test]
fn n44_to_n48_what_is_granted_is_what_both_policy_and_request_allow() {
    let (approved, denied) = (Cell::new(0), Cell::new(0));
    let strategy = (policy(), request(), select(EACH_ADDRESS));
    let mut runner = TestRunner::new(Config { cases: 3_000, ..Config::default() });
    let outcome = runner.run(&strategy, |((terms, policy), asked, address)| {
        let plain = parse(&asked, false)?;
        let detailed = parse(&asked, true)?;
        let with_details = detailed.with_details;
        prop_assert_eq!(&detailed, &MintRequest { with_details, ..plain.clone() });
        let caller = Caller {
            client: QualifiedName::parse("acme/billing").unwrap(),
            cred: "embedded:1.1795000000".into(),
            address: address.parse().unwrap(),
        };
        match judge(&caller, &plain, &policy, ISSUER) {
            Ok(granted) => {
                approved.set(approved.get() + 1);
                prop_assert!(inside(&terms["mint_from"], caller.address));
                let claims = granted.into_claims(IAT, Jti::new(IAT * 1000, [7; 10]));
                is_within(&claims, &terms, &asked, caller.address)
            }
            Err(denial) => {
                denied.set(denied.get() + 1);
                is_deserved(&denial, &terms, &asked, caller.address)
            }
        }
    });
    outcome.unwrap();
    let (approved, denied) = (approved.get(), denied.get());
    assert!(approved > 300 && denied > 300, "{approved} approved, {denied} denied");
}

#[test]
fn what_one_policy_grants_beyond_another_is_said_of_their_differences() {
    let (more, less) = (Cell::new(0), Cell::new(0));
    let strategy = (policy(), policy(), request(), select(EACH_ADDRESS));
    let mut runner = TestRunner::new(Config { cases: 3_000, ..Config::default() });
    let outcome = runner.run(&strategy, |((_, old), (_, new), mut asked, address)| {
        // Everything is named: what is left out is the defaults' to say.
        for (member, value) in [
            ("audience", json!("gw")),
            ("scope", json!(["llm:chat"])),
            ("models", json!(["gpt-4"])),
            ("budget", json!({"tokens": 9, "request_tokens": 9, "requests": 9})),
            ("cidrs", json!(["10.1.2.3/32"])),
            ("ttl", json!(60)),
        ] {
            if asked[member].is_null() {
                asked[member] = value;
            }
        }
        let request = parse(&asked, false)?;
        let caller = Caller {
            client: QualifiedName::parse("acme/billing").unwrap(),
            cred: "embedded:1.1795000000".into(),
            address: address.parse().unwrap(),
        };
        let granted = |policy| judge(&caller, &request, policy, ISSUER).is_ok();
        let all = differences(&old, &new);
        let says = |effect| all.iter().any(|difference| difference.effect == effect);
        match (granted(&old), granted(&new)) {
            (false, true) => {
                more.set(more.get() + 1);
                prop_assert!(says(Effect::Widens), "{all:?}");
            }
            (true, false) => {
                less.set(less.get() + 1);
                prop_assert!(says(Effect::Narrows), "{all:?}");
            }
            _ => {}
        }
        prop_assert_eq!(differences(&old, &old), []);
        Ok(())
    });
    outcome.unwrap();
    let (more, less) = (more.get(), less.get());
    assert!(more > 50 && less > 50, "{more} more, {less} less");
}

/// What a token says, against the JSON of the policy and of the request.
fn is_within(
    claims: &Claims,
    terms: &Value,
    asked: &Value,
    address: IpAddr,
) -> Result<(), TestCaseError> {
    prop_assert!(claims.check().is_ok());
    prop_assert_eq!(&claims.sub, "client:acme/billing");
    prop_assert_eq!(&claims.env, "prod");

    let audiences = texts(&terms["audiences"]).unwrap();
    let named = |aud: &str| claims.aud == if aud == "self" { ISSUER } else { aud };
    prop_assert!(audiences.iter().any(|aud| named(aud)));
    prop_assert!(asked["audience"].as_str().is_none_or(named));

    let scopes: Vec<&str> = claims.scope.iter().collect();
    let granted = texts(&terms["scopes"]).unwrap();
    prop_assert!(scopes.iter().all(|scope| granted.iter().any(|grant| matches(grant, scope))));
    prop_assert!(scopes.iter().all(|scope| !scope.starts_with("scrip:")));
    if let Some(asked) = texts(&asked["scope"]) {
        prop_assert_eq!(scopes, asked);
    }

    let granted = texts(&terms["models"]).unwrap();
    for model in EACH_MODEL {
        let allowed = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, model));
        if claims.models.iter().any(|pattern| pattern.allows(model)) {
            prop_assert!(allowed(&granted));
            prop_assert!(texts(&asked["models"]).is_none_or(|asked| allowed(&asked)));
        }
    }
    if let Some(asked) = texts(&asked["models"]) {
        let models: Vec<&str> = claims.models.iter().map(ModelPattern::as_str).collect();
        prop_assert_eq!(models, asked);
    }

    for address in EACH_ADDRESS.iter().map(|text| text.parse::<IpAddr>().unwrap()) {
        let works = claims.cidrs.as_ref().is_none_or(|c| c.iter().any(|c| c.contains(address)));
        if works {
            prop_assert!(inside(&terms["cidrs"], address) && inside(&asked["cidrs"], address));
        }
    }
    if terms["bind_to_caller"] == true {
        let host = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
        prop_assert_eq!(&json!(claims.cidrs), &json!([host]));
    } else if !asked["cidrs"].is_null() {
        prop_assert_eq!(&json!(claims.cidrs), &asked["cidrs"]);
    }

    let budget = json!(claims.budget.unwrap_or_default());
    for member in ["tokens", "request_tokens", "requests"] {
        let default = &terms["defaults"]["budget"][member];
        let most = &terms["budget"][member];
        let expected = [&asked["budget"][member], default, most];
        let expected = expected.into_iter().find(|amount| !amount.is_null());
        prop_assert_eq!(&budget[member], expected.unwrap_or(&Value::Null));
        let beyond = most.as_u64().is_some_and(|most| budget[member].as_u64() > Some(most));
        prop_assert!(!beyond);
    }

    let lifetime = claims.exp - claims.iat;
    prop_assert!((60..=terms["ttl"]["max"].as_u64().unwrap()).contains(&lifetime));
    let expected = asked["ttl"].as_u64().or(terms["ttl"]["default"].as_u64());
    prop_assert_eq!(Some(lifetime), expected);

    let reply = LlmInference::from(claims);
    prop_assert_eq!(reply.models.as_ref(), Some(&claims.models));
    prop_assert_eq!(reply.budget, claims.budget.unwrap_or_default());
    prop_assert_eq!(&reply.cidrs, &claims.cidrs);
    prop_assert_eq!(reply.ttl, Some(lifetime));
    let read: Claims = Claims::parse(&serde_json::to_vec(claims).unwrap()).unwrap();
    prop_assert_eq!(&read, claims);
    Ok(())
}

/// What a denial names is really what the policy does not grant.
fn is_deserved(
    denial: &Denial,
    terms: &Value,
    asked: &Value,
    address: IpAddr,
) -> Result<(), TestCaseError> {
    let only_patterns = |member: &str| {
        let granted = texts(&terms[member]).unwrap();
        asked[if member == "scopes" { "scope" } else { member }].is_null()
            && terms["defaults"][member].is_null()
            && granted.iter().all(|grant| grant.ends_with('*'))
    };
    let deserved = match denial {
        Denial::MintFrom { .. } => {
            let bound = terms["bind_to_caller"] == true;
            !inside(&terms["mint_from"], address) || (bound && !inside(&terms["cidrs"], address))
        }
        Denial::Bound { .. } => {
            terms["bind_to_caller"] == true && !inside(&asked["cidrs"], address)
        }
        Denial::Audience { .. } => {
            !texts(&terms["audiences"]).unwrap().contains(&asked["audience"].as_str().unwrap())
        }
        Denial::NoAudience => texts(&terms["audiences"]).unwrap().len() > 1,
        Denial::Scope { scope } => {
            texts(&asked["scope"]).unwrap().contains(&&**scope)
                && (scope.starts_with("scrip:")
                    || !texts(&terms["scopes"]).unwrap().iter().any(|grant| matches(grant, scope)))
        }
        Denial::NoScope => only_patterns("scopes"),
        Denial::Model { model } => {
            let grants = texts(&terms["models"]).unwrap();
            texts(&asked["models"]).unwrap().contains(&model.as_str())
                && !grants.iter().any(|grant| matches(grant, model.as_str()))
        }
        Denial::NoModels => only_patterns("models"),
        Denial::Budget { member, asked: amount, most } => {
            asked["budget"][member] == *amount && terms["budget"][member] == *most && amount > most
        }
        Denial::Cidr { cidr } => {
            let grants = texts(&terms["cidrs"]).unwrap();
            texts(&asked["cidrs"]).unwrap().contains(&&*cidr.to_string())
                && !grants.contains(&&*cidr.to_string())
        }
        Denial::Ttl { asked: ttl, .. } => {
            asked["ttl"] == *ttl && (*ttl < 60 || Some(*ttl) > terms["ttl"]["max"].as_u64())
        }
        Denial::ForeignPolicy | Denial::NoBudget | Denial::TooLong { .. } => false,
        // `judge` knows no prices.
        Denial::TooDear { .. } | Denial::Unpriced(_) => false,
    };
    prop_assert!(deserved, "{denial}");
    Ok(())
}

/// Whether `text`, itself perhaps a pattern, begins as a pattern says or equals it.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => pattern == text,
    }
}

fn inside(cidrs: &Value, address: IpAddr) -> bool {
    texts(cidrs).is_none_or(|cidrs| {
        cidrs.iter().any(|cidr| {
            let (network, prefix) = cidr.split_once('/').unwrap();
            let prefix: u32 = prefix.parse().unwrap();
            match (network.parse().unwrap(), address) {
                (IpAddr::V4(network), IpAddr::V4(address)) => {
                    let differing = network.to_bits() ^ address.to_bits();
                    differing.leading_zeros() >= prefix
                }
                (IpAddr::V6(network), IpAddr::V6(address)) => {
                    let differing = network.to_bits() ^ address.to_bits();
                    differing.leading_zeros() >= prefix
                }
                _ => false,
            }
        })
    })
}

fn texts(list: &Value) -> Option<Vec<&str>> {
    list.as_array().map(|items| items.iter().map(|item| item.as_str().unwrap()).collect())
}

/// The request as a form, with its restrictions as parameters or as `authorization_details`.
fn parse(asked: &Value, as_details: bool) -> Result<MintRequest, TestCaseError> {
    let mut form = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
    let mut detail = json!({"type": "llm_inference"});
    for (name, value) in asked.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
        let text = match value {
            Value::Array(_) => texts(value).unwrap().join(" "),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match (name.as_str(), as_details) {
            ("audience" | "scope", _) | ("models" | "cidrs" | "ttl", false) => {
                form.push((name.clone(), text));
            }
            ("budget", false) => {
                let members = value.as_object().unwrap().iter();
                form.extend(members.map(|(m, n)| (format!("budget_{m}"), n.to_string())));
            }
            _ => detail[name] = value.clone(),
        }
    }
    if as_details {
        form.push(("authorization_details".into(), json!([detail]).to_string()));
    }
    MintRequest::parse(form.into_iter().map(|(name, value)| (Cow::from(name), Cow::from(value))))
        .map_err(|error| TestCaseError::fail(error.to_string()))
}

fn request() -> impl Strategy<Value = Value> {
    (
        option(select(&["gw", "gw-batch", "other"][..])),
        option(subsequence(SCOPES, 1..=3)),
        option(subsequence(MODELS, 1..=3)),
        option(budget(1..60)),
        option(subsequence(CIDRS, 1..=2)),
        option(select(&[0_u64, 59, 60, 200, 300, 600, 900, 901][..])),
    )
        .prop_map(|(audience, scope, models, budget, cidrs, ttl)| {
            json!({"audience": audience, "scope": scope, "models": models, "budget": budget,
                "cidrs": cidrs, "ttl": ttl})
        })
}

/// Terms as JSON beside the policy made of them. Defaults that lie outside the grants are dropped.
fn policy() -> impl Strategy<Value = (Value, Policy)> {
    let defaults = (
        option(subsequence(SCOPES, 1..=2)),
        option(subsequence(MODELS, 0..=2)),
        option(subsequence(CIDRS, 1)),
        option(budget(1..30)),
    );
    let terms = (
        subsequence(AUDIENCES, 1..=2),
        subsequence(GRANTS, 1..=4),
        subsequence(MODELS, 0..=4),
        option(subsequence(CIDRS, 1..=3)),
        prop::option::weighted(0.2, subsequence(CIDRS, 1..=3)),
        (60_u64..=900, 0_u64..=840),
        option(budget(20..100)),
        prop::bool::weighted(0.2),
        defaults,
    );
    terms.prop_map(
        |(audiences, scopes, models, cidrs, mint_from, (max, less), budget, bound, defaults)| {
            let ttl = json!({"default": max.saturating_sub(less).max(60), "max": max});
            let mut terms = json!({"name": "acme/random", "audiences": audiences, "scopes": scopes,
            "models": models, "env": "prod", "ttl": ttl});
            insert(&mut terms, "cidrs", cidrs.map(|cidrs| json!(cidrs)));
            insert(&mut terms, "mint_from", mint_from.map(|cidrs| json!(cidrs)));
            insert(&mut terms, "budget", budget.map(|budget| json!(budget)));
            terms["defaults"] = json!({});
            let mut with = terms.clone();
            with["bind_to_caller"] = json!(bound);
            if Policy::from_json(with.to_string().as_bytes()).is_ok() {
                terms = with;
            }
            let (scopes, models, cidrs, budget) = defaults;
            for (member, default) in [
                ("scopes", scopes.map(|scopes| json!(scopes))),
                ("models", models.map(|models| json!(models))),
                ("cidrs", cidrs.map(|cidrs| json!(cidrs))),
                ("budget", budget.map(|budget| json!(budget))),
            ] {
                let mut with = terms.clone();
                insert(&mut with["defaults"], member, default);
                if Policy::from_json(with.to_string().as_bytes()).is_ok() {
                    terms = with;
                }
            }
            let policy = Policy::from_json(terms.to_string().as_bytes()).unwrap();
            (terms, policy)
        },
    )
}

fn insert(object: &mut Value, member: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[member] = value;
    }
}

fn budget(amounts: std::ops::Range<u64>) -> impl Strategy<Value = Budget> {
    let amount = move || option(amounts.clone());
    (amount(), amount(), amount()).prop_filter_map("no member", |(tokens, request, requests)| {
        let budget = json!({"tokens": tokens, "request_tokens": request, "requests": requests});
        let members = budget.as_object().unwrap().clone();
        let members: serde_json::Map<_, _> =
            members.into_iter().filter(|(_, amount)| !amount.is_null()).collect();
        if members.is_empty() { None } else { serde_json::from_value(members.into()).ok() }
    })
}

/// Rarely there: a request of six members is approved only if it is right in all of them.
fn option<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(0.35, strategy)
}
