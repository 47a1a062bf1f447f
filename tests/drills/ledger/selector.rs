//! What a revocation names. Which tokens that is, is told here a second time, apart from the code that is tried.

use super::Token;
use scrip_token::Jti;
use scrip_token::deny::Entry;
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub struct Selector {
    pub target: Target,
    /// Only tokens dated then or earlier, in seconds; `None`: the service says when.
    pub before: Option<u64>,
}

#[derive(Debug, Clone)]
pub enum Target {
    Jti(Jti),
    Client(String),
    Sub { tenant: String, id: String },
    Tenant(String),
    Cred { client: String, version: String },
    Kid(String),
    All,
}

impl Selector {
    pub fn to_json(&self) -> Value {
        let mut json = match &self.target {
            Target::Jti(jti) => json!({"jti": jti.to_string()}),
            Target::Client(client) => json!({"client": client}),
            Target::Sub { tenant, id } => json!({"sub": {"tenant": tenant, "id": id}}),
            Target::Tenant(tenant) => json!({"tenant": tenant}),
            Target::Cred { client, version } => {
                json!({"cred": {"client": client, "version": version}})
            }
            Target::Kid(kid) => json!({"kid": kid}),
            Target::All => json!({"all": true}),
        };
        if let Some(before) = self.before {
            json["before"] = json!(before);
        }
        json
    }
}

impl From<Target> for Selector {
    fn from(target: Target) -> Self {
        Self { target, before: None }
    }
}

impl Target {
    /// The kinds, in the order in which they are counted.
    pub const KINDS: [&str; 7] = ["jti", "client", "sub", "tenant", "cred", "kid", "all"];

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Jti(_) => "jti",
            Self::Client(_) => "client",
            Self::Sub { .. } => "sub",
            Self::Tenant(_) => "tenant",
            Self::Cred { .. } => "cred",
            Self::Kid(_) => "kid",
            Self::All => "all",
        }
    }

    /// Whether it means tokens up to a time.
    pub fn has_cut(&self) -> bool {
        matches!(self, Self::Client(_) | Self::Sub { .. } | Self::Tenant(_) | Self::All)
    }

    /// Whether it means this token, whenever issued, and not only what it was delegated from.
    pub fn names(&self, token: &Token) -> bool {
        let claims = &token.claims;
        match self {
            Self::Jti(jti) => claims.jti == *jti,
            Self::Client(client) => claims.client_id.as_str() == client,
            Self::Sub { tenant, id } => claims.tenant == *tenant && claims.sub == *id,
            Self::Tenant(tenant) => claims.tenant == *tenant,
            Self::Cred { client, version } => {
                claims.client_id.as_str() == client && claims.cred.as_ref() == Some(version)
            }
            Self::Kid(kid) => token.kid == *kid,
            Self::All => true,
        }
    }

    /// Whether this entry of the list kills all of it, up to `cut`.
    pub fn is_carried_by(&self, entry: &Entry, cut: Option<u64>) -> bool {
        let up_to = |before: &u64| Some(*before) == cut;
        match (self, entry) {
            (Self::Jti(jti), Entry::Jti { jti: killed, .. }) => killed == jti,
            (Self::Client(name), Entry::Client { client, before, .. }) => {
                client.as_str() == name && up_to(before)
            }
            (Self::Sub { tenant, id }, Entry::Sub { sub, before, .. }) => {
                sub.tenant == *tenant && sub.id == *id && up_to(before)
            }
            (Self::Tenant(name), Entry::Tenant { tenant, before, .. }) => {
                tenant == name && up_to(before)
            }
            (Self::Cred { client, version }, Entry::Cred { cred, .. }) => {
                cred.client.as_str() == client && cred.version == *version
            }
            (Self::Kid(name), Entry::Kid { kid }) => kid == name,
            (Self::All, Entry::All { before, .. }) => up_to(before),
            _ => false,
        }
    }
}
