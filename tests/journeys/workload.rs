use crate::harness::acme::Acme;
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::vault::DevVault;
use scrip::clock;
use scrip_client::{ClientError, MasterCredential, Token, TokenSource, Vault, VaultAuth};
use scrip_token::jwk::KeySet;
use scrip_verify::{DenySet, Information, Issuer, Trust, Verifier};
use std::fs;
use std::time::Duration;

/// May read the secret of this one workload.
const OWN_SECRET: &str = r#"path "secret/data/scrip/acme/billing" { capabilities = ["read"] }"#;

#[tokio::test]
async fn a_workload_always_has_a_fresh_token() {
    let vault = DevVault::start().await;
    let installation = Installation::on_sqlite().with_vault(&vault.admin).await;
    let mut acme = Acme::found(installation.set("SCRIP_VAULT_REFRESH", "1")).await;
    acme.in_vault("acme/billing", &vault.admin, &[]).await;
    vault.admin.put_policy("billing", OWN_SECRET).await;
    let own = vault.admin.with_policies(&["billing"]).await;
    let token_file = acme.installation.folder.path().join("vault-token");
    fs::write(&token_file, &own.token).unwrap();
    let source = |patience| {
        let vault = Vault {
            addr: own.address.clone(),
            namespace: None,
            ca: None,
            auth: VaultAuth::TokenFile(token_file.clone()),
            mount: "secret".to_owned(),
            prefix: "scrip".to_owned(),
        };
        TokenSource::builder(
            acme.installation.url(),
            "acme/billing",
            MasterCredential::Vault(vault),
        )
        .scope("llm:chat")
        .model("gpt-4o-mini")
        .patience(patience)
        .build()
        .unwrap()
    };

    let hasty = source(Duration::from_secs(1));
    let patient = source(Duration::from_secs(30));
    let first = hasty.token().await.unwrap();
    verified(&acme.installation, &first).await;
    assert_eq!((first.scope(), first.audience()), ("llm:chat", "llm-gateway"));
    let other = patient.token().await.unwrap();
    verified(&acme.installation, &other).await;

    // While the service is away a token goes on to the end of its life; one that a gateway has
    // refused is replaced as soon as the service is back.
    acme.kill().await;
    assert_eq!(hasty.token().await.unwrap().jti(), first.jti());
    assert!(hasty.invalidate(&first));
    assert!(matches!(hasty.token().await, Err(ClientError::Away { peer: "Scrip", .. })));
    acme.start().await;
    let renewed = patient_with(&hasty).await;
    assert_ne!(renewed.jti(), first.jti());
    verified(&acme.installation, &renewed).await;

    // The secret was replaced and the old one ended: the next renewal reads the new one.
    acme.operator.run(&["client", "rotate", "acme/billing", "--revoke"]).await;
    assert!(patient.invalidate(&other));
    let next = patient.token().await.unwrap();
    assert_ne!(next.jti(), other.jti());
    verified(&acme.installation, &next).await;
}

/// The next token, of a source that gives up sooner than it tries again.
async fn patient_with(source: &TokenSource) -> Token {
    crate::harness::until::until("a new token", Duration::from_secs(60), async || {
        source.token().await.ok()
    })
    .await
}

/// Verifies as a gateway does that knows the published keys and nothing else.
async fn verified(installation: &Installation, token: &Token) {
    let jwks = Http::new(installation).published("/.well-known/jwks.json").await.body;
    let keys = KeySet::parse(jwks.to_string().as_bytes()).unwrap();
    let issuer = Issuer::new(installation.url(), keys.into(), DenySet::default());
    let trust = Trust::one(&issuer, Information::Unfollowed);
    let verifier = Verifier::new("llm-gateway", "prod");
    let authentic =
        verifier.authenticate(token.expose().as_bytes(), clock::now_seconds(), &trust).unwrap();
    assert_eq!(authentic.claims().jti, token.jti());
    assert_eq!(authentic.claims().client_id.as_str(), "acme/billing");
}
