//! What operations see, on a listener of its own.

use std::fs;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use super::api::{Api, Reply, form};
use crate::harness::service::Installation;
use crate::harness::until::until;

#[tokio::test]
async fn the_two_listeners_serve_nothing_of_each_other() {
    let api = Api::start().await;
    let ops = |path: &'static str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Reply::to(client.get(format!("{}{path}", api.installation.ops_url())))
    };
    let alive = ops("/healthz").await;
    assert_eq!((alive.status, alive.body.as_str()), (StatusCode::OK, "alive\n"));
    let ready = ops("/readyz").await;
    assert_eq!(ready.json(), json!({"ready": true, "wrong": [], "degraded": []}));
    for path in ["/v1/keys", "/oauth2/token", "/.well-known/jwks.json"] {
        assert_eq!(ops(path).await.status, StatusCode::NOT_FOUND);
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        api.get(path).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn metrics_count_what_happened_and_name_nobody() {
    let api = Api::start().await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    api.mint(&client, &[("scope", "x")]).await.refused(400, "invalid_scope");
    api.revoke(json!({"jti": token.jti})).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/metrics", api.installation.ops_url());
    let metrics = Reply::to(http.get(url)).await;
    assert_eq!(metrics.status, StatusCode::OK);
    for line in [
        // The operator's, too.
        "scrip_mints_total{outcome=\"granted\"} 2",
        "scrip_mints_total{outcome=\"refused\"} 1",
        "scrip_revocations_total 1",
    ] {
        assert!(metrics.body.lines().any(|given| given == line), "{line}\n{}", metrics.body);
    }
    for personal in [client.id.as_str(), "ops/admin", &token.jti, &client.secret, "127.0.0.1"] {
        assert!(!metrics.body.contains(personal), "{personal}");
    }
}

#[tokio::test]
async fn a_sealed_or_absent_vault_degrades_and_does_not_take_the_feed_away() {
    let nobody = format!("http://127.0.0.1:{}", crate::harness::process::free_port());
    let installation = Installation::on_sqlite()
        .set("SCRIP_VAULT_ADDR", &nobody)
        .set("SCRIP_VAULT_TOKEN", "a token that is never used");
    let operator = installation.bootstrap().await;
    let service = installation.serve().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ready = until("Vault is missed", Duration::from_secs(20), async || {
        let ready = Reply::to(http.get(format!("{}/readyz", installation.ops_url()))).await;
        ready.json()["degraded"].as_array().is_some_and(|list| !list.is_empty()).then_some(ready)
    })
    .await;
    assert_eq!((ready.status, &ready.json()["ready"]), (StatusCode::OK, &json!(true)));
    assert!(ready.json()["degraded"][0].as_str().unwrap().starts_with("vault: "), "{ready:?}");

    let get = |path: &str| http.request(Method::GET, format!("{}{path}", installation.url()));
    assert_eq!(Reply::to(get("/.well-known/jwks.json")).await.status, StatusCode::OK);
    let snapshot = get("/v1/deny/snapshot").basic_auth(&operator.id, Some(&operator.secret));
    assert_eq!(Reply::to(snapshot).await.status, StatusCode::OK);
    let post = |id: &str, secret: &str| {
        let post = http.post(format!("{}/oauth2/token", installation.url()));
        Reply::to(form(post.basic_auth(id, Some(secret)), &[("grant_type", "client_credentials")]))
    };
    let minted = post(&operator.id, &operator.secret).await;
    assert_eq!(minted.status, StatusCode::OK, "operators do not depend on Vault: {minted:?}");
    // Nobody can be told that a credential is wrong while Vault is away.
    for id in ["acme/nobody", "ops/admin", "junk"] {
        let refused = post(id, "wrong").await;
        refused.refused(503, "temporarily_unavailable");
        assert_eq!(refused.header("retry-after"), "5");
    }
    let wrong = get("/v1/keys").basic_auth("acme/nobody", Some("wrong"));
    Reply::to(wrong).await.problem(503, "temporarily-unavailable");
    service.stop().await;
    // Nor is anybody said to have been refused.
    let file = format!("sqlite:{}", installation.folder.path().join("scrip.db").display());
    let mut database = SqliteConnection::connect(&file).await.unwrap();
    let unproved = "SELECT count(*) FROM audit WHERE outcome = 'unproved'";
    let unproved: i64 = sqlx::query_scalar(unproved).fetch_one(&mut database).await.unwrap();
    assert_eq!(unproved, 0);
}

#[tokio::test]
async fn a_replica_without_the_active_key_is_not_ready() {
    let first = Installation::on_postgres().await.set("SCRIP_KEY_LEAD", "0");
    let api = Api::on(first).await;
    // Its own copy of the keys, as of now; what the other one makes later, it lacks.
    let copy = api.installation.folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for key in fs::read_dir(api.installation.folder.path().join("keys")).unwrap() {
        let key = key.unwrap();
        fs::copy(key.path(), copy.join(key.file_name())).unwrap();
    }
    let lacking = api.installation.replica().set("SCRIP_KEYS_DIR", copy.to_str().unwrap());
    let replica = lacking.serve().await;
    for _ in 0..2 {
        let rotated = api.write(Method::POST, "/v1/keys/ES256/rotate", &json!({})).await;
        assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ready = Reply::to(http.get(format!("{}/readyz", lacking.ops_url()))).await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    let wrong = ready.json()["wrong"][0].as_str().unwrap().to_owned();
    assert!(wrong.starts_with("keys: the private key "), "{ready:?}");
    let mint = http.post(format!("{}/oauth2/token", lacking.url()));
    let mint = mint.basic_auth(&api.operator.id, Some(&api.operator.secret));
    let refused = Reply::to(form(mint, &[("grant_type", "client_credentials")])).await;
    refused.refused(503, "temporarily_unavailable");
    replica.stop().await;
}

#[tokio::test]
async fn n124_what_is_over_is_pruned_however_much_of_it_there_is() {
    let api = Api::start().await;
    api.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) \
         INSERT INTO idempotency (caller, route, key, digest, at) \
         SELECT 'acme/billing', '/oauth2/token', i, x'00', 0 FROM n",
    )
    .await;
    let api = api.crash().await;
    // The next look is a minute away: it is all one.
    until("all of it is gone", Duration::from_secs(30), async || {
        (api.number("SELECT count(*) FROM idempotency").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn n124_a_table_that_cannot_be_pruned_is_no_reason_to_keep_the_others() {
    let api = Api::start().await;
    api.sql(
        "INSERT INTO idempotency (caller, route, key, digest, at) \
         VALUES ('acme/billing', '/oauth2/token', 'k', x'00', 0); \
         ALTER TABLE deny_unissued RENAME TO elsewhere",
    )
    .await;
    let api = api.crash().await;
    until("the other is pruned", Duration::from_secs(30), async || {
        (api.number("SELECT count(*) FROM idempotency").await == 0).then_some(())
    })
    .await;
}
