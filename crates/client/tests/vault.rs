//! Master credentials in a real Vault: development mode with TLS, which can be sealed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use reqwest::Method;
use scrip_client::{ClientError, MasterCredential, Vault, VaultAuth};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::issuer::{CLIENT, Issuer, SECRET, error, failure, pass};
use crate::secrets::Log;

const ROOT: &str = "root-CANARYVAULT";

#[tokio::test]
async fn n134_every_login_leads_to_the_credential_and_logs_no_secret() {
    let vault = Server::start().await;
    vault.put_secret(SECRET).await;
    vault.allow_reading().await;
    for auth in [vault.token_file(), vault.approle().await, vault.kubernetes().await] {
        let issuer = Issuer::start([]).await;
        let secrets = vault.secrets();
        let log = Log::catch();
        let source = issuer.source_with(vault.credential(auth)).build().unwrap();
        source.token().await.unwrap();
        assert_eq!(issuer.requests()[0].password, SECRET);
        let log = log.text();
        assert!(log.contains("token minted") && log.contains("h2"), "the log was caught");
        for secret in secrets {
            assert!(!log.contains(&secret), "n134: {secret} is logged");
        }
    }
}

#[tokio::test]
async fn a_rotated_credential_is_read_when_the_old_one_is_refused_and_each_hour() {
    let vault = Server::start().await;
    vault.put_secret("first").await;
    let issuer = Issuer::start([]).await;
    let source = issuer.source_with(vault.credential(vault.token_file())).build().unwrap();
    let token = source.token().await.unwrap();

    vault.put_secret("second").await;
    issuer.answer(error(401, None, "invalid_client"));
    assert!(source.invalidate(&token));
    source.token().await.unwrap();
    vault.put_secret("third").await;
    pass(76.0).await;
    issuer.seen(4).await;
    issuer.settle().await;
    pass(3600.0).await;
    let passwords: Vec<_> =
        issuer.seen(5).await.into_iter().map(|request| request.password).collect();
    assert_eq!(passwords, ["first", "first", "second", "second", "third"]);
}

#[tokio::test]
async fn a_credential_that_is_refused_and_unchanged_is_not_tried_again() {
    let vault = Server::start().await;
    vault.put_secret(SECRET).await;
    let issuer = Issuer::start([error(401, None, "invalid_client")]).await;
    let source = issuer.source_with(vault.credential(vault.token_file())).build().unwrap();
    let refused = source.token().await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    assert_eq!(issuer.requests().len(), 1);
}

#[tokio::test]
async fn n126_n136_a_sealed_vault_is_waited_for_and_survived() {
    let vault = Server::start().await;
    vault.put_secret(SECRET).await;
    let issuer = Issuer::start([]).await;
    let credential = || vault.credential(vault.token_file());
    let before = issuer.source_with(credential()).build().unwrap();
    before.token().await.unwrap();

    vault.call(Method::PUT, "sys/seal", json!({})).await;
    let (during, away) = failure(issuer.source_with(credential())).await;
    assert!(matches!(away, ClientError::Away { peer: "Vault", .. }), "{away}");
    assert!(away.to_string().contains("503"), "{away}");

    let minted = issuer.requests().len();
    pass(3700.0).await;
    let requests = issuer.seen(minted + 1).await;
    assert_eq!(requests[minted].password, SECRET, "the credential read before still serves");

    vault.unseal().await;
    let recovered = async {
        while during.token().await.is_err() {
            issuer.settle().await;
            pass(1.5).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3600), recovered).await.expect("it recovers");
}

#[tokio::test]
async fn n132_a_vault_that_the_machine_does_not_trust_is_not_spoken_to() {
    let vault = Server::start().await;
    vault.put_secret(SECRET).await;
    let issuer = Issuer::start([]).await;
    let MasterCredential::Vault(mut untrusted) = vault.credential(vault.token_file()) else {
        unreachable!("the helper makes this variant")
    };
    untrusted.ca = None;
    let mut misnamed = untrusted.clone();
    misnamed.ca = Some(vault.ca());
    misnamed.addr = format!("https://{}", vault.under_another_name().await);
    for vault in [untrusted, misnamed] {
        let (_, away) = failure(issuer.source_with(MasterCredential::Vault(vault))).await;
        assert!(away.to_string().contains("certificate"), "{away}");
    }
    assert!(issuer.requests().is_empty());
}

#[tokio::test]
async fn what_vault_denies_or_lacks_is_named_without_secrets() {
    let vault = Server::start().await;
    let issuer = Issuer::start([]).await;
    let denied = VaultAuth::AppRole {
        mount: "approle".to_owned(),
        role_id: "nobody".to_owned(),
        secret_id_file: vault.file("nothing", "CANARYSECRETID"),
    };
    for (auth, status) in [(denied, "to logging in"), (vault.token_file(), "404 to reading")] {
        let (_, error) = failure(issuer.source_with(vault.credential(auth))).await;
        assert!(matches!(error, ClientError::Credential(_)), "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(status) && !text.contains("CANARY"), "{text}");
    }
}

struct Server {
    address: String,
    folder: TempDir,
    http: reqwest::Client,
    _process: Child,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let output = std::fs::File::create(folder.path().join("output")).unwrap();
        let process = Command::new(binary().await)
            .args(["server", "-dev", "-dev-tls", "-dev-no-store-token"])
            .arg(format!("-dev-tls-cert-dir={}", folder.path().display()))
            .arg(format!("-dev-listen-address={free}"))
            .arg(format!("-dev-root-token-id={ROOT}"))
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let ready = async {
            while !Self::output(&folder).contains("Root Token") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready)
            .await
            .unwrap_or_else(|_| panic!("Vault did not start:\n{}", Self::output(&folder)));
        let ca = std::fs::read(folder.path().join("vault-ca.pem")).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca).unwrap())
            .no_proxy()
            .build()
            .unwrap();
        Self { address: format!("https://{free}"), folder, http, _process: process }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let reply = self
            .http
            .request(method, format!("{}/v1/{path}", self.address))
            .header("X-Vault-Token", ROOT)
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = reply.status();
        let text = reply.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn put_secret(&self, secret: &str) {
        let path = format!("secret/data/scrip/clients/{CLIENT}");
        self.call(Method::POST, &path, json!({"data": {"secret": secret}})).await;
    }

    async fn allow_reading(&self) {
        let policy =
            format!(r#"path "secret/data/scrip/clients/{CLIENT}" {{ capabilities = ["read"] }}"#);
        self.call(Method::PUT, "sys/policies/acl/billing", json!({"policy": policy})).await;
    }

    fn token_file(&self) -> VaultAuth {
        VaultAuth::TokenFile(self.file("token", &format!("{ROOT}\n")))
    }

    async fn approle(&self) -> VaultAuth {
        self.call(Method::POST, "sys/auth/approle", json!({"type": "approle"})).await;
        let role = json!({"token_policies": ["billing"], "token_ttl": "60s"});
        self.call(Method::POST, "auth/approle/role/billing", role).await;
        let id = self.call(Method::GET, "auth/approle/role/billing/role-id", json!({})).await;
        let secret = "auth/approle/role/billing/secret-id";
        let secret = self.call(Method::POST, secret, json!({})).await;
        VaultAuth::AppRole {
            mount: "approle".to_owned(),
            role_id: id["data"]["role_id"].as_str().unwrap().to_owned(),
            secret_id_file: self.file("id", secret["data"]["secret_id"].as_str().unwrap()),
        }
    }

    /// The Kubernetes login's request is the JWT method's, so a JWT mount of that name stands in.
    async fn kubernetes(&self) -> VaultAuth {
        let key = KeyPair::generate().unwrap();
        self.call(Method::POST, "sys/auth/kubernetes", json!({"type": "jwt"})).await;
        let config = json!({"jwt_validation_pubkeys": [key.public_key_pem()]});
        self.call(Method::POST, "auth/kubernetes/config", config).await;
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_subject": "billing",
            "bound_audiences": ["vault"], "token_policies": ["billing"],
        });
        self.call(Method::POST, "auth/kubernetes/role/billing", role).await;
        let claims = json!({"sub": "billing", "aud": "vault", "iat": 1_700_000_000, "exp": 4_000_000_000_u64});
        let signer = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
        let jwt = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &signer).unwrap();
        VaultAuth::Kubernetes {
            mount: "kubernetes".to_owned(),
            role: "billing".to_owned(),
            jwt_path: self.file("jwt", &jwt),
        }
    }

    fn credential(&self, auth: VaultAuth) -> MasterCredential {
        MasterCredential::Vault(Vault {
            addr: self.address.clone(),
            namespace: None,
            ca: Some(self.ca()),
            auth,
            mount: "secret".to_owned(),
            prefix: "scrip/clients".to_owned(),
        })
    }

    /// All that the logins so far go by, and what they lead to.
    fn secrets(&self) -> Vec<String> {
        let files = ["token", "id", "jwt"].map(|name| self.folder.path().join(name));
        let files = files.iter().filter_map(|path| std::fs::read_to_string(path).ok());
        files.map(|text| text.trim().to_owned()).chain([SECRET.to_owned()]).collect()
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("vault-ca.pem")
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// An address that leads to Vault and does not stand in its certificate.
    async fn under_another_name(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let vault = self.address.trim_start_matches("https://").to_owned();
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let mut there = TcpStream::connect(&vault).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut here, &mut there).await });
            }
        });
        address
    }

    async fn unseal(&self) {
        let output = Self::output(&self.folder);
        let key = output.lines().find_map(|line| line.strip_prefix("Unseal Key: ")).unwrap();
        self.call(Method::PUT, "sys/unseal", json!({"key": key.trim()})).await;
    }

    fn output(folder: &TempDir) -> String {
        std::fs::read_to_string(folder.path().join("output")).unwrap()
    }
}

async fn binary() -> PathBuf {
    let cached = std::env::home_dir().unwrap_or_default().join(".cache/scrip/vault-1.21.1/vault");
    for candidate in [PathBuf::from("vault"), cached] {
        let version = Command::new(&candidate).arg("version").output().await;
        if version.is_ok_and(|output| output.status.success()) {
            return candidate;
        }
    }
    panic!("there is no Vault on this machine: run `.ci/prepare vault`");
}
