//! Signs of life while revocations go on without a pause: one that is of anything else than what was
//! sent before it makes nobody young.

use std::fs;
use std::process::Command;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use scrip::admin::rfc3339;
use scrip_token::Jti;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::api::{Api, Client, Reply};
use super::feed::{Events, ask, payload};
use crate::harness::cli::Cli;
use crate::harness::flood::Flood;
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::until::until;

/// Heartbeats, and batches, that must at least have come.
const BEATS: u32 = 5;
const BATCHES: u64 = 300;
/// Far longer than they take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes a revocation take seconds between its time on record and its commit.
const SLOW_ON_SQLITE: &str = "
    CREATE VIEW long AS
        WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000000)
        SELECT x FROM n;
    CREATE TRIGGER slow AFTER INSERT ON revocations BEGIN SELECT count(*) FROM long; END";
const SLOW_ON_POSTGRES: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(4); RETURN NEW; END';
    CREATE TRIGGER slow AFTER INSERT ON revocations FOR EACH ROW EXECUTE FUNCTION slow()";

#[tokio::test]
async fn n85_each_heartbeat_of_a_stream_counts_what_was_sent_before_it_and_no_more() {
    for installation in both().await {
        let api = Api::on(installation.set("SCRIP_HEARTBEAT", "1")).await;
        let gateway = api.verifier().await;
        let _flood = flood(&api);
        let request = ask(&api, &gateway, "/v1/deny/stream", &[]).timeout(PATIENCE);
        let mut stream = Events::of(request.send().await.unwrap());
        let first = seq(&stream.next().await.data);
        let (mut beats, mut sent) = (0, first);
        while beats < BEATS || sent < first + BATCHES {
            let event = stream.next().await;
            let seq = seq(&event.data);
            match event.name.as_str() {
                "batch" => {
                    assert_eq!(seq, sent + 1, "in their order");
                    sent = seq;
                }
                "heartbeat" => {
                    assert_eq!(seq, sent, "after {beats} that were right");
                    beats += 1;
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[tokio::test]
async fn n85_the_heartbeat_of_a_range_counts_what_is_in_it_and_no_more() {
    for installation in both().await {
        let api = Api::on(installation.set("SCRIP_HEARTBEAT", "1")).await;
        let gateway = api.verifier().await;
        let opening = range(&api, &gateway, None).await;
        let _flood = flood(&api);
        let (mut whole, mut after) = (0, 0);
        while whole < 50 || after < BATCHES {
            let range = range(&api, &gateway, Some((&opening["epoch"], after))).await;
            for batch in range["batches"].as_array().unwrap() {
                assert_eq!(seq(batch.as_str().unwrap()), after + 1, "in their order");
                after += 1;
            }
            if range["more"] == false {
                let heartbeat = range["heartbeat"].as_str().unwrap();
                assert_eq!(seq(heartbeat), after, "after {whole} that were right");
                whole += 1;
            }
        }
    }
}

#[tokio::test]
async fn n85_no_sign_of_life_is_later_than_a_revocation_that_it_lacks() {
    for installation in both().await {
        let api = Api::on(installation.set("SCRIP_HEARTBEAT", "1")).await;
        let gateway = api.verifier().await;
        make_slow(&api).await;
        let request = ask(&api, &gateway, "/v1/deny/stream", &[]).timeout(PATIENCE);
        let mut stream = Events::of(request.send().await.unwrap());
        let (mut lacking, mut manifests) = (vec![payload(&stream.next().await.data)], 0);

        let jti = Jti::new(scrip::clock::now_ms().unsigned_abs(), [7; 10]);
        let body = json!({"selector": {"jti": jti}, "reason": "test"});
        let request = api.request(Method::POST, "/v1/revocations").json(&body);
        let Client { id, secret } = &api.operator;
        let request = request.basic_auth(id, Some(secret)).timeout(PATIENCE);
        let mut revoking = Box::pin(Reply::to(request));
        let mut asking = tokio::time::interval(Duration::from_millis(200));
        let revoked = loop {
            tokio::select! {
                revoked = &mut revoking => break revoked.json(),
                event = stream.named("heartbeat") => lacking.push(payload(&event.data)),
                _ = asking.tick() => {
                    manifests += 1;
                    lacking.push(range(&api, &gateway, None).await);
                }
            }
        };
        assert!(manifests > 0, "it took a while: {revoked}");
        lacking.retain(|said| said["seq"].as_u64() < revoked["seq"].as_u64());
        let at = revoked["at"].as_str().unwrap();
        for said in lacking {
            let of = rfc3339(said["iat"].as_i64().unwrap());
            assert!(of.trim_end_matches('Z') <= at, "{said} lacks what is of {at}");
        }
    }
}

async fn make_slow(api: &Api) {
    let url = api.installation.setting("SCRIP_DATABASE_URL");
    if url.starts_with("sqlite:") {
        return api.sql(SLOW_ON_SQLITE).await;
    }
    let mut database = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(SLOW_ON_POSTGRES).execute(&mut database).await.unwrap();
}

#[tokio::test]
async fn n117_a_disk_that_hangs_under_the_witness_holds_up_no_heartbeat_and_no_batch() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let (token, last) = (api.token(&client).await, api.token(&client).await);
    let mut stream = Events::of(ask(&api, &gateway, "/v1/deny/stream", &[]).send().await.unwrap());
    stream.named("heartbeat").await;
    // Whoever opens it waits for somebody who reads it.
    let pipe = api.installation.folder.path().join("keys").join("witness-1.new");
    let hang = || assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    hang();

    let (refused, batch) =
        tokio::join!(api.revoke(json!({"jti": token.jti})), stream.named("batch"));
    refused.problem(503, "temporarily-unavailable");
    assert_eq!(payload(&batch.data)["entries"][0]["jti"], json!(token.jti));
    for _ in 0..3 {
        assert_eq!(seq(&stream.named("heartbeat").await.data), 1);
    }
    let ready = api.http.get(format!("{}/readyz", api.installation.ops_url()));
    let ready = Reply::to(ready).await;
    assert!(ready.json()["wrong"][0].as_str().unwrap().starts_with("witness: "), "{ready:?}");

    fs::read(&pipe).unwrap();
    fs::remove_file(&pipe).unwrap();
    until("the witness is written", Duration::from_secs(20), async || {
        let again = api.revoke(json!({"jti": token.jti})).await;
        (again.status == StatusCode::OK).then_some(())
    })
    .await;

    // Nor does the end of the process wait for it.
    hang();
    api.revoke(json!({"jti": last.jti})).await.problem(503, "temporarily-unavailable");
    drop(stream);
    api.service.stop().await;
}

async fn both() -> [Installation; 2] {
    [Installation::on_sqlite(), Installation::on_postgres().await]
}

fn flood(api: &Api) -> Flood {
    let Client { id, secret } = &api.operator;
    Flood::start(&Http::new(&api.installation), &Cli::new(&api.installation, id, secret))
}

/// The batches after one; without one, where the list is.
async fn range(api: &Api, who: &Client, after: Option<(&Value, u64)>) -> Value {
    let Some((epoch, after)) = after else {
        return payload(&Reply::to(ask(api, who, "/v1/deny/snapshot", &[])).await.body);
    };
    let epoch = epoch.as_str().unwrap();
    let path = format!("/v1/deny/batches?epoch={epoch}&after={after}");
    Reply::to(ask(api, who, &path, &[("prefer", "wait=5")])).await.json()
}

fn seq(jws: &str) -> u64 {
    payload(jws)["seq"].as_u64().unwrap()
}
