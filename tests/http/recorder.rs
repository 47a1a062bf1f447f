//! A token exists when its record does: once for each request, never without.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::io::AsyncWriteExt;

use super::api::{Api, Client, Reply};
use super::raw;
use crate::harness::postgres::Cluster;
use crate::harness::service::Installation;
use crate::harness::until::until;
use scrip::clock;
use scrip_token::Jti;

#[tokio::test]
async fn n50_a_repeated_mint_is_one_token() {
    let api = Api::start().await;
    let client = api.billing().await;
    let ttl = [("ttl", "120")];
    let first = repeatable(&api, &client, "key-1", &ttl).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let again = repeatable(&api, &client, "key-1", &ttl).await;
    assert_eq!(again.text("jti"), first.text("jti"));
    let claims =
        async |reply: &Reply| api.verified(&reply.text("access_token"), "llm-gateway").await.1;
    assert_eq!(claims(&first).await, claims(&again).await);
    assert!(again.json()["expires_in"].as_u64() <= first.json()["expires_in"].as_u64());

    repeatable(&api, &client, "key-1", &[("ttl", "121")]).await.refused(409, "invalid_request");
    repeatable(&api, &client, "key-1", &[]).await.refused(409, "invalid_request");
    until("both refusals are in the audit log", Duration::from_secs(10), async || {
        let audit = api.read("/v1/audit?actor=acme/billing&action=mint").await.json();
        let outcomes = audit["items"].as_array()?.iter().map(|event| &event["outcome"]);
        (outcomes.filter(|outcome| *outcome == "invalid_request").count() == 2).then_some(())
    })
    .await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let metrics = Reply::to(http.get(format!("{}/metrics", api.installation.ops_url()))).await.body;
    let counted = |line| metrics.lines().any(|given| given == line);
    assert!(counted(r#"scrip_mints_total{outcome="repeated"} 1"#), "{metrics}");

    // In another order it is the same request; from another client the key is another key.
    let ordered = [("scope", "llm:chat"), ("ttl", "60")];
    let one = repeatable(&api, &client, "key-2", &ordered).await;
    let reordered = [ordered[1], ordered[0]];
    let two = repeatable(&api, &client, "key-2", &reordered).await;
    assert_eq!(one.text("jti"), two.text("jti"));
    let other = api.client_under("acme/other", "acme/billing").await;
    let others = repeatable(&api, &other, "key-1", &ttl).await;
    assert_ne!(others.text("jti"), first.text("jti"));

    let long = "x".repeat(256);
    for malformed in ["", "a b", "caf\u{e9}", long.as_str()] {
        repeatable(&api, &client, malformed, &[]).await.refused(400, "invalid_request");
    }
    let twice = api.mint_request(&client, &[]).header("idempotency-key", "a");
    Reply::to(twice.header("idempotency-key", "b")).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn n50_a_hundred_at_once_are_one_token_on_sqlite() {
    a_hundred_at_once_are_one_token(Api::start().await).await;
}

#[tokio::test]
async fn n50_a_hundred_at_once_are_one_token_on_postgres() {
    a_hundred_at_once_are_one_token(Api::on(Installation::on_postgres().await).await).await;
}

async fn a_hundred_at_once_are_one_token(api: Api) {
    let client = api.billing().await;
    let replies = join_all((0..100).map(|_| repeatable(&api, &client, "k", &[]))).await;
    let mut jtis: Vec<String> = replies.iter().map(|reply| reply.text("jti")).collect();
    jtis.dedup();
    assert_eq!(jtis.len(), 1, "{jtis:?}");
    assert_eq!(recorded(&api).await, jtis);
    let audited = api.read("/v1/audit?action=mint&actor=acme/billing").await.json();
    let outcomes = |outcome: &str| {
        let items = audited["items"].as_array().unwrap();
        items.iter().filter(|item| item["outcome"] == outcome).count()
    };
    assert_eq!((outcomes("granted"), outcomes("repeated")), (1, 99));
}

#[tokio::test]
async fn n50_a_revoked_or_expired_token_is_not_minted_again() {
    let api = Api::start().await;
    let client = api.billing().await;
    let by_jti = repeatable(&api, &client, "jti", &[]).await.text("jti");
    let by_client = repeatable(&api, &client, "client", &[]).await;
    let expired = repeatable(&api, &client, "expired", &[("ttl", "60")]).await.text("jti");

    assert_eq!(api.revoke(json!({"jti": by_jti})).await.status, StatusCode::CREATED);
    repeatable(&api, &client, "jti", &[]).await.refused(409, "invalid_request");
    assert_eq!(repeatable(&api, &client, "client", &[]).await.text("jti"), by_client.text("jti"));

    // The record says when the token ends: nothing here waits for that.
    let exp = clock::now_ms() / 1000 - 1;
    let iat = exp - 60;
    let earlier = Jti::new(iat.unsigned_abs() * 1000, [7; 10]).to_string();
    let blob = |jti: &str| format!("x'{}'", jti.replace('-', ""));
    let (old, new) = (blob(&expired), blob(&earlier));
    api.sql(&format!(
        "UPDATE tokens SET jti = {new}, iat = {iat}, exp = {exp}, claims = json_set(claims, \
         '$.jti', '{earlier}', '$.iat', {iat}, '$.nbf', {iat}, '$.exp', {exp}) WHERE jti = {old}; \
         UPDATE idempotency SET jti = {new} WHERE jti = {old}"
    ))
    .await;
    repeatable(&api, &client, "expired", &[("ttl", "60")]).await.refused(409, "invalid_request");

    assert_eq!(api.revoke(json!({"client": "acme/billing"})).await.status, StatusCode::CREATED);
    repeatable(&api, &client, "client", &[]).await.refused(409, "invalid_request");
}

#[tokio::test]
async fn n51_whoever_went_away_finds_the_token_by_its_key() {
    let api = Api::start().await;
    let client = api.billing().await;
    let body = "grant_type=client_credentials";
    let basic = {
        use base64::Engine;
        let both = format!("{}:{}", client.id, client.secret);
        base64::engine::general_purpose::STANDARD.encode(both)
    };
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\nIdempotency-Key: gone\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = raw::connect(&api).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    drop(stream);
    let replayed = repeatable(&api, &client, "gone", &[]).await;
    assert_eq!(recorded(&api).await, [replayed.text("jti")]);
}

#[tokio::test]
async fn n60_a_token_that_cannot_be_recorded_is_not_signed() {
    let api = Api::start().await;
    let client = api.billing().await;
    for table in ["tokens", "audit"] {
        api.sql(&format!(
            "CREATE TRIGGER refuses BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
        ))
        .await;
        let replies = join_all((0..10).map(|_| repeatable(&api, &client, table, &[]))).await;
        for refused in replies {
            refused.refused(503, "temporarily_unavailable");
            assert_eq!(refused.header("retry-after"), "1");
        }
        api.sql("DROP TRIGGER refuses").await;
        assert_eq!(recorded(&api).await, [""; 0], "{table}");
    }
    let minted = repeatable(&api, &client, "tokens", &[]).await;
    assert_eq!(
        recorded(&api).await,
        [minted.text("jti")],
        "the failed tries did not use up the key"
    );
    // Nobody was refused, and nobody is said to have been.
    api.mint(&client, &[("scope", "x")]).await.refused(400, "invalid_scope");
    until("a refusal is in the audit log", Duration::from_secs(10), async || {
        let refused = "SELECT count(*) FROM audit WHERE outcome = 'invalid_scope'";
        (api.number(refused).await == 1).then_some(())
    })
    .await;
    let failed = "SELECT count(*) FROM audit WHERE outcome = 'temporarily_unavailable'";
    assert_eq!(api.number(failed).await, 0);
}

#[tokio::test]
async fn n110_recorded_time_never_goes_back() {
    let api = Api::start().await;
    let client = api.billing().await;
    // As after a clock that was set back by three seconds: what is on record is ahead of it.
    let ahead = clock::now_ms() + 3000;
    api.sql(&format!("UPDATE installation SET newest_ms = {ahead}")).await;
    let mut before = ahead / 1000;
    for _ in 0..3 {
        let (_, claims) = api.verified(&api.token(&client).await.jwt, "llm-gateway").await;
        let iat = claims["iat"].as_i64().unwrap();
        assert!(iat >= before, "{iat} after {before}");
        before = iat;
    }
    let revoked = api.revoke(json!({"client": "acme/billing"})).await;
    let at = chrono::DateTime::parse_from_rfc3339(&revoked.text("at")).unwrap();
    assert!(at.timestamp_millis() >= ahead, "{revoked:?}");
}

/// Nobody waits for ever: far above what an answer takes, far below any time-out of a client.
const ANSWERED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn n110_what_has_expired_by_recorded_time_does_not_come_back_with_the_clock() {
    let api = Api::start().await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    assert!(api.is_active(&client, &token.jwt).await);
    let ahead = clock::now_ms() + 3_600_000;
    api.sql(&format!("UPDATE installation SET newest_ms = {ahead}")).await;
    assert!(!api.is_active(&client, &token.jwt).await);
    api.read("/v1/keys").await.problem(401, "invalid-token");
}

#[tokio::test]
async fn n111_n112_n113_a_dead_postgres_is_a_quick_503_and_is_survived() {
    let mut cluster = Cluster::start(&[]).await;
    let api = Api::on(Installation::on(&cluster.database().await)).await;
    let client = api.billing().await;
    let token = repeatable(&api, &client, "first", &[]).await;
    let jwt = token.text("access_token");
    const JWKS: &str = "/.well-known/jwks.json";
    let keys = api.get(JWKS).await;

    let racing = tokio::spawn({
        let requests: Vec<_> = (0..20)
            .map(|n| {
                api.mint_request(&client, &[]).header("idempotency-key", format!("racing-{n}"))
            })
            .collect();
        async move { join_all(requests.into_iter().map(|request| request.send())).await }
    });
    cluster.kill().await;
    for reply in racing.await.unwrap() {
        let status = reply.expect("an answer").status().as_u16();
        assert!(matches!(status, 200 | 503), "{status}");
    }
    for (path, body) in [("/oauth2/token", ""), ("/oauth2/introspect", &*format!("token={jwt}"))] {
        let asked = clock::monotonic();
        let post = api.request(Method::POST, path).basic_auth(&client.id, Some(&client.secret));
        let body = format!("grant_type=client_credentials&{body}");
        let post = post.header("content-type", "application/x-www-form-urlencoded").body(body);
        let refused = Reply::to(post).await;
        refused.refused(503, "temporarily_unavailable");
        assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
        assert!(!refused.header("retry-after").is_empty());
    }
    let unknown = Client { id: "acme/nobody".to_owned(), secret: client.secret.clone() };
    api.mint(&unknown, &[]).await.refused(503, "temporarily_unavailable");
    let asked = clock::monotonic();
    let refused = api.revoke(json!({"client": "acme/billing"})).await;
    refused.problem(503, "temporarily-unavailable");
    assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());

    // Who verifies does not depend on the database.
    let still = api.get(JWKS).await;
    assert_eq!((still.status, still.body), (StatusCode::OK, keys.body));

    cluster.restart().await;
    until("minting works again", ANSWERED, async || {
        let reply = repeatable(&api, &client, "racing-0", &[]).await;
        (reply.status == StatusCode::OK).then_some(())
    })
    .await;
    // Whatever became of them the first time: with their keys, each is one token now.
    let again = (0..20).map(async |n| repeatable(&api, &client, &format!("racing-{n}"), &[]).await);
    let mut jtis: Vec<String> =
        join_all(again).await.iter().map(|reply| reply.text("jti")).collect();
    jtis.push(token.text("jti"));
    jtis.sort();
    let mut on_record = recorded(&api).await;
    on_record.sort();
    assert_eq!(on_record, jtis);
}

#[tokio::test]
async fn n116_on_postgres_too_a_token_that_cannot_be_recorded_is_not_signed() {
    let url = crate::harness::postgres::database().await;
    let api = Api::on(Installation::on(&url)).await;
    let client = api.billing().await;
    let sql = async |statement: &'static str| {
        let mut database = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut database).await.unwrap();
    };
    sql("CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
         CREATE TRIGGER refuses BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION refuses()")
    .await;
    repeatable(&api, &client, "k", &[]).await.refused(503, "temporarily_unavailable");
    sql("DROP TRIGGER refuses ON tokens").await;
    let minted = repeatable(&api, &client, "k", &[]).await;
    assert_eq!(recorded(&api).await, [minted.text("jti")]);
}

async fn repeatable(api: &Api, client: &Client, key: &str, parameters: &[(&str, &str)]) -> Reply {
    let key = reqwest::header::HeaderValue::from_bytes(key.as_bytes()).unwrap();
    Reply::to(api.mint_request(client, parameters).header("idempotency-key", key)).await
}

/// The `jti`s that are on record for `acme/billing`.
async fn recorded(api: &Api) -> Vec<String> {
    let listed = api.read("/v1/tokens?client=acme/billing&limit=200").await.json();
    let jti = |item: &Value| item["jti"].as_str().unwrap().to_owned();
    listed["items"].as_array().unwrap().iter().map(jti).collect()
}
