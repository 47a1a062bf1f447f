//! Who acknowledges what, what the answer to a revocation says of it, and what it waits for. A verifier
//! is anybody here who posts acknowledgements; the real follower's are scrip-feed's to test.

mod acks;
mod answers;
mod waits;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use scrip::admin::Moment;
use scrip_token::compact::from_base64url;
use serde_json::{Value, json};

use super::api::{Api, Client, Reply};

const PATIENCE: Duration = Duration::from_secs(20);

/// Where the feed stands: `epoch`, `seq`, `head` and `iat` of a heartbeat made now. Read in the name
/// of `gw-1`.
pub async fn place(api: &Api, gateway: &Client) -> Value {
    place_read_as(api, gateway, Some("gw-1")).await
}

async fn place_read_as(api: &Api, gateway: &Client, verifier: Option<&str>) -> Value {
    let read = |path: String| {
        let mut request = api.request(Method::GET, &path);
        if let Some(verifier) = verifier {
            request = request.header("X-Scrip-Verifier", verifier);
        }
        Reply::to(request.basic_auth(&gateway.id, Some(&gateway.secret)))
    };
    let manifest = payload(&read("/v1/deny/snapshot".to_owned()).await.body);
    let epoch = manifest["epoch"].as_str().expect("an epoch");
    let path = format!("/v1/deny/batches?epoch={epoch}&after={}", manifest["seq"]);
    payload(&read(path).await.text("heartbeat"))
}

fn payload(jws: &str) -> Value {
    let payload = jws.split('.').nth(1).and_then(from_base64url).expect("a JWS");
    serde_json::from_slice(&payload).expect("JSON")
}

fn body_of(verifier: &str, at: &Value, change: &Value) -> Value {
    let mut body = json!({
        "verifier": verifier, "epoch": at["epoch"], "seq": at["seq"], "head": at["head"],
        "as_of": at["iat"], "max_staleness": 60, "policy": "deny", "allow_for": 0,
    });
    for (name, value) in change.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

fn ack(api: &Api, gateway: &Client, verifier: &str, at: &Value, change: &Value) -> RequestBuilder {
    let request = api.request(Method::POST, "/v1/deny/acks");
    let request = request.basic_auth(&gateway.id, Some(&gateway.secret));
    request.json(&body_of(verifier, at, change))
}

pub async fn acknowledge(api: &Api, gateway: &Client, verifier: &str, at: &Value) {
    let reply = Reply::to(ack(api, gateway, verifier, at, &json!({}))).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
}

async fn verifiers(api: &Api) -> Value {
    let reply = api.read("/v1/deny/verifiers").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json()
}

async fn enforced(api: &Api, id: &str) -> Value {
    api.read(&format!("/v1/revocations/{id}")).await.json()["enforced"].clone()
}

/// As if all verifiers had acknowledged nothing for ten minutes.
async fn silence(api: &Api) {
    api.sql("UPDATE verifiers SET acked_ms = acked_ms - 600000").await;
}

fn at_ms(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("no time: {time}")).to_owned();
    Moment::try_from(text).expect("RFC 3339").milliseconds()
}
