//! How old the deny list may be.

use scrip_token::limits::{LEEWAY, MAX_INTEGER};

use crate::rejection::Rejection;

/// How old the deny list may be before tokens are refused.
///
/// With `age` as in [`Information::age`], a token is admitted iff `age <= max_staleness`, or
/// `now - iat <= max_staleness` and `age <= max_offline`: a token that was just minted is fresh
/// proof by itself, because the mint honours revocations too. So through an outage of the feed
/// clients carry on by minting more often, and old tokens fail closed. `max_offline` bounds that,
/// because a stolen signing key can date its tokens as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    max_staleness: u64,
    max_offline: u64,
    policy: StalePolicy,
}

/// What happens to a token that the deny list is too old for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StalePolicy {
    /// It is refused.
    Deny,
    /// It is refused, and the rejection asks for an operator's attention.
    DenyAndAlert,
    /// It is refused this many seconds later: they are added to `max_staleness`. Availability
    /// bought with the same time in which a revoked token may pass.
    AllowFor(u64),
}

/// Settings of [`Freshness`] that cannot be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FreshnessError {
    /// `max_offline` below `max_staleness` would never apply.
    #[error("max_offline of {max_offline} s is shorter than max_staleness of {max_staleness} s")]
    OfflineBelowStaleness {
        /// As given, in seconds.
        max_staleness: u64,
        /// As given, in seconds.
        max_offline: u64,
    },
    /// A duration of 2^53 seconds or more.
    #[error("a duration of {seconds} s is out of range")]
    OutOfRange {
        /// As given.
        seconds: u64,
    },
}

impl Default for Freshness {
    /// 60 seconds, to outlast a failover or a rolling restart; 900 seconds offline; `Deny`.
    fn default() -> Self {
        Self { max_staleness: 60, max_offline: 900, policy: StalePolicy::Deny }
    }
}

impl Freshness {
    /// Durations are in seconds.
    ///
    /// # Errors
    /// [`FreshnessError`].
    pub fn new(
        max_staleness: u64,
        max_offline: u64,
        policy: StalePolicy,
    ) -> Result<Self, FreshnessError> {
        let freshness = Self { max_staleness, max_offline, policy };
        let durations = [max_staleness, max_offline, freshness.allow_for()];
        if let Some(&seconds) = durations.iter().find(|seconds| **seconds >= MAX_INTEGER) {
            return Err(FreshnessError::OutOfRange { seconds });
        }
        if max_offline < max_staleness {
            return Err(FreshnessError::OfflineBelowStaleness { max_staleness, max_offline });
        }
        Ok(freshness)
    }

    /// In seconds, without what [`StalePolicy::AllowFor`] adds.
    #[must_use]
    pub fn max_staleness(&self) -> u64 {
        self.max_staleness
    }

    /// In seconds.
    #[must_use]
    pub fn max_offline(&self) -> u64 {
        self.max_offline
    }

    /// What happens beyond.
    #[must_use]
    pub fn policy(&self) -> StalePolicy {
        self.policy
    }

    /// What the policy adds to `max_staleness`, in seconds.
    #[must_use]
    pub fn allow_for(&self) -> u64 {
        match self.policy {
            StalePolicy::Deny | StalePolicy::DenyAndAlert => 0,
            StalePolicy::AllowFor(seconds) => seconds,
        }
    }

    /// The first half of check 8.
    pub(crate) fn admit(
        &self,
        information: Information,
        iat: u64,
        now: u64,
    ) -> Result<(), Rejection> {
        let Some(age) = information.age(now) else { return Ok(()) };
        let most = self.max_staleness.saturating_add(self.allow_for());
        let just_minted = now.saturating_sub(iat) <= most;
        let online = age <= self.max_offline;
        if age <= most || (just_minted && online) {
            return Ok(());
        }
        let alert = self.policy == StalePolicy::DenyAndAlert;
        Err(if online {
            Rejection::Stale { age, most, alert }
        } else {
            Rejection::Offline { age, most: self.max_offline.max(most), alert }
        })
    }
}

/// What is known about revocations of one issuer, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Information {
    /// Its feed is followed.
    Followed {
        /// Every revocation up to this time is in the deny set: the issuer's clock, in seconds
        /// since the epoch.
        as_of: u64,
        /// Seconds since the feed was last heard, by a monotonic clock.
        silence: u64,
    },
    /// Nobody follows its feed: a revoked token is accepted until it expires. A choice for those
    /// who have nothing but the JWKS.
    Unfollowed,
}

impl Information {
    /// The greater of `now - as_of` and the silence, in seconds; `None` where no feed is followed.
    ///
    /// Information dated more than [`LEEWAY`] ahead of `now` never counts (its age is endless):
    /// one of the two clocks is wrong, and entries may have been forgotten by the other.
    #[must_use]
    pub fn age(self, now: u64) -> Option<u64> {
        match self {
            Self::Followed { as_of, .. } if as_of > now.saturating_add(LEEWAY) => Some(u64::MAX),
            Self::Followed { as_of, silence } => Some(now.saturating_sub(as_of).max(silence)),
            Self::Unfollowed => None,
        }
    }
}
