//! What is granted, and the table of `POST /oauth2/token`'s refusals, row by row.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, Reply, form, terms};
use crate::harness::service::Installation;
use crate::harness::until::until;

#[tokio::test]
async fn a_token_says_what_was_asked_and_the_reply_says_the_same() {
    let api = Api::start().await;
    let client = api.billing().await;
    let asked = [
        ("scope", "llm:embed db:private-documents"),
        ("audience", "llm-gateway"),
        ("models", "claude-haiku-4* gpt-4o-mini"),
        ("budget_tokens", "1000"),
        ("budget_request_tokens", "200"),
        ("budget_requests", "7"),
        ("cidrs", "10.20.30.0/24 10.20.31.1/32"),
        ("ttl", "120"),
        ("state", "an unknown parameter is ignored"),
    ];
    let reply = api.mint(&client, &asked).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("pragma"), "no-cache");
    assert_ne!(reply.header("x-request-id"), "");

    let (jwt, jti) = (reply.text("access_token"), reply.text("jti"));
    let granted = json!({
        "models": ["claude-haiku-4*", "gpt-4o-mini"],
        "budget": {"tokens": 1000, "request_tokens": 200, "requests": 7},
        "cidrs": ["10.20.30.0/24", "10.20.31.1/32"],
    });
    let mut whole = json!({
        "access_token": jwt, "token_type": "Bearer", "expires_in": 120, "jti": jti,
        "audience": "llm-gateway", "scope": "llm:embed db:private-documents",
    });
    whole.as_object_mut().unwrap().extend(granted.as_object().unwrap().clone());
    assert_eq!(reply.json(), whole);

    let (header, claims) = api.verified(&jwt, "llm-gateway").await;
    let kid = header.kid.unwrap();
    let part = jwt.split('.').next().unwrap();
    let header = scrip_token::compact::from_base64url(part).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}));
    let iat = claims["iat"].as_u64().unwrap();
    let version = claims["cred"].as_str().unwrap();
    assert!(version.starts_with("embedded:1."), "{version}");
    let mut expected = json!({
        "iss": api.installation.url(), "sub": "client:acme/billing", "aud": "llm-gateway",
        "client_id": "acme/billing", "iat": iat, "nbf": iat, "exp": iat + 120, "jti": jti,
        "ver": 1, "scope": "llm:embed db:private-documents", "tenant": "acme", "env": "prod",
        "cred": version,
    });
    expected.as_object_mut().unwrap().extend(granted.as_object().unwrap().clone());
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn what_is_left_out_follows_from_the_policy_member_by_member() {
    let api = Api::start().await;
    let client = api.billing().await;
    let reply = api.mint(&client, &[("budget_requests", "3")]).await.json();
    assert_eq!(reply["scope"], "llm:chat");
    assert_eq!(reply["models"], json!(["gpt-4o-mini"]));
    assert_eq!(reply["budget"], json!({"tokens": 5000, "request_tokens": 2000, "requests": 3}));
    assert_eq!(reply["cidrs"], json!(["10.20.0.0/16"]));
    assert_eq!((&reply["audience"], &reply["expires_in"]), (&json!("llm-gateway"), &json!(300)));

    let bare = json!({"audiences": ["gw"], "scopes": ["llm:chat", "llm:embed"], "env": "prod"});
    let bare = api.client("acme/bare", bare).await;
    let reply = api.mint(&bare, &[]).await.json();
    assert_eq!(reply["scope"], "llm:chat llm:embed");
    for absent in ["models", "budget", "cidrs", "authorization_details"] {
        assert_eq!(reply.get(absent), None, "{reply}");
    }
}

#[tokio::test]
async fn both_spellings_of_a_restriction_mint_the_same_token() {
    let api = Api::start().await;
    let client = api.billing().await;
    let details = json!([{
        "type": "llm_inference", "models": ["gpt-4o-mini"], "budget": {"tokens": 10},
        "cidrs": ["10.20.1.0/24"], "ttl": 60,
    }]);
    let one = api.mint(&client, &[("authorization_details", &details.to_string())]).await.json();
    let parameters = [
        ("models", "gpt-4o-mini"),
        ("budget_tokens", "10"),
        ("cidrs", "10.20.1.0/24"),
        ("ttl", "60"),
    ];
    let other = api.mint(&client, &parameters).await.json();
    for member in ["models", "budget", "cidrs", "expires_in", "scope"] {
        assert_eq!(one[member], other[member], "{member}");
    }
    let mut granted = details;
    granted[0]["budget"] = one["budget"].clone();
    assert_eq!(one["authorization_details"], granted);

    let twice = [("authorization_details", granted.to_string()), ("ttl", "60".to_owned())];
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    let why = api.mint(&client, &twice).await.refused(400, "invalid_request");
    assert!(why.contains("ttl"), "{why}");
}

#[tokio::test]
async fn n44_scopes_beyond_the_policy_are_refused_by_name() {
    let api = Api::start().await;
    let client = api.billing().await;
    for (scope, named) in [
        ("llm:audio", "llm:audio"),
        ("llm:chat llm:audio", "llm:audio"),
        ("scrip:revoke", "scrip:revoke"),
        ("llm:chat llm:chat", ""),
        ("db:*", ""),
        ("*", ""),
        ("LLM:chat", ""),
        ("llm:chat  llm:embed", ""),
        (" llm:chat", ""),
        ("llm:chat\u{200b}", ""),
        ("llm:chat\0", ""),
    ] {
        let why = api.mint(&client, &[("scope", scope)]).await.refused(400, "invalid_scope");
        assert!(why.contains(named), "{scope:?}: {why}");
    }
    let patterns = json!({"audiences": ["gw"], "scopes": ["db:*"], "env": "prod"});
    let patterns = api.client("acme/patterns", patterns).await;
    api.mint(&patterns, &[]).await.refused(400, "invalid_scope");
    assert_eq!(api.mint(&patterns, &[("scope", "db:x")]).await.text("scope"), "db:x");
}

#[tokio::test]
async fn n45_models_beyond_the_policy_are_refused_by_name() {
    let api = Api::start().await;
    let client = api.billing().await;
    for model in ["gpt-4o", "gpt-4o-mini-2024", "claude-*", "claude-haiku", "*", "gpt-4o-mini*"] {
        let why = api.mint(&client, &[("models", model)]).await;
        let why = why.refused(400, "invalid_authorization_details");
        assert!(why.contains(&format!("`{model}`")), "{model}: {why}");
    }
    for malformed in
        ["GPT 4", " gpt-4o-mini", "gpt-4o-mini gpt-4o-mini", "a*b", "gpt-4o-mini\u{200b}"]
    {
        let refused = api.mint(&client, &[("models", malformed)]).await;
        assert!(refused.status == StatusCode::BAD_REQUEST, "{malformed:?}: {refused:?}");
    }
    for granted in ["claude-haiku-4*", "claude-haiku-*", "claude-haiku-4-5"] {
        let reply = api.mint(&client, &[("models", granted)]).await;
        assert_eq!(reply.json()["models"], json!([granted]));
    }
}

#[tokio::test]
async fn n46_lifetimes_are_granted_as_asked_or_refused() {
    let api = Api::start().await;
    let client = api.billing().await;
    for beyond in ["0", "59", "601", "900", "1000000000"] {
        api.mint(&client, &[("ttl", beyond)]).await.refused(400, "invalid_authorization_details");
    }
    for malformed in ["-1", "1.5", "5m", "060", "+60", " 60", "1e2", "9007199254740992", ""] {
        api.mint(&client, &[("ttl", malformed)]).await.refused(400, "invalid_request");
    }
    for granted in [60, 600] {
        let reply = api.mint(&client, &[("ttl", &granted.to_string())]).await;
        assert_eq!(reply.json()["expires_in"], json!(granted));
    }
}

#[tokio::test]
async fn n47_n48_budgets_and_networks_beyond_the_policy_are_refused() {
    let api = Api::start().await;
    let client = api.billing().await;
    for beyond in [
        ("budget_tokens", "50001"),
        ("budget_request_tokens", "2001"),
        ("budget_requests", "101"),
        ("cidrs", "10.20.0.0/15"),
        ("cidrs", "10.20.1.0/24 10.21.0.0/16"),
        ("cidrs", "0.0.0.0/0"),
        ("cidrs", "::/0"),
    ] {
        api.mint(&client, &[beyond]).await.refused(400, "invalid_authorization_details");
    }
    for malformed in [
        ("budget_tokens", "0"),
        ("budget_tokens", "-1"),
        ("budget_tokens", "1.5"),
        ("budget_tokens", "9223372036854775808"),
        ("budget_tokens", ""),
        ("cidrs", ""),
        ("cidrs", "010.20.0.0/16"),
        ("cidrs", "10.20.0.1/16"),
        ("cidrs", "10.20.0.0/33"),
        ("cidrs", "::ffff:10.20.0.0/112"),
    ] {
        api.mint(&client, &[malformed]).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn n49_parameters_that_could_widen_by_mistake_are_refused() {
    let api = Api::start().await;
    let client = api.billing().await;
    let request = [
        ("budgets_tokens", "5"),
        ("budget", "5"),
        ("model", "gpt-4o-mini"),
        ("cidr", "10.20.0.0/16"),
        ("ttl_seconds", "60"),
        ("models", ""),
        ("grant_type", "client_credentials"),
    ];
    for parameter in request {
        api.mint(&client, &[parameter]).await.refused(400, "invalid_request");
    }
    for repeated in [("ttl", "60"), ("scope", "llm:chat"), ("state", "x")] {
        api.mint(&client, &[repeated, repeated]).await.refused(400, "invalid_request");
    }
    let post = |parameters: &[(&str, &str)]| {
        let request = api.request(Method::POST, "/oauth2/token");
        Reply::to(form(request.basic_auth(&client.id, Some(&client.secret)), parameters))
    };
    post(&[]).await.refused(400, "invalid_request");
    for other in
        ["password", "authorization_code", "urn:ietf:params:oauth:grant-type:token-exchange"]
    {
        post(&[("grant_type", other)]).await.refused(400, "unsupported_grant_type");
    }
}

#[tokio::test]
async fn n49_authorization_details_are_read_strictly() {
    let api = Api::start().await;
    let client = api.billing().await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for details in [
        deep.as_str(),
        "{}",
        "[]",
        "null",
        r#"[{"type":"llm_inference"},{"type":"llm_inference"}]"#,
        r#"[{"type":"payment"}]"#,
        r#"[{"models":["gpt-4o-mini"]}]"#,
        r#"[{"type":"llm_inference","model":["gpt-4o-mini"]}]"#,
        r#"[{"type":"llm_inference","models":[]}]"#,
        r#"[{"type":"llm_inference","cidrs":[]}]"#,
        r#"[{"type":"llm_inference","budget":{}}]"#,
        r#"[{"type":"llm_inference","budget":{"token":1}}]"#,
        r#"[{"type":"llm_inference","ttl":60,"ttl":600}]"#,
        r#"[{"type":"llm_inference","ttl":60.0}]"#,
        r#"[{"type":"llm_inference","ttl":60}]x"#,
        r#"[{"type":"llm_inference","models":["gpt-4"]}]"#,
    ] {
        let refused = api.mint(&client, &[("authorization_details", details)]).await;
        refused.refused(400, "invalid_authorization_details");
    }
}

#[tokio::test]
async fn n53_audiences_are_exact() {
    let api = Api::start().await;
    let resource = "https://gw.example/llm";
    let two =
        json!({"audiences": ["llm-gateway", resource], "scopes": ["llm:chat"], "env": "prod"});
    let client = api.client("acme/two", two).await;
    for asked in [("audience", "llm-gateway"), ("audience", resource), ("resource", resource)] {
        assert_eq!(api.mint(&client, &[asked]).await.text("audience"), asked.1);
    }
    let refusals: [&[(&str, &str)]; 11] = [
        &[],
        &[("audience", "llm-gatewa")],
        &[("audience", "LLM-gateway")],
        &[("audience", "llm-gateway ")],
        &[("audience", "self")],
        &[("audience", "llm-gateway"), ("audience", "llm-gateway")],
        &[("audience", "llm-gateway"), ("resource", resource)],
        &[("resource", "https://gw.example/llm/")],
        &[("resource", "https://gw.example/llm#x")],
        &[("resource", "https://user@gw.example/llm")],
        &[("resource", "gw.example/llm")],
    ];
    for asked in refusals {
        api.mint(&client, asked).await.refused(400, "invalid_target");
    }
}

#[tokio::test]
async fn n54_secrets_in_a_url_are_useless_and_unlogged() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_LOG", "trace")).await;
    let client = api.billing().await;
    let query = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        client.id, client.secret
    );
    let got = api.get(&format!("/oauth2/token?{query}")).await;
    got.problem(405, "method-not-allowed");
    assert_eq!(got.header("allow"), "POST");
    let posted = form(api.request(Method::POST, &format!("/oauth2/token?{query}")), &[]);
    Reply::to(posted).await.refused(401, "invalid_client");
    api.get(&format!("/oauth2/token/{}", client.secret)).await.problem(404, "not-found");
    let log = until("the last of them is in the log", Duration::from_secs(10), async || {
        let log = api.service.process.stderr();
        log.contains("status=404").then_some(log)
    })
    .await;
    assert!(log.contains("DEBUG") && !log.contains(&client.secret));
}

#[tokio::test]
async fn n59_nothing_with_a_token_or_an_error_may_be_kept() {
    let api = Api::start().await;
    let client = api.billing().await;
    let posted = |path: &'static str, body: &'static str| {
        let request = api.request(Method::POST, path).body(body);
        Reply::to(request.header("content-type", "application/x-www-form-urlencoded"))
    };
    for reply in [
        api.mint(&client, &[]).await,
        api.mint(&client, &[("scope", "x")]).await,
        api.form("/oauth2/introspect", &client, &[("token", "x")]).await,
        api.form("/oauth2/revoke", &client, &[("token", "x")]).await,
        posted("/oauth2/token", "grant_type=client_credentials").await,
        posted("/v1/revocations", "").await,
        api.get("/oauth2/token").await,
        api.get("/nothing").await,
        api.get("/v1/clients").await,
    ] {
        assert_eq!(reply.header("cache-control"), "no-store", "{reply:?}");
        assert_eq!(reply.header("pragma"), "no-cache", "{reply:?}");
    }
}

#[tokio::test]
async fn a_client_may_ask_from_its_own_networks_only() {
    let installation = Installation::on_sqlite().set("SCRIP_TRUSTED_PROXIES", "127.0.0.0/8");
    let api = Api::on(installation).await;
    let mut terms = terms();
    terms["mint_from"] = json!(["10.20.30.0/24"]);
    let client = api.client("acme/billing", terms).await;
    let from = |address: &str| {
        let request = api.mint_request(&client, &[]).header("x-forwarded-for", address);
        Reply::to(request)
    };
    assert_eq!(from("10.20.30.7").await.status, StatusCode::OK);
    assert_eq!(from("192.0.2.1, 10.20.30.7").await.status, StatusCode::OK);
    let why = from("10.20.31.7").await.refused(400, "unauthorized_client");
    assert!(why.contains("10.20.31.7"), "{why}");
    from("10.20.30.7, 192.0.2.1").await.refused(400, "unauthorized_client");
    api.mint(&client, &[]).await.refused(400, "unauthorized_client");
}

#[tokio::test]
async fn a_token_can_be_bound_to_the_address_that_asks_for_it() {
    let installation = Installation::on_sqlite().set("SCRIP_TRUSTED_PROXIES", "127.0.0.0/8");
    let api = Api::on(installation).await;
    let mut terms = terms();
    terms["bind_to_caller"] = json!(true);
    terms["cidrs"] = json!(["10.20.0.0/16", "2001:db8::/32"]);
    let client = api.client("acme/billing", terms).await;
    let from = |address: &str, asked: &[(&str, &str)]| {
        Reply::to(api.mint_request(&client, asked).header("x-forwarded-for", address))
    };
    for (address, cidr) in [
        ("10.20.30.7", "10.20.30.7/32"),
        ("::ffff:10.20.30.7", "10.20.30.7/32"),
        ("2001:DB8:0::7", "2001:db8::7/128"),
    ] {
        let reply = from(address, &[]).await;
        assert_eq!(reply.json()["cidrs"], json!([cidr]), "{reply:?}");
        let (_, claims) = api.verified(&reply.text("access_token"), "llm-gateway").await;
        assert_eq!(claims["cidrs"], json!([cidr]));
    }
    let around = from("10.20.30.7", &[("cidrs", "10.20.30.0/24")]).await;
    assert_eq!(around.json()["cidrs"], json!(["10.20.30.7/32"]));
    let elsewhere = from("10.20.31.7", &[("cidrs", "10.20.30.0/24")]).await;
    let why = elsewhere.refused(400, "invalid_authorization_details");
    assert!(why.contains("10.20.31.7/32"), "{why}");
    // Nobody gets a token that does not work where it is.
    from("10.21.0.1", &[]).await.refused(400, "unauthorized_client");
    api.mint(&client, &[]).await.refused(400, "unauthorized_client");
}

#[tokio::test]
async fn each_audience_has_its_algorithm() {
    let algs = "fast=EdDSA,aws=RS256";
    let api = Api::on(Installation::on_sqlite().set("SCRIP_AUDIENCE_ALG", algs)).await;
    let terms =
        json!({"audiences": ["fast", "aws", "usual"], "scopes": ["llm:chat"], "env": "prod"});
    let client = api.client("acme/billing", terms).await;
    for (audience, alg) in [("fast", "EdDSA"), ("aws", "RS256"), ("usual", "ES256")] {
        let jwt = api.mint(&client, &[("audience", audience)]).await.text("access_token");
        let (header, claims) = api.verified(&jwt, audience).await;
        assert_eq!(format!("{:?}", header.alg), alg);
        assert_eq!(claims["aud"], audience);
    }
}
