//! Clients that somebody should look at, out of the list of all.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::lifecycle::{DAY, Warning};
use crate::store::clients::Stale;

/// Which of them: `?stale=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// All of these.
    Any,
    /// Registered long ago, never used.
    NeverUsed,
    /// Not used for long, or never.
    Unused,
    /// The secret should have been replaced.
    PastDue,
    /// The secret is used from too many places.
    Shared,
}

impl Kind {
    /// The condition for the database at `now` (seconds); `days` is what counts as long.
    pub(super) fn filter(self, days: NonZeroU32, now: i64) -> Stale<'static> {
        const PAST_DUE: &str = Warning::PastDue.as_str();
        const SHARED: &str = Warning::Shared.as_str();
        let is = |kind| self == Self::Any || self == kind;
        let since = now - i64::from(days.get()) * DAY;
        Stale {
            never_used_since: (is(Self::NeverUsed) || is(Self::Unused)).then_some(since),
            unused_since: is(Self::Unused).then_some(since),
            warned_of: match self {
                Self::Any => &[PAST_DUE, SHARED],
                Self::PastDue => &[PAST_DUE],
                Self::Shared => &[SHARED],
                Self::NeverUsed | Self::Unused => &[],
            },
        }
    }
}
