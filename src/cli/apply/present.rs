//! What prices, policies and clients there are.

use std::collections::BTreeMap;

use scrip_token::QualifiedName;
use serde::Deserialize;
use serde_json::Value;

use super::folder::{Folder, Source};
use crate::cli::api::{Api, Scope};
use crate::cli::failure::{Failure, Refusal};
use crate::cli::{policy, price};
use crate::policy::Policy;
use crate::prices::PriceList;

/// Most pages of one list.
const MOST_PAGES: usize = 10_000;

/// Clients and policies of the tenants that a folder names, and the prices where it has some.
#[derive(Debug, Default)]
pub(super) struct Present {
    pub(super) prices: Option<PriceList>,
    pub(super) policies: BTreeMap<QualifiedName, Policy>,
    pub(super) clients: BTreeMap<QualifiedName, Registered>,
}

/// A client as the service shows it, as far as a file can say anything about it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Registered {
    pub(super) id: QualifiedName,
    pub(super) policy: QualifiedName,
    pub(super) source: Source,
    pub(super) overlap: u32,
    pub(super) enabled: bool,
}

impl Present {
    pub(super) async fn read(api: &Api, folder: &Folder) -> Result<Self, Failure> {
        let mut present = Self::default();
        if folder.prices.is_some() {
            present.prices = prices(api).await?;
        }
        for tenant in folder.tenants() {
            for item in all(api, Scope::Policies, "/v1/policies", tenant).await? {
                let policy = policy::parse(&item)?;
                present.policies.insert(policy.name().clone(), policy);
            }
            for item in all(api, Scope::Clients, "/v1/clients", tenant).await? {
                let client: Registered = serde_json::from_value(item).map_err(|error| {
                    Failure::Unreachable(format!("the answer is no list of clients: {error}"))
                })?;
                present.clients.insert(client.id.clone(), client);
            }
        }
        Ok(present)
    }
}

async fn prices(api: &Api) -> Result<Option<PriceList>, Failure> {
    let answer = match api.get(Scope::Policies, price::PATH, &[]).await {
        Ok(answer) => answer.json()?,
        Err(Failure::Refused(Refusal { status: 404, .. })) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    PriceList::from_json(answer["prices"].to_string().as_bytes())
        .map(Some)
        .map_err(|error| Failure::Unreachable(format!("the answer has no prices: {error}")))
}

/// Every page of a tenant's list.
async fn all(api: &Api, scope: Scope, path: &str, tenant: &str) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut query = vec![("tenant", tenant.to_owned()), ("limit", "200".to_owned())];
        query.extend(after.take().map(|after| ("after", after)));
        let mut page = api.get(scope, path, &query).await?.json()?;
        if let Some(more) = page["items"].as_array_mut() {
            items.append(more);
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(items),
        }
    }
    Err(Failure::Unreachable(format!("{path} has no end")))
}
