//! The deny list over HTTP, byte by byte; that a follower understands it is scrip-feed's to test.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use scrip_token::{Digest, Jti};
use serde_json::{Value, json};

use super::api::{Api, Client, Reply};
use crate::harness::cli::Cli;
use crate::harness::process::{Process, free_port};
use crate::harness::service::Installation;
use crate::harness::until::until;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_snapshot_names_a_blob_that_is_what_it_says() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let get = |path: &str, headers: &[(&'static str, &str)]| {
        Reply::to(ask(&api, &gateway, path, headers))
    };
    let empty = get("/v1/deny/snapshot", &[]).await;
    assert_eq!(payload(&empty.body)["count"], 0);

    let token = api.token(&client).await;
    api.revoke(json!({"jti": token.jti})).await;
    api.revoke(json!({"client": "acme/billing"})).await;
    let manifest = newest_manifest(&api, &gateway, 2).await;
    assert_eq!(manifest.header("content-type"), "application/jose");
    let said = payload(&manifest.body);
    let whole = json!({
        "ver": 1, "iss": api.installation.url(), "epoch": said["epoch"], "seq": 2,
        "head": said["head"], "iat": said["iat"], "count": 2, "size": said["size"],
        "sha256": said["sha256"], "blob": said["blob"], "keys": 1,
    });
    assert_eq!(said, whole);
    let tag = manifest.header("etag").to_owned();
    let same = get("/v1/deny/snapshot", &[("if-none-match", &tag)]).await;
    assert_eq!((same.status, same.body.as_str()), (StatusCode::NOT_MODIFIED, ""));

    let path = said["blob"].as_str().unwrap();
    assert_eq!(path, format!("/v1/deny/blobs/{}", said["sha256"].as_str().unwrap()));
    let response = ask(&api, &gateway, path, &[]).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.headers()["cache-control"], "private, max-age=31536000, immutable");
    let blob = response.bytes().await.unwrap();
    assert_eq!(blob.len() as u64, said["size"].as_u64().unwrap());
    assert_eq!(Digest::of(&blob).to_string(), said["sha256"]);
    let mut head = b"SCRIPDN1".to_vec();
    head.extend([1, 0, 0, 0, 1, 0, 0, 0]);
    head.extend(Jti::parse(&token.jti).unwrap().as_bytes());
    assert_eq!(blob[..32], head);

    for (range, part) in
        [("bytes=0-7", &blob[..8]), ("bytes=8-", &blob[8..]), ("bytes=-4", &blob[blob.len() - 4..])]
    {
        let response = ask(&api, &gateway, path, &[("range", range)]).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert!(
            response.headers()["content-range"]
                .to_str()
                .unwrap()
                .ends_with(&format!("/{}", blob.len()))
        );
        assert_eq!(response.bytes().await.unwrap(), part);
    }
    for range in ["bytes=99999-", "bytes=5-1"] {
        get(path, &[("range", range)]).await.problem(416, "range-not-satisfiable");
    }
    let tag = format!("\"{}\"", said["sha256"].as_str().unwrap());
    for (headers, status) in [
        (&[("range", "lines=1-2")][..], StatusCode::OK),
        (&[("range", "bytes=0-1,3-4")], StatusCode::OK),
        (&[("range", "bytes=0-1"), ("if-range", "\"another\"")], StatusCode::OK),
        (&[("range", "bytes=0-1"), ("if-range", &tag)], StatusCode::PARTIAL_CONTENT),
        (&[("range", "bytes=0-1"), ("if-none-match", &tag)], StatusCode::NOT_MODIFIED),
    ] {
        assert_eq!(get(path, headers).await.status, status, "{headers:?}");
    }
    for unknown in ["x".to_owned(), "A".repeat(64), "0".repeat(64), "..%2fsnapshot".to_owned()] {
        get(&format!("/v1/deny/blobs/{unknown}"), &[]).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn batches_are_handed_out_from_anywhere_and_waited_for() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let epoch = payload(&newest_manifest(&api, &gateway, 0).await.body)["epoch"].clone();
    let epoch = epoch.as_str().unwrap();
    let batches = |after: i64, wait: &'static str| {
        let path = format!("/v1/deny/batches?epoch={epoch}&after={after}");
        Reply::to(ask(&api, &gateway, &path, &[("prefer", wait)]))
    };
    let none = batches(0, "respond-async").await;
    assert_eq!(none.header("cache-control"), "no-store");
    assert_eq!(none.header("preference-applied"), "");
    assert_eq!(batches(0, "handling=strict, wait=0").await.header("preference-applied"), "wait=0");
    let heartbeat = none.json()["heartbeat"].clone();
    let whole = json!({"epoch": epoch, "batches": [], "heartbeat": heartbeat, "more": false});
    assert_eq!(none.json(), whole);
    let said = payload(heartbeat.as_str().unwrap());
    assert_eq!(
        (&said["ver"], &said["epoch"], &said["keys"]),
        (&json!(1), &json!(epoch), &json!(1))
    );

    let mut jtis = Vec::new();
    for _ in 0..3 {
        jtis.push(api.token(&client).await.jti);
    }
    let (waited, revoked) =
        tokio::join!(batches(0, "wait=20"), api.revoke(json!({"jti": jtis[0]})));
    assert_eq!(revoked.status, StatusCode::CREATED);
    let first =
        waited.json()["batches"][0].as_str().expect("came while it was waited for").to_owned();
    let said = payload(&first);
    let entries = json!([{"jti": jtis[0], "until": said["entries"][0]["until"]}]);
    let whole = json!({
        "ver": 1, "iss": api.installation.url(), "epoch": epoch, "seq": 1,
        "prev": Digest::of(epoch.as_bytes()).to_string(), "iat": said["iat"], "entries": entries,
    });
    assert_eq!(said, whole);

    for jti in &jtis[1..] {
        api.revoke(json!({"jti": jti})).await;
    }
    let all = batches(0, "wait=0").await.json();
    let all = all["batches"].as_array().unwrap();
    assert_eq!((all.len(), all[0].as_str()), (3, Some(first.as_str())), "never signed twice");
    let mut prev = Digest::of(epoch.as_bytes()).to_string();
    for (seq, batch) in (1..).zip(all) {
        let batch = batch.as_str().unwrap();
        assert_eq!((&payload(batch)["seq"], &payload(batch)["prev"]), (&json!(seq), &json!(prev)));
        let bytes = batch.split('.').nth(1).unwrap();
        prev = Digest::of(&scrip_token::compact::from_base64url(bytes).unwrap()).to_string();
    }
    assert_eq!(batches(2, "wait=0").await.json()["batches"], json!([all[2]]));
    assert_eq!(batches(3, "wait=0").await.json()["batches"], json!([]));
}

#[tokio::test]
async fn n114_whoever_waits_for_a_batch_holds_no_connection_to_the_database() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let epoch = payload(&newest_manifest(&api, &gateway, 0).await.body)["epoch"].clone();
    let path = format!("/v1/deny/batches?epoch={}&after=0", epoch.as_str().unwrap());
    // Far more than there are connections, and longer than anybody waits for one.
    let waiting = (0..32).map(|_| Reply::to(ask(&api, &gateway, &path, &[("prefer", "wait=4")])));
    for reply in futures_util::future::join_all(waiting).await {
        assert_eq!((reply.status, &reply.json()["batches"]), (StatusCode::OK, &json!([])));
    }
    let waiting = (0..32).map(|_| Reply::to(ask(&api, &gateway, &path, &[("prefer", "wait=20")])));
    let waiting = futures_util::future::join_all(waiting);
    let token = api.token(&client).await;
    let (replies, revoked) = tokio::join!(waiting, api.revoke(json!({"jti": token.jti})));
    assert_eq!(revoked.status, StatusCode::CREATED);
    for reply in replies {
        assert_eq!(reply.json()["batches"].as_array().map(Vec::len), Some(1), "{reply:?}");
    }
}

#[tokio::test]
async fn n89_positions_that_cannot_be_are_400_or_410() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    api.revoke(json!({"jti": api.token(&client).await.jti})).await;
    let epoch = payload(&newest_manifest(&api, &gateway, 1).await.body)["epoch"].clone();
    let epoch = epoch.as_str().unwrap();
    let other = Jti::new(1_795_000_000_000, [7; 10]).to_string();
    let batches =
        |query: String| Reply::to(ask(&api, &gateway, &format!("/v1/deny/batches?{query}"), &[]));
    for query in [
        String::new(),
        "after=0".to_owned(),
        format!("epoch={epoch}"),
        format!("epoch={epoch}&after=-1"),
        format!("epoch={epoch}&after=abc"),
        format!("epoch={epoch}&after=1.0"),
        format!("epoch={epoch}&after=9223372036854775808"),
        format!("epoch={epoch}&after=0&after=1"),
        format!("epoch={epoch}&since=0"),
        "epoch=x&after=0".to_owned(),
    ] {
        batches(query).await.problem(400, "invalid-request");
    }
    for query in [
        format!("epoch={epoch}&after=2"),
        format!("epoch={epoch}&after=9223372036854775807"),
        format!("epoch={other}&after=0"),
    ] {
        batches(query).await.problem(410, "gone");
    }
    api.sql("UPDATE deny_batches SET jws = NULL").await;
    batches(format!("epoch={epoch}&after=0")).await.problem(410, "gone");

    for odd in
        ["", "abc", "1", &format!("{epoch}:-1"), &format!("{epoch}:9223372036854775808"), ":1"]
    {
        let reply =
            Reply::to(ask(&api, &gateway, "/v1/deny/stream", &[("last-event-id", odd)])).await;
        reply.problem(400, "invalid-request");
    }
    for (reason, id) in [
        ("ahead", format!("{epoch}:2")),
        ("epoch", format!("{other}:1")),
        ("pruned", format!("{epoch}:0")),
    ] {
        // Ended by the service: the whole body can be read.
        let reply =
            Reply::to(ask(&api, &gateway, "/v1/deny/stream", &[("last-event-id", &id)])).await;
        let frames: Vec<&str> = reply.body.split_terminator("\n\n").collect();
        assert!(frames[0].starts_with("event: heartbeat\n"), "{reply:?}");
        assert!(frames[1].starts_with("event: reset\n"), "{reply:?}");
        assert!(frames[1].contains(&json!({"reason": reason}).to_string()), "{reply:?}");
        assert_eq!(frames.len(), 2);
    }
}

#[tokio::test]
async fn a_stream_begins_with_a_heartbeat_and_resumes_where_it_was() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let (one, two) = (api.token(&client).await.jti, api.token(&client).await.jti);

    let response = ask(&api, &gateway, "/v1/deny/stream", &[]).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut stream = Events::of(response);
    let opening = stream.next().await;
    assert_eq!(opening.name, "heartbeat");
    let beat = payload(&opening.data);
    let epoch = beat["epoch"].as_str().unwrap().to_owned();
    assert_eq!((&beat["seq"], &beat["every"]), (&json!(0), &json!(1)));

    api.revoke(json!({"jti": one})).await;
    let batch = stream.named("batch").await;
    assert_eq!(batch.id, format!("{epoch}:1"));
    assert_eq!(payload(&batch.data)["entries"][0]["jti"], json!(one));
    drop(stream);

    api.revoke(json!({"jti": two})).await;
    let response =
        ask(&api, &gateway, "/v1/deny/stream", &[("last-event-id", &batch.id)]).send().await;
    let mut resumed = Events::of(response.unwrap());
    assert_eq!(resumed.next().await.name, "heartbeat");
    let missed = resumed.named("batch").await;
    assert_eq!(missed.id, format!("{epoch}:2"));
    assert_eq!(payload(&missed.data)["prev"], Digest::of(&bytes(&batch.data)).to_string());
    let counted = resumed.heartbeat_of(2).await;
    assert_eq!(counted["head"], Digest::of(&bytes(&missed.data)).to_string());

    let mut again = Events::of(
        ask(&api, &gateway, "/v1/deny/stream", &[("last-event-id", &format!("{epoch}:0"))])
            .send()
            .await
            .unwrap(),
    );
    assert_eq!(again.next().await.name, "heartbeat");
    assert_eq!((again.next().await.data, again.next().await.data), (batch.data, missed.data));
    api.service.stop().await;
}

#[tokio::test]
async fn a_stream_ends_for_whoever_may_not_follow_any_more() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let mut streams = Vec::new();
    for name in ["kept", "deleted", "disabled", "demoted", "confined", "rotated"] {
        let client = api.follower(&format!("acme/{name}")).await;
        let by_secret = ask(&api, &client, "/v1/deny/stream", &[]);
        let token = api.token(&client).await;
        let by_token = api.request(Method::GET, "/v1/deny/stream").bearer_auth(&token.jwt);
        for (by, request) in [("secret", by_secret), ("token", by_token)] {
            let request = request.timeout(Duration::from_secs(120));
            let mut stream = Events::of(request.send().await.unwrap());
            assert_eq!(stream.next().await.name, "heartbeat", "{name} by its {by}");
            streams.push((name, by, token.jti.clone(), stream));
        }
    }
    let path = |name: &str| format!("/v1/clients/acme/{name}");
    let gone = api.request(Method::DELETE, &path("deleted")).bearer_auth(&api.bearer);
    assert_eq!(Reply::to(gone).await.status, StatusCode::NO_CONTENT);
    api.write(Method::PATCH, &path("disabled"), &json!({"enabled": false})).await;
    for (name, scopes, tenant) in [
        ("demoted", json!(["scrip:audit"]), None),
        ("confined", json!(["scrip:feed"]), Some("acme")),
    ] {
        let id = format!("acme/{name}");
        let mut terms =
            json!({"name": id, "audiences": ["self"], "scopes": scopes, "env": "scrip"});
        if let Some(tenant) = tenant {
            terms["admin_tenant"] = json!(tenant);
            terms["serves"] = json!(["llm-gateway"]);
        }
        let applied = api.write(Method::PUT, &format!("/v1/policies/{id}"), &terms).await;
        assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    }
    api.write(Method::POST, &format!("{}/rotate", path("rotated")), &json!({"revoke": true})).await;
    let (_, _, jti, _) = &streams[1];
    api.revoke(json!({"jti": jti})).await;

    for (name, by, _, stream) in streams {
        match (name, by) {
            ("kept", "secret") => assert_eq!(stream.end(20).await, Err("it goes on"), "{name}"),
            _ => assert_eq!(stream.end(40).await, Ok(()), "{name} by its {by}"),
        }
    }
}

#[tokio::test]
async fn a_snapshot_grows_from_the_one_before_it_and_is_what_one_made_anew_would_be() {
    let mut api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(api.token(&client).await.jti);
    }
    let blob = async |api: &Api, seq: u64| {
        let said = payload(&newest_manifest(api, &gateway, seq).await.body);
        let blob = Reply::to(ask(api, &gateway, said["blob"].as_str().unwrap(), &[])).await;
        (said["count"].clone(), said["sha256"].clone(), blob.status)
    };
    api.revoke(json!({"jti": tokens[0]})).await;
    assert_eq!(blob(&api, 1).await.0, 1);
    api.revoke(json!({"client": "acme/billing"})).await;
    api.revoke(json!({"jti": tokens[1]})).await;
    assert_eq!(blob(&api, 3).await.0, 3);

    // Across a restart, from the one in the database.
    api = api.crash().await;
    api.revoke(json!({"jti": tokens[2]})).await;
    let grown = blob(&api, 4).await;
    assert_eq!((&grown.0, grown.2), (&json!(4), StatusCode::OK));

    api.sql("DELETE FROM deny_snapshots").await;
    api = api.crash().await;
    assert_eq!(blob(&api, 4).await, grown);
}

#[tokio::test]
async fn n76_a_snapshot_keeps_what_is_over_for_a_minute() {
    let api = Api::start().await;
    let client = api.billing().await;
    for over in [30, 90] {
        let jti = api.token(&client).await.jti;
        assert_eq!(api.revoke(json!({"jti": jti})).await.status, StatusCode::CREATED);
        let until = scrip::clock::now_ms() / 1000 - over;
        let last = "seq = (SELECT max(seq) FROM deny_entries)";
        api.sql(&format!("UPDATE deny_entries SET until = {until} WHERE {last}")).await;
    }
    let manifest = newest_manifest(&api, &api.verifier().await, 2).await;
    assert_eq!(payload(&manifest.body)["count"], 1);
}

#[tokio::test]
async fn only_who_may_follow_follows() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let digest = "0".repeat(64);
    let bearer = api.token(&gateway).await.jwt;
    let llm = api.token(&client).await.jwt;
    for path in [
        "/v1/deny/snapshot",
        &format!("/v1/deny/blobs/{digest}"),
        "/v1/deny/batches?epoch=x&after=0",
        "/v1/deny/stream",
    ] {
        api.get(path).await.problem(401, "invalid-token");
        let with = |jwt: &str| Reply::to(api.request(Method::GET, path).bearer_auth(jwt));
        with(&llm).await.problem(401, "invalid-token");
        Reply::to(ask(&api, &client, path, &[])).await.problem(403, "insufficient-scope");
        let posted = api.write(Method::POST, path, &json!({})).await;
        posted.problem(405, "method-not-allowed");
    }
    let open = api.request(Method::GET, "/v1/deny/snapshot").bearer_auth(&bearer);
    assert_eq!(Reply::to(open).await.status, StatusCode::OK);
}

pub(super) fn ask(
    api: &Api,
    who: &Client,
    path: &str,
    headers: &[(&'static str, &str)],
) -> reqwest::RequestBuilder {
    let request = api.request(Method::GET, path).basic_auth(&who.id, Some(&who.secret));
    headers.iter().fold(request, |request, (name, value)| {
        let value = HeaderValue::from_str(value).unwrap();
        request.header(HeaderName::from_static(name), value)
    })
}

/// A snapshot that is a moment old is shared; waits for the one that has `seq`.
async fn newest_manifest(api: &Api, who: &Client, seq: u64) -> Reply {
    crate::harness::until::until("a new snapshot", Duration::from_secs(10), async || {
        let manifest = Reply::to(ask(api, who, "/v1/deny/snapshot", &[])).await;
        (payload(&manifest.body)["seq"] == json!(seq)).then_some(manifest)
    })
    .await
}

fn bytes(jws: &str) -> Vec<u8> {
    let payload = jws.split('.').nth(1).unwrap_or_else(|| panic!("not a JWS: {jws}"));
    scrip_token::compact::from_base64url(payload).unwrap()
}

pub(super) fn payload(jws: &str) -> Value {
    serde_json::from_slice(&bytes(jws)).unwrap()
}

/// Server-sent events (WHATWG HTML section 9.2), as they come.
pub(super) struct Events {
    body: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>>>>,
    text: String,
}

pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data: String,
}

impl Events {
    pub(super) fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self { body: Box::pin(response.bytes_stream()), text: String::new() }
    }

    pub(super) async fn next(&mut self) -> Event {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    let mut lines = frame.lines().filter_map(|line| line.strip_prefix(&prefix));
                    lines.next().unwrap_or_default().to_owned()
                };
                let event = Event { name: field("event"), id: field("id"), data: field("data") };
                self.text = rest.to_owned();
                return event;
            }
            let more = tokio::time::timeout(Duration::from_secs(15), self.body.next()).await;
            let more = more.expect("a heartbeat is due").expect("the stream goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&more).expect("whole characters"));
        }
    }

    /// Whether the service ends it within so many seconds.
    async fn end(mut self, seconds: u64) -> Result<(), &'static str> {
        let end = async {
            while let Some(more) = self.body.next().await {
                more.map_err(|_| "it broke off")?;
            }
            Ok(())
        };
        let end = tokio::time::timeout(Duration::from_secs(seconds), end).await;
        end.unwrap_or(Err("it goes on"))
    }

    pub(super) async fn named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await;
            if event.name == name {
                return event;
            }
        }
    }

    /// The payload of the first heartbeat that counts `seq` batches.
    async fn heartbeat_of(&mut self, seq: u64) -> Value {
        loop {
            let beat = payload(&self.named("heartbeat").await.data);
            if beat["seq"] == json!(seq) {
                return beat;
            }
        }
    }
}

#[tokio::test]
async fn whoever_cannot_follow_is_told_why_at_once() {
    let api = Api::start().await;
    let client = api.billing().await;
    let cli = Cli::new(&api.installation, &client.id, &client.secret);
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    for (more, why) in [(vec![], "status 403"), (vec!["--url", &nowhere], "Connection refused")] {
        let tail = Process::start(cli.command(&[&["feed", "tail"], &more[..]].concat()));
        until(why, PATIENCE, async || tail.stderr().contains(why).then_some(())).await;
    }
}
