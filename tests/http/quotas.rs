//! Quotas as clients meet them, on both databases.

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::api::{Api, Client, Reply, terms};
use crate::harness::service::Installation;

/// `acme/billing` with a quota of 100,000 tokens; a token takes 5,000 where nothing is said.
async fn billing(api: &Api, window: &str) -> Client {
    let mut terms = terms();
    terms["quota"] = json!({"tokens": 100_000, "window": window});
    api.client("acme/billing", terms).await
}

async fn mint(api: &Api, client: &Client, tokens: &str) -> Reply {
    api.mint(client, &[("budget_tokens", tokens)]).await
}

#[tokio::test]
async fn n47_parallel_mints_share_one_quota_on_sqlite() {
    parallel_mints_share_one_quota(Api::start().await).await;
}

#[tokio::test]
async fn n47_parallel_mints_share_one_quota_on_postgres() {
    parallel_mints_share_one_quota(Api::on(Installation::on_postgres().await).await).await;
}

async fn parallel_mints_share_one_quota(api: Api) {
    let client = billing(&api, "month").await;
    let replies = join_all((0..100).map(|_| api.mint(&client, &[]))).await;
    let minted = replies.iter().filter(|reply| reply.status == StatusCode::OK).count();
    assert_eq!(minted, 20, "5,000 of 100,000 each");
    let refused = replies.iter().find(|reply| reply.status != StatusCode::OK).unwrap();
    let text = refused.refused(429, "temporarily_unavailable");
    let left = "0 of the quota of 100000 tokens per month are left, and the token would take 5000";
    assert_eq!(text, left);
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=31 * 86_400).contains(&seconds), "{seconds}");

    let audit = api.read("/v1/audit?action=quota.threshold").await.json();
    let alerts = audit["items"].as_array().unwrap().iter();
    let mut percents: Vec<_> = alerts
        .inspect(|alert| {
            assert_eq!((&alert["outcome"], &alert["target"]), (&json!("alert"), &json!(client.id)));
        })
        .map(|alert| alert["detail"]["percent"].as_u64().unwrap())
        .collect();
    percents.sort_unstable();
    assert_eq!(percents, [50, 80, 100], "each once");
}

#[tokio::test]
async fn n47_a_quota_that_was_raised_or_lowered_counts_at_once() {
    let api = Api::start().await;
    let client = billing(&api, "lifetime").await;
    let set = async |tokens: u64| {
        let mut terms = terms();
        terms["name"] = json!("acme/billing");
        terms["quota"] = json!({"tokens": tokens, "window": "lifetime", "alerts": []});
        let applied = api.write(reqwest::Method::PUT, "/v1/policies/acme/billing", &terms).await;
        assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    };
    assert_eq!(mint(&api, &client, "50000").await.status, StatusCode::OK);
    assert_eq!(mint(&api, &client, "50000").await.status, StatusCode::OK);
    let refused = mint(&api, &client, "1").await;
    assert!(refused.refused(429, "temporarily_unavailable").starts_with("0 of the quota"));
    assert_eq!(refused.header("retry-after"), "3600", "a lifetime has no next window");
    set(120_000).await;
    mint(&api, &client, "20001").await.refused(429, "temporarily_unavailable");
    assert_eq!(mint(&api, &client, "20000").await.status, StatusCode::OK);
    set(60_000).await;
    let text = mint(&api, &client, "1").await.refused(429, "temporarily_unavailable");
    assert!(text.starts_with("0 of the quota of 60000"), "{text}");
}

#[tokio::test]
async fn n50_a_repeated_mint_takes_nothing_and_a_refused_one_burns_no_key() {
    let api = Api::start().await;
    let client = billing(&api, "lifetime").await;
    let keyed = async |key: &str, tokens: &str| {
        let request = api.mint_request(&client, &[("budget_tokens", tokens)]);
        Reply::to(request.header("idempotency-key", key)).await
    };
    let first = keyed("a", "40000").await;
    let again = join_all((0..20).map(|_| keyed("a", "40000"))).await;
    assert!(again.iter().all(|reply| reply.text("jti") == first.text("jti")), "{again:?}");
    keyed("b", "50000").await;
    keyed("c", "30000").await.refused(429, "temporarily_unavailable");
    assert_eq!(keyed("a", "40000").await.text("jti"), first.text("jti"), "with nothing left");
    keyed("a", "40001").await.refused(409, "invalid_request");

    let reserved = "SELECT reserved FROM quotas";
    assert_eq!(api.number(reserved).await, 90_000);
    api.sql("UPDATE quotas SET granted = 0, reserved = 0").await;
    let late = keyed("c", "30000").await;
    assert_eq!(late.status, StatusCode::OK, "the key was not taken: {late:?}");
    assert_eq!(api.number(reserved).await, 30_000);
}

#[tokio::test]
async fn n50_a_repeated_mint_says_nothing_of_a_quota_that_is_used_up() {
    let api = Api::start().await;
    let client = billing(&api, "lifetime").await;
    let keyed = async |key: &str, tokens: &str| {
        let request = api.mint_request(&client, &[("budget_tokens", tokens)]);
        Reply::to(request.header("idempotency-key", key)).await
    };
    let percents = async || -> Vec<u64> {
        let audit = api.read("/v1/audit?action=quota.threshold").await.json();
        let alerts = audit["items"].as_array().unwrap().iter().rev();
        alerts.map(|alert| alert["detail"]["percent"].as_u64().unwrap()).collect()
    };
    assert_eq!(keyed("a", "20000").await.status, StatusCode::OK);
    assert_eq!(keyed("b", "50000").await.status, StatusCode::OK);
    assert_eq!(keyed("b", "50000").await.status, StatusCode::OK, "with 30,000 left");
    keyed("b", "40000").await.refused(409, "invalid_request");
    assert_eq!(percents().await, [50]);
    assert_eq!(keyed("c", "10000").await.status, StatusCode::OK);
    assert_eq!(percents().await, [50, 80], "which would not be said after 100");
    for _ in 0..2 {
        keyed("d", "30000").await.refused(429, "temporarily_unavailable");
    }
    assert_eq!(percents().await, [50, 80, 100]);
}

#[tokio::test]
async fn n47_a_quota_asks_for_a_budget() {
    let api = Api::start().await;
    let mut terms = terms();
    terms["quota"] = json!({"tokens": 100_000, "window": "day"});
    (terms["budget"], terms["defaults"]) =
        (json!({"requests": 5}), json!({"models": ["gpt-4o-mini"]}));
    let client = api.client("acme/billing", terms).await;
    let scope = ("scope", "llm:chat");
    let code = "invalid_authorization_details";
    let text = api.mint(&client, &[scope]).await.refused(400, code);
    assert_eq!(text, "a budget of tokens is required: the policy has a quota");
    let more = api.mint(&client, &[scope, ("budget_tokens", "100001")]).await.refused(400, code);
    assert_eq!(more, "budget tokens 100001 is above the 100000 that the policy grants");
    let minted = api.mint(&client, &[scope, ("budget_tokens", "100000")]).await.json();
    assert_eq!(minted["budget"], json!({"tokens": 100_000, "requests": 5}));
    assert_eq!(minted["error"], Value::Null);
}
