pub mod admin;

use self::admin::Admin;
use super::process::{Process, Signal, free_port};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A real Vault in development mode: in memory, unsealed, KV v2 at `secret/`.
pub struct DevVault {
    pub admin: Admin,
    _process: Process,
    _home: TempDir,
}

impl DevVault {
    pub async fn start() -> Self {
        let port = free_port();
        let home = TempDir::with_prefix("scrip-vault-").expect("a home for Vault");
        let mut command = vault(&home);
        command.args([
            "server",
            "-dev",
            "-dev-no-store-token",
            "-dev-root-token-id=root-of-the-test",
        ]);
        command.arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        let mut process = Process::start(command);
        let admin = Admin::new(port, "root-of-the-test");
        reaches(&admin, &mut process, 200).await;
        Self { admin, _process: process, _home: home }
    }
}

/// A real Vault that stores in files, and so can be sealed, killed and started again. KV v2 at `secret/`.
pub struct FileVault {
    pub admin: Admin,
    pub process: Process,
    unseal_key: String,
    home: TempDir,
}

impl FileVault {
    pub async fn start() -> Self {
        let port = free_port();
        let home = TempDir::with_prefix("scrip-vault-").expect("a home for Vault");
        let cluster = format!("127.0.0.1:{}", free_port());
        // Raft of a single node, for the built Vault has no `file` storage.
        let config = json!({
            "storage": {"raft": {"path": home.path(), "node_id": "only", "performance_multiplier": 1}},
            "listener": {
                "tcp": {"address": format!("127.0.0.1:{port}"), "cluster_address": cluster, "tls_disable": true},
            },
            "api_addr": format!("http://127.0.0.1:{port}"),
            "cluster_addr": format!("http://{cluster}"),
            "disable_mlock": true,
        });
        fs::write(home.path().join("config.json"), config.to_string()).expect("a new folder");

        let mut process = start_server(&home);
        let sealed = Admin::new(port, "");
        reaches(&sealed, &mut process, 501).await;
        let made = sealed.put("sys/init", json!({"secret_shares": 1, "secret_threshold": 1})).await;
        let text =
            |value: &serde_json::Value| value.as_str().expect("Vault's own reply").to_owned();
        let admin = Admin::new(port, &text(&made["root_token"]));
        let mut vault = Self { admin, process, unseal_key: text(&made["keys"][0]), home };
        vault.unseal().await;
        vault
            .admin
            .post("sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}}))
            .await;
        vault
    }

    /// Every request is answered 503 from now on.
    pub async fn seal(&mut self) {
        self.admin.put("sys/seal", json!({})).await;
        reaches(&self.admin, &mut self.process, 503).await;
    }

    pub async fn unseal(&mut self) {
        self.admin.put("sys/unseal", json!({"key": self.unseal_key})).await;
        reaches(&self.admin, &mut self.process, 200).await;
    }

    /// `kill -9`: nothing listens at its address from now on.
    pub async fn kill(&mut self) {
        self.process.signal(Signal::Kill);
        self.process.exit().await;
    }

    /// Starts again what was killed, at the same address, sealed.
    pub async fn restart(&mut self) {
        self.process = start_server(&self.home);
        reaches(&self.admin, &mut self.process, 503).await;
    }
}

fn start_server(home: &TempDir) -> Process {
    let mut command = vault(home);
    command.arg("server").arg("-config").arg(home.path().join("config.json"));
    Process::start(command)
}

/// Waits until `sys/health` has this status: 200 active, 501 not initialised, 503 sealed.
async fn reaches(admin: &Admin, process: &mut Process, status: u16) {
    process.until(async || (admin.health().await == Some(status)).then_some(())).await;
}

/// The program, in an environment that names nothing but its home.
pub fn vault(home: &TempDir) -> Command {
    let mut command = Command::new(program());
    command.env_clear().env("HOME", home.path());
    command
}

#[expect(
    clippy::disallowed_methods,
    reason = "the shell's own variables say where the built program is kept"
)]
fn program() -> PathBuf {
    if Command::new("vault").arg("version").output().is_ok() {
        return PathBuf::from("vault");
    }
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"),
    };
    let built = cache.join("scrip/vault-1.21.1/vault");
    assert!(built.exists(), "no Vault on this machine; `.ci/prepare vault` builds it");
    built
}
