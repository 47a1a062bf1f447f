//! What is to be done, and in which order. Pure.
//!
//! What has no file is disabled within the tenants that the folder names, because one team's folder
//! must not end the clients of another, and only where there is a folder of clients.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use scrip_token::QualifiedName;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::folder::{Client, Folder};
use super::present::{Present, Registered};
use crate::cli::api::Scope;
use crate::cli::failure::Failure;
use crate::cli::price;
use crate::policy::{Difference, Effect, differences};
use crate::prices::PriceList;

/// What brings the service to what a folder says. Prices come first, because quotas need them, then
/// policies, because clients name them; to disable comes last. A run that was cut off is planned
/// again, and has what is left.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What stays as it is, although the folder might be thought to say otherwise.
    pub(super) notes: Vec<String>,
}

/// One request to the service.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) action: Action,
    /// Of the policy or the client; the currency of the prices, of which there is one list.
    pub(super) name: String,
    /// Empty for what is new.
    differences: Vec<Difference>,
    #[serde(skip)]
    pub(super) body: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Action {
    SetPrices,
    CreatePolicy,
    ChangePolicy,
    CreateClient,
    ChangeClient,
    DisableClient,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl Step {
    pub(super) fn scope(&self) -> Scope {
        match self.action {
            Action::SetPrices | Action::CreatePolicy | Action::ChangePolicy => Scope::Policies,
            _ => Scope::Clients,
        }
    }

    pub(super) fn method(&self) -> Method {
        match self.action {
            Action::SetPrices | Action::CreatePolicy | Action::ChangePolicy => Method::PUT,
            Action::CreateClient => Method::POST,
            Action::ChangeClient | Action::DisableClient => Method::PATCH,
        }
    }

    pub(super) fn path(&self) -> String {
        match self.action {
            Action::SetPrices => price::PATH.to_owned(),
            Action::CreatePolicy | Action::ChangePolicy => crate::cli::policy::path(&self.name),
            Action::CreateClient => "/v1/clients".to_owned(),
            Action::ChangeClient | Action::DisableClient => format!("/v1/clients/{}", self.name),
        }
    }

    pub(super) fn creates(&self) -> bool {
        self.action == Action::CreateClient
    }

    /// For people: one for each difference, at least one.
    pub(super) fn rows(&self) -> Vec<Value> {
        let step = json!({"action": self.action, "name": self.name});
        if self.differences.is_empty() {
            return vec![step];
        }
        let row = |difference: &Difference| {
            let mut row = json!(difference);
            row["action"] = step["action"].clone();
            row["name"] = step["name"].clone();
            row
        };
        self.differences.iter().map(row).collect()
    }
}

impl Plan {
    /// With `prune`, the name of who asks and must not disable itself: disables whoever has no file.
    ///
    /// # Errors
    /// [`Failure::Rejected`] for what cannot be brought about, before anything is.
    pub(super) fn new(
        folder: &Folder,
        present: &Present,
        prune: Option<&QualifiedName>,
    ) -> Result<Self, Failure> {
        let mut plan = Self { steps: Vec::new(), notes: Vec::new() };
        let mut wrong = Vec::new();
        for client in folder.clients.values() {
            let Client { id, policy, source, .. } = client;
            if !folder.policies.contains_key(policy) && !present.policies.contains_key(policy) {
                wrong.push(format!("{id}: there is no policy {policy}"));
            }
            let registered = present.clients.get(id);
            if registered.zip(*source).is_some_and(|(is, to)| is.source != to) {
                wrong.push(format!("{id}: who keeps its secret cannot be changed"));
            }
        }
        if let (Some(prices), Some(before)) = (&folder.prices, &present.prices)
            && prices.currency() != before.currency()
        {
            wrong.push(format!("prices are in {}, and so are all quotas", before.currency()));
        }
        if !wrong.is_empty() {
            return Err(Failure::Rejected(wrong.join("\nscrip: ")));
        }

        if let Some(prices) = &folder.prices {
            plan.set_prices(prices, present.prices.as_ref());
            let policies: BTreeMap<_, _> =
                present.policies.iter().chain(&folder.policies).collect();
            for (name, policy) in policies {
                let unpriced = policy.unpriced(Some(prices));
                plan.notes.extend(unpriced.iter().map(|why| format!("{name}: {why}")));
            }
        }
        for (name, policy) in &folder.policies {
            let old = present.policies.get(name);
            if old == Some(policy) {
                continue;
            }
            plan.steps.push(Step {
                action: old.map_or(Action::CreatePolicy, |_| Action::ChangePolicy),
                name: name.to_string(),
                differences: old.map(|old| differences(old, policy)).unwrap_or_default(),
                body: json!(policy),
            });
        }
        for (id, client) in &folder.clients {
            match present.clients.get(id) {
                Some(registered) => plan.change(client, registered),
                None => plan.create(client),
            }
        }
        plan.others(folder, present, prune);
        Ok(plan)
    }

    fn set_prices(&mut self, prices: &PriceList, before: Option<&PriceList>) {
        let differences = before.map(|before| super::prices::differences(before, prices));
        if differences.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        self.steps.push(Step {
            action: Action::SetPrices,
            name: prices.currency().to_owned(),
            differences: differences.unwrap_or_default(),
            body: json!(prices),
        });
    }

    fn create(&mut self, client: &Client) {
        let mut body = json!({"id": client.id, "policy": client.policy});
        if let Some(source) = client.source {
            body["source"] = json!(source);
        }
        if let Some(overlap) = client.overlap {
            body["overlap"] = json!(overlap);
        }
        self.steps.push(Step {
            action: Action::CreateClient,
            name: client.id.to_string(),
            differences: Vec::new(),
            body,
        });
        if client.enabled == Some(false) {
            self.steps.push(disable(&client.id));
        }
    }

    fn change(&mut self, client: &Client, is: &Registered) {
        let mut differences = Vec::new();
        let mut body = Map::new();
        let mut differ = |member: &str, was: Value, to: Value, effect| {
            if was != to {
                body.insert(member.to_owned(), to.clone());
                differences.push(Difference { member: member.to_owned(), was, is: to, effect });
            }
        };
        differ("policy", json!(is.policy), json!(client.policy), Effect::Differs);
        if let Some(overlap) = client.overlap {
            differ("overlap", json!(is.overlap), json!(overlap), Effect::Neither);
        }
        if let Some(enabled) = client.enabled {
            let effect = if enabled { Effect::Widens } else { Effect::Narrows };
            differ("enabled", json!(is.enabled), json!(enabled), effect);
        } else if !is.enabled {
            self.notes.push(format!(
                "{} is disabled and stays so; `enabled = true` in its file would change that",
                client.id
            ));
        }
        if !differences.is_empty() {
            self.steps.push(Step {
                action: Action::ChangeClient,
                name: client.id.to_string(),
                differences,
                body: body.into(),
            });
        }
    }

    /// Whoever has no file, and policies that nobody has.
    fn others(&mut self, folder: &Folder, present: &Present, prune: Option<&QualifiedName>) {
        let mut used: BTreeSet<&QualifiedName> =
            folder.clients.values().map(|client| &client.policy).collect();
        for (id, registered) in &present.clients {
            if folder.clients.contains_key(id) || !registered.enabled {
                continue;
            }
            match prune {
                Some(oneself) if oneself == id => {
                    self.notes.push(format!("{id} has no file, but runs this: it is not disabled"));
                }
                Some(_) => {
                    self.steps.push(disable(id));
                    continue;
                }
                None => {
                    self.notes.push(format!("{id} has no file; `--prune` would disable it"));
                }
            }
            used.insert(&registered.policy);
        }
        if prune.is_some() {
            let policies = present.policies.keys().filter(|name| !used.contains(name));
            let unused = policies.filter(|name| !folder.policies.contains_key(name));
            self.notes
                .extend(unused.map(|name| format!("policy {name}: no enabled client has it")));
        }
    }
}

fn disable(id: &QualifiedName) -> Step {
    Step {
        action: Action::DisableClient,
        name: id.to_string(),
        differences: Vec::new(),
        body: json!({"enabled": false}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn name(text: &str) -> QualifiedName {
        QualifiedName::parse(text).unwrap()
    }

    fn policy(id: &str, scope: &str) -> Policy {
        let policy =
            json!({"name": id, "audiences": ["gw"], "scopes": [scope], "env": "prod"}).to_string();
        Policy::from_json(policy.as_bytes()).unwrap()
    }

    fn folder(policies: &[(&str, &str)], clients: &[Value]) -> Folder {
        let mut folder = Folder::default();
        for (id, scope) in policies {
            folder.policies.insert(name(id), policy(id, scope));
        }
        for client in clients {
            let client: Client = serde_json::from_value(client.clone()).unwrap();
            folder.clients.insert(client.id.clone(), client);
        }
        folder
    }

    fn present(policies: &[(&str, &str)], clients: &[(&str, &str, bool)]) -> Present {
        let mut present = Present::default();
        for (id, scope) in policies {
            present.policies.insert(name(id), policy(id, scope));
        }
        for (id, policy, enabled) in clients {
            let client = json!({
                "id": id, "policy": policy, "source": "embedded", "overlap": 60,
                "enabled": enabled,
            });
            present.clients.insert(name(id), serde_json::from_value(client).unwrap());
        }
        present
    }

    fn steps(plan: &Plan) -> Vec<String> {
        plan.steps
            .iter()
            .map(|step| format!("{} {} {}", step.action, step.name, step.body))
            .collect()
    }

    #[test]
    fn policies_come_first_and_to_disable_comes_last() {
        let folder = || {
            folder(
                &[("acme/a", "x"), ("acme/b", "y"), ("acme/c", "z")],
                &[
                    json!({"id": "acme/1", "policy": "acme/a", "source": "vault", "overlap": 5}),
                    json!({"id": "acme/2", "policy": "acme/b", "overlap": 60}),
                    json!({"id": "acme/3", "policy": "acme/c", "enabled": false}),
                    json!({"id": "acme/4", "policy": "acme/c"}),
                    json!({"id": "acme/5", "policy": "acme/c", "enabled": true, "overlap": 9}),
                ],
            )
        };
        let present = present(
            &[("acme/a", "x"), ("acme/b", "other"), ("acme/old", "x"), ("acme/own", "x")],
            &[
                ("acme/2", "acme/a", true),
                ("acme/4", "acme/c", false),
                ("acme/5", "acme/c", false),
                ("acme/8", "acme/old", false),
                ("acme/9", "acme/old", true),
                ("acme/me", "acme/own", true),
            ],
        );
        let me = name("acme/me");
        let pruned = Plan::new(&folder(), &present, Some(&me)).unwrap();
        let all = steps(&pruned);
        assert!(all[0].starts_with("change-policy acme/b {"), "{all:#?}");
        assert!(all[1].starts_with("create-policy acme/c {"), "{all:#?}");
        assert_eq!(
            all[2..],
            [
                r#"create-client acme/1 {"id":"acme/1","overlap":5,"policy":"acme/a","source":"vault"}"#,
                r#"change-client acme/2 {"policy":"acme/b"}"#,
                r#"create-client acme/3 {"id":"acme/3","policy":"acme/c"}"#,
                r#"disable-client acme/3 {"enabled":false}"#,
                r#"change-client acme/5 {"enabled":true,"overlap":9}"#,
                r#"disable-client acme/9 {"enabled":false}"#,
            ]
        );
        assert_eq!(
            pruned.notes,
            [
                "acme/4 is disabled and stays so; `enabled = true` in its file would change that",
                "acme/me has no file, but runs this: it is not disabled",
                "policy acme/old: no enabled client has it",
            ]
        );
        let kept = Plan::new(&folder(), &present, None).unwrap();
        assert_eq!(steps(&kept), all[..7]);
        assert_eq!(kept.notes[1], "acme/9 has no file; `--prune` would disable it");
    }

    fn prices(currency: &str, models: &[&str]) -> Option<PriceList> {
        let price = |model| json!({"model": model, "input": "1", "output": "2"});
        let models: Vec<Value> = models.iter().map(price).collect();
        let list = json!({"currency": currency, "models": models}).to_string();
        Some(PriceList::from_json(list.as_bytes()).unwrap())
    }

    #[test]
    fn prices_come_before_the_policies_that_need_them() {
        let in_money = |id: &str| {
            let policy = json!({
                "name": id, "audiences": ["gw"], "scopes": ["x"], "env": "prod",
                "models": ["gpt-5"], "quota": {"money": "5", "window": "day"},
            });
            (name(id), Policy::from_json(policy.to_string().as_bytes()).unwrap())
        };
        let mut folder = folder(&[], &[]);
        folder.policies.extend([in_money("acme/a")]);
        folder.prices = prices("USD", &["gpt-5"]);
        let mut present = Present::default();
        present.policies.extend([in_money("acme/old")]);
        let plan = Plan::new(&folder, &present, None).unwrap();
        let all = steps(&plan);
        assert!(all[0].starts_with(r#"set-prices USD {"currency":"USD""#), "{all:#?}");
        assert!(all[1].starts_with("create-policy acme/a {"), "{all:#?}");
        assert_eq!((all.len(), plan.notes.len()), (2, 0));

        present.prices = prices("USD", &["gpt-4", "gpt-5"]);
        folder.prices = prices("USD", &["gpt-4"]);
        let plan = Plan::new(&folder, &present, None).unwrap();
        assert_eq!(plan.steps[0].rows().len(), 1, "gpt-4 costs the same");
        let why = "no price says what all of `gpt-5` cost, and the policy has a quota in money";
        assert_eq!(plan.notes, [format!("acme/a: {why}"), format!("acme/old: {why}")]);

        folder.prices = prices("USD", &["gpt-5", "gpt-4"]);
        let plan = Plan::new(&folder, &present, None).unwrap();
        assert!(steps(&plan)[0].starts_with("create-policy"), "the order of models is nothing");
        folder.prices = prices("EUR", &["gpt-5"]);
        let refused = Plan::new(&folder, &present, None).unwrap_err();
        assert_eq!(refused.to_string(), "prices are in USD, and so are all quotas");
    }

    #[test]
    fn what_is_as_the_folder_says_is_left_alone() {
        let client = json!({"id": "acme/1", "policy": "acme/a", "source": "embedded"});
        let present = present(&[("acme/a", "x")], &[("acme/1", "acme/a", true)]);
        let plan = Plan::new(&folder(&[("acme/a", "x")], &[client]), &present, None).unwrap();
        assert!(plan.steps.is_empty() && plan.notes.is_empty());
    }

    #[test]
    fn what_cannot_be_brought_about_is_refused_whole() {
        let clients = [
            json!({"id": "acme/1", "policy": "acme/a", "source": "vault"}),
            json!({"id": "acme/2", "policy": "acme/none"}),
        ];
        let present = present(&[("acme/a", "x")], &[("acme/1", "acme/a", true)]);
        let refused = Plan::new(&folder(&[("acme/b", "x")], &clients), &present, None).unwrap_err();
        assert_eq!(refused.exit_code(), 1);
        let said = refused.to_string();
        assert!(
            said.contains("acme/1: who keeps") && said.contains("no policy acme/none"),
            "{said}"
        );
    }
}
