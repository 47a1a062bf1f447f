//! Followers that do not read, and many that come at once.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::StatusCode;
use scrip_token::Jti;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::api::{Api, Client, Reply};
use super::feed::{Events, ask, payload};
use crate::harness::service::Installation;
use crate::harness::until::until;

/// Far above the three heartbeats after which nobody is waited for any more.
const PATIENCE: Duration = Duration::from_secs(60);
const BATCHES: u8 = 100;
const HERD: usize = 200;

#[tokio::test]
async fn n87_whoever_stops_reading_is_cut_and_resumes_and_nobody_waits_for_it() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let gateway = api.verifier().await;
    let mut stopped = deaf(&api, &gateway).await;
    let stream = ask(&api, &gateway, "/v1/deny/stream", &[]).send().await.unwrap();
    let mut other = Events::of(stream);
    let epoch = payload(&other.next().await.data)["epoch"].as_str().unwrap().to_owned();
    followers(&api, 2).await;

    for n in 1..=BATCHES {
        revoke_unknown(&api, n).await;
        assert_eq!(other.named("batch").await.id, format!("{epoch}:{n}"));
    }
    // Its window is full. Nothing but time is needed to be rid of it.
    followers(&api, 1).await;
    revoke_unknown(&api, BATCHES + 1).await;
    assert_eq!(other.named("batch").await.id, format!("{epoch}:{}", BATCHES + 1));

    // What it had received it can still read; then the connection is over, not just silent.
    let mut read = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stopped.read_to_end(&mut read)).await;
    end.expect("the connection is over").expect_err("it was broken, not ended");
    let read = String::from_utf8_lossy(&read);
    let whole = read.rsplit_once("\n\n").expect("it had an event").0;
    let id = whole.lines().rev().find_map(|line| line.strip_prefix("id: "));
    let id = id.map_or_else(|| format!("{epoch}:0"), str::to_owned);
    let last: u8 = id.rsplit_once(':').unwrap().1.parse().unwrap();
    assert!(last < BATCHES, "it did not stop reading: {last}");
    let resumed = ask(&api, &gateway, "/v1/deny/stream", &[("last-event-id", &id)]).send().await;
    let mut resumed = Events::of(resumed.unwrap());
    for n in last + 1..=BATCHES + 1 {
        assert_eq!(resumed.named("batch").await.id, format!("{epoch}:{n}"));
    }
}

#[tokio::test]
async fn n90_all_who_follow_come_back_at_once() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    revoke_unknown(&api, 1).await;
    let come_back = async || {
        let manifest = Reply::to(ask(&api, &gateway, "/v1/deny/snapshot", &[])).await;
        assert_eq!(manifest.status, StatusCode::OK, "{manifest:?}");
        let said = payload(&manifest.body);
        let blob = Reply::to(ask(&api, &gateway, said["blob"].as_str().unwrap(), &[])).await;
        assert_eq!(blob.status, StatusCode::OK, "{blob:?}");
        let id = format!("{}:{}", said["epoch"].as_str().unwrap(), said["seq"]);
        let stream = ask(&api, &gateway, "/v1/deny/stream", &[("last-event-id", &id)]);
        let mut events = Events::of(stream.send().await.unwrap());
        assert_eq!(events.next().await.name, "heartbeat");
        events
    };
    let herd = futures_util::future::join_all((0..HERD).map(|_| come_back()));
    let (mut herd, minted) = tokio::join!(herd, api.token(&client));
    followers(&api, HERD).await;
    assert_eq!(api.revoke(json!({"jti": minted.jti})).await.status, StatusCode::CREATED);
    for events in &mut herd {
        while !events.named("batch").await.id.ends_with(":2") {}
    }
    drop(herd);
    followers(&api, 0).await;
}

/// A follower with a window of a few kilobytes that does not read.
async fn deaf(api: &Api, who: &Client) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let url = api.installation.url();
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let id = form_urlencoded::byte_serialize(who.id.as_bytes()).collect::<String>();
    let basic = BASE64_STANDARD.encode(format!("{id}:{}", who.secret));
    let request =
        format!("GET /v1/deny/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Waits until so many streams are open, as the service itself counts them.
async fn followers(api: &Api, count: usize) {
    let line = format!("scrip_followers {count}");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    until(format!("{line} in the metrics"), PATIENCE, async || {
        let metrics = http.get(format!("{}/metrics", api.installation.ops_url()));
        Reply::to(metrics).await.body.lines().any(|given| given == line).then_some(())
    })
    .await;
}

/// Revokes a token that was never minted.
async fn revoke_unknown(api: &Api, n: u8) {
    let jti = Jti::new(scrip::clock::now_ms().unsigned_abs(), [n; 10]).to_string();
    assert_eq!(api.revoke(json!({"jti": jti})).await.status, StatusCode::CREATED);
}
