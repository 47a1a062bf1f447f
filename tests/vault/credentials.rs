use std::time::Duration;

use futures_util::future::join_all;
use scrip::clock;
use scrip::vault::{InVault, Proof, VaultError};
use scrip_token::QualifiedName;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{
    DAY, FIRST, Fixture, PATH, SECOND, WRONG, billing, connect, good, proxy::Proxy, settings, token,
};
use crate::harness::until::until;
use crate::harness::vault::DevVault;

#[tokio::test]
async fn n130_a_rotated_secret_is_good_until_the_overlap_ends() {
    let server = DevVault::start().await;
    let vault = &server.admin;
    let fixture = connect(vault, &vault.address);
    vault.put_secret(PATH, FIRST).await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
    assert_eq!(fixture.prove(WRONG).await, Proof::Bad);

    vault.put_secret(PATH, SECOND).await;
    assert_eq!(good(&fixture.prove(SECOND).await), Some(2), "read again as soon as presented");
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1), "inside the overlap");

    let versions = fixture.credentials.vault().versions(&billing()).await.unwrap();
    let over = versions.newest().unwrap().created_seconds() + DAY.as_secs();
    assert_eq!(good(&fixture.prove_at(FIRST, over - 1).await), Some(1), "its last second");
    assert_eq!(fixture.prove_at(FIRST, over).await, Proof::Bad);
    assert_eq!(good(&fixture.prove_at(SECOND, over).await), Some(2));
}

#[tokio::test]
async fn a_last_line_break_is_not_part_of_a_secret() {
    let server = DevVault::start().await;
    let vault = &server.admin;
    let fixture = connect(vault, &vault.address);
    vault.put_secret(PATH, &format!("{FIRST}\r\n")).await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
    let short = format!("{}\n", &FIRST[..31]);
    vault.put_secret(PATH, &short).await;
    assert_eq!(fixture.prove(&FIRST[..31]).await, Proof::Bad, "32 characters without it");
}

#[tokio::test]
async fn what_was_destroyed_or_deleted_is_told_once_and_never_comes_back() {
    let server = DevVault::start().await;
    let vault = &server.admin;
    let mut fixture = connect(vault, &vault.address);
    vault.put_secret(PATH, FIRST).await;
    vault.put_secret(PATH, SECOND).await;
    let Proof::Good { version: first } = fixture.prove(FIRST).await else { panic!("not good") };

    vault.destroy_version(PATH, 1).await;
    fixture.refresh().await;
    assert_eq!(fixture.prove(FIRST).await, Proof::Bad);
    let ended = fixture.ended.try_recv().unwrap();
    assert_eq!((ended.client, ended.version), (billing(), first));
    assert_eq!(good(&fixture.prove(SECOND).await), Some(2), "the newest is untouched");

    vault.delete_version(PATH, 2).await;
    fixture.refresh().await;
    assert_eq!(fixture.prove(SECOND).await, Proof::Bad);
    assert_eq!(fixture.ended.try_recv().unwrap().version.number, 2);

    vault.undelete_version(PATH, 2).await;
    fixture.refresh().await;
    assert_eq!(fixture.prove(SECOND).await, Proof::Bad, "undelete included");
    assert!(fixture.ended.try_recv().is_err(), "each is told once");

    vault.put_secret(PATH, WRONG).await;
    assert_eq!(good(&fixture.prove(WRONG).await), Some(3), "a new version is the way back");
}

#[tokio::test]
async fn a_bare_404_or_403_refuses_and_kills_nothing() {
    let server = DevVault::start().await;
    let vault = &server.admin;
    let allowed = r#"path "secret/*" { capabilities = ["read"] }"#;
    vault.put_policy("scrip", allowed).await;
    let limited = vault.with_policies(&["default", "scrip"]).await;
    let mut fixture = Fixture::new(settings(&vault.address, token(&limited.token)));
    vault.put_secret(PATH, FIRST).await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));

    vault.put_policy("scrip", r#"path "secret/*" { capabilities = ["deny"] }"#).await;
    fixture.refresh().await;
    assert_eq!(fixture.prove(FIRST).await, Proof::Bad, "403");
    assert!(!fixture.credentials.is_away(), "Vault answers, and knows the login");

    vault.put_policy("scrip", allowed).await;
    fixture.refresh().await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1), "allowed again");

    vault.send(reqwest::Method::DELETE, &format!("secret/metadata/{PATH}"), None).await;
    fixture.refresh().await;
    assert_eq!(fixture.prove(FIRST).await, Proof::Bad, "404");
    assert!(fixture.ended.try_recv().is_err());
}

#[tokio::test]
async fn a_secret_that_somebody_else_put_counts_from_32_characters_up() {
    let server = DevVault::start().await;
    let vault = &server.admin;
    let fixture = connect(vault, &vault.address);
    let just = "é".repeat(32);
    vault.put_secret(PATH, &just[2..]).await;
    assert_eq!(fixture.prove(&just[2..]).await, Proof::Bad);
    let reads = fixture.credentials.vault();
    assert!(matches!(reads.secret(&billing(), 1).await, Err(VaultError::Unusable(_))));

    vault.put_secret(PATH, &just).await;
    assert_eq!(good(&fixture.prove(&just).await), Some(2));

    vault.post(&format!("secret/data/{PATH}"), json!({"data": {"password": FIRST}})).await;
    assert_eq!(fixture.prove(FIRST).await, Proof::Bad, "another field");
    assert!(matches!(reads.secret(&billing(), 3).await, Err(VaultError::Unusable(_))));
}

#[tokio::test]
async fn a_crowd_of_mismatches_costs_vault_one_refresh() {
    let server = DevVault::start().await;
    let proxy = Proxy::start(&server.admin.address).await;
    let fixture = connect(&server.admin, &proxy.address);
    server.admin.put_secret(PATH, FIRST).await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
    let reads = |kind| proxy.requests().matches(&format!("GET /v1/secret/{kind}/{PATH}")).count();
    assert_eq!((reads("metadata"), reads("data")), (1, 1));

    let proofs = join_all((0..100).map(|_| fixture.prove(WRONG))).await;
    assert!(proofs.iter().all(|proof| *proof == Proof::Bad));
    assert_eq!((reads("metadata"), reads("data")), (2, 1), "what is known is not read again");

    for _ in 0..50 {
        assert_eq!(fixture.prove(WRONG).await, Proof::Bad, "the last answer counts");
    }
    assert!(reads("metadata") < 20);
}

#[tokio::test]
async fn a_refresh_that_others_have_used_up_says_nothing_of_a_secret() {
    let server = DevVault::start().await;
    let fixture = connect(&server.admin, &server.admin.address);
    server.admin.put_secret(PATH, FIRST).await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
    server.admin.put_secret(PATH, SECOND).await;

    let strangers: Vec<_> =
        (0..300).map(|n| QualifiedName::parse(&format!("acme/stranger-{n}")).unwrap()).collect();
    let (wrong, now) = (SecretString::from(WRONG), clock::now_seconds());
    let deadline = clock::monotonic() + Duration::from_secs(10);
    let flood =
        strangers.iter().map(|name| fixture.credentials.prove(name, DAY, &wrong, now, deadline));
    // Those before it leave nothing to ask Vault with.
    let (_, proof) = futures_util::future::join(join_all(flood), fixture.prove(SECOND)).await;
    assert_eq!(proof, Proof::Away);
    until("it can be asked again", Duration::from_secs(10), async || {
        good(&fixture.prove(SECOND).await)
    })
    .await;
}

#[tokio::test]
async fn who_loses_a_rotation_adopts_the_winner() {
    let server = DevVault::start().await;
    let fixture = connect(&server.admin, &server.admin.address);
    let vault = fixture.credentials.vault();
    let (billing, first, second) =
        (billing(), SecretString::from(FIRST), SecretString::from(SECOND));
    assert_eq!(vault.write(&billing, &first, 0).await.unwrap().number, 1);

    let (one, other) =
        tokio::join!(vault.write(&billing, &first, 1), vault.write(&billing, &second, 1));
    let (won, lost, winner) = match (one, other) {
        (Ok(won), Err(lost)) => (won, lost, FIRST),
        (Err(lost), Ok(won)) => (won, lost, SECOND),
        both => panic!("{both:?}"),
    };
    assert_eq!((won.number, lost), (2, VaultError::Conflict));
    let versions = vault.versions(&billing).await.unwrap();
    assert_eq!(versions.newest(), Some(&won));
    assert_eq!(vault.secret(&billing, 2).await.unwrap().expose_secret(), winner);
    assert_eq!(vault.secret(&billing, 9).await.unwrap_err(), VaultError::NotFound);
}

#[tokio::test]
async fn n130_of_many_who_rotate_at_once_one_writes_and_all_agree_on_the_newest() {
    let server = DevVault::start().await;
    let fixture = connect(&server.admin, &server.admin.address);
    let vault = fixture.credentials.vault();
    server.admin.put_secret(PATH, FIRST).await;
    // What each of them has seen before any of them writes.
    let seen = vault.every_version(&billing()).await.unwrap();
    let billing = billing();
    let rotations = (0..8).map(|_| InVault::follow(vault, &billing, seen.clone()));
    let rotated: Vec<InVault> =
        join_all(rotations).await.into_iter().collect::<Result<_, _>>().unwrap();
    let written: Vec<_> = rotated.iter().filter_map(|one| one.secret.as_ref()).collect();
    assert_eq!(written.len(), 1, "the others adopt it");
    let newest = vault.secret(&billing, 2).await.unwrap();
    assert_eq!(written[0].expose_secret(), newest.expose_secret());
    for one in &rotated {
        assert_eq!(one.versions.newest_name(), rotated[0].versions.newest_name());
        assert_eq!(one.versions.newest().unwrap().number, 2);
    }
    assert_eq!(good(&fixture.prove(newest.expose_secret()).await), Some(2));
}

#[tokio::test]
async fn what_is_in_vault_is_listed_folder_by_folder() {
    let server = DevVault::start().await;
    let fixture = connect(&server.admin, &server.admin.address);
    let vault = fixture.credentials.vault();
    assert_eq!(vault.list(None).await.unwrap(), [""; 0]);
    for path in ["scrip/acme/a", "scrip/acme/team/b", "scrip/beta/c", "scrip/top", "other/acme/d"] {
        server.admin.put_secret(path, FIRST).await;
    }
    assert_eq!(vault.list(None).await.unwrap(), ["acme/", "beta/", "top"]);
    assert_eq!(vault.list(Some("acme")).await.unwrap(), ["a", "team/"]);
    assert_eq!(vault.list(Some("nobody")).await.unwrap(), [""; 0]);
}
