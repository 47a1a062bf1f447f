//! What stands in the database about what is to be revoked: of a whole group, kind by kind. Mints wait
//! meanwhile.

use std::collections::{BTreeMap, HashMap, HashSet};

use scrip_token::Jti;
use scrip_token::deny::Subject;

use super::selector::{Selector, Target};
use crate::caller::Reach;
use crate::signer::{self, Purpose};
use crate::store::tokens::{self, Token};
use crate::store::{Session, StoreError, clients, credentials};

/// What is known of the targets that were asked for, and of no others.
#[derive(Default)]
pub(super) struct Known {
    tokens: HashMap<Jti, Token>,
    clients: HashSet<String>,
    tenants: HashSet<String>,
    /// Those of the clients.
    credentials: HashSet<(String, String)>,
    /// Those that can be revoked.
    keys: HashSet<String>,
    /// By subject: `iat` of the newest token that may live.
    newest: HashMap<String, u64>,
}

impl Known {
    /// Reads what concerns these selectors, as far as whoever asks reaches.
    pub(super) async fn read<'s>(
        session: &mut impl Session,
        asked: impl IntoIterator<Item = (&'s Selector, &'s Reach)>,
        now: u64,
    ) -> Result<Self, StoreError> {
        let (mut ids, mut names, mut tenants) = (HashSet::new(), HashSet::new(), HashSet::new());
        let (mut with_versions, mut with_keys) = (HashSet::new(), false);
        let mut by_subject = BTreeMap::new();
        for (Selector { target, .. }, reach) in asked {
            if target.is_within(reach).is_err() {
                continue;
            }
            match target {
                Target::Jti(jti) => drop(ids.insert(*jti)),
                Target::Client(client) => drop(names.insert(client.as_str())),
                Target::Sub(Subject { tenant, .. }) | Target::Tenant(tenant) => {
                    tenants.insert(tenant.as_str());
                }
                Target::Cred(cred) => {
                    names.insert(cred.client.as_str());
                    with_versions.insert(cred.client.as_str());
                }
                Target::Kid(_) => with_keys = true,
                Target::All => {}
            }
            if !matches!(target, Target::Jti(_) | Target::Kid(_)) {
                by_subject.insert(target.subject(), target.matching());
            }
        }
        let rows = tokens::by_jtis(session, &Vec::from_iter(ids)).await?;
        let of_clients = clients::by_ids(session, &Vec::from_iter(names)).await?;
        let versions = credentials::of_clients(session, &Vec::from_iter(with_versions)).await?;
        let keys = if with_keys { signer::keys(session).await? } else { Vec::new() };
        let (subjects, matching): (Vec<_>, Vec<_>) = by_subject.into_iter().unzip();
        let newest = tokens::newest_iats(session, &matching, now.cast_signed()).await?;
        let newest = subjects.into_iter().zip(newest);
        Ok(Self {
            tokens: rows.into_iter().map(|token| (token.jti, token)).collect(),
            clients: of_clients.into_iter().map(|client| client.id).collect(),
            tenants: clients::tenants(session, &Vec::from_iter(tenants))
                .await?
                .into_iter()
                .collect(),
            credentials: versions.into_iter().map(|row| (row.client, row.version)).collect(),
            // A root is replaced, not revoked: nobody would believe it.
            keys: keys
                .into_iter()
                .filter(|key| key.purpose != Purpose::Root)
                .map(|key| key.jwk.kid)
                .collect(),
            newest: newest
                .filter_map(|(subject, iat)| Some((subject, iat?.unsigned_abs())))
                .collect(),
        })
    }

    pub(super) fn token(&self, jti: Jti) -> Option<&Token> {
        self.tokens.get(&jti)
    }

    pub(super) fn has_client(&self, id: &str) -> bool {
        self.clients.contains(id)
    }

    pub(super) fn has_tenant(&self, name: &str) -> bool {
        self.tenants.contains(name)
    }

    pub(super) fn has_credential(&self, client: &str, version: &str) -> bool {
        self.credentials.contains(&(client.to_owned(), version.to_owned()))
    }

    pub(super) fn has_key(&self, kid: &str) -> bool {
        self.keys.contains(kid)
    }

    /// `iat` of the newest of the target's tokens, unless none may live.
    pub(super) fn newest(&self, target: &Target) -> Option<u64> {
        self.newest.get(&target.subject()).copied()
    }
}
