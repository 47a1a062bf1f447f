use super::process::Process;
use super::service::Installation;
use serde_json::Value;
use std::process::Command;

/// `scrip` at a terminal of one client: its credential is the whole environment.
#[derive(Clone)]
pub struct Cli {
    installation: Installation,
    pub id: String,
    pub secret: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    pub fn new(installation: &Installation, id: &str, secret: &str) -> Self {
        let (id, secret) = (id.to_owned(), secret.to_owned());
        Self { installation: installation.clone(), id, secret }
    }

    /// The command, in the folder of the installation.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.installation.command(arguments);
        command.env_clear().envs([
            ("SCRIP_URL", &self.installation.url()),
            ("SCRIP_CLIENT_ID", &self.id),
            ("SCRIP_CLIENT_SECRET", &self.secret),
        ]);
        command
    }

    /// Runs a command to its end.
    pub async fn outcome(&self, arguments: &[&str]) -> Outcome {
        let mut process = Process::start(self.command(arguments));
        let code = process.exit().await.code();
        Outcome { code, stdout: process.stdout(), stderr: process.stderr() }
    }

    /// What a command printed; panics unless it exits with 0.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let outcome = self.outcome(arguments).await;
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
        outcome.stdout
    }

    /// What a command printed as JSON.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.run(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// A token, as `scrip token get` prints it.
    pub async fn token(&self, wishes: &[&str]) -> String {
        self.run(&[&["token", "get"], wishes].concat()).await.trim_end().to_owned()
    }
}
