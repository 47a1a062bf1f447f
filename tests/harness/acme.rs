use super::cli::Cli;
use super::http::Http;
use super::service::{Installation, Service};
use super::vault::admin::Admin;
use std::fs;

/// What conversations may have; one of the examples that come with the project.
const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/chat-assistant.toml");
const GATEWAY: &str = r#"
name      = "acme/gateway"
audiences = ["self"]
scopes    = ["scrip:feed"]
serves    = ["llm-gateway"]
env       = "scrip"
"#;

/// A running service with a tenant of its own: a gateway that follows, and whoever is registered.
pub struct Acme {
    pub installation: Installation,
    pub service: Service,
    pub operator: Cli,
    pub gateway: Cli,
}

impl Acme {
    /// Sets up the service and the tenant, by the commands that an operator would run.
    pub async fn found(installation: Installation) -> Self {
        let operator = installation.bootstrap().await;
        let service = installation.serve().await;
        let operator = Cli::new(&installation, &operator.id, &operator.secret);
        let policy = installation.folder.path().join("gateway.toml");
        fs::write(&policy, GATEWAY).expect("the folder is the test's own");
        operator.run(&["policy", "apply", CHAT]).await;
        operator.run(&["policy", "apply", policy.to_str().expect("a plain name")]).await;
        let created = ["client", "create", "acme/gateway", "--policy", "acme/gateway"];
        let gateway = operator.json(&[&created[..], &["--source", "embedded"]].concat()).await;
        let secret = gateway["secret"].as_str().expect("shown this once");
        let gateway = Cli::new(&installation, "acme/gateway", secret);
        Self { installation, service, operator, gateway }
    }

    /// Registers a workload that keeps its secret itself.
    pub async fn embedded(&self, id: &str) -> Cli {
        let created = ["client", "create", id, "--policy", "acme/chat-assistant"];
        let client = self.operator.json(&[&created[..], &["--source", "embedded"]].concat()).await;
        Cli::new(&self.installation, id, client["secret"].as_str().expect("shown this once"))
    }

    /// Registers a workload whose secret Vault keeps, and reads it there as the workload would.
    pub async fn in_vault(&self, id: &str, vault: &Admin, options: &[&str]) -> Cli {
        let created = ["client", "create", id, "--policy", "acme/chat-assistant"];
        let printed = self.operator.run(&[&created[..], options].concat()).await;
        let secret = vault.secret(&format!("scrip/{id}"), 1).await.expect("it lies in Vault");
        assert!(!printed.contains(&secret), "{printed}");
        Cli::new(&self.installation, id, &secret)
    }

    pub fn http(&self) -> Http {
        Http::new(&self.installation)
    }

    /// `kill -9` of the service.
    pub async fn kill(&mut self) {
        self.service.process.kill().await;
    }

    /// Ends the service in good order.
    pub async fn stop(&mut self) {
        self.service.end().await;
    }

    /// Starts the service again where it ended.
    pub async fn start(&mut self) {
        self.service = self.installation.serve().await;
    }
}
