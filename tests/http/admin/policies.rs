use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::until::until;
use crate::http::api::{Api, Reply, terms};

const BILLING: &str = "/v1/policies/acme/billing";

#[tokio::test]
async fn a_policy_is_applied_whole_and_each_change_is_a_version() {
    let api = Api::start().await;
    let client = api.billing().await;
    let first = api.read(BILLING).await.json();
    let mut policy = terms();
    policy["name"] = json!("acme/billing");
    let whole = json!({
        "name": "acme/billing", "version": 1, "author": "ops/admin", "at": first["at"],
        "policy": first["policy"],
    });
    assert_eq!(first, whole);
    for (member, value) in policy.as_object().unwrap() {
        assert_eq!(&first["policy"][member], value, "{member}");
    }
    let same = api.write(Method::PUT, BILLING, &policy).await;
    assert_eq!((same.status, same.json()), (StatusCode::OK, first), "nothing changes");

    policy["scopes"] = json!(["llm:embed"]);
    policy["defaults"] = json!({});
    let changed = api.write(Method::PUT, BILLING, &policy).await;
    assert_eq!(changed.json()["version"], 2, "{changed:?}");
    let reply = api.mint(&client, &[("models", "gpt-4o-mini")]).await;
    assert_eq!(reply.text("scope"), "llm:embed", "the next mint is judged by it");

    let listed = api.read("/v1/policies").await.json();
    let versions: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["name"].as_str().unwrap(), item["version"].as_u64().unwrap()))
        .collect();
    assert!(versions.contains(&("acme/billing", 2)) && versions.contains(&("ops/operator", 1)));
    assert_eq!(versions.len(), 2);
    let of_ops = api.read("/v1/policies?tenant=ops").await.json();
    assert_eq!(of_ops["items"].as_array().unwrap().len(), 1);
    api.read("/v1/policies/acme/none").await.problem(404, "not-found");
    api.read("/v1/policies?after=x").await.problem(400, "invalid-request");
    for method in [Method::DELETE, Method::PATCH, Method::POST] {
        api.write(method, BILLING, &json!({})).await.problem(405, "method-not-allowed");
    }
}

#[tokio::test]
async fn n61_what_is_wrong_with_a_policy_is_named_and_the_old_version_stays() {
    let api = Api::start().await;
    api.billing().await;
    let before = api.read(BILLING).await.json();
    let put = async |body: String| {
        let request = api.request(Method::PUT, BILLING).bearer_auth(&api.bearer);
        Reply::to(request.header("content-type", "application/json").body(body)).await
    };
    let with = |member: &str, value: Value| {
        let mut policy = terms();
        policy["name"] = json!("acme/billing");
        policy[member] = value;
        policy.to_string()
    };
    for (body, pointer) in [
        (with("name", json!("acme/other")), "/name"),
        (with("budgets", json!({})), ""),
        (with("env", json!("Prod")), "/env"),
        (with("scopes", json!([])), "/scopes"),
        (with("scopes", json!(["llm:embed"])), "/defaults/scopes"),
        (with("ttl", json!({"default": 300, "max": 901})), "/ttl/max"),
        (with("cidrs", json!([])), "/cidrs"),
        (with("cidrs", json!(["10.0.0.1/8"])), ""),
        (with("scopes", json!(["scrip:*"])), ""),
        (with("scopes", json!(["llm:chat", "scrip:revoke"])), "/audiences"),
        (with("budget", json!({"tokens": 0})), ""),
        (terms().to_string(), ""),
    ] {
        let refused = put(body.clone()).await;
        let detail = refused.problem(400, "invalid-request");
        assert_eq!(refused.text("pointer"), pointer, "{body}: {detail}");
        assert!(detail.len() > 10, "{detail}");
    }
    let twice = with("env", json!("prod")).replacen('{', r#"{"\u0065nv":"dev","#, 1);
    for body in [twice.as_str(), "", "null", "{", r#"name = "acme/billing""#] {
        put(body.to_owned()).await.problem(400, "invalid-request");
    }
    put(format!("{{\"name\":\"{}\"}}", "x".repeat(70_000))).await.problem(413, "too-large");
    assert_eq!(api.read(BILLING).await.json(), before);
}

#[tokio::test]
async fn every_version_is_kept_with_its_author_and_time() {
    let api = Api::start().await;
    api.billing().await;
    let first = api.read(BILLING).await.json();
    let mut policy = first["policy"].clone();
    for version in 2..=3 {
        policy["ttl"]["max"] = json!(600 + version);
        api.write(Method::PUT, BILLING, &policy).await;
    }
    assert_eq!(api.read(&format!("{BILLING}?version=1")).await.json(), first);
    let third = api.read(BILLING).await.json();
    assert_eq!((&third["version"], &third["policy"]["ttl"]["max"]), (&json!(3), &json!(603)));
    assert_eq!(api.read(&format!("{BILLING}?version=3")).await.json(), third);

    let versions = format!("{BILLING}/versions");
    let page = api.read(&format!("{versions}?limit=2")).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!((&page["items"][0], &page["items"][1]["version"]), (&third, &json!(2)));
    let next = page["next"].as_str().unwrap();
    let rest = api.read(&format!("{versions}?after={next}")).await.json();
    assert_eq!(rest, json!({"items": [first], "next": null}));

    for absent in [format!("{BILLING}?version=4"), "/v1/policies/acme/none/versions".to_owned()] {
        api.read(&absent).await.problem(404, "not-found");
    }
    for odd in ["?version=0", "?version=x", "?version=1&version=1", "/versions?after=x"] {
        api.read(&format!("{BILLING}{odd}")).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_policy_is_tried_on_what_was_really_asked() {
    let api = Api::start().await;
    let client = api.billing().await;
    let other = api.client("acme/other", terms()).await;
    let details = json!([{"type": "llm_inference", "budget": {"tokens": 7}}]).to_string();
    let mut granted = Vec::new();
    for asked in [&[][..], &[("scope", "llm:embed")], &[("authorization_details", &*details)]] {
        granted.push(api.mint(&client, asked).await.header("x-request-id").to_owned());
        api.mint(&other, asked).await;
    }
    let keyed = |key: &str| api.mint_request(&client, &[]).header("idempotency-key", key);
    for key in ["once", "once"] {
        assert_eq!(Reply::to(keyed(key)).await.status, StatusCode::OK);
    }
    let refused = api.mint(&client, &[("models", "gpt-4o")]).await;
    let refused = refused.header("x-request-id").to_owned();
    api.mint(&client, &[("ttl", "junk")]).await.refused(400, "invalid_request");

    let mut new = terms();
    new["name"] = json!("acme/billing");
    new["scopes"] = json!(["llm:chat"]);
    new["models"] = json!(["gpt-4o", "gpt-4o-mini"]);
    new["defaults"]["budget"] = json!({"tokens": 4000});
    let replay = format!("{BILLING}/replay");
    let tried = until("every request is in the audit log", Duration::from_secs(10), async || {
        let tried = api.write(Method::POST, &replay, &new).await.json();
        (tried["requests"] == 5 && tried["skipped"] == 1).then_some(tried)
    })
    .await;
    assert_eq!((&tried["name"], &tried["version"]), (&json!("acme/billing"), &json!(1)));
    assert_eq!(tried["unchanged"], 1, "the details say all that changes: {tried:#}");
    let changes = tried["changes"].as_array().unwrap();
    let of = |kind: &str| changes.iter().find(|changes| changes["kind"] == kind).unwrap();
    assert_eq!(changes.len(), 3, "{tried:#}");

    let now_granted = &of("granted")["cases"][0];
    assert_eq!(now_granted["request_id"], refused);
    assert_eq!(now_granted["asked"], json!({"models": ["gpt-4o"]}));
    assert_eq!(now_granted["was"]["refused"]["error"], "invalid_authorization_details");
    assert_eq!(now_granted["is"]["granted"]["models"], json!(["gpt-4o"]));
    let now_refused = &of("refused")["cases"][0];
    assert_eq!(now_refused["request_id"], granted[1]);
    let why = "scope `llm:embed` is not granted";
    let is = json!({"refused": {"error": "invalid_scope", "error_description": why}});
    assert_eq!(now_refused["is"], is);
    let otherwise = of("another-token");
    assert_eq!(otherwise["count"], 2);
    let example = &otherwise["cases"][0];
    assert_eq!(
        (&example["client"], &example["address"]),
        (&json!("acme/billing"), &json!("127.0.0.1"))
    );
    assert_eq!(example["was"]["granted"]["budget"]["tokens"], 5000);
    assert_eq!(example["is"]["granted"]["budget"]["tokens"], 4000);
    assert_eq!(otherwise["cases"].as_array().unwrap().len(), 1, "both ask the same");

    let last = api.write(Method::POST, &format!("{replay}?last=1"), &new).await.json();
    assert_eq!(last["requests"].as_u64().unwrap() + last["skipped"].as_u64().unwrap(), 1);
    assert_eq!(api.read(BILLING).await.json()["version"], 1, "nothing is applied");
    new["defaults"]["scopes"] = json!(["llm:embed"]);
    let wrong = api.write(Method::POST, &replay, &new).await;
    wrong.problem(400, "invalid-request");

    // What the audit log holds is for those who may read it.
    let mut less = api.read("/v1/policies/ops/operator").await.json()["policy"].clone();
    less["name"] = json!("ops/policies");
    less["scopes"] = json!(["scrip:policies"]);
    less["serves"] = json!([]);
    let author = api.client("ops/policies", less).await;
    let token = api.token(&author).await;
    let request = api.request(Method::POST, &replay).bearer_auth(&token.jwt).json(&new);
    Reply::to(request).await.problem(403, "insufficient-scope");
}

#[tokio::test]
async fn what_no_token_can_carry_is_not_applied() {
    let api = Api::start().await;
    let list: Vec<String> = (0..64).map(|i| format!("{i:02}{}", "m".repeat(60))).collect();
    let mut policy = json!({
        "name": "acme/billing", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod",
        "models": list,
    });
    let refused = api.write(Method::PUT, BILLING, &policy).await;
    let detail = refused.problem(400, "invalid-request");
    assert_eq!(refused.text("pointer"), "/defaults", "{detail}");
    policy["defaults"] = json!({"models": [list[0]]});
    assert_eq!(api.write(Method::PUT, BILLING, &policy).await.status, StatusCode::OK);
}
