use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::follower::Follower;
use crate::harness::http::{Answer, Http};
use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::vault::FileVault;
use scrip::clock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn n126_a_sealed_vault_stops_mints_after_the_grace_and_nothing_else() {
    let mut vault = FileVault::start().await;
    let installation = Installation::on_sqlite().with_vault(&vault.admin).await;
    let grace = GRACE.as_secs().to_string();
    let installation = installation.set("SCRIP_VAULT_GRACE", &grace).set("SCRIP_HEARTBEAT", "1");
    let installation = installation.set("SCRIP_VAULT_REFRESH", "1");
    let acme = Acme::found(installation).await;
    let http = acme.http();
    let known = acme.in_vault("acme/billing", &vault.admin, &[]).await;
    let idle = acme.in_vault("acme/reports", &vault.admin, &[]).await;
    let unknown = Cli::new(&acme.installation, "acme/nobody", &known.secret);
    let embedded = acme.embedded("acme/chat").await;
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    let revoked = known.token(&[]).await;
    let kept = known.token(&[]).await;

    // The grace counts from when Vault last answered for this client.
    let seen = clock::monotonic();
    vault.seal().await;
    away(&http).await;
    // Within the grace Vault is not missed by whom it has answered for.
    let during = known.token(&[]).await;
    assert!(seen.elapsed() < GRACE, "too slow a machine for this test");
    gateway.accepts(&during).await;
    let wrong = Cli::new(&acme.installation, "acme/chat", &known.secret);
    let mistaken = Cli::new(&acme.installation, "acme/billing", &idle.secret);
    for client in [&unknown, &wrong, &mistaken] {
        let asked = clock::monotonic();
        is_later(&http.mint(client, &[], None).await.unwrap());
        assert!(asked.elapsed() >= Duration::from_millis(250), "{:?}", asked.elapsed());
    }
    for client in [&known, &idle] {
        until("the grace is over", PATIENCE, async || {
            let answer = http.mint(client, &[], None).await.unwrap();
            (answer.status != 200).then(|| is_later(&answer))
        })
        .await;
    }
    assert!(seen.elapsed() >= GRACE - Duration::from_secs(2), "after {:?}", seen.elapsed());

    // All the rest goes on: ready, embedded clients, the gateway, revoking.
    let ready = http.readiness().await;
    assert_eq!((ready.status, &ready.body["ready"]), (200, &true.into()), "{ready:?}");
    assert!(ready.body["degraded"].to_string().contains("vault"), "{ready:?}");
    gateway.accepts(&embedded.token(&[]).await).await;
    gateway.accepts(&kept).await;
    acme.operator.run(&["revoke", "--client", "acme/billing"]).await;
    gateway.learns_of(&revoked).await;

    // It is found again without anybody's help.
    vault.unseal().await;
    for client in [&known, &idle] {
        mints_again(&http, client).await;
    }
    until("the unknown are told so", PATIENCE, async || {
        (http.mint(&unknown, &[], None).await.unwrap().status == 401).then_some(())
    })
    .await;
    assert_eq!(http.readiness().await.body["degraded"], serde_json::json!([]));
}

#[tokio::test]
async fn n136_the_service_starts_without_vault() {
    let mut vault = FileVault::start().await;
    let installation = Installation::on_sqlite().with_vault(&vault.admin).await;
    let mut acme = Acme::found(installation.set("SCRIP_HEARTBEAT", "1")).await;
    let http = acme.http();
    let billing = acme.in_vault("acme/billing", &vault.admin, &[]).await;
    let token = billing.token(&[]).await;
    acme.kill().await;
    vault.kill().await;

    acme.start().await;
    away(&http).await;
    assert_eq!(http.published("/.well-known/jwks.json").await.status, 200);
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    assert_eq!(gateway.start["event"], "synced");
    gateway.accepts(&token).await;
    is_later(&http.mint(&billing, &[], None).await.unwrap());
    acme.operator.run(&["revoke", "--client", "acme/billing"]).await;
    gateway.learns_of(&token).await;

    vault.restart().await;
    vault.unseal().await;
    mints_again(&http, &billing).await;
}

/// Waits until the service, ready all the time, says that Vault is away.
async fn away(http: &Http) {
    until("Vault counts as away", PATIENCE, async || {
        let ready = http.readiness().await;
        assert_eq!(ready.status, 200, "{ready:?}");
        ready.body["degraded"].to_string().contains("vault").then_some(())
    })
    .await;
}

/// A refusal that says nothing of the credential, and when to ask again.
fn is_later(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.body["error"], "temporarily_unavailable");
    let later = answer.headers["Retry-After"].to_str().unwrap().parse::<u64>().unwrap();
    assert!((1..=60).contains(&later), "{later}");
}

async fn mints_again(http: &Http, client: &Cli) {
    until("mints go on", PATIENCE, async || {
        (http.mint(client, &[], None).await.unwrap().status == 200).then_some(())
    })
    .await;
}
