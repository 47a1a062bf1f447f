use std::borrow::Cow;

use scrip_token::Alg;
use serde_json::{Value, json};

use super::*;
use crate::escrow::Unit;

const ISSUER: &str = "https://sts.example";
const IAT: u64 = 1_795_000_000;

fn caller() -> Caller {
    Caller {
        client: QualifiedName::parse("acme/billing").unwrap(),
        cred: "vault:3.1795000000".into(),
        address: "10.20.30.7".parse().unwrap(),
    }
}

fn policy(members: &Value) -> Policy {
    let mut policy = json!({
        "name": "acme/document-summaries", "audiences": ["llm-gateway"],
        "scopes": ["llm:chat", "db:*"], "models": ["gpt-4o-mini", "claude-haiku-*"],
        "cidrs": ["10.20.0.0/16"], "mint_from": ["10.20.30.0/24"], "env": "prod",
        "ttl": {"default": 300, "max": 600},
        "budget": {"tokens": 50000, "request_tokens": 2000},
        "defaults": {"budget": {"tokens": 5000}},
    });
    for (member, value) in members.as_object().unwrap() {
        policy[member] = value.clone();
    }
    Policy::from_json(policy.to_string().as_bytes()).unwrap()
}

fn request(form: &str) -> MintRequest {
    let grant = (Cow::from("grant_type"), Cow::from("client_credentials"));
    MintRequest::parse(form_urlencoded::parse(form.as_bytes()).chain([grant])).unwrap()
}

fn mint_under(members: &Value, form: &str) -> Result<Claims, Denial> {
    judge(&caller(), &request(form), &policy(members), ISSUER)
        .map(|approved| approved.into_claims(IAT, Jti::new(IAT * 1000, [7; 10])))
}

fn mint(form: &str) -> Result<Claims, Denial> {
    mint_under(&json!({}), form)
}

fn refused(form: &str) -> (&'static str, String) {
    let denial = mint(form).expect_err(form);
    (denial.code(), denial.to_string())
}

#[test]
fn n44_what_is_left_out_is_the_default_else_the_exact_grants() {
    let claims = mint("").unwrap();
    claims.check().unwrap();
    assert_eq!(
        serde_json::to_value(&claims).unwrap(),
        json!({
            "iss": ISSUER, "sub": "client:acme/billing", "aud": "llm-gateway",
            "client_id": "acme/billing", "iat": IAT, "nbf": IAT, "exp": IAT + 300,
            "jti": claims.jti.to_string(), "ver": 1, "scope": "llm:chat",
            "models": ["gpt-4o-mini"], "budget": {"tokens": 5000, "request_tokens": 2000},
            "cidrs": ["10.20.0.0/16"], "tenant": "acme", "env": "prod",
            "cred": "vault:3.1795000000",
        })
    );
    let defaults = json!({"defaults": {
        "scopes": ["db:a"], "models": [], "cidrs": ["10.20.1.0/24"],
        "budget": {"tokens": 7, "requests": 3},
    }});
    let claims = mint_under(&defaults, "").unwrap();
    assert_eq!(claims.scope.as_str(), "db:a");
    assert!(claims.models.is_empty());
    assert_eq!(json!(claims.cidrs), json!(["10.20.1.0/24"]));
    assert_eq!(json!(claims.budget), json!({"tokens": 7, "request_tokens": 2000, "requests": 3}));
    let free = json!({"models": [], "scopes": ["llm:chat"], "defaults": {}});
    let mut free_of_limits = free;
    free_of_limits["budget"] = json!({"requests": 9});
    let claims = mint_under(&free_of_limits, "budget_tokens=8").unwrap();
    assert_eq!(json!(claims.budget), json!({"tokens": 8, "requests": 9}));
}

#[test]
fn n44_a_scope_that_is_not_granted_is_named_and_patterns_are_no_scopes() {
    let (code, text) = refused("scope=llm:chat+llm:embed");
    assert_eq!((code, &*text), ("invalid_scope", "scope `llm:embed` is not granted"));
    assert_eq!(refused("scope=llm:chat2").0, "invalid_scope");
    assert_eq!(refused("scope=scrip:revoke").0, "invalid_scope");
    assert_eq!(mint("scope=db:a+llm:chat").unwrap().scope.as_str(), "db:a llm:chat");
    let patterns = json!({"scopes": ["db:*", "*"]});
    assert_eq!(mint_under(&patterns, "").unwrap_err(), Denial::NoScope);
    let scope = "scrip:revoke".to_owned();
    assert_eq!(mint_under(&patterns, "scope=scrip:revoke").unwrap_err(), Denial::Scope { scope });
}

#[test]
fn n45_a_pattern_grants_what_it_covers() {
    let claims = mint("models=claude-haiku-4*+gpt-4o-mini").unwrap();
    assert_eq!(json!(claims.models), json!(["claude-haiku-4*", "gpt-4o-mini"]));
    for model in ["claude-*", "*", "gpt-4o", "gpt-4o-mini-2024-07-18", "GPT-4o-mini", "gpt-4o-m*"] {
        let (code, text) = refused(&format!("models=gpt-4o-mini+{model}"));
        assert_eq!(code, "invalid_authorization_details");
        assert_eq!(text, format!("model `{model}` is not granted"));
    }
    let patterns = json!({"models": ["claude-*"]});
    assert_eq!(mint_under(&patterns, "").unwrap_err(), Denial::NoModels);
    let none = json!({"models": []});
    assert!(mint_under(&none, "").unwrap().models.is_empty());
}

#[test]
fn n46_a_lifetime_outside_the_policy_is_refused_and_not_cut() {
    for ttl in ["0", "1", "59", "601", "900", "1000000000"] {
        let (code, text) = refused(&format!("ttl={ttl}"));
        assert_eq!(code, "invalid_authorization_details");
        assert_eq!(text, format!("ttl {ttl} is outside 60 to 600 seconds"));
    }
    for ttl in [60, 600] {
        let claims = mint(&format!("ttl={ttl}")).unwrap();
        assert_eq!(claims.exp - claims.iat, ttl);
    }
}

#[test]
fn n47_a_budget_above_the_policy_is_refused() {
    let (code, text) = refused("budget_tokens=50001");
    assert_eq!(code, "invalid_authorization_details");
    assert_eq!(text, "budget tokens 50001 is above the 50000 that the policy grants");
    assert_eq!(refused("budget_request_tokens=2001").0, "invalid_authorization_details");
    let claims = mint("budget_tokens=50000&budget_requests=12").unwrap();
    let budget = json!({"tokens": 50000, "request_tokens": 2000, "requests": 12});
    assert_eq!(json!(claims.budget), budget);
}

#[test]
fn n48_a_network_outside_the_policy_is_refused() {
    for cidr in ["10.0.0.0/8", "0.0.0.0/0", "10.21.0.0/16", "::/0"] {
        let (code, text) = refused(&format!("cidrs=10.20.1.0/24+{cidr}"));
        assert_eq!(code, "invalid_authorization_details");
        assert_eq!(
            text,
            format!("network {cidr} does not lie inside those that the policy grants")
        );
    }
    assert_eq!(json!(mint("cidrs=10.20.1.0/24").unwrap().cidrs), json!(["10.20.1.0/24"]));
}

#[test]
fn a_token_that_is_bound_to_its_caller_works_from_there_only() {
    let bound = |form: &str, address: &str, cidrs: Value| {
        let mut terms = json!({"bind_to_caller": true, "mint_from": ["0.0.0.0/0", "::/0"]});
        terms["cidrs"] = cidrs;
        let caller = Caller { address: address.parse().unwrap(), ..caller() };
        judge(&caller, &request(form), &policy(&terms), ISSUER)
            .map(|approved| json!(approved.into_claims(IAT, Jti::new(IAT * 1000, [7; 10])).cidrs))
    };
    let any = || json!(["0.0.0.0/0", "2001:db8::/32"]);
    assert_eq!(bound("", "10.20.30.7", any()).unwrap(), json!(["10.20.30.7/32"]));
    assert_eq!(bound("", "::ffff:10.20.30.7", any()).unwrap(), json!(["10.20.30.7/32"]));
    assert_eq!(bound("", "2001:db8::7", any()).unwrap(), json!(["2001:db8::7/128"]));
    let within = "cidrs=192.0.2.0/24+10.20.0.0/16";
    assert_eq!(bound(within, "10.20.30.7", any()).unwrap(), json!(["10.20.30.7/32"]));

    let elsewhere = bound(within, "10.21.30.7", any()).unwrap_err();
    assert_eq!(elsewhere, Denial::Bound { here: "10.21.30.7/32".parse().unwrap() });
    assert_eq!(elsewhere.code(), "invalid_authorization_details");
    let beyond = bound("cidrs=10.0.0.0/8", "10.20.30.7", json!(["10.20.0.0/16"])).unwrap_err();
    assert_eq!(beyond, Denial::Cidr { cidr: "10.0.0.0/8".parse().unwrap() });
    let nowhere = bound("", "10.21.30.7", json!(["10.20.0.0/16"])).unwrap_err();
    assert_eq!(nowhere, Denial::MintFrom { address: "10.21.30.7".parse().unwrap() });
    assert_eq!(nowhere.code(), "unauthorized_client");
}

#[test]
fn n53_an_audience_is_granted_to_the_byte() {
    for audience in ["llm-gateway2", "LLM-gateway", "llm-gatewa", "self", ISSUER] {
        assert_eq!(refused(&format!("audience={audience}")).0, "invalid_target");
    }
    assert_eq!(refused("audience=gw%22%5C").1, "audience is not granted");
    let several = json!({"audiences": ["llm-gateway", "https://gw.example/v1", "self"]});
    assert_eq!(mint_under(&several, "").unwrap_err(), Denial::NoAudience);
    assert_eq!(mint_under(&several, "").unwrap_err().code(), "invalid_target");
    for (form, aud) in [
        ("audience=llm-gateway", "llm-gateway"),
        ("resource=https://gw.example/v1", "https://gw.example/v1"),
        ("audience=self", ISSUER),
        ("audience=https://sts.example", ISSUER),
        ("resource=https://sts.example", ISSUER),
    ] {
        assert_eq!(mint_under(&several, form).unwrap().aud, aud, "{form}");
    }
    assert!(mint_under(&several, "resource=https://gw.example/v1/").is_err());
}

#[test]
fn who_asks_from_elsewhere_or_under_a_foreign_policy_is_not_authorized() {
    let judged = |caller: &Caller, name: &str| {
        judge(caller, &request(""), &policy(&json!({"name": name})), ISSUER).map(drop)
    };
    let outside = Caller { address: "10.20.31.1".parse().unwrap(), ..caller() };
    let mapped = Caller { address: "::ffff:10.20.30.9".parse().unwrap(), ..caller() };
    assert_eq!(judged(&mapped, "acme/x"), Ok(()));
    let denial = judged(&outside, "acme/x").unwrap_err();
    assert_eq!(denial, Denial::MintFrom { address: outside.address });
    assert_eq!(denial.code(), "unauthorized_client");
    assert_eq!(judged(&caller(), "other/x").unwrap_err().code(), "unauthorized_client");
}

#[test]
fn a_token_too_long_is_refused_with_the_excess_before_it_is_signed() {
    let key = scrip_token::SigningKey::from_pkcs8(Alg::ES256, &es256()).unwrap();
    let (mut built, mut refused) = (0, 0);
    for n in 30..=64 {
        let models: Vec<_> = (0..n).map(|i| format!("{i:02}{}", "m".repeat(40))).collect();
        let request = request(&format!("models={}", models.join("+")));
        let policy = policy(&json!({"models": ["*"]}));
        match judge(&caller(), &request, &policy, ISSUER) {
            Ok(approved) => {
                let claims = approved.into_claims(IAT, Jti::new(IAT * 1000, [7; 10]));
                let payload = serde_json::to_vec(&claims).unwrap();
                let token = key.sign(scrip_token::Typ::AccessToken, &payload).unwrap();
                assert!(token.len() <= MAX_MINTED_BYTES);
                built = token.len();
            }
            Err(denial @ Denial::TooLong { bytes }) => {
                assert!(bytes > MAX_MINTED_BYTES);
                let excess = format!("{} bytes longer", bytes - MAX_MINTED_BYTES);
                assert!(denial.to_string().contains(&excess));
                // One more model adds 45 bytes of JSON, 60 of base64url.
                assert!(refused > 0 || bytes - built == 60, "{bytes} after {built}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(built > 0 && refused > 0);
}

#[test]
fn an_rsa_signature_counts_with_its_own_length() {
    let approved = judge(&caller(), &request(""), &policy(&json!({})), ISSUER).unwrap();
    assert_eq!(approved.fits(256), Ok(()));
    assert!(matches!(approved.fits(3072), Err(Denial::TooLong { .. })));
}

fn es256() -> Vec<u8> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    pair.serialize_der()
}

#[test]
fn n47_whoever_has_a_quota_says_how_much_a_token_takes_of_it() {
    let quota = json!({"tokens": 60_000, "window": "day"});
    let judged = |members: Value, form: &str| {
        let approved = judge(&caller(), &request(form), &policy(&members), ISSUER)?;
        Ok(approved.escrow().map(|(quota, tokens)| (quota.limit(Unit::Tokens), tokens)))
    };
    assert_eq!(judged(json!({}), "budget_tokens=9"), Ok(None));
    assert_eq!(judged(json!({"quota": quota}), "budget_tokens=9"), Ok(Some((Some(60_000), 9))));
    assert_eq!(judged(json!({"quota": quota}), ""), Ok(Some((Some(60_000), 5000))));

    let open = json!({"quota": quota, "budget": {"requests": 9}, "defaults": {}});
    assert_eq!(judged(open.clone(), ""), Err(Denial::NoBudget));
    assert_eq!(judged(open.clone(), "budget_tokens=60000"), Ok(Some((Some(60_000), 60_000))));
    let beyond = Denial::Budget { member: "tokens", asked: 60_001, most: 60_000 };
    assert_eq!(judged(open.clone(), "budget_tokens=60001"), Err(beyond));

    let mut money = open;
    money["quota"] = json!({"money": "0.01", "window": "day"});
    assert_eq!(judged(money.clone(), ""), Err(Denial::NoBudget));
    assert_eq!(judged(money, "budget_tokens=60001"), Ok(Some((None, 60_001))));
}
