//! The entries that refuse more than one token.

use foldhash::fast::RandomState;
use scrip_token::claims::Claims;
use scrip_token::deny::Entry;
use scrip_token::limits::HORIZON;
use scrip_token::name::QualifiedName;

use super::Denied;

type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// Rules by what they select. Of two rules for one thing the wider is kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    kids: HashSet<String>,
    all: Option<Cut>,
    tenants: HashMap<String, Cut>,
    clients: HashMap<QualifiedName, Cut>,
    /// By tenant, then by the text of `sub`.
    subjects: HashMap<String, HashMap<String, Cut>>,
    /// By client, then by the text of `cred`; the value is the entry's `until`.
    creds: HashMap<QualifiedName, HashMap<String, u64>>,
}

/// Refuses tokens with `iat <= before`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cut {
    before: u64,
    until: u64,
}

impl Rules {
    pub(super) fn add(&mut self, rule: &Entry) {
        match rule {
            Entry::Jti { .. } => {} // no rule: kept by its second
            Entry::Kid { kid } => {
                self.kids.insert(kid.clone());
            }
            Entry::All { before, until, .. } => {
                let cut = Cut::new(*before, *until);
                self.all = Some(self.all.map_or(cut, |kept| kept.joined(cut)));
            }
            Entry::Tenant { tenant, before, until } => {
                Cut::new(*before, *until).join(&mut self.tenants, tenant);
            }
            Entry::Client { client, before, until } => {
                Cut::new(*before, *until).join(&mut self.clients, client);
            }
            Entry::Sub { sub, before, until } => {
                let subjects = self.subjects.entry(sub.tenant.clone()).or_default();
                Cut::new(*before, *until).join(subjects, &sub.id);
            }
            Entry::Cred { cred, until } => {
                let versions = self.creds.entry(cred.client.clone()).or_default();
                let kept = versions.entry(cred.version.clone()).or_default();
                *kept = (*kept).max(*until);
            }
        }
    }

    pub(super) fn denies(&self, claims: &Claims, kid: &str) -> Option<Denied> {
        if self.kids.contains(kid) {
            return Some(Denied::Kid);
        }
        let cut =
            |cut: Option<&Cut>| cut.filter(|cut| claims.iat <= cut.before).map(|cut| cut.before);
        if let Some(before) = cut(self.all.as_ref()) {
            return Some(Denied::All { before });
        }
        if let Some(before) = cut(self.tenants.get(&claims.tenant)) {
            return Some(Denied::Tenant { before });
        }
        if let Some(before) = cut(self.clients.get(&claims.client_id)) {
            return Some(Denied::Client { before });
        }
        let subjects = self.subjects.get(&claims.tenant);
        if let Some(before) = cut(subjects.and_then(|subjects| subjects.get(&claims.sub))) {
            return Some(Denied::Sub { before });
        }
        let (version, versions) = (claims.cred.as_ref()?, self.creds.get(&claims.client_id)?);
        versions.contains_key(version).then_some(Denied::Cred)
    }

    /// The rules whose `until` is live, if there are any. Those for a `kid` stay for ever.
    pub(super) fn retained(&self, live: impl Fn(u64) -> bool) -> Option<Self> {
        let mut rules = self.clone();
        rules.all.take_if(|cut| !live(cut.until));
        rules.tenants.retain(|_, cut| live(cut.until));
        rules.clients.retain(|_, cut| live(cut.until));
        rules.subjects.retain(|_, subjects| {
            subjects.retain(|_, cut| live(cut.until));
            !subjects.is_empty()
        });
        rules.creds.retain(|_, versions| {
            versions.retain(|_, until| live(*until));
            !versions.is_empty()
        });
        (rules.len() > 0).then_some(rules)
    }

    pub(super) fn len(&self) -> usize {
        self.kids.len()
            + usize::from(self.all.is_some())
            + self.tenants.len()
            + self.clients.len()
            + self.subjects.values().map(HashMap::len).sum::<usize>()
            + self.creds.values().map(HashMap::len).sum::<usize>()
    }
}

impl Cut {
    /// No token of before the cut lives longer than [`HORIZON`] after it, so an `until` before that
    /// cannot make the rule forgotten too early.
    fn new(before: u64, until: u64) -> Self {
        Self { before, until: until.max(before.saturating_add(HORIZON)) }
    }

    fn joined(self, other: Self) -> Self {
        Self { before: self.before.max(other.before), until: self.until.max(other.until) }
    }

    fn join<K: Clone + Eq + std::hash::Hash>(self, cuts: &mut HashMap<K, Self>, key: &K) {
        let kept = cuts.entry(key.clone()).or_insert(self);
        *kept = kept.joined(self);
    }
}
