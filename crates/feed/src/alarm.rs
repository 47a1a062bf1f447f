//! What should not happen, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::{Crier, Event};

/// Something that an operator should look at. Each is counted, and logged without a token, a
/// credential or the object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// An object was not believed: garbage, another kind, a wrong signature, an unknown key.
    Unproven,
    /// A signed object was not understood; this build may be too old for its issuer.
    NotUnderstood,
    /// Two different payloads for one number. The evidence is kept.
    Equivocation,
    /// An older snapshot, epoch or keys document than what was seen before.
    Backwards,
    /// A sign of life dated in the future: a clock is wrong, here or there.
    Ahead,
    /// An origin answered with something that is not of the protocol.
    Origin,
    /// A keys document was refused.
    Keys,
    /// A published key carries private material.
    PrivateKey,
    /// What is kept on disk could not be read, did not verify, or could not be written.
    Disk,
}

impl Alarm {
    /// Every kind, in the order of the counters.
    pub const ALL: [Self; 9] = [
        Self::Unproven,
        Self::NotUnderstood,
        Self::Equivocation,
        Self::Backwards,
        Self::Ahead,
        Self::Origin,
        Self::Keys,
        Self::PrivateKey,
        Self::Disk,
    ];

    /// Stable text for a metric's label.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::NotUnderstood => "not-understood",
            Self::Equivocation => "equivocation",
            Self::Backwards => "backwards",
            Self::Ahead => "ahead",
            Self::Origin => "origin",
            Self::Keys => "keys",
            Self::PrivateKey => "private-key",
            Self::Disk => "disk",
        }
    }
}

/// How often each alarm was raised.
#[derive(Debug, Default)]
pub struct Alarms {
    counts: [AtomicU64; Alarm::ALL.len()],
    crier: Crier,
}

impl Alarms {
    /// How often `alarm` was raised since the start.
    #[must_use]
    pub fn count(&self, alarm: Alarm) -> u64 {
        self.counts.get(alarm as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn crier(&self) -> &Crier {
        &self.crier
    }

    pub(crate) fn raise(&self, alarm: Alarm, reason: &dyn std::fmt::Display) {
        if let Some(count) = self.counts.get(alarm as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        tracing::warn!(alarm = alarm.code(), %reason, "deny list feed");
        self.crier.tell(|| Event::Alarm { alarm, reason: reason.to_string() });
    }
}
