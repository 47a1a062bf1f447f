use std::{fs, path::Path, process::Command};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use scrip::vault::{MAX_BODY_BYTES, Reason, Vault, VaultError};
use serde_json::json;
use tempfile::TempDir;

use super::{
    FIRST, PATH, billing, connect, good,
    proxy::{Mode, Proxy},
    settings, token,
};
use crate::harness::{
    process::{Process, free_port},
    vault::{DevVault, vault},
};

/// The variable that vaultrs and Vault's own client read.
const SKIP_VERIFY: &str = "VAULT_SKIP_VERIFY";

#[tokio::test]
async fn n132_a_certificate_is_always_checked() {
    let authority = Authority::new("Scrip's tests");
    let right = TlsVault::start(&authority, "127.0.0.1").await;
    let reason = away(&right, Some(&authority)).await;
    let sealed = Reason::Refused { status: 503, said: Some("Vault is sealed") };
    assert_eq!(reason, sealed, "a Vault that nobody initialised, behind TLS that is right");

    let unknown = away(&right, None).await.to_string();
    assert!(unknown.contains("UnknownIssuer"), "self-signed: {unknown}");
    let stranger = away(&right, Some(&Authority::new("Somebody"))).await.to_string();
    assert!(stranger.contains("invalid peer certificate"), "another authority: {stranger}");
    let elsewhere = TlsVault::start(&authority, "vault.example").await;
    let wrong = away(&elsewhere, Some(&authority)).await.to_string();
    assert!(wrong.contains("not valid for name"), "wrong host: {wrong}");
}

/// The same test in a process of its own: the environment is read by whoever likes to.
#[test]
fn n132_no_variable_turns_the_check_off() {
    let name = concat!(module_path!(), "::n132_a_certificate_is_always_checked");
    let name = name.split_once("::").unwrap().1;
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(SKIP_VERIFY, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && stdout.contains("1 passed"), "{stdout}");
}

#[tokio::test]
async fn n133_an_answer_without_end_is_cut() {
    let server = DevVault::start().await;
    let proxy = Proxy::start(&server.admin.address).await;
    server.admin.put_secret(PATH, FIRST).await;
    let fixture = connect(&server.admin, &proxy.address);
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));

    for header in ["Content-Length: 104857600", "Transfer-Encoding: chunked"] {
        let before = proxy.flooded();
        proxy.switch(Mode::Flood(format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n")));
        let read = fixture.credentials.vault().versions(&billing()).await;
        assert_eq!(read.unwrap_err(), VaultError::Away(Reason::TooLarge), "{header}");
        // What the kernel holds for a connection comes on top.
        assert!(proxy.flooded() - before < MAX_BODY_BYTES * 16, "{header}");
    }
    let asked = proxy.requests().to_ascii_lowercase();
    assert!(asked.contains("x-vault-request: true"));
    assert!(!asked.contains("accept-encoding"), "nobody is invited to send a bomb");
}

#[tokio::test]
async fn n133_an_answer_that_is_not_vaults_decides_nothing() {
    let server = DevVault::start().await;
    let proxy = Proxy::start(&server.admin.address).await;
    server.admin.put_secret(PATH, FIRST).await;
    let fixture = connect(&server.admin, &proxy.address);
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));

    for body in [
        "<html>Log in</html>",
        "{}",
        r#"{"data":{"current_version":2,"versions":{}}}"#,
        r#"{"data":{"current_version":1,"versions":{"1":{"created_time":"yesterday","deletion_time":"","destroyed":false}}}}"#,
    ] {
        let length = body.len();
        proxy.switch(Mode::Answer(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )));
        let read = fixture.credentials.vault().versions(&billing()).await;
        assert_eq!(read.unwrap_err(), VaultError::Away(Reason::Unreadable), "{body}");
        fixture.refresh().await;
        assert_eq!(good(&fixture.prove(FIRST).await), Some(1), "{body}");
    }
}

#[tokio::test]
async fn every_request_names_the_namespace() {
    let server = DevVault::start().await;
    let proxy = Proxy::start(&server.admin.address).await;
    let mut settings = settings(&proxy.address, token(&server.admin.token));
    settings.namespace = Some("team".to_owned());
    let vault = Vault::start(settings).unwrap();
    // Namespaces are Vault Enterprise's: whatever this one makes of it, the requests say so.
    let _ = vault.versions(&billing()).await;
    let asked = proxy.requests().to_ascii_lowercase();
    let requests = asked.matches("x-vault-request: true").count();
    assert!(requests > 0);
    assert_eq!(asked.matches("x-vault-namespace: team").count(), requests);
}

#[test]
fn an_address_that_cannot_be_right_is_refused() {
    for address in [
        "ftp://vault",
        "file:///vault",
        "http://user@vault",
        "https://:secret@vault",
        "https://vault?token=x",
        "https://vault/#x",
    ] {
        assert!(Vault::start(settings(address, token("x"))).is_err(), "{address}");
    }
}

async fn away(server: &TlsVault, trusted: Option<&Authority>) -> Reason {
    let folder = TempDir::new().unwrap();
    let mut settings = settings(&server.address, token("x"));
    settings.ca = trusted.map(|authority| authority.write(folder.path()));
    let vault = Vault::start(settings).unwrap();
    match vault.versions(&billing()).await {
        Err(VaultError::Away(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn write(&self, folder: &Path) -> std::path::PathBuf {
        let file = folder.join("ca.pem");
        fs::write(&file, self.0.pem()).unwrap();
        file
    }
}

/// A real Vault behind TLS; not initialised, which it says to whoever completes the handshake.
struct TlsVault {
    address: String,
    _process: Process,
    _home: TempDir,
}

impl TlsVault {
    async fn start(authority: &Authority, host: &str) -> Self {
        let home = TempDir::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority.0).unwrap();
        let (cert, pem) = (home.path().join("cert.pem"), home.path().join("key.pem"));
        fs::write(&cert, certificate.pem()).unwrap();
        fs::write(&pem, key.serialize_pem()).unwrap();
        let port = free_port();
        let config = json!({
            "storage": {"inmem": {}},
            "listener": {"tcp": {
                "address": format!("127.0.0.1:{port}"), "tls_cert_file": cert, "tls_key_file": pem,
            }},
            "disable_mlock": true,
        });
        fs::write(home.path().join("config.json"), config.to_string()).unwrap();
        let mut command = vault(&home);
        command.arg("server").arg("-config").arg(home.path().join("config.json"));
        let mut process = Process::start(command);
        process
            .until(async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok())
            .await;
        Self { address: format!("https://127.0.0.1:{port}"), _process: process, _home: home }
    }
}
