use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::follower::Follower;
use crate::harness::http::Http;
use crate::harness::postgres::Cluster;
use crate::harness::process::Signal;
use crate::harness::service::Installation;
use crate::harness::until::until;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scrip::clock;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(15);
const FORM: &[u8] = b"grant_type=client_credentials";
const ACCEPTED: usize = 16;

#[tokio::test]
async fn n150_what_was_accepted_is_finished() {
    let installation = Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1");
    let mut acme = Acme::found(installation).await;
    let address = acme.installation.url().replace("http://", "");
    let billing = acme.embedded("acme/billing").await;
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    let mut stream = connect(&address, "GET /v1/deny/stream", &acme.gateway, "").await;
    read_until(&mut stream, "event: heartbeat").await;
    let load: Vec<_> = (0..4).map(|_| tokio::spawn(mint(acme.http(), billing.clone()))).collect();

    // These have been accepted beyond doubt: the service has asked for their bodies.
    let mut accepted = Vec::new();
    for _ in 0..ACCEPTED {
        let head = format!(
            "Expect: 100-continue\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n",
            FORM.len()
        );
        let mut request = connect(&address, "POST /oauth2/token", &billing, &head).await;
        read_until(&mut request, "HTTP/1.1 100 Continue\r\n\r\n").await;
        accepted.push(request);
    }
    acme.service.process.signal(Signal::Terminate);
    until("nobody new is let in", PATIENCE, async || TcpStream::connect(&address).await.err())
        .await;
    let mut minted = Vec::new();
    for mut request in accepted {
        request.write_all(FORM).await.unwrap();
        let mut reply = String::new();
        request.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{reply}");
        minted.push(serde_json::from_str::<Value>(body).unwrap());
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    for mints in load {
        minted.extend(mints.await.unwrap());
    }
    assert!(minted.len() > ACCEPTED, "there was other load");
    let status = acme.service.process.exit().await;
    assert_eq!(status.code(), Some(0), "{}", acme.service.process);

    // All of it is on record, and the follower goes on by itself.
    acme.start().await;
    let operator = ["--audience", "self", "--scope", "scrip:tokens"];
    let operator = acme.operator.token(&operator).await;
    for reply in &minted {
        let jti = reply["jti"].as_str().unwrap();
        let record = acme.http().read_with(&operator, &format!("/v1/tokens/{jti}")).await;
        assert_eq!((record.status, &record.body["live"]), (200, &true.into()), "{jti}");
    }
    let token = minted[0]["access_token"].as_str().unwrap();
    gateway.accepts(token).await;
    acme.operator.run(&["revoke", "--client", "acme/billing"]).await;
    gateway.learns_of(token).await;
}

/// Ten seconds for all that is to be written, not for each part of it.
#[tokio::test]
async fn n150_a_silent_database_does_not_keep_the_process() {
    let cluster = Cluster::start(&[]).await;
    let installation = Installation::on(&cluster.database().await).set("SCRIP_HEARTBEAT", "1");
    let mut acme = Acme::found(installation).await;
    acme.embedded("acme/billing").await.token(&[]).await;
    cluster.freeze();
    let before = clock::monotonic();
    acme.service.process.signal(Signal::Terminate);
    let status = acme.service.process.exit().await;
    let after = before.elapsed();
    cluster.thaw();
    assert_eq!(status.code(), Some(0), "{}", acme.service.process);
    assert!(after < Duration::from_secs(15), "it ended after {after:?}");
}

/// Mints until the service takes nothing any more; returns every answer.
async fn mint(http: Http, client: Cli) -> Vec<Value> {
    let mut minted = Vec::new();
    while let Ok(answer) = http.mint(&client, &[], None).await {
        assert_eq!(answer.status, 200, "{answer:?}");
        minted.push(answer.body);
    }
    minted
}

/// A connection of its own with the head of one request.
async fn connect(address: &str, request: &str, client: &Cli, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let credential = STANDARD.encode(format!("{}:{}", client.id, client.secret));
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {credential}\r\n{head}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn read_until(stream: &mut TcpStream, wanted: &str) {
    let mut read = String::new();
    let mut buffer = [0; 1024];
    while !read.contains(wanted) {
        let bytes = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        let bytes = bytes.unwrap_or_else(|_| panic!("{wanted}: not in {read:?}")).unwrap();
        assert!(bytes > 0, "{wanted}: not in {read:?}");
        read += &String::from_utf8_lossy(&buffer[..bytes]);
    }
}
