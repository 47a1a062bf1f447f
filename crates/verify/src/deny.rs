//! What an issuer has revoked.

mod rules;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use scrip_token::blob::Blob;
use scrip_token::claims::Claims;
use scrip_token::deny::Entry;
use scrip_token::jti::Jti;
use scrip_token::limits::{HORIZON, LEEWAY};

use self::rules::Rules;

/// What an issuer has revoked. Immutable: a batch makes a new set, which shares whatever the batch
/// leaves as it is, so readers keep theirs meanwhile.
///
/// The set does not depend on the order in which entries came, nor on how often.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DenySet {
    /// Single tokens by the second of their `jti`, which is their `iat`, ascending: one probe finds a token
    /// or an ancestor, a batch copies the seconds that it touches, and ageing drops whole ones.
    seconds: Arc<Vec<(u64, Arc<Bucket>)>>,
    /// Absent where there are none, which is nearly always.
    rules: Option<Arc<Rules>>,
}

/// The revoked tokens of one second, by their [`mark`]: half of what an id takes. None of them is
/// ever accepted; with 10 million revoked, another token is refused once in 10^15 times.
#[derive(Clone, Default, PartialEq, Eq)]
struct Bucket {
    tokens: HashSet<u64, RandomState>,
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
        Self::default().extended(&blob.jtis, &blob.rules)
    }

    /// This set and the entries of a batch.
    #[must_use]
    pub fn with(&self, entries: &[Entry]) -> Self {
        let mut jtis = Vec::new();
        for entry in entries {
            if let Entry::Jti { jti, until } = entry {
                jtis.push((*jti, *until));
            }
        }
        jtis.sort_unstable(); // so that each second is copied once
        self.extended(&jtis, entries)
    }

    /// This set without what can no longer refuse anything at `verified_now`, the newest time that
    /// the issuer's feed has shown.
    ///
    /// An entry outlives its `until` by [`LEEWAY`]: a reader whose clock is behind the feed by less
    /// than that still finds the entry, and for one that is further behind the information never
    /// counts.
    #[must_use]
    pub fn pruned(&self, verified_now: u64) -> Self {
        let live = |until: u64| until.saturating_add(LEEWAY) >= verified_now;
        let seconds = self.seconds.iter().filter(|(_, bucket)| live(bucket.until));
        Self {
            seconds: Arc::new(seconds.cloned().collect()),
            rules: self.rules.as_ref().and_then(|rules| rules.retained(live)).map(Arc::new),
        }
    }

    /// How many tokens and rules it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.as_ref().map_or(0, |rules| rules.len())
            + self.seconds.iter().map(|(_, bucket)| bucket.tokens.len()).sum::<usize>()
    }

    /// Whether it refuses nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first entry that refuses a token with these claims, signed with the key `kid`.
    #[must_use]
    pub fn denies(&self, claims: &Claims, kid: &str) -> Option<Denied> {
        let ruled_out = || self.rules.as_ref()?.denies(claims, kid);
        let ancestor = || claims.lin.iter().find(|ancestor| self.holds(ancestor));
        ruled_out()
            .or_else(|| ancestor().map(|jti| Denied::Ancestor(*jti)))
            .or_else(|| self.holds(&claims.jti).then_some(Denied::Jti(claims.jti)))
    }

    fn holds(&self, jti: &Jti) -> bool {
        let second = jti.seconds();
        let Some((first, _)) = self.seconds.first() else { return false };
        // After a mass revocation the seconds follow each other without a gap: the guess is right.
        let guess = usize::try_from(second.wrapping_sub(*first)).unwrap_or(usize::MAX);
        let bucket = match self.seconds.get(guess) {
            Some((known, bucket)) if *known == second => Some(bucket),
            _ => self.position(second).ok().and_then(|at| self.seconds.get(at)).map(|(_, b)| b),
        };
        bucket.is_some_and(|bucket| bucket.tokens.contains(&mark(jti)))
    }

    /// Where the bucket of a second is, or belongs.
    fn position(&self, second: u64) -> Result<usize, usize> {
        self.seconds.binary_search_by_key(&second, |(known, _)| *known)
    }

    fn extended<T: Copy + Into<u64>>(&self, jtis: &[(Jti, T)], rules: &[Entry]) -> Self {
        let mut set = self.clone();
        for fresh in jtis.chunk_by(|(a, _), (b, _)| a.seconds() == b.seconds()) {
            let Some((first, _)) = fresh.first() else { continue };
            let second = first.seconds();
            let place = set.position(second);
            let seconds = Arc::make_mut(&mut set.seconds);
            let at = place.unwrap_or_else(|at| {
                seconds.insert(at, (second, Arc::default()));
                at
            });
            if let Some((_, bucket)) = seconds.get_mut(at) {
                Arc::make_mut(bucket).extend(fresh);
            }
        }
        for rule in rules.iter().filter(|rule| !matches!(rule, Entry::Jti { .. })) {
            Arc::make_mut(set.rules.get_or_insert_default()).add(rule);
        }
        set
    }
}

impl Bucket {
    /// No token of this second lives longer than [`HORIZON`], so an `until` before that cannot make
    /// the entry forgotten too early.
    fn extend<T: Copy + Into<u64>>(&mut self, fresh: &[(Jti, T)]) {
        self.tokens.extend(fresh.iter().map(|(jti, _)| mark(jti)));
        for (jti, until) in fresh {
            let least = jti.seconds().saturating_add(HORIZON);
            self.until = self.until.max((*until).into()).max(least);
        }
    }
}

/// 64 random bits of an id with its other bits folded in. RFC 9562 section 5.7: 48 bits of time, 4
/// of version, 12 random, 2 of variant, 62 random.
fn mark(jti: &Jti) -> u64 {
    let bits = u128::from_be_bytes(*jti.as_bytes());
    let (high, low) = ((bits >> 64) as u64, bits as u64);
    high.rotate_right(2) ^ (low << 2 >> 2)
}

impl fmt::Debug for DenySet {
    /// Shows its size only: there may be millions of entries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DenySet({} entries)", self.len())
    }
}
