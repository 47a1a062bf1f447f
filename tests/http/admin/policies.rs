use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

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
