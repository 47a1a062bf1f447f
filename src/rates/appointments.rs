use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time that is kept for each who was turned away: a stampede comes back as a queue.
const EACH: Duration = Duration::from_millis(2);
/// Longest that anybody is sent away for.
const MOST: Duration = Duration::from_secs(30);

/// When whoever was turned away under load shall come back: one after the other, because all who are
/// told the same second would be turned away together again.
#[derive(Default)]
pub struct Appointments(Mutex<Option<Instant>>);

impl Appointments {
    /// The next one, in whole seconds from `now`.
    pub fn next(&self, now: Instant) -> u64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = last.map_or(now, |last| last.max(now)) + EACH;
        // Whoever comes when the book is full shares its last page.
        let next = next.min(now + MOST);
        *last = Some(next);
        next.duration_since(now).as_secs() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_stampede_is_spread_and_nobody_is_sent_away_for_ever() {
        let (book, now) = (Appointments::default(), clock::monotonic());
        let waits: Vec<u64> = (0..20_000).map(|_| book.next(now)).collect();
        assert_eq!((waits[0], waits[498], waits[499], waits[5000]), (1, 1, 2, 11));
        assert_eq!(waits.last(), Some(&31));
        assert_eq!(book.next(now + Duration::from_secs(60)), 1, "the book is empty again");
    }
}
