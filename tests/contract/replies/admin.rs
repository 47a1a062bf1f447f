use crate::contract::session::Session;
use reqwest::Method;
use serde_json::{Value, json};

/// Registers, changes, rotates and deletes a client.
pub async fn clients(session: &Session) {
    let bot =
        json!({"id": "acme/bot", "policy": "acme/billing", "source": "embedded", "overlap": 60});
    let create = || session.post("/v1/clients", &bot).header("Idempotency-Key", "bot");
    let first = session.expect(201, create()).await.json();
    assert!(first["secret"].is_string());
    let again = session.expect(201, create()).await.json();
    assert_eq!((&again["id"], &again["secret"]), (&first["id"], &Value::Null));
    session.expect(409, session.post("/v1/clients", &bot)).await;
    session.expect(400, session.post("/v1/clients", &json!({"id": "acme/other"}))).await;

    let (path, odd, nobody) =
        ("/v1/clients/acme/bot", "/v1/clients/Acme/bot", "/v1/clients/acme/nobody");
    let change = |path: &str, body: Value| session.ask(Method::PATCH, path).json(&body);
    session.expect(200, change(path, json!({"rotate_by": "2030-01-31T12:00:00Z"}))).await;
    session.expect(200, change(path, json!({"enabled": false, "revoke": true}))).await;
    session.expect(400, change(path, json!({"enabled": "no"}))).await;
    session.expect(404, change(nobody, json!({"enabled": false}))).await;
    let keyed =
        |enabled: bool| change(path, json!({"enabled": enabled})).header("Idempotency-Key", "on");
    session.expect(200, keyed(true)).await;
    session.expect(409, keyed(false)).await;

    let rotate = |path: &str, body: Value| session.post(&format!("{path}/rotate"), &body);
    session.expect(200, rotate(path, json!({}))).await;
    session.expect(200, session.ask(Method::POST, &format!("{path}/rotate"))).await;
    session.expect(400, rotate(path, json!({"revoked": true}))).await;
    session.expect(404, rotate(nobody, json!({}))).await;
    let keyed =
        |revoke: bool| rotate(path, json!({"revoke": revoke})).header("Idempotency-Key", "turn");
    session.expect(200, keyed(true)).await;
    session.expect(409, keyed(false)).await;

    session.expect(200, session.get(path)).await;
    for method in [Method::GET, Method::DELETE] {
        session.expect(400, session.ask(method.clone(), odd)).await;
        session.expect(404, session.ask(method, nobody)).await;
    }
    session.expect(204, session.ask(Method::DELETE, path)).await;
    session.expect(404, session.get(path)).await;
    session.expect(200, session.get("/v1/clients")).await;
    session.expect(400, session.get("/v1/clients?stale=old")).await;
    let found = session.expect(200, session.get("/v1/clients/unregistered")).await.json();
    assert_eq!(found["items"][0]["id"], "acme/found");
    session.expect(400, session.get("/v1/clients/unregistered?tenant=Acme")).await;
}

/// Applies and shows policies.
pub async fn policies(session: &Session) {
    let path = "/v1/policies/acme/document-summaries";
    let example = session.document.operation(&Method::PUT, path).body_example().clone();
    let apply = |path: &str, policy: &Value| session.ask(Method::PUT, path).json(policy);
    session.expect(400, apply("/v1/policies/acme/another-name", &example)).await;
    let keyed = |policy| apply(path, policy).header("Idempotency-Key", "policy");
    session.expect(200, keyed(&example)).await;
    let mut other = example.clone();
    other["env"] = json!("staging");
    session.expect(409, keyed(&other)).await;

    let applied = session.expect(200, session.get(path)).await.json();
    assert_eq!(applied["policy"], example);
    session.expect(400, session.get("/v1/policies/Acme/x")).await;
    session.expect(404, session.get("/v1/policies/acme/nothing")).await;
    session.expect(200, session.get("/v1/policies")).await;

    session.expect(200, apply(path, &other)).await;
    session.expect(200, session.get(&format!("{path}?version=1"))).await;
    session.expect(404, session.get(&format!("{path}?version=3"))).await;
    let versions = |path: &str| session.get(&format!("{path}/versions"));
    session.expect(200, versions(path)).await;
    session.expect(400, versions("/v1/policies/Acme/x")).await;
    session.expect(404, versions("/v1/policies/acme/nothing")).await;

    let replay = |path: &str, policy: &Value| session.post(&format!("{path}/replay"), policy);
    let replayed = session.expect(200, replay(path, &example)).await.json();
    assert_eq!((&replayed["version"], &replayed["requests"]), (&json!(2), &json!(0)));
    session.expect(400, replay("/v1/policies/acme/another-name", &example)).await;
    let mut unknown = example.clone();
    unknown["name"] = json!("acme/nothing");
    session.expect(404, replay("/v1/policies/acme/nothing", &unknown)).await;
    // Of the operator's own requests, each comes out differently under a policy that grants less.
    let mut less = session.get("/v1/policies/ops/operator").send().await.unwrap();
    let body = less.chunk().await.unwrap().unwrap();
    let mut less: Value = serde_json::from_slice(&body).unwrap();
    less["policy"]["scopes"] = json!(["scrip:policies"]);
    less["policy"]["serves"] = json!([]);
    let replayed = replay("/v1/policies/ops/operator", &less["policy"]);
    let replayed = session.expect(200, replayed).await.json();
    assert_eq!(replayed["changes"][0]["kind"], "refused", "{replayed}");
}

/// Sets and shows prices.
pub async fn prices(session: &Session) {
    let path = "/v1/prices";
    let example = session.document.operation(&Method::PUT, path).body_example().clone();
    session.expect(404, session.get(path)).await;
    let versions = |query: &str| session.get(&format!("{path}/versions{query}"));
    session.expect(200, versions("")).await;
    // One policy with a quota that nobody can count.
    let policy = "/v1/policies/acme/in-money";
    let in_money = json!({
        "name": "acme/in-money", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod",
        "models": ["gpt-5"], "budget": {"tokens": 100}, "quota": {"money": "5", "window": "day"},
    });
    let applied = session.expect(200, session.ask(Method::PUT, policy).json(&in_money)).await;
    assert!(applied.json()["warnings"].is_array());
    let set = |prices: &Value| session.ask(Method::PUT, path).json(prices);
    session.expect(400, set(&json!({"currency": "USD", "models": []}))).await;
    let keyed = |prices| set(prices).header("Idempotency-Key", "prices");
    let changed = session.expect(200, keyed(&example)).await.json();
    assert!(changed["warnings"].is_array(), "{changed}");
    let mut other = example.clone();
    other["currency"] = json!("EUR");
    session.expect(409, keyed(&other)).await;
    session.expect(409, set(&other)).await;
    session.expect(200, session.get(path)).await;
    session.expect(200, session.get("/v1/prices?version=1")).await;
    session.expect(400, session.get("/v1/prices?version=0")).await;
    session.expect(200, versions("?limit=1")).await;
    session.expect(400, versions("?after=x")).await;
}

/// Reads the inventory and the audit log.
pub async fn records(session: &Session) {
    let page = session.expect(200, session.get("/v1/tokens")).await.json();
    let jti = page["items"][0]["jti"].as_str().expect("a token was issued");
    session.expect(200, session.get(&format!("/v1/tokens/{jti}"))).await;
    session.expect(404, session.get("/v1/tokens/01a1ee56-5e7b-7fff-bfff-ffffffffffff")).await;
    session.expect(200, session.get("/v1/audit")).await;
    session.expect(400, session.get("/v1/audit?since=yesterday")).await;
}

/// Rotates and retires keys, and revokes one.
pub async fn keys(session: &Session) {
    let rotated = session.ask(Method::POST, "/v1/keys/ES256/rotate");
    let rotated = session.expect(200, rotated).await.json();
    let retire = |kid: &Value| {
        let kid = kid.as_str().expect("a kid");
        session.ask(Method::POST, &format!("/v1/keys/{kid}/retire"))
    };
    session.expect(409, retire(&rotated["active"]["kid"])).await;
    session.expect(200, retire(&rotated["next"]["kid"])).await;
    session.expect(404, retire(&json!("unknown"))).await;
    session.expect(404, session.ask(Method::POST, "/v1/keys/RS256/rotate")).await;
    for (name, status) in [("feed", 200), ("feed", 409), ("root", 200)] {
        let rotate = session.ask(Method::POST, &format!("/v1/keys/{name}/rotate"));
        session.expect(status, rotate).await;
    }
    let keys = session.expect(200, session.get("/v1/keys")).await.json();
    let states: Vec<_> =
        keys["items"].as_array().expect("a list").iter().map(|key| &key["state"]).collect();
    for state in ["next", "active", "retiring", "retired"] {
        assert!(states.contains(&&json!(state)), "no key is {state}: {keys:#}");
    }
}

/// A rotation that comes before every verifier can know the key.
pub async fn keys_too_young(session: &Session) {
    session.expect(409, session.ask(Method::POST, "/v1/keys/ES256/rotate")).await;
}

/// Health, readiness and metrics, on their own listener.
pub async fn operations(session: &Session, url: &str) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        session.expect(200, session.api.http.get(format!("{url}{path}"))).await;
    }
}
