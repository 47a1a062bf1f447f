use crate::contract::session::Session;
use crate::harness::until::until;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::time::Duration;

/// What everybody may read.
pub async fn published(session: &Session) {
    for path in ["oauth-authorization-server", "jwks.json", "scrip-keys"] {
        let get = || session.plain(Method::GET, &format!("/.well-known/{path}"));
        let reply = session.expect(200, get()).await;
        session.expect(304, get().header("If-None-Match", reply.header("etag"))).await;
    }
    let version =
        |version| session.plain(Method::GET, &format!("/.well-known/scrip-keys?version={version}"));
    session.expect(200, version("1")).await;
    session.expect(400, version("x")).await;
    session.expect(404, version("99999")).await;
}

/// Revokes a token, a client's tokens and a key, and lists what was revoked.
pub async fn revocations(session: &Session) {
    let revoke = |selector: Value| {
        session.post(
            "/v1/revocations",
            &json!({"selector": selector, "reason": "test", "note": "drill"}),
        )
    };
    let tokens = session.expect(200, session.get("/v1/tokens?client=acme%2Fbilling")).await.json();
    let mut tokens = tokens["items"].as_array().expect("a list").iter();
    let live = tokens.find(|token| token["live"] == true).expect("not all are revoked");
    let token = json!({"jti": live["jti"]});
    let first = session.expect(201, revoke(token.clone())).await.json();
    assert_eq!(session.expect(200, revoke(token)).await.json(), first);
    session.expect(200, revoke(json!({"jti": "01800000-0000-7000-8000-000000000000"}))).await;
    session.expect(201, revoke(json!({"client": "acme/billing"}))).await;
    session.expect(404, revoke(json!({"client": "acme/nobody"}))).await;
    for one in [
        json!({"sub": {"tenant": "acme", "id": "client:acme/billing"}, "before": 0}),
        json!({"tenant": "acme", "before": 0}),
        json!({"cred": {"client": "acme/billing", "version": "embedded:99.1795000000"}}),
        json!({"all": true, "before": 0}),
    ] {
        session.expect(201, revoke(one)).await;
    }
    let preview = json!({"selector": {"all": true}, "dry_run": true});
    session.expect(200, session.post("/v1/revocations", &preview)).await;
    let keyed = |before: u64| {
        let body = json!({"selector": {"tenant": "acme", "before": before}});
        session.post("/v1/revocations", &body).header("Idempotency-Key", "drill")
    };
    let once = session.expect(201, keyed(1)).await.json();
    assert_eq!(session.expect(201, keyed(1)).await.json(), once);
    session.expect(409, keyed(2)).await;
    for odd in [json!({"jit": "x"}), json!({"jti": "x"}), json!({}), json!("all")] {
        session.expect(400, revoke(odd)).await;
    }
    let keys = session.expect(200, session.get("/v1/keys")).await.json();
    let next = keys["items"].as_array().expect("a list").iter().find(|key| key["state"] == "next");
    session.expect(201, revoke(json!({"kid": next.expect("always one")["kid"]}))).await;

    let list = session.expect(200, session.get("/v1/revocations")).await.json();
    let id = list["items"][0]["id"].as_str().expect("there are some");
    session.expect(200, session.get(&format!("/v1/revocations/{id}"))).await;
    session.expect(404, session.get("/v1/revocations/01a1ee57-0000-7abc-9def-0123456789ab")).await;
}

/// Follows the deny list in each way.
pub async fn deny_list(session: &Session) {
    // Asking for it makes a newer one, once.
    let snapshot = || session.get("/v1/deny/snapshot");
    let manifest = until("the newest snapshot", Duration::from_secs(20), async || {
        let reply = session.expect(200, snapshot()).await;
        let known = snapshot().header("If-None-Match", reply.header("etag"));
        (session.send(known).await.status == 304).then(|| payload(&reply.body))
    })
    .await;

    let odd = |request: RequestBuilder| request.header("X-Scrip-Verifier", "GW");
    session.expect(400, odd(snapshot())).await;

    let blob = || session.get(manifest["blob"].as_str().expect("a path"));
    session.expect(400, odd(blob())).await;
    let reply = session.expect(200, blob()).await;
    session.expect(304, blob().header("If-None-Match", reply.header("etag"))).await;
    session.expect(206, blob().header("Range", "bytes=0-7")).await;
    session.expect(416, blob().header("Range", "bytes=99999999-")).await;
    session.expect(404, session.get(&format!("/v1/deny/blobs/{}", "0".repeat(64)))).await;

    let epoch = manifest["epoch"].as_str().expect("an epoch");
    let batches =
        |after: &str| session.get(&format!("/v1/deny/batches?epoch={epoch}&after={after}"));
    let found = session.expect(200, batches("0")).await.json();
    assert_ne!(found["batches"], json!([]));
    let head = manifest["seq"].to_string();
    session.expect(200, batches(&head).header("Prefer", "wait=1")).await;
    session.expect(400, batches("x")).await;
    session.expect(410, batches("99999")).await;

    let stream = || session.get("/v1/deny/stream");
    session.expect(400, stream().header("Last-Event-ID", "7")).await;
    let reply = session.expect(200, stream()).await;
    assert!(reply.body.starts_with(b"event: heartbeat\n"));
}

/// Acknowledges as two verifiers, and asks who enforces what.
pub async fn receipts(session: &Session) {
    let manifest = session.expect(200, session.get("/v1/deny/snapshot")).await;
    let manifest = payload(&manifest.body);
    let epoch = manifest["epoch"].as_str().expect("an epoch");
    let path = format!("/v1/deny/batches?epoch={epoch}&after={}", manifest["seq"]);
    let beat = session.expect(200, session.get(&path)).await.json();
    let beat = payload(beat["heartbeat"].as_str().expect("a JWS").as_bytes());
    let ack = |verifier: &str, epoch: &str| {
        let body = json!({
            "verifier": verifier, "epoch": epoch, "seq": beat["seq"], "head": beat["head"],
            "as_of": beat["iat"], "max_staleness": 60, "max_offline": 600, "policy": "allow-for",
            "allow_for": 5,
        });
        session.post("/v1/deny/acks", &body)
    };
    session.expect(204, ack("gw-1", epoch)).await;
    session.expect(204, ack("gw-2", epoch)).await;
    session.expect(400, ack("GW", epoch)).await;
    session.expect(409, ack("gw-1", "01a1e000-0000-7abc-9def-0123456789ab")).await;
    let selector = json!({"tenant": "acme", "before": 2});
    let body = json!({"selector": selector, "wait": 1});
    let revoked = session.expect(201, session.post("/v1/revocations", &body)).await.json();
    assert_eq!(revoked["enforced"]["verifiers"][0]["behind"], 1);
    let id = revoked["id"].as_str().expect("an id");
    session.expect(200, session.get(&format!("/v1/revocations/{id}"))).await;
}

/// What a JWS in compact form says.
fn payload(jws: &[u8]) -> Value {
    let encoded = jws.split(|byte| *byte == b'.').nth(1).expect("three parts");
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(encoded).expect("base64url");
    serde_json::from_slice(&decoded).expect("JSON")
}
