//! What a revocation names: one of seven kinds, as deny entries are, and what it means at a moment.

use scrip_token::deny::{Credential, Entry, Subject, True};
use scrip_token::limits::{HORIZON, LEEWAY};
use scrip_token::{Jti, QualifiedName};
use serde_json::{Value, json};

use super::NotRevoked;
use super::known::Known;
use crate::caller::Reach;
use crate::deny::subject;
use crate::store::Session;
use crate::store::tokens::{Matching, Token};

/// A selector as it was asked for.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Whose tokens.
    pub target: Target,
    /// Only those issued then or earlier, in seconds. For targets that have a cut.
    pub before: Option<u64>,
}

/// Which tokens are meant, whenever issued.
#[derive(Debug, Clone)]
pub enum Target {
    /// One token, with all that was delegated from it.
    Jti(Jti),
    /// A client's.
    Client(QualifiedName),
    /// A subject's within its tenant.
    Sub(Subject),
    /// A tenant's.
    Tenant(String),
    /// Those traded for one version of a master credential.
    Cred(Credential),
    /// Everything that a key signed.
    Kid(String),
    /// Everybody's.
    All,
}

/// What a selector means at a moment.
#[derive(Debug, Clone)]
pub struct Found {
    /// The canonical text of the target, under which revocations of it are found.
    pub(super) subject: String,
    /// `None` where nothing of it can be accepted any more.
    pub(super) entry: Option<Entry>,
    /// The cut, for targets that have one.
    pub(super) before: Option<u64>,
    /// Whose tokens it kills, where they are one tenant's.
    pub(super) tenant: Option<String>,
    /// Whether the service has a record of it. A subject or a version without a live token may be
    /// revoked, and has none.
    pub(super) known: bool,
}

impl Found {
    /// Until when a token is denied that was never issued here.
    pub(super) fn unissued_until(&self) -> Option<u64> {
        match self.entry {
            Some(Entry::Jti { until, .. }) if !self.known => Some(until),
            _ => None,
        }
    }
}

impl Selector {
    /// The selector as it was asked for.
    pub(super) fn to_json(&self) -> Value {
        let mut json = match &self.target {
            Target::Jti(jti) => json!({"jti": jti.to_string()}),
            Target::Client(client) => json!({"client": client.as_str()}),
            Target::Sub(sub) => json!({"sub": {"tenant": sub.tenant, "id": sub.id}}),
            Target::Tenant(tenant) => json!({"tenant": tenant}),
            Target::Cred(cred) => {
                json!({"cred": {"client": cred.client.as_str(), "version": cred.version}})
            }
            Target::Kid(kid) => json!({"kid": kid}),
            Target::All => json!({"all": true}),
        };
        if let Some(before) = self.before {
            json["before"] = json!(before);
        }
        json
    }

    /// What it means at `now`, as the database has it, to whoever reaches so far.
    ///
    /// # Errors
    /// [`NotRevoked`] for a client, tenant or key that there is not, for what is out of reach, and for
    /// times that lie ahead.
    pub async fn resolve(
        &self,
        session: &mut impl Session,
        reach: &Reach,
        now: u64,
    ) -> Result<Found, NotRevoked> {
        let known = Known::read(session, [(self, reach)], now).await?;
        self.resolve_with(&known, reach, now)
    }

    /// The same, by what has been read about it.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub(super) fn resolve_with(
        &self,
        about: &Known,
        reach: &Reach,
        now: u64,
    ) -> Result<Found, NotRevoked> {
        self.target.is_within(reach)?;
        if self.before.is_some_and(|before| before > now + LEEWAY) {
            return Err(NotRevoked::Ahead("/selector/before"));
        }
        let newest = about.newest(&self.target);
        let (tenant, known, until) = match &self.target {
            Target::Jti(jti) => {
                // A foreign token is one that is not on record, from here on.
                let record = about.token(*jti).filter(|token| reach.covers(Some(&token.tenant)));
                if jti.seconds() > now + LEEWAY {
                    return Err(NotRevoked::Ahead("/selector/jti"));
                }
                if record.is_none() && reach.is_confined() {
                    return Err(NotRevoked::Unknown("token"));
                }
                let until = record.map(|record| record.exp.unsigned_abs() + LEEWAY);
                (record.map(|record| record.tenant.clone()), record.is_some(), until)
            }
            Target::Client(client) if !about.has_client(client.as_str()) => {
                return Err(UNKNOWN_CLIENT);
            }
            Target::Client(client) => (Some(client.tenant().to_owned()), true, None),
            Target::Sub(Subject { tenant, .. }) | Target::Tenant(tenant)
                if !about.has_tenant(tenant) =>
            {
                return Err(UNKNOWN_TENANT);
            }
            Target::Sub(Subject { tenant, .. }) => (Some(tenant.clone()), newest.is_some(), None),
            Target::Tenant(tenant) => (Some(tenant.clone()), true, None),
            Target::Cred(Credential { client, version }) => {
                if !about.has_client(client.as_str()) {
                    return Err(UNKNOWN_CLIENT);
                }
                let known = newest.is_some() || about.has_credential(client.as_str(), version);
                (Some(client.tenant().to_owned()), known, None)
            }
            Target::Kid(kid) if !about.has_key(kid) => {
                return Err(NotRevoked::Unknown("key of tokens or of the feed"));
            }
            Target::Kid(_) | Target::All => (None, true, None),
        };
        // As it was asked for; else now, or the date of the newest token on record, where that is later.
        let cut = || self.before.unwrap_or(newest.unwrap_or_default().max(now));
        let before = self.target.has_cut().then(cut);
        let entry = self.target.entry(before.unwrap_or(now), until);
        Ok(Found {
            subject: subject::of_entry(&entry),
            entry: match entry {
                // No token of that age is accepted anywhere: there is nothing to deny.
                Entry::Jti { until, .. } if until <= now => None,
                entry => Some(entry),
            },
            before,
            tenant,
            known,
        })
    }

    /// Whether it names the token of this record, given the cut.
    pub(super) fn names(&self, token: &Token, before: Option<u64>) -> bool {
        let is_meant = match &self.target {
            Target::Jti(jti) => token.jti == *jti,
            Target::Client(client) => token.client == client.as_str(),
            Target::Sub(sub) => token.tenant == sub.tenant && token.sub == sub.id,
            Target::Tenant(tenant) => token.tenant == *tenant,
            Target::Cred(cred) => {
                token.client == cred.client.as_str() && token.cred.as_ref() == Some(&cred.version)
            }
            Target::Kid(kid) => token.kid == *kid,
            Target::All => true,
        };
        is_meant && before.is_none_or(|before| token.iat.unsigned_abs() <= before)
    }
}

impl Target {
    /// Whether it means only tokens that were issued up to a time.
    pub(super) fn has_cut(&self) -> bool {
        match self {
            Self::Client(_) | Self::Sub(_) | Self::Tenant(_) | Self::All => true,
            Self::Jti(_) | Self::Cred(_) | Self::Kid(_) => false,
        }
    }

    /// Whether an operator may name it: decided before anything is looked up, so that nothing of a
    /// foreign tenant shows. Whose a token is only its record can say.
    pub(super) fn is_within(&self, reach: &Reach) -> Result<(), NotRevoked> {
        match self {
            Self::Client(client) if !reach.covers_name(client) => Err(UNKNOWN_CLIENT),
            Self::Cred(cred) if !reach.covers_name(&cred.client) => Err(UNKNOWN_CLIENT),
            Self::Tenant(tenant) if !reach.covers(Some(tenant)) => Err(UNKNOWN_TENANT),
            Self::Sub(sub) if !reach.covers(Some(&sub.tenant)) => Err(UNKNOWN_TENANT),
            Self::Kid(_) | Self::All if reach.is_confined() => Err(NotRevoked::Confined),
            _ => Ok(()),
        }
    }

    /// The tokens themselves, without what was delegated from them.
    pub(super) fn matching(&self) -> Matching<'_> {
        match self {
            Self::Jti(jti) => Matching::Jti(*jti),
            Self::Client(client) => Matching::Client(client.as_str()),
            Self::Sub(sub) => Matching::Sub { tenant: &sub.tenant, id: &sub.id },
            Self::Tenant(tenant) => Matching::Tenant(tenant),
            Self::Cred(cred) => {
                Matching::Cred { client: cred.client.as_str(), version: &cred.version }
            }
            Self::Kid(kid) => Matching::Kid(kid),
            Self::All => Matching::All,
        }
    }

    /// The canonical text of it.
    pub(super) fn subject(&self) -> String {
        subject::of_entry(&self.entry(0, Some(0)))
    }

    /// The entry that kills it. `before` is the cut, or now for a target without one; `until` is
    /// known for a token that is on record.
    #[must_use]
    pub fn entry(&self, before: u64, until: Option<u64>) -> Entry {
        let last = before + HORIZON;
        match self.clone() {
            Self::Jti(jti) => Entry::Jti { jti, until: until.unwrap_or(jti.seconds() + HORIZON) },
            Self::Client(client) => Entry::Client { client, before, until: last },
            Self::Sub(sub) => Entry::Sub { sub, before, until: last },
            Self::Tenant(tenant) => Entry::Tenant { tenant, before, until: last },
            Self::Cred(cred) => Entry::Cred { cred, until: last },
            Self::Kid(kid) => Entry::Kid { kid },
            Self::All => Entry::All { all: True, before, until: last },
        }
    }
}

const UNKNOWN_CLIENT: NotRevoked = NotRevoked::Unknown("client");
const UNKNOWN_TENANT: NotRevoked = NotRevoked::Unknown("tenant");
