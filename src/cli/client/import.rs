//! `scrip client import`: secrets that Vault has already become clients.

use reqwest::Method;
use scrip_token::QualifiedName;
use serde_json::{Value, json};

use crate::cli::api::{Api, Scope};
use crate::cli::failure::Failure;
use crate::cli::print::{Column, Printer};

/// Most pages that are asked for.
const MOST_PAGES: usize = 1000;

/// Which of them, and what they may ask for.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Secrets to register; without any, what Vault has is shown
    #[arg(value_name = "TENANT/NAME", requires = "policy", conflicts_with = "all")]
    ids: Vec<QualifiedName>,
    /// Register all that are of the policy's tenant
    #[arg(long, requires = "policy")]
    all: bool,
    /// What they may ask for: a policy of the same tenant
    #[arg(long, value_name = "TENANT/NAME")]
    policy: Option<QualifiedName>,
    /// Say what would be registered, and register nothing
    #[arg(long)]
    dry_run: bool,
}

impl Import {
    pub(super) async fn run(self, api: &Api, printer: Printer) -> Result<(), Failure> {
        let tenant = self.policy.as_ref().map(QualifiedName::tenant);
        let mut rows = Vec::new();
        for found in unregistered(api, tenant).await? {
            let is_chosen = |id: &QualifiedName| found["id"] == id.as_str();
            let outcome = match &self.policy {
                Some(policy) if self.all || self.ids.iter().any(is_chosen) => {
                    self.register(api, &found, policy).await?
                }
                Some(_) if !self.ids.is_empty() => continue,
                _ => Outcome::of(&found, "not registered"),
            };
            rows.push((found, outcome));
        }
        for id in &self.ids {
            if !rows.iter().any(|(found, _)| found["id"] == id.as_str()) {
                let found = json!({"id": id, "since": null});
                rows.push((found, Outcome::Failed("not in Vault, or a client already".into())));
            }
        }
        let failed = rows.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        let failed = failed.count();
        let rows = rows.into_iter().map(|(found, outcome)| {
            let (Outcome::Well(outcome) | Outcome::Failed(outcome)) = outcome;
            json!({"id": found["id"], "since": found["since"], "outcome": outcome})
        });
        printer.items(&rows.collect(), COLUMNS)?;
        if failed > 0 && (self.all || !self.ids.is_empty()) {
            return Err(Failure::Rejected(format!("{failed} of them cannot be registered")));
        }
        Ok(())
    }

    async fn register(
        &self,
        api: &Api,
        found: &Value,
        policy: &QualifiedName,
    ) -> Result<Outcome, Failure> {
        let could = Outcome::of(found, "would be registered");
        if self.dry_run || matches!(could, Outcome::Failed(_)) {
            return Ok(could);
        }
        let new = json!({"id": found["id"], "policy": policy, "source": "vault"});
        match api.send(Scope::Clients, Method::POST, "/v1/clients", &new).await {
            Ok(_) => Ok(Outcome::Well("registered".to_owned())),
            Err(Failure::Refused(refusal)) => Ok(Outcome::Failed(refusal.to_string())),
            Err(failure) => Err(failure),
        }
    }
}

enum Outcome {
    Well(String),
    Failed(String),
}

impl Outcome {
    /// What the service says of it, or this where it says nothing.
    fn of(found: &Value, well: &str) -> Self {
        match found["problem"].as_str() {
            Some(problem) => Self::Failed(problem.to_owned()),
            None => Self::Well(well.to_owned()),
        }
    }
}

async fn unregistered(api: &Api, tenant: Option<&str>) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let tenant = tenant.map(|tenant| ("tenant", tenant.to_owned()));
        let query: Vec<_> = tenant.into_iter().chain(after.map(|after| ("after", after))).collect();
        let mut page = api.get(Scope::Clients, "/v1/clients/unregistered", &query).await?.json()?;
        match page["items"].take() {
            Value::Array(items) => found.extend(items),
            _ => return Err(Failure::Unreachable("the answer is no list".to_owned())),
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return Ok(found);
        }
    }
    Err(Failure::Unreachable("the list has no end".to_owned()))
}

const COLUMNS: &[Column] = &[("SECRET", "/id"), ("SINCE", "/since"), ("", "/outcome")];
