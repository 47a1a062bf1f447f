//! Somebody revokes more than can be committed: what the others notice of it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use scrip::{clock, random};
use scrip_token::Jti;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::harness::service::Installation;
use crate::http::api::{Api, Client, Reply};

/// Connections of the flooder, and revocations over each of them at once: more than may wait.
const CONNECTIONS: usize = 9;
const AT_ONCE: usize = 256;
/// Most revocations in one commit.
const GROUP: usize = 256;
/// The lock that mints share, and that a revocation takes alone.
const MINTS_AND_REVOCATIONS: i64 = 0x73_63_72_69_70;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n149_a_flood_of_revocations_slows_the_flooder_and_nobody_else() {
    let api = Arc::new(Api::on(Installation::on_postgres().await).await);
    let terms = json!({"audiences": ["self"], "scopes": ["scrip:revoke"], "env": "scrip"});
    let flooder = api.client("ops/flooder", terms).await;
    // As a mint that takes its time: whatever is revoked waits.
    let database = api.installation.setting("SCRIP_DATABASE_URL");
    let mut mint = PgConnection::connect(database).await.unwrap();
    let lock = "SELECT pg_advisory_lock_shared($1)";
    sqlx::query(lock).bind(MINTS_AND_REVOCATIONS).execute(&mut mint).await.unwrap();

    let (turned_away, mut first_away) = mpsc::unbounded_channel();
    let mut flood = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let connection = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
        let connection = connection.timeout(PATIENCE).build().unwrap();
        for _ in 0..AT_ONCE {
            let url = format!("{}/v1/revocations", api.installation.url());
            let request = connection.post(url).basic_auth(&flooder.id, Some(&flooder.secret));
            let request = request.json(&json!({"selector": unissued()}));
            let turned_away = turned_away.clone();
            flood.spawn(async move {
                let reply = Reply::to(request).await;
                match reply.status {
                    StatusCode::CREATED => return reply.json()["seq"].as_u64(),
                    StatusCode::TOO_MANY_REQUESTS => _ = turned_away.send(reply),
                    // Its group has waited for too long, or on a busy machine its body came too late.
                    _ => {}
                }
                None
            });
        }
    }
    let away = tokio::time::timeout(PATIENCE, first_away.recv()).await;
    let away = away.expect("one is too many").expect("the flood goes on");
    away.problem(429, "temporarily-unavailable");
    assert_eq!(away.header("retry-after"), "1");
    assert!(away.json()["detail"].as_str().unwrap().contains("this client's"), "{away:?}");

    // Thousands wait; whoever comes now is in the next group.
    let other = tokio::spawn({
        let api = api.clone();
        async move { api.revoke(unissued()).await }
    });
    let list = api.request(Method::GET, "/v1/revocations");
    let list = list.basic_auth(&api.operator.id, Some(&api.operator.secret));
    assert_eq!(Reply::to(list).await.status, StatusCode::OK, "by then it has its place");
    mint.close().await.unwrap();
    let other = other.await.unwrap();
    assert_eq!(other.status, StatusCode::CREATED, "{other:?}");

    let place = other.json()["seq"].as_u64();
    let seqs: Vec<_> = flood.join_all().await.into_iter().flatten().map(Some).collect();
    let (before, after): (Vec<_>, Vec<_>) = seqs.into_iter().partition(|seq| *seq < place);
    assert!(before.len() <= 2 * GROUP, "{} went first, {} came later", before.len(), after.len());
    assert!(after.len() > 2 * GROUP, "there was no flood: {}", after.len());
    let again = revoke_by(&api, &flooder, unissued(), None).await;
    assert_eq!(again.status, StatusCode::CREATED, "{again:?}");
}

#[tokio::test]
async fn tokens_that_were_never_issued_do_not_fill_the_list() {
    let api = Api::start().await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    let until = clock::now_seconds() + 900;
    api.sql(&format!("INSERT INTO deny_unissued (until, entries) VALUES ({until}, 999999)")).await;

    let last = unissued();
    let revoked = revoke_by(&api, &api.operator, last.clone(), Some("once")).await;
    assert_eq!((revoked.status, &revoked.json()["known"]), (StatusCode::CREATED, &json!(false)));
    let refused = api.revoke(unissued()).await;
    refused.problem(429, "temporarily-unavailable");
    assert_eq!(refused.header("retry-after"), "60");
    assert!(refused.json()["detail"].as_str().unwrap().contains("never issued"), "{refused:?}");

    // What needs no room on the list is answered as ever.
    let repeated = revoke_by(&api, &api.operator, last.clone(), Some("once")).await;
    assert_eq!(repeated.text("id"), revoked.text("id"));
    assert_eq!(api.revoke(last).await.status, StatusCode::OK, "already");
    let old = Jti::new(1_600_000_000_000, random::bytes());
    assert_eq!(api.revoke(json!({"jti": old.to_string()})).await.status, StatusCode::OK);
    // What was issued, and all of a client's, find room.
    assert_eq!(api.revoke(json!({"jti": token.jti})).await.status, StatusCode::CREATED);
    assert_eq!(api.revoke(json!({"client": client.id})).await.status, StatusCode::CREATED);

    api.sql("UPDATE deny_unissued SET until = until - 1800").await;
    assert_eq!(api.revoke(unissued()).await.status, StatusCode::CREATED, "they are over");
}

#[tokio::test]
async fn whoever_revokes_what_was_never_issued_leaves_room_for_the_others() {
    let api = Api::start().await;
    let terms = json!({"audiences": ["self"], "scopes": ["scrip:revoke"], "env": "scrip"});
    let flooder = api.client("ops/flooder", terms).await;
    let until = clock::now_seconds() + 900;
    api.sql(&format!("INSERT INTO deny_unissued (until, entries) VALUES ({until}, 999990)")).await;
    for _ in 0..5 {
        let revoked = revoke_by(&api, &flooder, unissued(), None).await;
        assert_eq!(revoked.status, StatusCode::CREATED, "{revoked:?}");
    }
    let refused = revoke_by(&api, &flooder, unissued(), None).await;
    refused.problem(429, "temporarily-unavailable");
    assert_eq!(api.revoke(unissued()).await.status, StatusCode::CREATED);
}

/// A token that nobody has issued.
fn unissued() -> Value {
    json!({"jti": Jti::new(clock::now_ms().unsigned_abs(), random::bytes()).to_string()})
}

async fn revoke_by(api: &Api, by: &Client, selector: Value, key: Option<&str>) -> Reply {
    let request = api.request(Method::POST, "/v1/revocations");
    let mut request = request.basic_auth(&by.id, Some(&by.secret));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    Reply::to(request.json(&json!({"selector": selector, "reason": "leaked"}))).await
}
