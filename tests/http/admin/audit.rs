use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::http::api::{Api, Client, Reply, form, terms};
use crate::http::raw;

#[tokio::test]
async fn who_asked_what_when_from_where_and_what_came_of_it() {
    let api = Api::start().await;
    let client = api.billing().await;
    let minted = api.mint(&client, &[]).await;
    let jti = minted.text("jti");
    let event = api.read(&format!("/v1/audit?jti={jti}")).await.json()["items"][0].clone();
    let (_, claims) = api.verified(&minted.text("access_token"), "llm-gateway").await;
    let whole = json!({
        "id": event["id"], "at": event["at"], "action": "mint", "outcome": "granted",
        "actor": "acme/billing", "tenant": "acme", "target": "client:acme/billing", "jti": jti,
        "address": "127.0.0.1", "request_id": minted.header("x-request-id"),
        "detail": {
            "aud": "llm-gateway", "scope": "llm:chat", "models": claims["models"],
            "budget": claims["budget"], "cidrs": claims["cidrs"], "env": "prod",
            "exp": claims["exp"], "cred": claims["cred"], "kid": event["detail"]["kid"],
            "asked": {},
        },
    });
    assert_eq!(event, whole);

    let refused = api.mint(&client, &[("scope", "llm:audio")]).await;
    let id = refused.header("x-request-id");
    let event = until("the refusal is written", Duration::from_secs(10), async || {
        let listed = api.read("/v1/audit?action=mint&actor=acme/billing&limit=1").await.json();
        let event = listed["items"][0].clone();
        (event["request_id"] == id).then_some(event)
    })
    .await;
    assert_eq!(event["outcome"], "invalid_scope");
    let detail = json!({
        "reason": "scope `llm:audio` is not granted", "asked": {"scope": "llm:audio"},
        "cred": claims["cred"],
    });
    assert_eq!(event["detail"], detail);

    let refused = Reply::to(api.request(Method::GET, "/v1/clients").bearer_auth("forged")).await;
    let id = refused.header("x-request-id");
    let event = until("the refusal is written", Duration::from_secs(10), async || {
        let listed = api.read("/v1/audit?action=access&limit=1").await.json();
        let event = listed["items"][0].clone();
        (event["request_id"] == id).then_some(event)
    })
    .await;
    let detail = json!({"method": "GET", "route": "/v1/clients", "status": 401});
    assert_eq!((&event["outcome"], &event["detail"]), (&json!("refused"), &detail));

    let changes = api.read("/v1/audit?actor=ops/admin&tenant=acme").await.json();
    let actions: Vec<_> =
        changes["items"].as_array().unwrap().iter().map(|event| event["action"].clone()).collect();
    assert_eq!(actions, ["client.create", "policy.apply"]);
    assert!(!changes.to_string().contains(&client.secret));
    for selector in [json!({"jti": jti}), json!({"client": "acme/billing"})] {
        assert_eq!(api.revoke(selector).await.status, StatusCode::CREATED);
    }
    let revoked = api.read("/v1/audit?action=revoke&tenant=acme").await.json();
    assert_eq!(revoked["items"].as_array().unwrap().len(), 2, "whoever's tenant revoked them");
    let later = api.read("/v1/audit?since=2099-01-01T00:00:00Z").await.json();
    assert_eq!(later, json!({"items": [], "next": null}));
    for query in ["since=yesterday", "jti=x", "after=x", "actors=x", "limit=0"] {
        api.read(&format!("/v1/audit?{query}")).await.problem(400, "invalid-request");
    }
    let kept = api.write(Method::DELETE, "/v1/audit", &json!({})).await;
    kept.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn n74_nothing_hostile_reaches_a_log_line_or_the_audit_log_unescaped() {
    let installation =
        Installation::on_sqlite().set("SCRIP_LOG", "debug").set("SCRIP_LOG_FORMAT", "json");
    let api = Api::on(installation).await;
    let client = api.billing().await;
    let hostile = "x\r\n{\"level\":\"FORGED\"}\u{1b}[2J\u{202e}\"}";
    let post = api.request(Method::POST, "/oauth2/token");
    let body =
        [("grant_type", "client_credentials"), ("client_id", hostile), ("client_secret", hostile)];
    Reply::to(form(post, &body)).await.refused(401, "invalid_client");
    for parameter in [
        ("scope", hostile),
        ("audience", hostile),
        (hostile, "x"),
        ("models", hostile),
        ("budget\r\nx", "1"),
    ] {
        let reply = api.mint(&client, &[parameter]).await;
        let printable = reply.body.bytes().all(|b| (b' '..=b'~').contains(&b));
        assert!(printable, "{parameter:?}: {reply:?}");
    }
    let note = json!({"selector": {"jti": api.token(&client).await.jti}, "note": hostile});
    let revoked = api.write(Method::POST, "/v1/revocations", &note).await;
    assert_eq!((revoked.status, revoked.text("note")), (StatusCode::CREATED, hostile.to_owned()));
    let agent =
        api.request(Method::GET, "/nothing%0d%0aFORGED%1b[2J").header("user-agent", "a\u{9c}b");
    Reply::to(agent).await.problem(404, "not-found");

    let audit = until("all of it is in the audit log", Duration::from_secs(10), async || {
        let audit = api.read("/v1/audit?limit=200").await;
        audit.body.contains("FORGED").then_some(audit)
    })
    .await;
    assert!(audit.json()["items"].is_array());
    assert!(!audit.body.contains('\u{1b}') && !audit.body.contains("\r\n"), "JSON escapes them");
    let log = api.service.process.stderr();
    assert!(log.contains("refused"), "{log}");
    for line in log.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_ne!(line["level"], "FORGED");
    }
    assert!(!log.contains('\u{1b}') && !log.contains('\u{202e}'));
}

#[tokio::test]
async fn n74_a_huge_header_is_refused_and_kept_nowhere() {
    let api = Api::start().await;
    let agent = "A".repeat(1 << 20);
    let request = format!(
        "GET /v1/clients HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
    );
    let answer = raw::exchange(&api, request.as_bytes()).await;
    assert!(answer.is_empty() || raw::status(&answer) == 431, "{answer}");
    assert!(!api.service.process.stderr().contains("AAAAAAAA"));
    let Client { id, .. } = &api.operator;
    assert_eq!(api.read(&format!("/v1/clients/{id}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn n75_a_refusal_is_written_once_it_can_be() {
    let api = Api::start().await;
    let client = api.billing().await;
    let refuses =
        "CREATE TRIGGER refuses BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END";
    api.sql(refuses).await;
    api.mint(&client, &[("scope", "x")]).await.refused(400, "invalid_scope");
    until("it could not be written", Duration::from_secs(10), async || {
        api.service.process.stderr().contains("not in the audit log").then_some(())
    })
    .await;
    api.sql("DROP TRIGGER refuses").await;
    let refused = "SELECT count(*) FROM audit WHERE outcome = 'invalid_scope'";
    until("it is written", Duration::from_secs(10), async || {
        (api.number(refused).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_looks_like_a_secret_hides_nothing_else_from_the_audit_log() {
    let api = Api::start().await;
    let mut free = terms();
    free["scopes"] = json!(["tool:*"]);
    free["defaults"] = json!({});
    let client = api.client("acme/free", free).await;
    let minted = api.mint(&client, &[("scope", "tool:scrip_mc_x tool:y")]).await;
    assert_eq!(minted.status, StatusCode::OK, "{minted:?}");
    let jti = minted.text("jti");
    let event = api.read(&format!("/v1/audit?jti={jti}")).await.json()["items"][0].clone();
    let (header, claims) = api.verified(&minted.text("access_token"), "llm-gateway").await;
    let detail = &event["detail"];
    assert_eq!((&detail["exp"], &detail["cred"]), (&claims["exp"], &claims["cred"]), "{event}");
    assert_eq!((&detail["aud"], &detail["kid"]), (&json!("llm-gateway"), &json!(header.kid)));
    assert_eq!((&detail["scope"], &detail["cut"]), (&json!("tool:.."), &json!(["asked", "scope"])));
    assert!(detail.get("asked").is_none() && !event.to_string().contains("scrip_mc_"), "{event}");
}

#[tokio::test]
async fn n75_what_cannot_be_audited_is_not_done() {
    let api = Api::start().await;
    let client = api.billing().await;
    api.sql("CREATE TRIGGER refuses BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END")
        .await;
    api.mint(&client, &[]).await.refused(503, "temporarily_unavailable");
    for (method, path, body) in [
        (Method::POST, "/v1/clients", json!({"id": "acme/new", "policy": "acme/billing"})),
        (Method::PATCH, "/v1/clients/acme/billing", json!({"enabled": false})),
        (Method::POST, "/v1/clients/acme/billing/rotate", json!({})),
        (Method::DELETE, "/v1/clients/acme/billing", json!({})),
        (
            Method::PUT,
            "/v1/policies/acme/new",
            json!({
                "name": "acme/new", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod",
            }),
        ),
    ] {
        let refused = api.write(method, path, &body).await;
        refused.problem(503, "temporarily-unavailable");
    }
    api.sql("DROP TRIGGER refuses").await;
    api.read("/v1/clients/acme/new").await.problem(404, "not-found");
    api.read("/v1/policies/acme/new").await.problem(404, "not-found");
    assert_eq!(api.mint(&client, &[]).await.status, StatusCode::OK, "and nothing was half done");
}
