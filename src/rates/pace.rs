//! When the next one is in time.
//!
//! The governor crate would not do: it has one quota for each limiter, cannot look without taking,
//! which failures need, and cannot charge more than is left, which replicas need.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// A burst, and then one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    each: Duration,
    /// How far ahead of its time one may come.
    early: Duration,
}

impl Pace {
    /// `most` within `time`, at once or spread over it.
    pub(super) const fn new(time: Duration, most: NonZeroU32) -> Self {
        let each = time.checked_div(most.get());
        // `most` is not zero.
        let each = match each {
            Some(each) => each,
            None => time,
        };
        Self { each, early: time.saturating_sub(each) }
    }

    /// What one costs: the time in which it is earned.
    pub(super) const fn each(self) -> Duration {
        self.each
    }
}

/// For each key the time at which all that it was given will have been earned; a time in the past
/// means nothing.
pub(super) struct Due<K> {
    times: HashMap<K, Instant>,
    /// At this size those that are over are looked for.
    full: usize,
    most: usize,
}

/// Below it nothing is looked for.
const FEW: usize = 1024;

impl<K> Default for Due<K> {
    fn default() -> Self {
        Self::at_most(usize::MAX)
    }
}

impl<K> Due<K> {
    /// Remembers no more than `most` keys; what would be one more is not charged.
    pub(super) fn at_most(most: usize) -> Self {
        Self { times: HashMap::new(), full: FEW.min(most), most }
    }
}

impl<K: Hash + Eq> Due<K> {
    /// How long until `key` may have one more; `None` where it may now.
    pub(super) fn wait<Q>(&self, key: &Q, pace: Pace, now: Instant) -> Option<Duration>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let ahead = self.times.get(key)?.saturating_duration_since(now);
        ahead.checked_sub(pace.early).filter(|wait| !wait.is_zero())
    }

    /// Takes back what `key` was charged.
    pub(super) fn give_back<Q>(&mut self, key: &Q, cost: Duration)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(due) = self.times.get_mut(key) {
            *due = due.checked_sub(cost).unwrap_or(*due);
        }
    }

    /// Makes `key` earn `cost`, from `at` on or after all that it owes already.
    pub(super) fn charge<Q>(&mut self, key: &Q, cost: Duration, at: Instant)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(due) = self.times.get_mut(key) {
            *due = (*due).max(at) + cost;
            return;
        }
        if self.times.len() >= self.full {
            self.times.retain(|_, due| *due > at);
            // Looked for again at twice the size, so that it costs each new key little.
            self.full = (2 * self.times.len()).clamp(FEW.min(self.most), self.most);
        }
        if self.times.len() < self.most {
            self.times.insert(key.to_owned(), at + cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const EACH: Duration = Duration::from_secs(6);

    #[test]
    fn n149_a_flood_of_keys_is_forgotten_when_it_is_over_and_bounded_before() {
        let mut due = Due::at_most(5000);
        let mut now = clock::monotonic();
        for key in 0..100_000_u32 {
            due.charge(&key, EACH, now);
            assert!(due.times.len() <= 5000, "{key}");
        }
        now += EACH;
        due.charge(&100_000, EACH, now);
        assert_eq!(due.times.len(), 1, "the others owe nothing any more");
        assert!(due.wait(&1, Pace::new(EACH, NonZeroU32::MIN), now).is_none());
        assert!(due.wait(&100_000, Pace::new(EACH, NonZeroU32::MIN), now).is_some());
    }

    #[test]
    fn what_is_owed_beyond_the_burst_is_earned_too() {
        let (mut due, now) = (Due::<u32>::default(), clock::monotonic());
        let pace = Pace::new(Duration::from_secs(60), NonZeroU32::new(10).unwrap());
        // As when two other replicas have granted a whole burst each.
        due.charge(&1, 2 * Duration::from_secs(60), now);
        assert_eq!(due.wait(&1, pace, now), Some(Duration::from_secs(66)));
        let at = now + Duration::from_secs(66);
        assert_eq!(due.wait(&1, pace, at), None);
        due.charge(&1, pace.each(), at);
        assert_eq!(due.wait(&1, pace, at), Some(EACH));
    }
}
