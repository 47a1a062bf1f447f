//! `mint_over_vault_cpu`: tokens for each second of processor time, ours over Vault's.
//!
//! Vault is there twice: as it comes, and doing what the service does too, which is to record what it
//! issues (an audit device) and to say what the token permits (a template).

use serde_json::{Value, json};

use crate::field::Field;
use crate::figures::ratio;
use crate::harness::service::Installation;
use crate::harness::vault::FileVault;
use crate::side::{Side, interleaved, table};

const CLIENTS: usize = 10;
const PERMITS: &str = r#"{"tenant": "acme", "env": "prod", "scope": "llm:chat llm:embed db:private-documents",
    "client_id": {{identity.entity.name}}, "models": ["gpt-4o-mini", "claude-haiku-4-5"],
    "budget": {"tokens": 50000, "request_tokens": 2000, "requests": 100},
    "cidrs": ["10.20.0.0/16", "2001:db8:20::/48"]}"#;

pub(crate) async fn run(rounds: u64) {
    let sqlite = Field::new(Installation::on_sqlite(), CLIENTS).await;
    let postgres = Field::new(Installation::on_postgres().await, CLIENTS).await;
    let (plain, alike) = (FileVault::start().await, FileVault::start().await);
    let log = json!({"type": "file", "options": {"file_path": "/dev/null"}});
    alike.admin.put("sys/audit/file", log).await;
    let mut sides = [
        side("vault", &plain, json!({})).await,
        side("vault, audited, with our claims", &alike, json!({"template": PERMITS})).await,
        sqlite.side("sqlite"),
        postgres.side("postgres"),
    ];
    interleaved(&mut sides, rounds).await;
    table("64 connections, ES256; the processor time is that of the server process alone", &sides);
    let [vault, alike, sqlite, postgres] = sides.each_ref().map(Side::by_cpu);
    let what = "tokens for each CPU second of the server, SQLite within it, over Vault's; >= 20";
    ratio("mint_over_vault_cpu", sqlite / vault, what);
    let what = "the same, over Vault's that are audited and have our claims";
    ratio("mint_over_vault_cpu_alike", sqlite / alike, what);
    let what = "as the first, on Postgres, whose own processes are not counted";
    ratio("mint_over_vault_cpu_postgres", postgres / vault, what);
}

/// Vault's identity tokens for somebody who has logged in, as its manual says.
async fn side(name: &'static str, vault: &FileVault, mut role: Value) -> Side {
    let admin = &vault.admin;
    let policy = r#"path "identity/oidc/token/bench" { capabilities = ["read"] }"#;
    admin.put_policy("bench", policy).await;
    admin.post("sys/auth/userpass", json!({"type": "userpass"})).await;
    let user = json!({"password": "of-the-bench", "token_policies": ["bench"]});
    admin.post("auth/userpass/users/bench", user).await;
    let key = json!({"algorithm": "ES256", "allowed_client_ids": ["*"]});
    admin.post("identity/oidc/key/bench", key).await;
    role["key"] = json!("bench");
    role["ttl"] = json!("5m");
    admin.post("identity/oidc/role/bench", role).await;
    let login = admin.post("auth/userpass/login/bench", json!({"password": "of-the-bench"})).await;
    let token = login["auth"]["client_token"].as_str().expect("a token");
    let request = format!(
        "GET /v1/identity/oidc/token/bench HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\n\r\n"
    );
    let address = admin.address.trim_start_matches("http://").parse().expect("an address");
    Side::new(name, address, vault.process.pid(), [request.into_bytes()].into())
}
