//! What an issuer has revoked.

mod rules;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use scrip_token::blob::Blob;
use scrip_token::claims::Claims;
use scrip_token::deny::Entry;
use scrip_token::jti::Jti;
use scrip_token::limits::{HORIZON, LEEWAY};

use self::rules::Rules;

/// What an issuer has revoked. Immutable; a batch makes a new set that shares all that it leaves
/// alone, so readers keep theirs while a writer goes on.
///
/// The set does not depend on the order in which entries came, nor on how often.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DenySet {
    /// Single tokens by the second of their `jti`, which is their `iat`: one probe finds a token
    /// or an ancestor, a batch copies the seconds that it touches, and ageing drops whole ones.
    seconds: Arc<HashMap<u64, Arc<Bucket>>>,
    rules: Arc<Rules>,
}

/// The revoked tokens of one second, ascending.
#[derive(Default, PartialEq, Eq)]
struct Bucket {
    jtis: Box<[Jti]>,
    until: u64,
}

/// Which entry refuses a token. `before` is the entry's cut, in seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its signing key.
    #[error("its signing key")]
    Kid,
    /// Every token up to a time.
    #[error("every token issued until {before}")]
    All {
        /// The cut.
        before: u64,
    },
    /// Its tenant's tokens up to a time.
    #[error("its tenant's tokens issued until {before}")]
    Tenant {
        /// The cut.
        before: u64,
    },
    /// Its client's tokens up to a time.
    #[error("its client's tokens issued until {before}")]
    Client {
        /// The cut.
        before: u64,
    },
    /// Its subject's tokens up to a time.
    #[error("its subject's tokens issued until {before}")]
    Sub {
        /// The cut.
        before: u64,
    },
    /// The version of the master credential that it was traded for.
    #[error("the credential it was traded for")]
    Cred,
    /// A token that it was delegated from.
    #[error("its ancestor {0}")]
    Ancestor(Jti),
    /// This very token.
    #[error("token {0}")]
    Jti(Jti),
}

impl DenySet {
    /// The entries of a snapshot.
    #[must_use]
    pub fn from_blob(blob: &Blob) -> Self {
        let jtis = blob.jtis.iter().map(|(jti, until)| (*jti, u64::from(*until))).collect();
        Self::default().extended(jtis, &blob.rules)
    }

    /// This set and the entries of a batch.
    #[must_use]
    pub fn with(&self, entries: &[Entry]) -> Self {
        self.extended(Vec::new(), entries)
    }

    /// This set without what can no longer refuse anything at `verified_now`, the newest time that
    /// the issuer's feed has shown.
    ///
    /// An entry outlives its `until` by [`LEEWAY`]: a reader whose clock is behind the feed by more
    /// is told that its information never counts, by less still finds the entry.
    #[must_use]
    pub fn pruned(&self, verified_now: u64) -> Self {
        let live = |until: u64| until.saturating_add(LEEWAY) >= verified_now;
        let seconds = self.seconds.iter().filter(|(_, bucket)| live(bucket.until));
        Self {
            seconds: Arc::new(seconds.map(|(second, b)| (*second, Arc::clone(b))).collect()),
            rules: Arc::new(self.rules.retained(live)),
        }
    }

    /// How many tokens and rules it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len() + self.seconds.values().map(|bucket| bucket.jtis.len()).sum::<usize>()
    }

    /// Whether it refuses nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first entry that refuses a token with these claims, signed with the key `kid`.
    #[must_use]
    pub fn denies(&self, claims: &Claims, kid: &str) -> Option<Denied> {
        let ancestor = || claims.lin.iter().find(|ancestor| self.holds(ancestor));
        self.rules
            .denies(claims, kid)
            .or_else(|| ancestor().map(|jti| Denied::Ancestor(*jti)))
            .or_else(|| self.holds(&claims.jti).then_some(Denied::Jti(claims.jti)))
    }

    fn holds(&self, jti: &Jti) -> bool {
        let bucket = self.seconds.get(&jti.seconds());
        bucket.is_some_and(|bucket| bucket.jtis.binary_search(jti).is_ok())
    }

    fn extended(&self, mut jtis: Vec<(Jti, u64)>, entries: &[Entry]) -> Self {
        let mut set = self.clone();
        for entry in entries {
            match entry {
                Entry::Jti { jti, until } => jtis.push((*jti, *until)),
                rule => Arc::make_mut(&mut set.rules).add(rule),
            }
        }
        jtis.sort_unstable(); // so that each second is copied once
        for bucket in jtis.chunk_by(|(a, _), (b, _)| a.seconds() == b.seconds()) {
            let Some((first, _)) = bucket.first() else { continue };
            let second = first.seconds();
            let kept = Arc::make_mut(&mut set.seconds).entry(second).or_default();
            *kept = Arc::new(kept.with(second, bucket));
        }
        set
    }
}

impl Bucket {
    /// No token of this second lives longer than [`HORIZON`], so an `until` before that cannot make
    /// the entry forgotten too early.
    fn with(&self, second: u64, fresh: &[(Jti, u64)]) -> Self {
        let mut jtis = self.jtis.to_vec();
        jtis.extend(fresh.iter().map(|(jti, _)| jti));
        jtis.sort_unstable();
        jtis.dedup();
        let until = fresh.iter().map(|(_, until)| *until).max().unwrap_or_default();
        Self { jtis: jtis.into(), until: self.until.max(until).max(second.saturating_add(HORIZON)) }
    }
}

impl fmt::Debug for DenySet {
    /// Its size only: there may be millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DenySet({} entries)", self.len())
    }
}
