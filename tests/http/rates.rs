//! Who may ask how often.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, Client, Reply, terms};
use crate::harness::service::Installation;
use crate::harness::until::until;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_client_mints_as_often_as_its_policy_says() {
    let api = Api::start().await;
    let mut limited = terms();
    limited["rate"] = json!({"mints": 3, "per": "hour"});
    let client = api.client("acme/limited", limited.clone()).await;
    let shown = api.read("/v1/policies/acme/limited").await.json();
    assert_eq!(shown["policy"]["rate"], limited["rate"]);

    // What is refused for another reason does not count.
    for _ in 0..5 {
        api.mint(&client, &[("scope", "x")]).await.refused(400, "invalid_scope");
    }
    // Nor does what the service itself could not do.
    let refuses =
        "CREATE TRIGGER refuses BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'no'); END";
    api.sql(refuses).await;
    for _ in 0..5 {
        api.mint(&client, &[]).await.refused(503, "temporarily_unavailable");
    }
    api.sql("DROP TRIGGER refuses").await;
    for _ in 0..3 {
        api.token(&client).await;
    }
    let refused = api.mint(&client, &[]).await;
    let why = refused.refused(429, "temporarily_unavailable");
    assert_eq!(why, "this client mints more often than its policy allows");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1190..=1200).contains(&wait), "{wait}");

    // Another client of the same policy has a rate of its own; a new version counts at once.
    let other = api.client_under("acme/other", "acme/limited").await;
    api.token(&other).await;
    limited["name"] = json!("acme/limited");
    limited["rate"] = json!({"mints": 1000, "per": "second"});
    api.write(Method::PUT, "/v1/policies/acme/limited", &limited).await;
    api.token(&other).await;
}

#[tokio::test]
async fn the_clients_of_a_tenant_share_its_rate() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_TENANT_RATE", "2/hour")).await;
    let one = api.billing().await;
    let two = api.client_under("acme/two", "acme/billing").await;
    let foreign = api.client("other/one", terms()).await;
    api.token(&one).await;
    api.token(&two).await;
    let refused = api.mint(&one, &[]).await;
    refused.refused(429, "temporarily_unavailable");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1790..=1800).contains(&wait), "{wait}");
    api.token(&foreign).await;
}

#[tokio::test]
async fn n41_who_guesses_is_slowed_down_and_locks_nobody_out() {
    let trusting = Installation::on_sqlite().set("SCRIP_TRUSTED_PROXIES", "127.0.0.0/8");
    let api = Api::on(trusting).await;
    let client = api.billing().await;
    let from = async |client: &Client, address: &str| {
        let request = api.mint_request(client, &[]).header("x-forwarded-for", address);
        Reply::to(request).await
    };
    let (stranger, own) = ("2001:db8:0:1::7", "192.0.2.1");
    let guess = |id: &str| Client { id: id.to_owned(), secret: "a guess".to_owned() };
    let mut bodies = Vec::new();
    for id in [client.id.as_str(), "acme/nobody"] {
        let guess = guess(id);
        for refused in join_all((0..20).map(|_| from(&guess, stranger))).await {
            refused.refused(401, "invalid_client");
        }
        // Not even the right secret is tried then; the whole /64 is one place.
        let right = Client { id: id.to_owned(), secret: client.secret.clone() };
        for tried in [guess, right] {
            let refused = from(&tried, "2001:db8:0:1:ffff::8").await;
            refused.refused(429, "temporarily_unavailable");
            let wait: u64 = refused.header("retry-after").parse().unwrap();
            assert!((1..=15).contains(&wait), "{wait}");
            let mut body = refused.json();
            body["request_id"] = Value::Null;
            bodies.push(body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "who exists and who does not look the same: {bodies:?}");
    // Somebody is told of both alike, once of each.
    let alerts = until("guessing is told of", PATIENCE, async || {
        let log = api.read("/v1/audit?action=credential.guess").await.json();
        let items = log["items"].as_array().cloned().unwrap_or_default();
        (items.len() >= 2).then_some(items)
    })
    .await;
    let mut targets: Vec<_> = alerts
        .iter()
        .map(|alert| {
            assert_eq!(alert["outcome"], "alert");
            let detail = json!({"place": "2001:db8:0:1::/64", "endpoints": "oauth"});
            assert_eq!((&alert["tenant"], &alert["detail"]), (&json!("acme"), &detail));
            alert["target"].as_str().unwrap()
        })
        .collect();
    targets.sort_unstable();
    assert_eq!(targets, [client.id.as_str(), "acme/nobody"]);
    // Whoever has the secret is served from everywhere else, and others from there.
    assert_eq!(from(&client, own).await.status, StatusCode::OK);
    assert_eq!(from(&client, "2001:db8:0:2::7").await.status, StatusCode::OK);
    assert_eq!(from(&api.operator, stranger).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_fails_at_the_mint_takes_nothing_from_whoever_revokes() {
    let api = Api::start().await;
    let client = api.billing().await;
    let guess = Client { id: api.operator.id.clone(), secret: "a guess".to_owned() };
    for refused in join_all((0..20).map(|_| api.mint(&guess, &[]))).await {
        refused.refused(401, "invalid_client");
    }
    api.mint(&api.operator, &[]).await.refused(429, "temporarily_unavailable");
    // Nor from whoever gives up a token.
    let token = api.token(&client).await.jwt;
    let guess_of_client = Client { id: client.id.clone(), ..guess.clone() };
    join_all((0..20).map(|_| api.mint(&guess_of_client, &[]))).await;
    api.mint(&client, &[]).await.refused(429, "temporarily_unavailable");
    let given_up = api.form("/oauth2/revoke", &client, &[("token", &token)]).await;
    assert_eq!(given_up.status, StatusCode::OK, "{given_up:?}");
    let revoked = api.revoke(json!({"client": client.id})).await;
    assert_eq!(revoked.status, StatusCode::CREATED, "{revoked:?}");

    // There guessing is slowed down as well.
    let list = |client: &Client| {
        let request = api.request(Method::GET, "/v1/revocations");
        Reply::to(request.basic_auth(&client.id, Some(&client.secret)))
    };
    for refused in join_all((0..20).map(|_| list(&guess))).await {
        refused.problem(401, "invalid-client");
    }
    let refused = list(&api.operator).await;
    refused.problem(429, "temporarily-unavailable");
    assert!(!refused.header("retry-after").is_empty());
    // A token is not guessed, and its bearer is not slowed down.
    assert_eq!(api.read("/v1/revocations").await.status, StatusCode::OK);
}

#[tokio::test]
async fn nobody_fills_the_audit_log_by_being_refused() {
    let api = Api::start().await;
    let client = api.billing().await;
    for _ in 0..8 {
        for refused in join_all((0..20).map(|_| api.mint(&client, &[("scope", "x")]))).await {
            refused.refused(400, "invalid_scope");
        }
    }
    for _ in 0..20 {
        for refused in join_all((0..20).map(|_| api.get("/v1/clients"))).await {
            refused.problem(401, "invalid-token");
        }
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let spared = async || -> i64 {
        let metrics = Reply::to(http.get(format!("{}/metrics", api.installation.ops_url()))).await;
        let mut lines = metrics.body.lines();
        let spared = lines.find_map(|line| line.strip_prefix("scrip_audit_spared_total "));
        spared.map_or(0, |spared| spared.parse().unwrap())
    };
    let written = async || {
        let denied = "SELECT count(*) FROM audit WHERE actor = 'acme/billing'";
        let unproved = "SELECT count(*) FROM audit WHERE action = 'access' AND actor IS NULL";
        (api.number(denied).await, api.number(unproved).await)
    };
    // What one client, and one place, may have at once, and what they have earned since.
    let (denied, unproved) = until("all are written down or counted", PATIENCE, async || {
        let (denied, unproved) = written().await;
        (denied + unproved + spared().await == 160 + 400).then_some((denied, unproved))
    })
    .await;
    assert!((100..110).contains(&denied), "{denied}");
    assert!((300..330).contains(&unproved), "{unproved}");
    // Somebody else is written down as ever.
    let other = api.client_under("acme/other", "acme/billing").await;
    api.mint(&other, &[("scope", "x")]).await.refused(400, "invalid_scope");
    let others = "SELECT count(*) FROM audit WHERE actor = 'acme/other'";
    until("the other's refusal", PATIENCE, async || (api.number(others).await == 1).then_some(()))
        .await;
}
