use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::follower::Follower;
use crate::harness::http::Http;
use crate::harness::service::{Installation, Service};
use crate::harness::vault::DevVault;
use scrip_token::Claims;
use scrip_token::compact::Compact;
use scrip_token::limits::MAX_TOKEN_BYTES;
use std::fs;
use std::path::Path;

#[tokio::test]
async fn from_the_secret_in_vault_to_the_refusal_at_the_gateway_on_sqlite() {
    story(Installation::on_sqlite()).await;
}

#[tokio::test]
async fn from_the_secret_in_vault_to_the_refusal_at_the_gateway_on_postgres() {
    story(Installation::on_postgres().await).await;
}

async fn story(installation: Installation) {
    let vault = DevVault::start().await;
    let installation = installation.with_vault(&vault.admin).await;
    let installation = installation.set("SCRIP_LOG", "trace").set("SCRIP_HEARTBEAT", "1");
    let mut acme = Acme::found(installation).await;
    let (folder, http) = (acme.installation.folder.clone(), acme.http());
    let folder = folder.path();
    let billing = acme.in_vault("acme/billing", &vault.admin, &[]).await;
    let chat = acme.embedded("acme/chat").await;
    let mut logs = String::new();

    // Minted from the secret in Vault; verified by nothing but the published keys.
    let leaked = billing.token(&["--scope", "llm:chat"]).await;
    let kept = billing.token(&[]).await;
    let jwks = folder.join("jwks.json");
    fs::write(&jwks, http.published("/.well-known/jwks.json").await.body.to_string()).unwrap();
    accepted_offline(&acme.gateway, &jwks, &leaked).await;
    let state = folder.join("gateway-1");
    let follow = ["--audience", "llm-gateway", "--env", "prod", "--scope", "llm:chat", "--model"];
    let follow = [&follow[..], &["gpt-4o-mini", "--request-tokens", "100", "--state-dir"]].concat();
    let follow = [&follow[..], &[state.to_str().unwrap()]].concat();
    let mut gateway = Follower::start(&acme.gateway, &follow).await;
    assert_eq!(gateway.start["event"], "synced");
    gateway.accepts(&leaked).await;
    gateway.accepts(&kept).await;

    // An operator whose secret is in Vault needs a token, which commands get by themselves.
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/security-team.toml");
    acme.operator.run(&["policy", "apply", policy]).await;
    acme.operator.run(&["client", "create", "ops/team", "--policy", "ops/security-team"]).await;
    let secret = vault.admin.secret("scrip/ops/team", 1).await.expect("it lies in Vault");
    let team = Cli::new(&acme.installation, "ops/team", &secret);
    let refused = http.read(&team, "/v1/revocations").await;
    let why = "a secret that Vault keeps opens nothing here: get a token with the scope `scrip:revoke` \
               for the audience `self`";
    assert_eq!((refused.status, &refused.body["detail"]), (403, &why.into()));
    team.run(&["revocations"]).await;

    // Revoked by name: refused at the gateway, which asks nobody.
    let revoke = ["revoke", "--jti", &jti(&leaked), "--reason", "leaked"];
    let revoked = acme.operator.json(&revoke).await;
    assert_eq!((&revoked["known"], &revoked["by"]), (&true.into(), &"ops/admin".into()));
    gateway.learns_of(&leaked).await;
    gateway.accepts(&kept).await;

    // Neither a restart of the service nor one of the gateway forgets.
    acme = restart(acme, &mut logs).await;
    gateway.refuses(&leaked).await;
    gateway.kill().await;
    let mut gateway = Follower::start(&acme.gateway, &follow).await;
    assert_eq!(gateway.start["event"], "synced");
    gateway.refuses(&leaked).await;
    gateway.accepts(&kept).await;
    gateway.kill().await;

    // A gateway that starts while the service is down judges by what it kept.
    let Acme { installation, service, operator, gateway: gateway_cli } = acme;
    logs += &stop(service).await;
    accepted_offline(&gateway_cli, &jwks, &kept).await;
    let mut gateway = Follower::start(&gateway_cli, &follow).await;
    assert_eq!(gateway.start["event"], "unsynced");
    gateway.refuses(&leaked).await;
    gateway.accepts(&kept).await;
    let service = installation.serve().await;
    let acme = Acme { installation, service, operator, gateway: gateway_cli };

    // All of a client's, up to now: the next one is good again.
    let bystander = chat.token(&[]).await;
    acme.operator.run(&["revoke", "--client", "acme/billing", "--reason", "compromised"]).await;
    gateway.learns_of(&kept).await;
    let next = billing.token(&[]).await;
    gateway.accepts(&next).await;
    gateway.accepts(&bystander).await;

    // RFC 7009: whoever holds a token gives it up, and nobody else can.
    let refused = http.give_up(&chat, &next).await;
    assert_eq!((refused.status, &refused.body["error"]), (400, &"unauthorized_client".into()));
    gateway.accepts(&next).await;
    assert_eq!(http.give_up(&billing, &next).await.status, 200);
    gateway.learns_of(&next).await;

    // A stolen key: all that it signed is refused, and another one signs from now on.
    let stolen = Compact::parse(bystander.as_bytes(), MAX_TOKEN_BYTES).unwrap().header;
    let stolen: serde_json::Value = serde_json::from_slice(&stolen).unwrap();
    let stolen = stolen["kid"].as_str().unwrap();
    acme.operator.run(&["revoke", "--kid", stolen, "--reason", "compromised"]).await;
    gateway.learns_of(&bystander).await;
    let fresh = chat.token(&[]).await;
    gateway.comes_to_accept(&fresh).await;
    assert!(!kids(&http).await.contains(&stolen.to_owned()), "it is published no longer");

    logs += &stop(acme.service).await;
    let service_token = acme.installation.setting("SCRIP_VAULT_TOKEN");
    let secrets = [&billing.secret, &chat.secret, &acme.operator.secret, service_token];
    for secret in secrets.into_iter().chain([&leaked, &kept, &next, &bystander, &fresh]) {
        assert!(!logs.contains(secret.as_str()), "n134: a secret reached the log");
    }
}

async fn accepted_offline(cli: &Cli, jwks: &Path, token: &str) {
    let file = jwks.with_file_name("token");
    fs::write(&file, token).unwrap();
    let verify = ["token", "verify", "--audience", "llm-gateway", "--env", "prod", "--jwks"];
    let files = [jwks.to_str().unwrap(), "--token-file", file.to_str().unwrap()];
    let verdict = cli.json(&[&verify[..], &files].concat()).await;
    assert_eq!((&verdict["accepted"], &verdict["claims"]["env"]), (&true.into(), &"prod".into()));
}

async fn restart(acme: Acme, logs: &mut String) -> Acme {
    *logs += &stop(acme.service).await;
    let service = acme.installation.serve().await;
    Acme { service, ..acme }
}

/// Ends the service in good order; returns all that it wrote.
async fn stop(service: Service) -> String {
    let process = service.stop().await;
    process.stdout() + &process.stderr()
}

async fn kids(http: &Http) -> Vec<String> {
    let jwks = http.published("/.well-known/jwks.json").await.body;
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn jti(token: &str) -> String {
    let payload = Compact::parse(token.as_bytes(), MAX_TOKEN_BYTES).unwrap().payload;
    Claims::parse(&payload).unwrap().jti.to_string()
}
