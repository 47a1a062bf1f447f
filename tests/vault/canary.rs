use std::{
    io,
    sync::{Arc, Mutex},
};

use scrip::vault::Proof;
use secrecy::SecretString;
use serde_json::json;
use tracing_subscriber::{fmt::MakeWriter, util::SubscriberInitExt};

use super::{
    FIRST, Fixture, SECOND, WRONG, billing, good,
    login::{approle, with},
    proxy::{Mode, Proxy},
    settings,
};
use crate::harness::vault::DevVault;

#[tokio::test]
async fn n134_no_secret_reaches_a_log_an_error_or_debug() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _guard = subscriber.set_default();

    let server = DevVault::start().await;
    let proxy = Proxy::start(&server.admin.address).await;
    let role = approle(&server.admin, json!({"token_ttl": "1h"})).await;
    let chosen = settings(&proxy.address, with(&role));
    tracing::info!(?chosen, "chosen");
    let fixture = Fixture::new(chosen);
    let vault = fixture.credentials.vault();
    let mut said = String::new();

    vault.write(&billing(), &SecretString::from(FIRST), 0).await.unwrap();
    said += &format!("{:?}", vault.write(&billing(), &SecretString::from(SECOND), 7).await);
    said += &format!("{:?}", vault.secret(&billing(), 1).await);
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
    assert_eq!(fixture.prove(WRONG).await, Proof::Bad);
    // Vault's words are not repeated either: somebody between may echo what was sent.
    for status in [400, 403, 500] {
        let body = json!({"errors": [proxy.requests()]}).to_string();
        let length = body.len();
        proxy.switch(Mode::Answer(format!(
            "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )));
        said += &format!("{:?}", vault.secret(&billing(), 1).await);
        said += &format!("{:?} {:?}", fixture.prove(WRONG).await, vault.away());
        proxy.switch(Mode::Forward);
        fixture.comes_back().await;
    }

    let sent = proxy.requests();
    let token = sent.split("x-vault-token: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    assert!(sent.contains(FIRST) && sent.contains(&role.secret_id), "they did travel");
    let log = log.text();
    assert!(log.contains("TRACE") && log.contains("logged in at Vault"), "the log is complete");
    for secret in [FIRST, SECOND, WRONG, token, &role.role_id, &role.secret_id] {
        assert!(!log.contains(secret), "in the log: {}", line_with(&log, secret));
        assert!(!said.contains(secret), "in an error: {said}");
    }
}

fn line_with<'a>(log: &'a str, secret: &str) -> &'a str {
    log.lines().find(|line| line.contains(secret)).unwrap_or_default()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
