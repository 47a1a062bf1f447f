//! How long a master credential lives.

use serde::{Deserialize, Serialize};

/// By when a client's secret is to be replaced, and what becomes of one that is not. Times are
/// days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// How long a secret may be in use: 30 to 90.
    pub after: u32,
    /// How long a secret goes on being accepted once it is past due, where `refuse` is set: at most
    /// 30.
    #[serde(default = "week")]
    pub grace: u32,
    /// Whether one that is past due is refused after the grace, or only warned of.
    #[serde(default)]
    pub refuse: bool,
    /// Whether Scrip writes the new one itself where Vault keeps it.
    #[serde(default)]
    pub automatic: bool,
}

impl Rotate {
    /// The bounds of `after` and of `grace`.
    pub(super) const BOUNDS: [std::ops::RangeInclusive<u32>; 2] = [30..=90, 0..=30];
}

fn week() -> u32 {
    7
}
