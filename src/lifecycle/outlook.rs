//! What is shown of a client's credential besides its row.

use std::collections::HashMap;

use super::due;
use crate::policy::Policy;
use crate::store::clients::Client;
use crate::store::{Session, StoreError, client_warnings, policies};

/// What lies ahead of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// By when its secret is to be replaced, in seconds.
    pub due: Option<i64>,
    /// Of what it is warned.
    pub warnings: Vec<String>,
}

impl Outlook {
    /// Of each of `clients`, in their order.
    ///
    /// # Errors
    /// As any statement.
    pub async fn of(
        session: &mut impl Session,
        clients: &[Client],
    ) -> Result<Vec<Self>, StoreError> {
        let policies = policies_of(session, clients).await?;
        let ids: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
        let standing = client_warnings::of_clients(session, &ids).await?;
        let of_one = |client: &Client| {
            let own = standing.iter().filter(|warning| warning.client == client.id);
            Self {
                due: due(client, policies.get(&client.policy)),
                warnings: own.map(|warning| warning.kind.clone()).collect(),
            }
        };
        Ok(clients.iter().map(of_one).collect())
    }

    /// Of one client.
    ///
    /// # Errors
    /// As any statement.
    pub async fn of_one(session: &mut impl Session, client: &Client) -> Result<Self, StoreError> {
        let of_all = Self::of(session, std::slice::from_ref(client)).await?;
        Ok(of_all.into_iter().next().unwrap_or_default())
    }
}

/// The current policies of these clients, by name; without those that this version of Scrip cannot
/// read.
pub(super) async fn policies_of(
    session: &mut impl Session,
    clients: &[Client],
) -> Result<HashMap<String, Policy>, StoreError> {
    let mut names: Vec<&str> = clients.iter().map(|client| client.policy.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let rows = policies::latest_of(session, &names).await?;
    let read = |row: policies::Policy| match Policy::from_json(row.body.as_bytes()) {
        Ok(policy) => Some((row.name, policy)),
        Err(error) => {
            tracing::error!(policy = row.name, %error, "a policy cannot be read");
            None
        }
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
