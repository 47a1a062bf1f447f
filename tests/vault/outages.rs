use std::time::Duration;

use scrip::{
    clock,
    vault::{Proof, Reason, TIMEOUT, VaultError},
};

use super::{
    FIRST, Fixture, PATH, WRONG, billing, connect, good,
    proxy::{Mode, Proxy},
    settings, token,
};
use crate::harness::vault::{DevVault, FileVault};

/// What a mint has for proving a credential.
const BUDGET: Duration = Duration::from_millis(250);

#[tokio::test]
async fn n126_a_sealed_vault_leaves_what_was_seen_within_the_grace() {
    let mut server = FileVault::start().await;
    server.admin.put_secret(PATH, FIRST).await;
    let patient = connect(&server.admin, &server.admin.address);
    let mut strict = settings(&server.admin.address, token(&server.admin.token));
    strict.grace = Duration::ZERO;
    let strict = Fixture::new(strict);
    let cold = connect(&server.admin, &server.admin.address);
    for fixture in [&patient, &strict] {
        assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
    }

    server.seal().await;
    for fixture in [&patient, &strict, &cold] {
        assert_eq!(fixture.prove(WRONG).await, Proof::Away);
        fixture.becomes_away().await;
        assert_eq!(fixture.prove(WRONG).await, Proof::Away);
    }
    let sealed = Reason::Refused { status: 503, said: Some("Vault is sealed") };
    assert_eq!(patient.credentials.vault().away(), Some(sealed));
    assert_eq!(good(&patient.prove(FIRST).await), Some(1), "within the grace");
    assert_eq!(strict.prove(FIRST).await, Proof::Away, "after the grace");
    assert_eq!(cold.prove(FIRST).await, Proof::Away, "never seen");

    server.unseal().await;
    for fixture in [&patient, &strict, &cold] {
        fixture.comes_back().await;
        assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
        assert_eq!(fixture.prove(WRONG).await, Proof::Bad);
    }
}

#[tokio::test]
async fn n126_a_redirect_to_another_node_is_an_outage() {
    let server = DevVault::start().await;
    let elsewhere = Proxy::start(&server.admin.address).await;
    let proxy = Proxy::start(&server.admin.address).await;
    server.admin.put_secret(PATH, FIRST).await;
    let fixture = connect(&server.admin, &proxy.address);
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));

    for target in [&elsewhere.address, &proxy.address] {
        let location = format!("{target}/v1/secret/metadata/{PATH}");
        proxy.switch(Mode::Answer(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        )));
        let refused = fixture.credentials.vault().versions(&billing()).await.unwrap_err();
        let reason = Reason::Refused { status: 307, said: None };
        assert_eq!(refused, VaultError::Away(reason));
        assert_eq!(good(&fixture.prove(FIRST).await), Some(1), "within the grace");
        assert_eq!(fixture.prove(WRONG).await, Proof::Away);
        proxy.switch(Mode::Forward);
        fixture.comes_back().await;
    }
    assert_eq!(elsewhere.connections(), 0, "the token was shown to nobody else");
}

#[tokio::test]
async fn n127_a_vault_that_hangs_costs_nobody_beyond_the_first() {
    let server = DevVault::start().await;
    let proxy = Proxy::start(&server.admin.address).await;
    server.admin.put_secret(PATH, FIRST).await;
    let fixture = connect(&server.admin, &proxy.address);
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));

    proxy.switch(Mode::Hang);
    let before = clock::monotonic();
    let now = clock::now_seconds();
    assert_eq!(fixture.prove_before(WRONG, now, BUDGET).await, Proof::Away);
    for _ in 0..1000 {
        let proof = fixture.prove_before(FIRST, now, Duration::ZERO).await;
        assert_eq!(good(&proof), Some(1), "from memory, at once");
    }
    let spent = clock::monotonic().duration_since(before);
    assert!(spent < TIMEOUT, "{spent:?}: the deadline bounds the wait, not Vault");
    fixture.becomes_away().await;
    for _ in 0..100 {
        let proof = fixture.prove_before(WRONG, now, Duration::ZERO).await;
        assert_eq!(proof, Proof::Away, "nobody waits for a Vault that is known to be away");
    }
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));

    proxy.switch(Mode::Forward);
    fixture.comes_back().await;
    assert_eq!(fixture.prove(WRONG).await, Proof::Bad);
}

#[tokio::test]
async fn n127_an_answer_of_one_byte_a_second_is_cut() {
    let server = DevVault::start().await;
    let proxy = Proxy::start(&server.admin.address).await;
    server.admin.put_secret(PATH, FIRST).await;
    let fixture = connect(&server.admin, &proxy.address);
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));

    proxy.switch(Mode::Drip);
    let client = billing();
    let read = fixture.credentials.vault().versions(&client);
    let read = tokio::time::timeout(TIMEOUT * 3, read).await.expect("it is cut");
    assert_eq!(read.unwrap_err(), VaultError::Away(Reason::TimedOut));
    assert!(fixture.credentials.is_away());
}

#[tokio::test]
async fn n136_a_vault_that_is_down_at_the_start_is_found_later() {
    let mut server = FileVault::start().await;
    server.admin.put_secret(PATH, FIRST).await;
    server.kill().await;
    let fixture = connect(&server.admin, &server.admin.address);
    fixture.becomes_away().await;
    assert!(matches!(fixture.credentials.vault().away(), Some(Reason::Unreachable(_))));
    assert_eq!(fixture.prove(FIRST).await, Proof::Away);

    server.restart().await;
    server.unseal().await;
    fixture.comes_back().await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
}
