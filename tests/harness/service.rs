use super::postgres;
use super::process::{Process, Signal, free_port};
use super::vault::admin::Admin;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// What the service needs to run: a folder, a database, settings. The built `scrip`, never the code inside it.
#[derive(Clone)]
pub struct Installation {
    /// Holds the keys, and whatever else a test puts there.
    pub folder: Arc<TempDir>,
    settings: BTreeMap<String, String>,
    /// What its commands begin with.
    entrance: Vec<String>,
}

/// The operator that `scrip bootstrap` made.
pub struct Operator {
    pub id: String,
    pub secret: String,
}

impl Installation {
    pub fn on_sqlite() -> Self {
        let folder = TempDir::with_prefix("scrip-").expect("a folder for the service");
        let database = format!("sqlite:{}", folder.path().join("scrip.db").display());
        Self::new(folder, &database)
    }

    pub async fn on_postgres() -> Self {
        Self::on(&postgres::database().await)
    }

    fn new(folder: TempDir, database: &str) -> Self {
        let keys = folder.path().join("keys");
        let new =
            Self { folder: Arc::new(folder), settings: BTreeMap::new(), entrance: Vec::new() };
        let new = new.replica();
        let issuer = new.url();
        new.set("SCRIP_ISSUER", &issuer)
            .set("SCRIP_DATABASE_URL", database)
            .set("SCRIP_KEYS_DIR", &keys.display().to_string())
    }

    /// The same installation at addresses of its own.
    pub fn replica(&self) -> Self {
        let address = || format!("127.0.0.1:{}", free_port());
        let listen = address();
        // Two that are drawn one after the other may be one.
        let other = std::iter::repeat_with(address).find(|other| *other != listen);
        let other = other.expect("there is more than one port");
        self.clone().set("SCRIP_LISTEN", &listen).set("SCRIP_OPS_LISTEN", &other)
    }

    /// With master credentials in this Vault, by a token that may do no more than `deploy/vault` says.
    pub async fn with_vault(self, vault: &Admin) -> Self {
        vault.put_policy("scrip", include_str!("../../deploy/vault/scrip-policy.hcl")).await;
        let rotate = include_str!("../../deploy/vault/scrip-rotate-policy.hcl");
        vault.put_policy("scrip-rotate", rotate).await;
        let service = vault.with_policies(&["scrip", "scrip-rotate"]).await;
        self.set("SCRIP_VAULT_ADDR", &service.address).set("SCRIP_VAULT_TOKEN", &service.token)
    }

    /// On a database of the test's own making.
    pub fn on(database: &str) -> Self {
        Self::new(TempDir::with_prefix("scrip-").expect("a folder for the service"), database)
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With all of these in its environment.
    pub fn living_by(self, environment: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        environment.into_iter().fold(self, |on, (name, value)| on.set(name, &value))
    }

    /// On another disk than everybody's.
    pub fn behind(mut self, entrance: Vec<String>) -> Self {
        self.entrance = entrance;
        self
    }

    pub fn setting(&self, name: &str) -> &String {
        &self.settings[name]
    }

    /// Where its API answers.
    pub fn url(&self) -> String {
        format!("http://{}", self.settings["SCRIP_LISTEN"])
    }

    /// Where `/healthz`, `/readyz` and `/metrics` answer.
    pub fn ops_url(&self) -> String {
        format!("http://{}", self.settings["SCRIP_OPS_LISTEN"])
    }

    /// `scrip` with these arguments, in its folder and with its settings as the whole environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let scrip = env!("CARGO_BIN_EXE_scrip").to_owned();
        let mut words = self.entrance.iter().chain([&scrip]);
        let mut command = Command::new(words.next().unwrap_or(&scrip));
        command
            .args(words)
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(&self.settings);
        command
    }

    /// Migrates, makes what is absent, and returns the operator, whose secret is printed this once.
    pub async fn bootstrap(&self) -> Operator {
        let mut bootstrap = Process::start(self.command(&["bootstrap"]));
        let status = bootstrap.exit().await;
        assert!(status.success(), "{status}\n{bootstrap}");
        let stdout = bootstrap.stdout();
        let secret = stdout.split_whitespace().find(|word| word.starts_with("scrip_mc_ops_"));
        let secret =
            secret.unwrap_or_else(|| panic!("no operator's secret\n{bootstrap}")).to_owned();
        Operator { id: "ops/admin".to_owned(), secret }
    }

    /// Starts the service; returns when it says that it is ready.
    pub async fn serve(&self) -> Service {
        let mut process = Process::start(self.command(&["serve"]));
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("a client without certificates");
        let ready = format!("{}/readyz", self.ops_url());
        process
            .until(async || http.get(&ready).send().await.ok()?.status().is_success().then_some(()))
            .await;
        Service { process }
    }
}

/// A running service. `process` is there for signals and for what was logged.
pub struct Service {
    pub process: Process,
}

impl Service {
    /// Asks it to finish what it accepted and to end; panics unless it ends well. What it wrote is
    /// still there.
    pub async fn stop(mut self) -> Process {
        self.end().await;
        self.process
    }

    /// The same, where the service is to be started again.
    pub async fn end(&mut self) {
        self.process.signal(Signal::Terminate);
        let status = self.process.exit().await;
        assert!(status.success(), "{status}\n{}", self.process);
    }
}
