use serde_json::json;

use super::*;

fn parse(form: &str) -> Result<MintRequest, RequestError> {
    let form = format!("grant_type=client_credentials&{form}");
    MintRequest::parse(form_urlencoded::parse(form.as_bytes()))
}

fn details(json: &str) -> Result<MintRequest, RequestError> {
    let value: String = form_urlencoded::byte_serialize(json.as_bytes()).collect();
    parse(&format!("authorization_details={value}"))
}

fn code(form: &str) -> &'static str {
    parse(form).expect_err(form).code()
}

#[test]
fn both_spellings_make_one_request() {
    let plain = parse(
        "models=gpt-4o+claude-*&budget_tokens=5000&budget_requests=3&cidrs=10.0.0.0/8&ttl=120",
    )
    .unwrap();
    let detail = details(
        r#"[{"type":"llm_inference","models":["gpt-4o","claude-*"],
            "budget":{"tokens":5000,"requests":3},"cidrs":["10.0.0.0/8"],"ttl":120}]"#,
    )
    .unwrap();
    assert_eq!(json!(plain.models), json!(["gpt-4o", "claude-*"]));
    assert_eq!(json!(plain.budget), json!({"tokens": 5000, "requests": 3}));
    assert_eq!((json!(plain.cidrs), plain.ttl), (json!(["10.0.0.0/8"]), Some(120)));
    assert_eq!(detail, MintRequest { with_details: true, ..plain });
}

#[test]
fn credentials_and_unknown_parameters_are_not_looked_at() {
    let request = parse("client_id=a&client_secret=b&scope=&audience=&resource=&state=x").unwrap();
    assert_eq!(request, MintRequest::default());
}

#[test]
fn the_grant_is_client_credentials() {
    let parse = |form: &str| MintRequest::parse(form_urlencoded::parse(form.as_bytes()));
    assert_eq!(parse("").unwrap_err().code(), "invalid_request");
    assert_eq!(parse("grant_type=").unwrap_err().code(), "invalid_request");
    let unsupported = parse("grant_type=password").unwrap_err();
    assert_eq!(unsupported.code(), "unsupported_grant_type");
}

#[test]
fn n44_scopes_are_exact_names_once_each() {
    assert_eq!(parse("scope=llm:chat+db:a").unwrap().scope.unwrap().as_str(), "llm:chat db:a");
    for scope in ["*", "llm:*", "llm:chat+llm:chat", "llm:chat++db:a", "+", "LLM:chat", "llm%00"] {
        assert_eq!(code(&format!("scope={scope}")), "invalid_scope", "{scope}");
    }
}

#[test]
fn n46_integers_are_plain_decimal() {
    for bad in [
        "-1",
        "1.5",
        "5m",
        "1e9",
        "+5",
        "%2B60",
        "060",
        "0x3c",
        " 60",
        "60+",
        "18446744073709551616",
    ] {
        for parameter in ["ttl", "budget_tokens", "budget_request_tokens", "budget_requests"] {
            assert_eq!(code(&format!("{parameter}={bad}")), "invalid_request", "{parameter} {bad}");
        }
    }
    assert_eq!(code("budget_tokens=0"), "invalid_request");
    assert_eq!(code("budget_tokens=9007199254740992"), "invalid_request");
    let most = parse("budget_tokens=9007199254740991").unwrap().budget.tokens;
    assert_eq!(most.map(NonZeroU64::get), Some((1 << 53) - 1));
}

#[test]
fn n48_networks_and_models_are_canonical_and_bounded() {
    for bad in ["10.0.0.1/8", "010.0.0.0/8", "10.0.0.0", "::ffff:10.0.0.0/104", "10.0.0.0/8,", "x"]
    {
        assert_eq!(code(&format!("cidrs={bad}")), "invalid_request", "{bad}");
    }
    assert_eq!(code("cidrs=10.0.0.0/8+10.0.0.0/8"), "invalid_request");
    assert_eq!(code("models=a*b"), "invalid_request");
    assert_eq!(code("models=gpt-4%E2%80%8B"), "invalid_request");
    assert_eq!(code("models=gpt-4%FF"), "invalid_request");
    let models = |n: usize| (0..n).map(|i| format!("m{i}")).collect::<Vec<_>>().join("+");
    let cidrs = |n: usize| (0..n).map(|i| format!("10.{i}.0.0/16")).collect::<Vec<_>>().join("+");
    assert!(parse(&format!("models={}", models(64))).is_ok());
    assert_eq!(code(&format!("models={}", models(65))), "invalid_request");
    assert!(parse(&format!("cidrs={}", cidrs(32))).is_ok());
    assert_eq!(code(&format!("cidrs={}", cidrs(33))), "invalid_request");
}

#[test]
fn n49_what_is_repeated_empty_or_misspelt_is_refused() {
    for form in [
        "grant_type=client_credentials",
        "scope=llm:chat&scope=llm:chat",
        "scope=&scope=llm:chat",
        "ttl=60&ttl=60",
        "state=1&state=2",
        "client_id=a&client_id=b",
        "models=",
        "cidrs=",
        "ttl=",
        "budget_tokens=",
        "budget_request_tokens=",
        "budget_requests=",
        "authorization_details=",
        "budgets_tokens=5",
        "budget=5",
        "model=gpt-4",
        "Models=gpt-4",
        "cidr=10.0.0.0/8",
        "cidrs%20=10.0.0.0/8",
        "ttl_seconds=60",
        "TTL=60",
        "models[]=gpt-4",
    ] {
        assert_eq!(code(form), "invalid_request", "{form}");
    }
    let named = parse("budgets_tokens=5").unwrap_err().to_string();
    assert!(named.starts_with("parameter `budgets_tokens` is not known"), "{named}");
    let many = |n: usize| (0..n).map(|i| format!("p{i}=")).collect::<Vec<_>>().join("&");
    assert!(parse(&many(MAX_PARAMETERS - 1)).is_ok());
    assert_eq!(code(&many(MAX_PARAMETERS)), "invalid_request");
}

#[test]
fn n49_authorization_details_are_one_strict_object() {
    assert_eq!(details(r#"[{"type":"llm_inference"}]"#).unwrap().models, None);
    for bad in [
        "[]",
        "{}",
        "null",
        "x",
        r#"{"type":"llm_inference"}"#,
        r#"[{"type":"llm_inference"},{"type":"llm_inference"}]"#,
        r#"[{"type":"payment"}]"#,
        r#"[["llm_inference",["gpt-4"]]]"#,
        r#"[{"type":"llm_inference","budget":[5]}]"#,
        r#"[{"type":"llm_inference","budget":null}]"#,
        r#"[{"models":["gpt-4"]}]"#,
        r#"[{"type":"llm_inference","type":"llm_inference"}]"#,
        r#"[{"type":"llm_inference","\u0074tl":60,"ttl":900}]"#,
        r#"[{"type":"llm_inference","model":["gpt-4"]}]"#,
        r#"[{"type":"llm_inference","locations":["https://gw.example"]}]"#,
        r#"[{"type":"llm_inference","models":[]}]"#,
        r#"[{"type":"llm_inference","models":null}]"#,
        r#"[{"type":"llm_inference","models":"gpt-4"}]"#,
        r#"[{"type":"llm_inference","models":["gpt-4","gpt-4"]}]"#,
        r#"[{"type":"llm_inference","cidrs":[]}]"#,
        r#"[{"type":"llm_inference","cidrs":["10.0.0.1/8"]}]"#,
        r#"[{"type":"llm_inference","budget":{}}]"#,
        r#"[{"type":"llm_inference","budget":{"token":5}}]"#,
        r#"[{"type":"llm_inference","budget":{"tokens":0}}]"#,
        r#"[{"type":"llm_inference","budget":{"tokens":"5"}}]"#,
        r#"[{"type":"llm_inference","budget":{"tokens":9007199254740992}}]"#,
        r#"[{"type":"llm_inference","ttl":300.0}]"#,
        r#"[{"type":"llm_inference","ttl":-1}]"#,
        r#"[{"type":"llm_inference"}] x"#,
    ] {
        let error = details(bad).expect_err(bad);
        assert_eq!(error.code(), "invalid_authorization_details", "{bad}");
    }
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(details(&deep).unwrap_err().code(), "invalid_authorization_details");
    let long = format!(r#"[{{"type":"llm_inference"{}}}]"#, " ".repeat(16 * 1024));
    assert_eq!(details(&long).unwrap_err().code(), "invalid_authorization_details");
}

#[test]
fn n49_one_restriction_in_both_spellings_is_refused() {
    let with = |plain: &str, member: &str| {
        let json = format!(r#"[{{"type":"llm_inference",{member}}}]"#);
        let value: String = form_urlencoded::byte_serialize(json.as_bytes()).collect();
        parse(&format!("{plain}&authorization_details={value}"))
    };
    for (plain, member) in [
        ("models=gpt-4", r#""models":["gpt-4"]"#),
        ("budget_tokens=5", r#""budget":{"tokens":5}"#),
        ("budget_request_tokens=5", r#""budget":{"request_tokens":5}"#),
        ("budget_requests=5", r#""budget":{"requests":5}"#),
        ("cidrs=10.0.0.0/8", r#""cidrs":["10.0.0.0/8"]"#),
        ("ttl=60", r#""ttl":60"#),
    ] {
        let error = with(plain, member).expect_err(plain);
        let parameter = plain.split('=').next().unwrap();
        assert!(error.to_string().starts_with(parameter), "{error}");
        assert_eq!(error.code(), "invalid_request");
    }
    let mixed = with("budget_tokens=5", r#""budget":{"requests":3}"#).unwrap();
    assert_eq!(json!(mixed.budget), json!({"tokens": 5, "requests": 3}));
}

#[test]
fn n53_one_audience_and_a_resource_that_is_an_absolute_uri() {
    for form in [
        "audience=a&audience=b",
        "audience=a&audience=a",
        "resource=https://a.example&resource=https://b.example",
        "audience=a&resource=https://a.example",
        "audience=a+b",
        "audience=g%E2%80%8Bw",
        "resource=gw",
        "resource=/v1",
        "resource=//gw.example",
        "resource=https://gw.example/%23",
        "resource=https://gw.example/%23frag",
        "resource=https://user@gw.example",
        "resource=https://user:password@gw.example",
        "resource=https://gw.example/a+b",
        "resource=https://gw.example%0A",
    ] {
        assert_eq!(code(form), "invalid_target", "{form}");
    }
    assert_eq!(code(&format!("audience={}", "a".repeat(257))), "invalid_target");
    let resource = parse("resource=https://gw.example/v1").unwrap().audience;
    assert_eq!(resource.as_deref(), Some("https://gw.example/v1"));
}

#[test]
fn descriptions_stay_within_rfc_6749_and_echo_no_odd_text() {
    let allowed = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let mut errors = Vec::new();
    for odd in ["\"", "\\", "\u{202e}", "\r\n", "\u{1b}[31m", "<script>", "'; DROP", "\u{0}"] {
        let name: String = form_urlencoded::byte_serialize(odd.as_bytes()).collect();
        errors.push(parse(&format!("budget{name}=1")).unwrap_err());
        errors.push(parse(&format!("x{name}=1&x{name}=1")).unwrap_err());
        errors.push(parse(&format!("scope={name}")).unwrap_err());
        errors.push(parse(&format!("audience={name}+")).unwrap_err());
        errors.push(parse(&format!("models={name}")).unwrap_err());
        let member = json!([{"type": "llm_inference", odd: 1}]).to_string();
        errors.push(details(&member).unwrap_err());
        errors.push(details(&json!([{"type": odd}]).to_string()).unwrap_err());
        errors.push(
            details(&json!([{"type": "llm_inference", "ttl": odd}]).to_string()).unwrap_err(),
        );
    }
    for error in errors {
        let text = error.to_string();
        assert!(!text.is_empty() && text.bytes().all(allowed), "{text:?}");
        assert!(!text.contains("script") && !text.contains("DROP"), "{text:?}");
    }
}
