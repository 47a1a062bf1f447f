//! What is promised of gateways: of one that acknowledges, and of one that does not beside it.

use super::files::jti;
use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::follower::Follower;
use crate::harness::service::Installation;
use crate::harness::until::until;
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn nothing_is_promised_of_a_gateway_that_says_nothing() {
    let acme = Acme::found(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let mut named = Follower::start(&acme.gateway, &["--verifier", "gw-1"]).await;
    named.accepts(&billing.token(&[]).await).await;
    let alone = revoked(&acme, &billing).await;
    assert_eq!(alone["enforced"]["all"], true, "{alone}");
    assert_eq!(alone["enforced"]["by"], alone["enforced"]["verifiers"][0]["since"], "{alone}");

    // With the same credential. Were it cut off now, nobody would know.
    let mut silent = Follower::start(&acme.gateway, &[]).await;
    silent.accepts(&billing.token(&[]).await).await;
    let both = revoked(&acme, &billing).await;
    let id = both["id"].as_str().expect("an id");
    until("it is reckoned with", PATIENCE, async || {
        let shown = acme.operator.json(&["revocations", id]).await;
        (shown["enforced"]["by"] == both["until"]).then_some(())
    })
    .await;
}

/// A revocation that all who acknowledge enforce.
async fn revoked(acme: &Acme, client: &Cli) -> Value {
    let jti = jti(&client.token(&[]).await);
    acme.operator.json(&["revoke", "--jti", &jti, "--wait", "20"]).await
}
