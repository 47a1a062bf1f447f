use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::follower::Follower;
use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::vault::DevVault;
use crate::harness::vault::admin::Admin;
use scrip::clock;
use std::time::Duration;

const PATH: &str = "scrip/acme/billing";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn n130_a_rotated_secret_goes_on_for_the_overlap_and_no_longer() {
    let vault = DevVault::start().await;
    let acme = with_quick_refresh(&vault.admin).await;
    let old = acme.in_vault("acme/billing", &vault.admin, &["--overlap", "20"]).await;
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    let of_old = old.token(&[]).await;

    let before = clock::monotonic();
    acme.operator.run(&["client", "rotate", "acme/billing"]).await;
    let secret = vault.admin.secret(PATH, 2).await.expect("the second version");
    assert_ne!(secret, old.secret);
    let new = Cli::new(&acme.installation, "acme/billing", &secret);
    old.token(&[]).await;
    let of_new = new.token(&[]).await;
    gateway.accepts(&of_old).await;

    refused(&old).await;
    // Vault tells the second in which the version was written, so that up to one is lost.
    let after = before.elapsed();
    assert!(after >= Duration::from_secs(19), "the overlap of 20 s was over after {after:?}");
    new.token(&[]).await;
    assert_eq!(mint_status(&acme, &old).await, 401);

    // What the old one minted has ended with it.
    gateway.learns_of(&of_old).await;
    gateway.accepts(&of_new).await;
}

#[tokio::test]
async fn a_version_that_vault_ends_takes_its_tokens_with_it_for_good() {
    let vault = DevVault::start().await;
    let acme = with_quick_refresh(&vault.admin).await;
    let first = acme.in_vault("acme/billing", &vault.admin, &[]).await;
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    let of_first = first.token(&[]).await;
    gateway.accepts(&of_first).await;

    // Deleted: noticed without anybody asking for a token; undeleted: it has ended all the same.
    vault.admin.delete_version(PATH, 1).await;
    gateway.learns_of(&of_first).await;
    assert_eq!(mint_status(&acme, &first).await, 401);
    vault.admin.undelete_version(PATH, 1).await;
    assert!(vault.admin.secret(PATH, 1).await.is_some(), "Vault has it again");
    assert_eq!(mint_status(&acme, &first).await, 401);

    // Its successor is good, and ends with its data.
    let secret = "written-by-somebody-else-0123456789-abcdef";
    assert_eq!(vault.admin.put_secret(PATH, secret).await, 2);
    let second = Cli::new(&acme.installation, "acme/billing", secret);
    let of_second = second.token(&[]).await;
    gateway.accepts(&of_second).await;
    assert_eq!(mint_status(&acme, &first).await, 401);
    vault.admin.destroy_version(PATH, 2).await;
    gateway.learns_of(&of_second).await;
    assert_eq!(mint_status(&acme, &second).await, 401);

    // Whoever asks later what was revoked finds both, the second one first.
    let ended = acme.http().read(&acme.operator, "/v1/revocations").await.body;
    let versions = ended["items"].as_array().expect("a list").iter();
    let versions: Vec<_> =
        versions.map(|item| item["selector"]["cred"]["version"].as_str().expect("one")).collect();
    assert!(versions[0].starts_with("vault:2.") && versions[1].starts_with("vault:1."), "{ended}");

    // Nor does a restart, which forgets what was seen, bring anything back.
    acme.service.stop().await;
    let _service = acme.installation.serve().await;
    refused(&first).await;
    refused(&second).await;
    gateway.refuses(&of_first).await;
    gateway.refuses(&of_second).await;
}

#[tokio::test]
async fn a_rotation_that_revokes_ends_the_old_secret_and_its_tokens_at_once() {
    let vault = DevVault::start().await;
    let acme = with_quick_refresh(&vault.admin).await;
    let old = acme.in_vault("acme/billing", &vault.admin, &[]).await;
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    let token = old.token(&[]).await;
    gateway.accepts(&token).await;

    acme.operator.run(&["client", "rotate", "acme/billing", "--revoke"]).await;
    assert_eq!(mint_status(&acme, &old).await, 401);
    gateway.learns_of(&token).await;
    let secret = vault.admin.secret(PATH, 2).await.expect("the second version");
    let new = Cli::new(&acme.installation, "acme/billing", &secret).token(&[]).await;
    gateway.accepts(&new).await;
}

async fn with_quick_refresh(vault: &Admin) -> Acme {
    let installation = Installation::on_sqlite().with_vault(vault).await;
    let installation = installation.set("SCRIP_VAULT_REFRESH", "1").set("SCRIP_HEARTBEAT", "1");
    Acme::found(installation).await
}

/// Waits until the secret is no good any more.
async fn refused(client: &Cli) {
    until("the secret is refused", PATIENCE, async || {
        let outcome = client.outcome(&["token", "get"]).await;
        outcome.stderr.contains("invalid_client").then_some(())
    })
    .await;
}

async fn mint_status(acme: &Acme, client: &Cli) -> u16 {
    acme.http().mint(client, &[], None).await.expect("the service answers").status
}
