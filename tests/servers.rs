//! The servers that the other tests lean on are real, and fail the way real ones do.

use crate::harness::postgres::{Cluster, database};
use crate::harness::process::{Process, Signal};
use crate::harness::vault::{DevVault, FileVault};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::process::Command;

const PATH: &str = "scrip/acme/billing";

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (first, second) = tokio::join!(database(), database());
    let mut first = PgConnection::connect(&first).await.unwrap();
    let mut second = PgConnection::connect(&second).await.unwrap();
    sqlx::raw_sql("create table only_here (n int)").execute(&mut first).await.unwrap();
    assert!(sqlx::raw_sql("select n from only_here").execute(&mut second).await.is_err());
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut second).await.unwrap();
    assert_eq!(fsync, "on");
}

#[tokio::test]
async fn postgres_keeps_what_it_committed_when_it_is_killed() {
    let mut cluster = Cluster::start(&[]).await;
    let url = cluster.database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("create table kept (n int); insert into kept values (41)")
        .execute(&mut connection)
        .await
        .unwrap();
    for round in 1..=2 {
        cluster.kill().await;
        assert!(PgConnection::connect(&url).await.is_err(), "round {round}: it still answers");
        cluster.restart().await;
    }
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let kept: i32 =
        sqlx::query_scalar("select n from kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(kept, 41);
}

#[tokio::test]
async fn vault_keeps_versions() {
    let server = DevVault::start().await;
    let vault = &server.admin;
    assert_eq!(vault.put_secret(PATH, "first").await, 1);
    assert_eq!(vault.put_secret(PATH, "second").await, 2);
    assert_eq!(vault.secret(PATH, 1).await.as_deref(), Some("first"));

    vault.delete_version(PATH, 2).await;
    assert_eq!(vault.secret(PATH, 2).await, None);
    vault.undelete_version(PATH, 2).await;
    assert_eq!(vault.secret(PATH, 2).await.as_deref(), Some("second"));
    vault.destroy_version(PATH, 1).await;
    vault.undelete_version(PATH, 1).await;
    assert_eq!(vault.secret(PATH, 1).await, None);
    let metadata = vault.get(&format!("secret/metadata/{PATH}")).await;
    assert_eq!(metadata["data"]["versions"]["1"]["destroyed"], json!(true));
}

#[tokio::test]
async fn vault_is_sealed_killed_and_comes_back_with_what_it_had() {
    let mut vault = FileVault::start().await;
    vault.admin.put_secret(PATH, "durable").await;

    vault.seal().await;
    let (status, _) = vault.admin.send(Method::GET, &format!("secret/data/{PATH}"), None).await;
    assert_eq!(status, 503);
    vault.unseal().await;
    assert_eq!(vault.admin.secret(PATH, 1).await.as_deref(), Some("durable"));

    vault.kill().await;
    assert_eq!(vault.admin.health().await, None);
    vault.restart().await;
    vault.unseal().await;
    assert_eq!(vault.admin.secret(PATH, 1).await.as_deref(), Some("durable"));
}

#[tokio::test]
async fn vault_policies_allow_what_they_say_and_no_more() {
    let server = DevVault::start().await;
    let root = &server.admin;
    root.put_policy("scrip", include_str!("../deploy/vault/scrip-policy.hcl")).await;
    root.put_policy("scrip-rotate", include_str!("../deploy/vault/scrip-rotate-policy.hcl")).await;
    root.put_secret(PATH, "the client's").await;
    root.put_secret("elsewhere/acme/billing", "not Scrip's").await;
    let status = async |policies: &[&str], method: Method, path: &str| {
        let body = (method == Method::POST)
            .then(|| json!({"data": {"secret": "new"}, "options": {"cas": 1}}));
        root.with_policies(policies).await.send(method, path, body).await.0
    };

    let (data, metadata) = (format!("secret/data/{PATH}"), format!("secret/metadata/{PATH}"));
    assert_eq!(status(&["scrip"], Method::GET, &data).await, 200);
    assert_eq!(status(&["scrip"], Method::GET, &metadata).await, 200);
    let list = || Method::from_bytes(b"LIST").unwrap();
    assert_eq!(status(&["scrip"], list(), "secret/metadata/scrip").await, 200);
    assert_eq!(status(&["scrip"], list(), "secret/metadata/scrip/acme").await, 200);
    assert_eq!(status(&["scrip"], list(), "secret/metadata").await, 403);
    assert_eq!(status(&["scrip"], list(), "secret/metadata/elsewhere").await, 403);
    assert_eq!(status(&["scrip"], Method::GET, "secret/data/elsewhere/acme/billing").await, 403);
    assert_eq!(status(&["scrip"], Method::POST, &data).await, 403);
    assert_eq!(status(&["scrip"], Method::DELETE, &metadata).await, 403);

    let both = ["scrip", "scrip-rotate"];
    assert_eq!(status(&both, Method::POST, &data).await, 200);
    assert_eq!(status(&both, Method::DELETE, &metadata).await, 403);
    assert_eq!(status(&both, Method::POST, "secret/data/elsewhere/acme/billing").await, 403);
}

#[tokio::test]
async fn vault_lets_workloads_log_in() {
    let server = DevVault::start().await;
    let vault = &server.admin;
    let role = vault
        .enable_approle("scrip", json!({"token_policies": ["default"], "token_ttl": "20s"}))
        .await;
    let login = json!({"role_id": role.role_id, "secret_id": role.secret_id});
    let reply = vault.post("auth/approle/login", login).await;
    assert_eq!(reply["auth"]["lease_duration"], json!(20));

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let settings = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["default"],
    });
    vault.enable_kubernetes(&key.public_key_pem(), "scrip", settings).await;
    let login = async |audience: &str| {
        let claims = json!({"sub": "system:serviceaccount:scrip", "aud": audience, "nbf": 1, "exp": 4_000_000_000_u64});
        let signer = EncodingKey::from_ec_der(&key.serialize_der());
        let jwt = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &signer).unwrap();
        vault
            .send(Method::POST, "auth/kubernetes/login", Some(json!({"role": "scrip", "jwt": jwt})))
            .await
            .0
    };
    assert_eq!(login("vault").await, 200);
    assert_eq!(login("somebody else").await, 400);
}

#[tokio::test]
async fn a_process_is_heard_and_ended() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap 'exit 7' TERM; read -r line; echo aside >&2; echo \"heard $line\"; while :; do :; done"]);
    let mut process = Process::start(command);
    process.write_line("a word");
    assert_eq!(process.line(|line| line.starts_with("heard")).await, "heard a word");
    process.signal(Signal::Stop);
    process.signal(Signal::Terminate);
    assert_eq!(process.ended(), None, "a stopped process handles no signal");
    process.signal(Signal::Continue);
    assert_eq!(process.exit().await.code(), Some(7));
    assert_eq!(process.stderr(), "aside\n");
}
