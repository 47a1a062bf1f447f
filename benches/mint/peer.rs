//! `mint_over_vault_cpu`: tokens for each second of processor time, ours over Vault's.

use crate::field::Field;
use crate::figures::ratio;
use crate::harness::service::Installation;
use crate::harness::vault::FileVault;
use crate::load::Requests;
use crate::side::{Side, interleaved, table};
use serde_json::json;

const CLIENTS: usize = 10;

pub(crate) async fn run(rounds: u64) {
    let sqlite = Field::new(Installation::on_sqlite(), CLIENTS).await;
    let postgres = Field::new(Installation::on_postgres().await, CLIENTS).await;
    let vault = FileVault::start().await;
    let address = vault.admin.address.trim_start_matches("http://").parse().expect("an address");
    let requests = identity_tokens(&vault).await;
    let mut sides = [
        Side::new("vault, identity token, raft", address, vault.pid(), requests),
        sqlite.side("sqlite"),
        postgres.side("postgres"),
    ];
    interleaved(&mut sides, rounds).await;
    table("64 connections, ES256; the processor time is that of the server process alone", &sides);
    let [vault, sqlite, postgres] = &sides;
    let what = "tokens for each CPU second of the server, SQLite within it, over Vault's; >= 20";
    ratio("mint_over_vault_cpu", sqlite.by_cpu() / vault.by_cpu(), what);
    let what = "the same on Postgres, whose own processes are not counted";
    ratio("mint_over_vault_cpu_postgres", postgres.by_cpu() / vault.by_cpu(), what);
}

/// Prepares Vault's own tokens for somebody who has logged in, as its manual says.
async fn identity_tokens(vault: &FileVault) -> Requests {
    let admin = &vault.admin;
    let policy = r#"path "identity/oidc/token/bench" { capabilities = ["read"] }"#;
    admin.put_policy("bench", policy).await;
    admin.post("sys/auth/userpass", json!({"type": "userpass"})).await;
    let user = json!({"password": "of-the-bench", "token_policies": ["bench"]});
    admin.post("auth/userpass/users/bench", user).await;
    let key = json!({"algorithm": "ES256", "allowed_client_ids": ["*"]});
    admin.post("identity/oidc/key/bench", key).await;
    admin.post("identity/oidc/role/bench", json!({"key": "bench", "ttl": "5m"})).await;
    let login = admin.post("auth/userpass/login/bench", json!({"password": "of-the-bench"})).await;
    let token = login["auth"]["client_token"].as_str().expect("a token");
    let request = format!(
        "GET /v1/identity/oidc/token/bench HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\n\r\n"
    );
    [request.into_bytes()].into()
}
