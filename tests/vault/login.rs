use std::{fs, path::PathBuf, time::Duration};

use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use scrip::vault::{Auth, Proof, Reason, Source};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{FIRST, Fixture, PATH, WRONG, billing, good, settings};
use crate::harness::{
    until::until,
    vault::{
        DevVault,
        admin::{Admin, AppRole},
    },
};

#[tokio::test]
async fn n128_a_login_that_vault_forgot_is_replaced_by_one_other() {
    let server = DevVault::start().await;
    let audit = Audit::start(&server.admin).await;
    let role = approle(&server.admin, json!({"token_ttl": "1h"})).await;
    let fixture = Fixture::new(settings(&server.admin.address, with(&role)));
    server.admin.put_secret(PATH, FIRST).await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
    assert_eq!(audit.count("auth/approle/login"), 1);

    server.admin.put("sys/leases/revoke-prefix/auth/approle", json!({})).await;
    let vault = fixture.credentials.vault();
    let client = billing();
    let reads = join_all((0..50).map(|_| vault.versions(&client))).await;
    assert!(reads.iter().all(Result::is_ok), "{reads:?}");
    assert_eq!(audit.count("auth/approle/login"), 2, "all of them shared one");
}

#[tokio::test]
async fn n128_a_login_that_is_refused_is_an_outage_and_no_storm() {
    let server = DevVault::start().await;
    let role = approle(&server.admin, json!({"token_ttl": "1h"})).await;
    let fixture = Fixture::new(settings(&server.admin.address, with(&role)));
    server.admin.put_secret(PATH, FIRST).await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));

    server.admin.send(reqwest::Method::DELETE, "auth/approle/role/scrip", None).await;
    server.admin.put("sys/leases/revoke-prefix/auth/approle", json!({})).await;
    let audit = Audit::start(&server.admin).await;
    let vault = fixture.credentials.vault();
    let client = billing();
    let reads = join_all((0..50).map(|_| vault.versions(&client))).await;
    assert!(reads.iter().all(Result::is_err));
    let refused = Reason::Refused { status: 400, said: Some("invalid role or secret ID") };
    assert_eq!(vault.away(), Some(refused));
    assert!(audit.count("auth/approle/login") < 5);
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1), "within the grace");
    assert_eq!(fixture.prove(WRONG).await, Proof::Away);
}

#[tokio::test]
async fn n131_a_login_is_renewed_and_then_replaced_before_its_end() {
    let server = DevVault::start().await;
    let audit = Audit::start(&server.admin).await;
    let short = json!({"token_ttl": "2s", "token_max_ttl": "4s"});
    let role = approle(&server.admin, short).await;
    let fixture = Fixture::new(settings(&server.admin.address, with(&role)));
    server.admin.put_secret(PATH, FIRST).await;

    until("two logins more", Duration::from_secs(30), async || {
        let read = fixture.credentials.vault().versions(&billing()).await;
        assert!(read.is_ok(), "{read:?}: it served all the time");
        (audit.count("auth/approle/login") >= 3).then_some(())
    })
    .await;
    assert!(audit.count("auth/token/renew-self") >= 2);
    assert_eq!(audit.count("auth/token/lookup-self"), 0, "no request was ever denied");
}

#[tokio::test]
async fn kubernetes_logs_in_with_the_token_that_the_file_has_then() {
    let server = DevVault::start().await;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    reader(&server.admin).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
        "token_policies": ["reader"],
    });
    server.admin.enable_kubernetes(&key.public_key_pem(), "scrip", role).await;
    server.admin.put_secret(PATH, FIRST).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    let auth = Auth::Kubernetes {
        mount: "kubernetes".to_owned(),
        role: "scrip".to_owned(),
        jwt: Source::File(file.clone()),
    };
    let fixture = Fixture::new(settings(&server.admin.address, auth));
    fixture.becomes_away().await;
    assert_eq!(fixture.prove(FIRST).await, Proof::Away, "there is no file yet");

    let claims = json!({"sub": "scrip", "aud": "vault", "nbf": 1, "exp": 4_000_000_000_u64});
    let signer = EncodingKey::from_ec_der(&key.serialize_der());
    let jwt = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &signer).unwrap();
    fs::write(&file, format!("{jwt}\n")).unwrap();
    fixture.comes_back().await;
    assert_eq!(good(&fixture.prove(FIRST).await), Some(1));
}

pub async fn approle(admin: &Admin, mut role: Value) -> AppRole {
    reader(admin).await;
    role["token_policies"] = json!(["reader"]);
    admin.enable_approle("scrip", role).await
}

pub fn with(role: &AppRole) -> Auth {
    Auth::AppRole {
        mount: "approle".to_owned(),
        role_id: Source::Value(SecretString::from(role.role_id.as_str())),
        secret_id: Source::Value(SecretString::from(role.secret_id.as_str())),
    }
}

async fn reader(admin: &Admin) {
    let policy = r#"path "secret/*" { capabilities = ["create", "update", "read"] }"#;
    admin.put_policy("reader", policy).await;
}

/// What Vault itself says was asked of it.
struct Audit {
    file: PathBuf,
    _folder: TempDir,
}

impl Audit {
    async fn start(admin: &Admin) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("audit.log");
        admin.put("sys/audit/file", json!({"type": "file", "options": {"file_path": file}})).await;
        Self { file, _folder: folder }
    }

    fn count(&self, path: &str) -> usize {
        self.answers().filter(|answer| answer["request"]["path"] == path).count()
    }

    fn answers(&self) -> impl Iterator<Item = Value> {
        let log = fs::read_to_string(&self.file).unwrap();
        let lines: Vec<Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.into_iter().filter(|line| line["type"] == "response")
    }
}
