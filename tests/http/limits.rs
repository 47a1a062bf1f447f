//! What a request may cost, and what cannot be smuggled past the route table.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::api::{Api, Reply};
use super::raw::{connect, exchange, rest, status};
use crate::harness::service::Installation;
use crate::harness::until::until;

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn n49_bodies_have_one_media_type_and_a_size() {
    let api = Api::start().await;
    let client = api.billing().await;
    let post =
        |path: &str| api.request(Method::POST, path).basic_auth(&client.id, Some(&client.secret));
    let good = "grant_type=client_credentials";
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        for media in ["application/json", "multipart/form-data", "text/plain", ""] {
            let refused = Reply::to(post(path).header("content-type", media).body(good)).await;
            refused.problem(415, "unsupported-media-type");
        }
        let zipped = post(path).header("content-type", FORM).header("content-encoding", "gzip");
        Reply::to(zipped.body(vec![0x1f, 0x8b, 8])).await.problem(415, "unsupported-media-type");
        let large = format!("{good}&x={}", "x".repeat(64 * 1024));
        let refused = Reply::to(post(path).header("content-type", FORM).body(large)).await;
        refused.problem(413, "too-large");
    }
    let charset = post("/oauth2/token").header("content-type", format!("{FORM}; charset=utf-8"));
    assert_eq!(Reply::to(charset.body(good)).await.status, StatusCode::OK);
    let flood = format!("{good}{}", "&a=1".repeat(100));
    let flood = post("/oauth2/token").header("content-type", FORM).body(flood);
    Reply::to(flood).await.refused(400, "invalid_request");

    let media = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
    let media = media.header("content-type", "text/json").body("{}");
    Reply::to(media).await.problem(415, "unsupported-media-type");
    let deep = format!("{{\"selector\":{}", "[".repeat(5000));
    let deep_request = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
    let deep_request = deep_request.header("content-type", "application/json").body(deep);
    Reply::to(deep_request).await.problem(400, "invalid-request");
}

#[tokio::test]
async fn n49_an_endless_body_is_cut_off() {
    let api = Api::start().await;
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut stream = connect(&api).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
    for taken in 0.. {
        // The answer itself may be lost: whoever does not listen is reset.
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
        assert!(taken < 10_000, "forty megabytes were taken");
    }
    until("the log tells why", Duration::from_secs(10), async || {
        api.service.process.stderr().contains("status=413").then_some(())
    })
    .await;
    assert_eq!(api.get("/.well-known/jwks.json").await.status, StatusCode::OK);
}

#[tokio::test]
async fn n55_ambiguous_requests_are_refused_and_the_connection_closed() {
    let api = Api::start().await;
    let smuggled = "GET /v1/clients HTTP/1.1\r\nHost: x\r\n\r\n";
    for framing in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n",
        "Content-Length : 5\r\n",
    ] {
        let request = format!(
            "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n{framing}\r\n0\r\n\r\n{smuggled}"
        );
        let answer = exchange(&api, request.as_bytes()).await;
        assert_eq!(status(&answer), 400, "{framing:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{framing:?}: {answer}");
    }
    // With both, the chunks count (RFC 9112 section 6.3) and nothing after them is read as a request.
    let both = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
        5 + smuggled.len()
    );
    let answer = exchange(&api, both.as_bytes()).await;
    assert!(matches!(status(&answer), 400 | 401), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn n55_there_is_one_spelling_of_each_path_and_method() {
    let api = Api::start().await;
    for path in [
        "//oauth2/token",
        "/oauth2//token",
        "/oauth2/token/",
        "/oauth2/%74oken",
        "/oauth2/./token",
        "/x/../oauth2/token",
        "/OAUTH2/token",
        "/oauth2/token;x=1",
        "/oauth2%2ftoken",
        "/v1/",
        "/",
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = exchange(&api, request.as_bytes()).await;
        assert_eq!(status(&answer), 404, "{path}: {answer}");
    }
    for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let request = api.request(Method::GET, "/v1/revocations").header(header, "DELETE");
        Reply::to(request).await.problem(401, "invalid-token");
        let request = api.request(Method::GET, "/oauth2/token").header(header, "POST");
        Reply::to(request).await.problem(405, "method-not-allowed");
    }
    for method in [Method::TRACE, Method::OPTIONS, Method::from_bytes(b"TOKEN").unwrap()] {
        let refused = Reply::to(api.request(method, "/oauth2/token")).await;
        refused.problem(405, "method-not-allowed");
    }
}

#[tokio::test]
async fn n73_there_is_no_way_to_change_the_running_service() {
    let api = Api::start().await;
    for path in [
        "/v1/config",
        "/v1/reload",
        "/v1/seal",
        "/debug/pprof",
        "/admin",
        "/v1/settings",
        "/metrics",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT] {
            api.write(method, path, &json!({})).await.problem(404, "not-found");
        }
    }
}

#[tokio::test]
async fn n149_a_slow_head_or_body_does_not_hold_a_connection() {
    let api = Api::start().await;
    let mut heads = Vec::new();
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = connect(&api).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        heads.push((begun, stream));
    }
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 50\r\n\r\ngrant"
    );
    let mut body = connect(&api).await;
    body.write_all(head.as_bytes()).await.unwrap();
    let silent = async {
        let mut answer = [0; 12];
        body.read_exact(&mut answer).await.map(|_| answer)
    };
    // Never silent for long, and for ever incomplete.
    let (mut answered, mut trickle) = connect(&api).await.into_split();
    trickle.write_all(head.as_bytes()).await.unwrap();
    let trickling = async {
        let mut answer = [0; 12];
        let mut pace = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                read = answered.read(&mut answer) => return read.map(|_| answer),
                _ = pace.tick() => trickle.write_all(b"x").await?,
            }
        }
    };
    let closing = futures_util::future::join_all(heads.iter_mut().map(|(_, stream)| rest(stream)));
    let (silent, trickling, _) = tokio::join!(silent, trickling, closing);
    assert_eq!(&silent.unwrap(), b"HTTP/1.1 400");
    assert_eq!(&trickling.unwrap(), b"HTTP/1.1 400");
}

#[tokio::test]
async fn n123_what_no_text_can_hold_is_refused_before_the_database_sees_it() {
    let api = Api::on(Installation::on_postgres().await).await;
    let client = api.billing().await;
    let post = |parameter: &str| {
        let post = api.request(Method::POST, "/oauth2/token").header("content-type", FORM);
        let body = format!("grant_type=client_credentials&{parameter}");
        Reply::to(post.basic_auth(&client.id, Some(&client.secret)).body(body))
    };
    for (parameter, error) in [
        ("scope=%00", "invalid_scope"),
        ("scope=%ff", "invalid_scope"),
        ("audience=%00", "invalid_target"),
        ("audience=%c3%28", "invalid_target"),
        ("models=%00", "invalid_request"),
        ("cidrs=%00", "invalid_request"),
        ("%00=%00&%00=%00", "invalid_request"),
    ] {
        post(parameter).await.refused(400, error);
    }
    assert_eq!(post("x=%00").await.status, StatusCode::OK);

    for query in [
        "/v1/clients?tenant=%00",
        "/v1/clients?after=%00",
        "/v1/policies?tenant=%00",
        "/v1/tokens?tenant=%00",
        "/v1/audit?actor=%00",
        "/v1/audit?action=a%00b",
    ] {
        api.read(query).await.problem(400, "invalid-request");
    }
    for body in [
        &b"{\"selector\":{\"jti\":\"\xff\"}}"[..],
        b"\xff\xfe{\x00}\x00",
        b"{\"selector\":{\"client\":\"\\ud800\"}}",
    ] {
        let post = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
        let post = post.header("content-type", "application/json").body(body);
        Reply::to(post).await.problem(400, "invalid-request");
    }
    let long = "x".repeat(20_000);
    let target = format!("/v1/audit?actor={long}");
    assert_eq!(api.read(&target).await.json()["items"], json!([]), "long, and nobody's");
}

#[tokio::test]
async fn a_requests_id_is_drawn_here() {
    let api = Api::start().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request =
            api.request(Method::GET, "/.well-known/jwks.json").header("x-request-id", "mine");
        let id = Reply::to(request).await.header("x-request-id").to_owned();
        assert!(scrip_token::Jti::parse(&id).is_ok(), "{id}");
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}
