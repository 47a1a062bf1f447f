//! What the service refuses to start from, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::api::{Api, Client, Reply, run};
use super::raw;
use crate::harness::process::Signal;
use crate::harness::service::{Installation, Operator};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn n118_a_second_service_on_the_same_file_is_refused() {
    let api = Api::start().await;
    for arguments in [&["serve"][..], &["bootstrap"], &["migrate"]] {
        let (done, said) = run(&api.installation.replica(), arguments).await;
        assert!(!done && said.contains("another process has it open"), "{arguments:?}: {said}");
    }
    assert_eq!(api.get("/.well-known/jwks.json").await.status, StatusCode::OK);
}

#[tokio::test]
async fn n120_a_database_of_a_newer_release_is_refused() {
    let api = Api::start().await;
    api.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let Api { installation, service, .. } = api;
    service.stop().await;
    for command in ["serve", "bootstrap", "migrate"] {
        let (done, said) = run(&installation, &[command]).await;
        assert!(!done && said.contains("newer than this binary"), "{command}: {said}");
    }
}

#[tokio::test]
async fn keys_that_others_can_read_or_that_are_gone_are_refused() {
    let installation = Installation::on_sqlite();
    installation.bootstrap().await;
    let keys: Vec<_> = fs::read_dir(installation.folder.path().join("keys"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .collect();
    assert_eq!(keys.len(), 5, "active, next, feed, root, digest");
    for key in &keys {
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(key, fs::Permissions::from_mode(0o640)).unwrap();
        for command in ["serve", "bootstrap"] {
            let (done, said) = run(&installation, &[command]).await;
            assert!(!done && said.contains("can be read by others"), "{command}: {said}");
        }
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let away = keys[0].with_extension("away");
    fs::rename(&keys[0], &away).unwrap();
    for command in ["serve", "bootstrap"] {
        let (done, said) = run(&installation, &[command]).await;
        assert!(!done && said.contains(keys[0].file_name().unwrap().to_str().unwrap()), "{said}");
    }
    assert!(!keys[0].exists(), "a key on record is never made anew");
    fs::rename(away, &keys[0]).unwrap();
    installation.serve().await.stop().await;
}

#[tokio::test]
async fn another_issuer_than_the_tokens_have_is_refused() {
    let installation = Installation::on_sqlite();
    installation.bootstrap().await;
    let moved = installation.set("SCRIP_ISSUER", "https://elsewhere.example");
    for command in ["serve", "bootstrap"] {
        let (done, said) = run(&moved, &[command]).await;
        assert!(!done && said.contains("issuer"), "{command}: {said}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_the_settings_is_said_at_once_without_their_values() {
    let installation = Installation::on_sqlite()
        .set("SCRIP_ISSUER", "http://sts.example")
        .set("SCRIP_TLS_CERT", "cert.pem")
        .set("SCRIP_HEARTBEAT", "0")
        .set("SCRIP_DATABASE_URL_FILE", "database")
        .set("SCRIP_DATABASE_URL", "postgres://scrip:pass-phrase@db/scrip");
    let (done, said) = run(&installation, &["serve"]).await;
    assert!(!done);
    for name in ["SCRIP_ISSUER", "SCRIP_TLS_KEY", "SCRIP_HEARTBEAT", "SCRIP_DATABASE_URL_FILE"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(!said.contains("pass-phrase"), "{said}");
}

#[tokio::test]
async fn what_was_begun_is_finished_before_the_end() {
    let api = Api::start().await;
    let client = api.billing().await;
    let body = format!(
        "grant_type=client_credentials&client_id=acme%2Fbilling&client_secret={}",
        client.secret
    );
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (first, last) = body.split_at(body.len() - 1);
    let mut slow = raw::connect(&api).await;
    slow.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
    // Answered on a connection of its own: the service has taken up the slow one before it.
    assert_eq!(api.get("/.well-known/jwks.json").await.status, StatusCode::OK);
    let Api { installation, mut service, operator, .. } = api;
    service.process.signal(Signal::Terminate);
    service
        .process
        .until(async || {
            tokio::net::TcpStream::connect(installation.url().trim_start_matches("http://"))
                .await
                .err()
        })
        .await;
    slow.write_all(last.as_bytes()).await.unwrap();
    let answer = raw::rest(&mut slow).await;
    assert_eq!(raw::status(&answer), 200, "{answer}");
    assert!(service.process.exit().await.success(), "{}", service.process);

    let jti = answer.split("\"jti\":\"").nth(1).and_then(|rest| rest.get(..36)).unwrap().to_owned();
    let Client { id, secret } = operator;
    let api = Api::over(installation, Client { id, secret }).await;
    let shown = api.read(&format!("/v1/tokens/{jti}")).await;
    assert_eq!(shown.json()["client"], "acme/billing", "{shown:?}");
}

#[tokio::test]
async fn the_first_operator_is_made_once() {
    let installation = Installation::on_sqlite();
    let Operator { id, secret } = installation.bootstrap().await;
    let (done, said) = run(&installation, &["bootstrap"]).await;
    assert!(done && !said.contains("scrip_mc_"), "{said}");
    let api = Api::over(installation, Client { id, secret }).await;
    let shown = api.read("/v1/clients/ops/admin").await.json();
    assert_eq!((&shown["source"], &shown["policy"]), (&json!("embedded"), &json!("ops/operator")));
    let deleted = api.request(Method::DELETE, "/v1/clients/ops/admin").bearer_auth(&api.bearer);
    assert_eq!(Reply::to(deleted).await.status, StatusCode::NO_CONTENT);
    let Api { installation, service, .. } = api;
    service.stop().await;
    let (done, said) = run(&installation, &["bootstrap"]).await;
    assert!(done && !said.contains("scrip_mc_"), "what was deleted does not come back: {said}");
}
