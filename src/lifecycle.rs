//! How master credentials end: by when a secret is to be replaced, what a client is warned of, and
//! when its secret is refused. Pure judgement; [`watch`] acts on it.

pub(crate) mod endings;
mod outlook;
mod rotation;
mod watch;

use crate::policy::{Policy, Rotate};
use crate::store::clients::Client;

pub use outlook::Outlook;
pub use watch::{review, watch};

/// Seconds.
pub const DAY: i64 = 86_400;
/// How long before a secret is due its client is warned, in seconds.
const NOTICE: i64 = 14 * DAY;

/// What somebody should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// The secret is due within 14 days, and Scrip does not replace it by itself.
    RotateSoon,
    /// The secret should have been replaced.
    PastDue,
    /// The secret is past due by more than the grace, and authenticates nobody.
    Refused,
    /// Registered for long, and never used.
    NeverUsed,
    /// Not used for long.
    Unused,
    /// Used from more places than one secret should be.
    Shared,
}

impl Warning {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::RotateSoon,
        Self::PastDue,
        Self::Refused,
        Self::NeverUsed,
        Self::Unused,
        Self::Shared,
    ];
    /// Those that end with a rotation.
    pub const OF_AGE: [Self; 3] = [Self::RotateSoon, Self::PastDue, Self::Refused];

    /// Its name in the database, the API and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RotateSoon => "rotate-soon",
            Self::PastDue => "past-due",
            Self::Refused => "refused",
            Self::NeverUsed => "never-used",
            Self::Unused => "unused",
            Self::Shared => "shared",
        }
    }
}

/// What is known of a client beside its row and its policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Since when it is warned that its secret is past due, in seconds.
    pub past_due_since: Option<i64>,
    /// From how many places it minted within a day.
    pub places: i64,
}

/// What is too long, and too many.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Seconds without a mint.
    pub unused: i64,
    /// Places.
    pub places: i64,
}

/// When the secret was last replaced, as far as is on record, in seconds.
#[must_use]
pub fn since(client: &Client) -> i64 {
    client.rotated.map_or(client.created, |rotated| rotated.max(client.created))
}

/// By when the secret is to be replaced, in seconds: the client's own date or what its policy says,
/// whichever is earlier.
#[must_use]
pub fn due(client: &Client, policy: Option<&Policy>) -> Option<i64> {
    let rotate = policy.and_then(Policy::rotate);
    let by_policy = rotate.map(|rotate| since(client) + i64::from(rotate.after) * DAY);
    client.rotate_by.into_iter().chain(by_policy).min()
}

/// From when on Scrip replaces the secret itself, in seconds: one overlap before it is due, so that
/// the old one has ended by then.
#[must_use]
pub fn replaced_from(client: &Client, policy: &Policy) -> Option<i64> {
    let is_automatic = policy.rotate().is_some_and(|rotate| rotate.automatic);
    let is_ours = is_automatic && client.enabled && client.source == "vault";
    due(client, Some(policy)).filter(|_| is_ours).map(|due| due - client.overlap)
}

/// What a client is to be warned of at `now` (seconds). A disabled one of nothing, because somebody
/// has looked at it.
#[must_use]
pub fn warnings(
    client: &Client,
    policy: &Policy,
    known: Known,
    bounds: Bounds,
    now: i64,
) -> Vec<Warning> {
    if !client.enabled || client.deleted.is_some() {
        return Vec::new();
    }
    let mut found = Vec::new();
    match due(client, Some(policy)) {
        Some(due) if due <= now => {
            found.push(Warning::PastDue);
            if is_over(client, policy, known, due, now) {
                found.push(Warning::Refused);
            }
        }
        // What the service replaces by itself concerns nobody, unless that fails.
        Some(due) if due - NOTICE <= now && replaced_from(client, policy).is_none() => {
            found.push(Warning::RotateSoon);
        }
        _ => {}
    }
    match client.last_used {
        None if client.created + bounds.unused < now => found.push(Warning::NeverUsed),
        Some(used) if used + bounds.unused < now => found.push(Warning::Unused),
        _ => {}
    }
    if known.places > bounds.places {
        found.push(Warning::Shared);
    }
    found
}

/// Whether the grace is over. It begins when the client is warned and not before: a policy that is
/// applied today refuses nobody today.
fn is_over(client: &Client, policy: &Policy, known: Known, due: i64, now: i64) -> bool {
    let refuses = |rotate: &Rotate| rotate.refuse && !is_spared(client, policy);
    let rotate = policy.rotate().filter(refuses);
    let Some((rotate, said)) = rotate.zip(known.past_due_since) else { return false };
    due.max(said) + i64::from(rotate.grace) * DAY <= now
}

/// Whoever may revoke, replace keys or follow with the secret itself is only warned: that has to
/// work in an emergency.
fn is_spared(client: &Client, policy: &Policy) -> bool {
    let direct = ["scrip:revoke", "scrip:keys", "scrip:feed"];
    client.source == "embedded" && direct.into_iter().any(|scope| policy.grants(scope))
}

#[cfg(test)]
mod tests;
