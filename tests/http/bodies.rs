//! Requests whose body does not arrive.

use std::net::Ipv6Addr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::api::{Api, Client, Reply};
use super::raw::{connect, rest, status};
use crate::harness::service::Installation;
use crate::harness::until::until;

const FORM: &str = "application/x-www-form-urlencoded";
const BEGUN: &str = "grant_type=";
const REST: &str = "client_credentials";
/// More than mint or revoke at once.
const MANY: usize = 600;

#[tokio::test]
async fn n149_slow_bodies_hold_no_place_among_those_who_are_served() {
    let api = Api::start().await;
    let client = api.billing().await;
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/v1/clients"] {
        let mut slow = Vec::new();
        for _ in 0..MANY {
            slow.push(begin(&api, path).await);
        }
        is_served(&api, &client).await;
        // Whoever came first makes room, and is told so; whoever came last is still heard.
        let cut = rest(&mut slow[0]).await;
        assert_eq!(status(&cut), 503, "{path}: {cut}");
        assert!(cut.contains("retry-after: "), "{path}: {cut}");
        let mut last = slow.pop().unwrap();
        last.write_all(REST.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        last.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401", "{path}");
    }
}

#[tokio::test]
async fn n149_nor_do_slow_streams_of_http2_from_many_places() {
    let trusting = Installation::on_sqlite().set("SCRIP_TRUSTED_PROXIES", "127.0.0.0/8");
    let api = Api::on(trusting).await;
    let client = api.billing().await;
    // A connection has 256 streams at most.
    let connection = |_| reqwest::Client::builder().no_proxy().http2_prior_knowledge().build();
    let connections = [(); 3].map(connection).map(Result::unwrap);
    let mut slow = JoinSet::new();
    for n in 0..MANY {
        let chunks = stream::iter([Ok::<_, std::io::Error>(Bytes::from(BEGUN))]);
        let body = Body::wrap_stream(chunks.chain(stream::pending()));
        let place = Ipv6Addr::new(0x2001, 0xdb8, 0, n as u16, 0, 0, 0, 1);
        let request = connections[n % connections.len()]
            .post(format!("{}/oauth2/token", api.installation.url()))
            .header("content-type", FORM)
            .header("x-forwarded-for", place.to_string());
        slow.spawn(request.body(body).send());
    }
    // While they come, and while they are there.
    for _ in 0..20 {
        is_served(&api, &client).await;
    }
    while let Some(answer) = slow.join_next().await {
        // Each from a place of its own, and fewer than there is room for: they had their time.
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::BAD_REQUEST);
    }
}

/// Sends the head of a request, and some of its body.
async fn begin(api: &Api, path: &str) -> TcpStream {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {}\r\n\r\n\
         {BEGUN}",
        BEGUN.len() + REST.len()
    );
    let mut stream = connect(api).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Everything that has a body works: minting, introspecting, giving up a token, revoking,
/// administering.
async fn is_served(api: &Api, client: &Client) {
    let minted = soon("minting", || api.mint(client, &[])).await;
    let (jwt, jti) = (minted.text("access_token"), minted.text("jti"));
    let token = [("token", jwt.as_str())];
    soon("introspecting", || api.form("/oauth2/introspect", client, &token)).await;
    soon("giving it up", || api.form("/oauth2/revoke", client, &token)).await;
    soon("revoking", || api.revoke(json!({"jti": jti}))).await;
    let (path, change) = ("/v1/clients/acme/billing", json!({"enabled": true}));
    soon("administering", || api.write(Method::PATCH, path, &change)).await;
}

/// Long before the slow ones have had their time.
async fn soon<F: Future<Output = Reply>>(what: &str, ask: impl Fn() -> F) -> Reply {
    until(what, Duration::from_secs(5), async || {
        let reply = ask().await;
        reply.status.is_success().then_some(reply)
    })
    .await
}
