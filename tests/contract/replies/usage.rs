use crate::contract::session::Session;
use crate::harness::api::form;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// Uses up a quota, and reports what was used.
pub async fn reported(session: &Session) {
    let quota = json!({"tokens": 1000, "window": "day"});
    let policy = json!({
        "audiences": ["llm-gateway"], "scopes": ["llm:chat"], "env": "prod",
        "budget": {"tokens": 1000}, "quota": quota,
    });
    for id in ["acme/saver", "beta/saver"] {
        let secret = session.api.client(id, policy.clone()).await;
        let mint = || minting(session, id, &secret);
        session.expect(200, mint()).await;
        session.expect(429, mint()).await;
    }

    let quota = json!({"money": "1.50", "window": "day"});
    let policy = json!({
        "audiences": ["llm-gateway"], "scopes": ["llm:chat"], "env": "prod",
        "models": ["gpt-4o-mini"], "budget": {"tokens": 1000}, "quota": quota,
    });
    let secret = session.api.client("acme/thrifty", policy).await;
    let minted = session.expect(200, minting(session, "acme/thrifty", &secret)).await.json();
    let thrifty = minted["jti"].clone();

    let policy = json!({
        "audiences": ["self"], "scopes": ["scrip:usage"], "serves": ["llm-gateway", "gw-batch"],
        "env": "scrip",
    });
    let secret = session.api.client("acme/counter", policy).await;
    let minted = session.expect(200, minting(session, "acme/counter", &secret)).await.json();
    let bearer = format!("Bearer {}", minted["access_token"].as_str().expect("a token"));
    let by_ledger =
        |method: Method, path: &str| session.plain(method, path).header(AUTHORIZATION, &bearer);
    let register = |instance: &str, audience: &str| {
        let path = format!("/v1/ledgers/{instance}");
        by_ledger(Method::PUT, &path).json(&json!({"audience": audience}))
    };
    session.expect(200, register("gw-1a", "llm-gateway")).await;
    session.expect(400, register("GW", "llm-gateway")).await;
    session.expect(409, register("gw-1a", "gw-batch")).await;
    session.expect(403, register("gw-1b", "elsewhere")).await;
    session.expect(200, register("gw-1b", "llm-gateway")).await;
    session.expect(200, session.get("/v1/ledgers")).await;
    session.expect(400, session.get("/v1/ledgers?after=gw-1b")).await;

    let example = session.document.operation(&Method::POST, "/v1/usage").body_example().clone();
    let report = |member: &str, value: Value| {
        let mut report = example.clone();
        report["complete_until"] = json!(1);
        report[member] = value;
        by_ledger(Method::POST, "/v1/usage").json(&report)
    };
    let taken = session.expect(200, report("items", example["items"].clone())).await.json();
    assert_eq!(taken["ignored"][0]["reason"], "unknown");
    let used = json!([{"jti": thrifty, "tokens": 5, "requests": 1}]);
    session.expect(200, report("items", used)).await;
    let path = format!("/v1/tokens/{}", thrifty.as_str().expect("a jti"));
    assert_eq!(session.expect(200, session.get(&path)).await.json()["spent"]["tokens"], 5);
    session.expect(400, report("complete_until", json!(9_007_199_254_740_991_u64))).await;
    session.expect(404, report("instance", json!("gw-9"))).await;
    session.expect(409, report("audience", json!("gw-batch"))).await;
    session.expect(403, report("audience", json!("elsewhere"))).await;

    let retire = |instance: &str| by_ledger(Method::DELETE, &format!("/v1/ledgers/{instance}"));
    session.expect(204, retire("gw-1a")).await;
    session.expect(404, retire("gw-9")).await;
    let retire_of = |path: &str| session.ask(Method::DELETE, &format!("/v1/ledgers/acme/{path}"));
    session.expect(204, retire_of("counter/gw-1b")).await;
    session.expect(404, retire_of("counter/gw-9")).await;
    session.expect(400, retire_of("COUNTER/gw-1b")).await;
    session.expect(200, session.get("/v1/usage")).await;
}

fn minting(session: &Session, id: &str, secret: &str) -> RequestBuilder {
    let grant = ("grant_type", "client_credentials");
    let request = session.plain(Method::POST, "/oauth2/token").basic_auth(id, Some(secret));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.body(form(&[grant]))
}
