use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::gateway::Gateway;
use crate::harness::service::Installation;
use crate::harness::until::until;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n95_a_feed_key_is_replaced_without_anybody_being_alarmed() {
    let acme = Acme::found(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let epoch = gateway.epoch();

    let rotated = acme.operator.json(&["keys", "rotate", "feed"]).await;
    assert_eq!(rotated["next"]["state"], "next", "{rotated}");
    let (old, new) = (kid(&rotated["active"]), kid(&rotated["next"]));
    assert_ne!(old, new);
    let again = acme.operator.outcome(&["keys", "rotate", "feed"]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("may sign from"), "{again:?}");

    // Before it signs, when it does, and for whoever comes then.
    refuses_a_revoked_token(&acme, &billing, &[&gateway]).await;
    until("the new key signs", PATIENCE, async || {
        (state(&acme, &new).await == "active").then_some(())
    })
    .await;
    assert_eq!(state(&acme, &old).await, "retiring");
    let newcomer = Gateway::start(&acme).await;
    refuses_a_revoked_token(&acme, &billing, &[&gateway, &newcomer]).await;
    gateway.is_calm().await;
    newcomer.is_calm().await;
    assert_eq!((gateway.epoch(), newcomer.epoch()), (epoch, epoch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n95_a_stolen_feed_key_is_withdrawn_and_the_epoch_with_it() {
    let mut acme = Acme::found(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let (old, minted) = (gateway.epoch(), billing.token(&[]).await);
    gateway.accepts(&minted).await;

    let stolen = of_use(&acme, "feed").await;
    let revoked = acme.http().revoke(&acme.operator, json!({"kid": stolen})).await.unwrap();
    assert_eq!(revoked.status, 201, "{revoked:?}");
    until("the epoch arrives", PATIENCE, async || (gateway.epoch() > old).then_some(())).await;
    gateway.refuses(&minted).await;
    assert_eq!(state(&acme, &stolen).await, "retired");
    assert_ne!(of_use(&acme, "feed").await, stolen);
    refuses_a_revoked_token(&acme, &billing, &[&gateway]).await;
    gateway.is_calm().await;

    let new = gateway.epoch();
    acme.stop().await;
    acme.start().await;
    let newcomer = Gateway::start(&acme).await;
    assert_eq!(newcomer.epoch(), new);
    newcomer.refuses(&minted).await;
    refuses_a_revoked_token(&acme, &billing, &[&gateway, &newcomer]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n95_whoever_pins_an_old_root_walks_to_the_new_one() {
    let acme = Acme::found(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let first = of_use(&acme, "root").await;
    let gateway = Gateway::pinned(&acme, &first).await;

    let second = kid(&acme.operator.json(&["keys", "rotate", "root"]).await["active"]);
    acme.operator.run(&["keys", "rotate", "feed"]).await;
    let third = kid(&acme.operator.json(&["keys", "rotate", "root"]).await["active"]);
    assert_eq!(of_use(&acme, "root").await, third);
    assert_eq!(state(&acme, &second).await, "retired");

    let mut gateways = vec![gateway];
    for root in [&first, &second, &third] {
        gateways.push(Gateway::pinned(&acme, root).await);
    }
    refuses_a_revoked_token(&acme, &billing, &gateways.iter().collect::<Vec<_>>()).await;
    for gateway in &gateways {
        gateway.is_calm().await;
    }
    // A root is replaced, never revoked: who would believe that it was?
    let refused = acme.http().revoke(&acme.operator, json!({"kid": third})).await.unwrap();
    assert_eq!(refused.status, 404, "{refused:?}");
}

async fn refuses_a_revoked_token(acme: &Acme, client: &Cli, gateways: &[&Gateway]) {
    let token = client.token(&[]).await;
    for gateway in gateways {
        gateway.accepts(&token).await;
    }
    assert_eq!(acme.http().give_up(client, &token).await.status, 200);
    for gateway in gateways {
        gateway.refuses(&token).await;
    }
}

/// The key that signs what `purpose` says.
async fn of_use(acme: &Acme, purpose: &str) -> String {
    let wanted = |key: &&Value| key["use"] == *purpose && key["state"] == "active";
    keys(acme).await.iter().find(wanted).map(kid).expect("there is one")
}

async fn state(acme: &Acme, wanted: &str) -> Value {
    let key = keys(acme).await.into_iter().find(|key| key["kid"] == *wanted);
    key.expect("it is on record")["state"].clone()
}

async fn keys(acme: &Acme) -> Vec<Value> {
    let keys = acme.operator.json(&["keys", "list"]).await;
    keys["items"].as_array().expect("a list").clone()
}

fn kid(key: &Value) -> String {
    key["kid"].as_str().expect("a thumbprint").to_owned()
}
