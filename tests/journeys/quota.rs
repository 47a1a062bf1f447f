//! Many share one quota while the service is killed again and again.

use crate::harness::api::Api;
use crate::harness::cli::Cli;
use crate::harness::dice::{Dice, Size};
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::until::until;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const WRITERS: usize = 64;
/// What one token takes.
const TAKES: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n47_a_quota_holds_through_kills_on_sqlite() {
    a_quota_holds_through_kills(Installation::on_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n47_a_quota_holds_through_kills_on_postgres() {
    a_quota_holds_through_kills(Installation::on_postgres().await).await;
}

/// In each round there is more to be had, all of it is taken unless the service dies before. In the
/// last one it dies after.
async fn a_quota_holds_through_kills(installation: Installation) {
    let (mut dice, rounds) = (Dice::new(), Size::asked_for().of(4, 20));
    let operator = installation.bootstrap().await;
    let mut service = installation.serve().await;
    let api = Api::new(&installation, operator);
    let http = Http::new(&installation);
    let mut quota = 0;
    let secret = api.client("acme/shared", policy(TAKES)).await;
    let client = Cli::new(&installation, "acme/shared", &secret);
    let mut acknowledged = BTreeSet::new();
    for round in 1..=rounds {
        quota += dice.roll(100..400) * TAKES;
        raise(&api, quota).await;
        let life = dice.ms(1000..4000);
        println!("round {round}: a quota of {quota}, {life:?} until the service dies");
        let refused = Arc::new(AtomicUsize::new(0));
        let writer = |_| tokio::spawn(write(http.clone(), client.clone(), refused.clone()));
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();
        tokio::time::sleep(life).await;
        if round == rounds {
            // Of those who ask at once some may be refused before what the others took is on record:
            // who is refused after them saw the record.
            until("the quota is used up", PATIENCE, async || {
                (refused.load(Ordering::Relaxed) > 2 * WRITERS).then_some(())
            })
            .await;
        }
        service.process.kill().await;
        for writer in writers {
            for jti in writer.await.expect("nothing but answers and silence") {
                assert!(acknowledged.insert(jti), "a token was handed out twice");
            }
        }
        service = installation.serve().await;

        let reader = api.bearer("scrip:tokens").await;
        let reader = reader.trim_start_matches("Bearer ");
        let usage = http.read_with(reader, "/v1/usage?client=acme/shared").await.body;
        let amount = |member: &str| {
            usage["items"][0][member].as_u64().unwrap_or_else(|| panic!("{member}: {usage}"))
        };
        let held = amount("granted") - amount("refunded");
        assert!(held <= quota, "{usage}");
        if round == rounds {
            assert_eq!(held, quota, "all of it was taken: {usage}");
        }
        assert!(acknowledged.len() as u64 * TAKES <= held, "{usage}");
        let recorded = inventory(&http, reader).await;
        assert!(recorded.is_superset(&acknowledged), "a token without a record");
        assert_eq!(recorded.len() as u64 * TAKES, amount("granted"), "a record without its escrow");
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let operator = Cli::new(&installation, &api.operator.id, &api.operator.secret);
    let table = operator.run(&["usage"]).await;
    assert!(table.contains("acme/shared") && table.contains("+++"), "{table}");
    let sums = operator.json(&["usage", "--by", "tenant", "--window", "lifetime"]).await;
    assert_eq!(sums["items"][0]["tenant"], "acme");
    service.stop().await;
}

/// Mints until no answer comes; says what was acknowledged, and counts how often nothing was left.
async fn write(http: Http, client: Cli, refused: Arc<AtomicUsize>) -> Vec<String> {
    let mut minted = Vec::new();
    while let Ok(answer) = http.mint(&client, &[], None).await {
        match answer.status {
            200 => minted.push(answer.body["jti"].as_str().expect("a jti").to_owned()),
            429 => {
                assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
                let why = answer.body["error_description"].as_str().expect("a reason");
                assert!(why.contains(" of the quota of "), "{answer:?}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
            503 => {}
            _ => panic!("{answer:?}"),
        }
    }
    minted
}

fn policy(quota: u64) -> Value {
    json!({
        "name": "acme/shared", "audiences": ["llm-gateway"], "scopes": ["llm:chat"], "env": "prod",
        "ttl": {"default": 900, "max": 900}, "budget": {"tokens": TAKES},
        "quota": {"tokens": quota, "window": "lifetime"},
    })
}

async fn raise(api: &Api, quota: u64) {
    let bearer = api.bearer("scrip:policies").await;
    let put = api.http.put(format!("{}/v1/policies/acme/shared", api.url)).json(&policy(quota));
    let reply = put.header("authorization", bearer).send().await.expect("the service answers");
    assert_eq!(reply.status(), 200);
}

/// Every token of the client that is on record.
async fn inventory(http: &Http, reader: &str) -> BTreeSet<String> {
    let mut recorded = BTreeSet::new();
    let mut path = "/v1/tokens?client=acme/shared&limit=200".to_owned();
    loop {
        let page = http.read_with(reader, &path).await.body;
        let items = page["items"].as_array().expect("a list").iter();
        recorded.extend(items.map(|item| item["jti"].as_str().expect("a jti").to_owned()));
        let Value::String(next) = &page["next"] else { return recorded };
        path = format!("/v1/tokens?client=acme/shared&limit=200&after={next}");
    }
}
