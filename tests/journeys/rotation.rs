use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::faketime::FakeTime;
use crate::harness::follower::Follower;
use crate::harness::postgres::Cluster;
use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::vault::DevVault;
use crate::harness::vault::admin::Admin;
use crate::vault::proxy::{Mode, Proxy};
use scrip::clock;
use scrip_client::{MasterCredential, TokenSource, Vault, VaultAuth};
use scrip_token::compact::from_base64url;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use std::collections::BTreeSet;
use std::fs;
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

/// Vault is asked before the database falls silent, and answers after: it is heard of once.
#[tokio::test]
async fn a_version_that_vault_ends_while_the_database_is_away_ends_when_it_is_back() {
    let vault = DevVault::start().await;
    let between = Proxy::start(&vault.admin.address).await;
    let cluster = Cluster::start(&[]).await;
    let installation = Installation::on(&cluster.database().await).with_vault(&vault.admin).await;
    let installation = installation.set("SCRIP_VAULT_ADDR", &between.address);
    let installation = installation.set("SCRIP_VAULT_REFRESH", "1").set("SCRIP_HEARTBEAT", "1");
    let acme = Acme::found(installation).await;
    let billing = acme.in_vault("acme/billing", &vault.admin, &[]).await;
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    let token = billing.token(&[]).await;
    gateway.accepts(&token).await;

    // Just after one look, and so most of a second before the next.
    looked(&between).await;
    billing.token(&[]).await;
    between.switch(Mode::Hang);
    vault.admin.destroy_version(PATH, 1).await;
    looked(&between).await;
    cluster.freeze();
    between.switch(Mode::Forward);
    until("its end cannot be recorded", PATIENCE, async || {
        acme.service.process.stderr().contains("not on record").then_some(())
    })
    .await;
    cluster.thaw();
    gateway.learns_of(&token).await;
    assert_eq!(mint_status(&acme, &billing).await, 401);
}

/// The service's clock is ahead of the database's and of Vault's, which are right.
#[tokio::test]
async fn n110_a_clock_that_is_ahead_ends_no_version_early_and_misses_none() {
    let vault = DevVault::start().await;
    let between = Proxy::start(&vault.admin.address).await;
    let clock = FakeTime::right();
    let right = Installation::on_postgres().await.with_vault(&vault.admin).await;
    let right = right.set("SCRIP_VAULT_ADDR", &between.address);
    let right = right.set("SCRIP_VAULT_REFRESH", "1").set("SCRIP_HEARTBEAT", "1");
    let acme = Acme::found(right.clone().living_by(clock.environment())).await;
    let old = acme.in_vault("acme/billing", &vault.admin, &["--overlap", "300"]).await;
    let gateway = Cli::new(&right, &acme.gateway.id, &acme.gateway.secret);
    let mut gateway = Follower::start(&gateway, &[]).await;
    let of_old = old.token(&["--ttl", "600"]).await;
    acme.operator.run(&["client", "rotate", "acme/billing"]).await;

    // Beyond the overlap, and not beyond the token's life.
    clock.move_by(400);
    // When the third look begins, one that began by this clock is over.
    for _ in 0..3 {
        looked(&between).await;
    }
    let later = old.token(&["--ttl", "600"]).await;
    gateway.accepts(&of_old).await;

    // Beyond everything.
    clock.move_by(3600);
    vault.admin.destroy_version(PATH, 1).await;
    gateway.learns_of(&of_old).await;
    gateway.learns_of(&later).await;
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

#[tokio::test]
async fn a_rotation_whose_caller_hangs_up_is_done_to_its_end() {
    let vault = DevVault::start().await;
    let acme = with_quick_refresh(&vault.admin).await;
    let old = acme.in_vault("acme/billing", &vault.admin, &[]).await;
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    let token = old.token(&[]).await;
    gateway.accepts(&token).await;
    let operator = acme.operator.token(&["--audience", "self", "--scope", "scrip:clients"]).await;

    // Vault is written, and the database is busy.
    let url = acme.installation.setting("SCRIP_DATABASE_URL");
    let mut busy = SqliteConnection::connect(url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut busy).await.unwrap();
    let rotation = reqwest::Client::builder().no_proxy().build().unwrap();
    let rotation = rotation
        .post(format!("{}/v1/clients/acme/billing/rotate", acme.installation.url()))
        .bearer_auth(operator)
        .json(&json!({"revoke": true}));
    let rotation = tokio::spawn(rotation.send());
    until("Vault has the new version", PATIENCE, async || vault.admin.secret(PATH, 2).await).await;
    rotation.abort();
    assert!(rotation.await.unwrap_err().is_cancelled());
    sqlx::raw_sql("ROLLBACK").execute(&mut busy).await.unwrap();

    gateway.learns_of(&token).await;
    assert_eq!(mint_status(&acme, &old).await, 401);
}

#[tokio::test]
async fn n130_a_workload_renews_through_a_scheduled_rotation_and_no_request_fails() {
    let vault = DevVault::start().await;
    let acme = with_quick_refresh(&vault.admin).await;
    rotates_by_itself(&acme).await;
    let old = acme.in_vault("acme/billing", &vault.admin, &["--overlap", "55"]).await;
    let workload = workload(&acme, &vault.admin).await;
    let mut gateway = Follower::start(&acme.gateway, &[]).await;
    let first = workload.token().await.expect("a token of the old secret");
    assert!(cred(first.expose()).starts_with("vault:1."));

    // Due when its overlap would be over: the service replaces it now, and nobody else does anything.
    let due = (clock::now_seconds() + 55).to_string();
    acme.operator.run(&["client", "set", "acme/billing", "--rotate-by", &due]).await;
    let mut creds = BTreeSet::new();
    let mut requests = 0;
    let is_over = async || match acme.http().mint(&old, &[], None).await {
        Ok(answer) if answer.status == 401 => true,
        answer => {
            assert_eq!(answer.expect("the service answers").status, 200);
            false
        }
    };
    while !is_over().await {
        for _ in 0..20 {
            let token = workload.token().await.expect("there is always one");
            gateway.accepts(token.expose()).await;
            creds.insert(cred(token.expose()));
            requests += 1;
        }
    }
    let last = workload.token().await.expect("there is always one");
    gateway.accepts(last.expose()).await;
    assert!(cred(last.expose()).starts_with("vault:2."), "{creds:?}");
    assert_eq!(creds.len(), 2, "{creds:?}");
    assert!(requests > 100, "only {requests} requests saw the rotation");

    let shown = acme.operator.json(&["client", "show", "acme/billing"]).await;
    assert_eq!(shown["warnings"], serde_json::json!([]), "{shown}");
    assert!(shown["rotated"].is_string() && shown["rotate_by"].is_null(), "{shown}");
    assert_eq!(rotations(&acme).await, [("acme/billing".to_owned(), "schedule".to_owned())]);
    assert_eq!(vault.admin.secret(PATH, 3).await, None, "there is one new secret");
}

#[tokio::test]
async fn n130_two_replicas_replace_each_secret_once() {
    let vault = DevVault::start().await;
    let installation = Installation::on_postgres().await.with_vault(&vault.admin).await;
    let acme = Acme::found(installation.set("SCRIP_VAULT_REFRESH", "1")).await;
    let replica = acme.installation.replica();
    let _other = replica.serve().await;
    rotates_by_itself(&acme).await;
    let due = (clock::now_seconds() + 3600 + 8).to_string();
    let names = ["acme/a", "acme/b", "acme/c", "acme/d", "acme/e", "acme/f"];
    for name in names {
        acme.in_vault(name, &vault.admin, &["--overlap", "3600", "--rotate-by", &due]).await;
    }
    until("all are replaced", PATIENCE, async || {
        (rotations(&acme).await.len() >= names.len()).then_some(())
    })
    .await;
    // Somebody else's rotation is noticed as well, by whichever replica is asked, and repeated by none.
    let secret = "written-by-somebody-else-0123456789-abcdef";
    assert_eq!(vault.admin.put_secret("scrip/acme/a", secret).await, 3);
    for installation in [&acme.installation, &replica] {
        Cli::new(installation, "acme/a", secret).token(&[]).await;
    }
    until("it is noticed", PATIENCE, async || {
        (rotations(&acme).await.len() > names.len()).then_some(())
    })
    .await;
    let of_whom: Vec<String> = rotations(&acme).await.into_iter().map(|(whose, _)| whose).collect();
    assert_eq!(
        of_whom,
        [&names[..1], &names[..]].concat(),
        "each once, and the one that was noticed"
    );
    for name in &names[1..] {
        let path = format!("scrip/{name}");
        assert!(vault.admin.secret(&path, 2).await.is_some(), "{name} has a new secret");
        assert_eq!(vault.admin.secret(&path, 3).await, None, "{name} has no other");
    }
}

#[tokio::test]
async fn secrets_that_vault_has_become_clients_and_go_on() {
    let vault = DevVault::start().await;
    let acme = with_quick_refresh(&vault.admin).await;
    let secret = "the-secret-of-the-batch-job-0123456789";
    for (name, secret) in [("acme/batch", secret), ("acme/tool", secret), ("acme/weak", "weak")] {
        vault.admin.put_secret(&format!("scrip/{name}"), secret).await;
    }
    let import = async |arguments: &[&str]| {
        let outcome = acme.operator.outcome(&[&["client", "import"], arguments].concat()).await;
        assert!(!outcome.stdout.contains(secret), "{outcome:?}");
        outcome
    };
    let shown = import(&[]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("acme/batch") && shown.stdout.contains("fewer than 32"));

    let batch = Cli::new(&acme.installation, "acme/batch", secret);
    let policy = ["--policy", "acme/chat-assistant"];
    let dry = import(&[&["acme/batch", "--dry-run"], &policy[..]].concat()).await;
    assert!(dry.code == Some(0) && dry.stdout.contains("would be registered"), "{dry:?}");
    assert_eq!(mint_status(&acme, &batch).await, 401);
    let done = import(&[&["acme/batch"], &policy[..]].concat()).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(mint_status(&acme, &batch).await, 200);
    assert_eq!(vault.admin.secret("scrip/acme/batch", 2).await, None, "nothing was written");

    let all = import(&[&["--all", "--json"], &policy[..]].concat()).await;
    assert_eq!(all.code, Some(1), "one of them cannot be: {all:?}");
    let rows: Value = serde_json::from_str(&all.stdout).expect("JSON");
    let outcomes: Vec<_> =
        rows.as_array().expect("a list").iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["registered", "it has fewer than 32 characters"]);
    assert_eq!(mint_status(&acme, &Cli::new(&acme.installation, "acme/tool", secret)).await, 200);
    let unknown = import(&[&["acme/batch"], &policy[..]].concat()).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
}

/// The policy of chats, under which the service replaces secrets.
async fn rotates_by_itself(acme: &Acme) {
    let chat = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/chat-assistant.toml");
    let chat = fs::read_to_string(chat).expect("it is one of ours");
    let path = acme.installation.folder.path().join("automatic.toml");
    let rotate = "rotate    = { after = 90, automatic = true }\nenv ";
    fs::write(&path, chat.replacen("env ", rotate, 1)).expect("the folder is the test's own");
    acme.operator.run(&["policy", "apply", path.to_str().expect("a plain name")]).await;
}

/// A workload that reads its own secret in Vault and does nothing else about it.
async fn workload(acme: &Acme, vault: &Admin) -> TokenSource {
    let own = format!(r#"path "secret/data/{PATH}" {{ capabilities = ["read"] }}"#);
    vault.put_policy("billing", &own).await;
    let own = vault.with_policies(&["billing"]).await;
    let token_file = acme.installation.folder.path().join("vault-token");
    fs::write(&token_file, &own.token).expect("the folder is the test's own");
    let credential = MasterCredential::Vault(Vault {
        addr: own.address,
        namespace: None,
        ca: None,
        auth: VaultAuth::TokenFile(token_file),
        mount: "secret".to_owned(),
        prefix: "scrip".to_owned(),
    });
    TokenSource::builder(acme.installation.url(), "acme/billing", credential)
        .ttl(Duration::from_secs(60))
        .reread_after(Duration::from_secs(5))
        .build()
        .expect("it is all in order")
}

/// Which version of a credential a token was traded for.
fn cred(token: &str) -> String {
    let payload = token.split('.').nth(1).and_then(from_base64url).expect("a JWS");
    let claims: Value = serde_json::from_slice(&payload).expect("claims");
    claims["cred"].as_str().expect("ours name it").to_owned()
}

/// Whose secret was replaced, and by whom, as the audit log tells.
async fn rotations(acme: &Acme) -> Vec<(String, String)> {
    let log = acme.operator.json(&["audit", "--action", "client.rotate"]).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let events = log["items"].as_array().expect("a list").iter();
    let mut all: Vec<_> =
        events.map(|event| (text(&event["target"]), text(&event["detail"]["by"]))).collect();
    all.sort();
    all
}

/// Waits until the service asks Vault for the versions once more.
async fn looked(between: &Proxy) {
    let looks = || {
        let asked = between.requests();
        asked.matches(&format!("GET /v1/secret/metadata/{PATH}")).count()
    };
    let before = looks();
    until("Vault is asked", PATIENCE, async || (looks() > before).then_some(())).await;
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
