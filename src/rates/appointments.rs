use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How far apart appointments are: before anything is known of the pace, at least, and at most.
const USUAL: Duration = Duration::from_millis(2);
const FASTEST: Duration = Duration::from_micros(100);
const SLOWEST: Duration = Duration::from_millis(20);
/// A longer pause between mints says nothing of their pace.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// Longest that anybody is sent away for.
const MOST: Duration = Duration::from_secs(60);
/// The pace is averaged over so many mints, because they come in groups.
const AVERAGED: u32 = 256;

/// When those who were turned away under load are to come back: one after the other, at the pace of
/// the last mints. If all were told the same second, they would be turned away together again.
pub struct Appointments(Mutex<Book>);

struct Book {
    each: Duration,
    granted: Option<Instant>,
    last: Option<Instant>,
}

impl Default for Appointments {
    fn default() -> Self {
        Self(Mutex::new(Book { each: USUAL, granted: None, last: None }))
    }
}

impl Appointments {
    /// Takes notice of a mint that was granted.
    pub fn granted(&self, now: Instant) {
        let mut book = self.0.lock();
        let before = book.granted.replace(now);
        // The time between two mints says how long one takes only while there are appointments.
        if let (Some(before), Some(last)) = (before, book.last)
            && now <= last
        {
            let gap = now.saturating_duration_since(before).min(LONGEST_GAP);
            let each = (book.each * (AVERAGED - 1) + gap) / AVERAGED;
            book.each = each.clamp(FASTEST, SLOWEST);
        }
    }

    /// The next one, in whole seconds from `now`.
    pub fn next(&self, now: Instant) -> u64 {
        let mut book = self.0.lock();
        let next = book.last.map_or(now, |last| last.max(now)) + book.each;
        // Once the book is full, all the others share its last moment.
        let next = next.min(now + MOST);
        book.last = Some(next);
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
        let waits: Vec<u64> = (0..40_000).map(|_| book.next(now)).collect();
        assert_eq!((waits[0], waits[498], waits[499], waits[5000]), (1, 1, 2, 11));
        assert_eq!(waits.last(), Some(&61));
        assert_eq!(book.next(now + Duration::from_secs(90)), 1, "the book is empty again");
    }

    #[test]
    fn under_load_the_pace_is_that_of_the_mints() {
        let (book, start) = (Appointments::default(), clock::monotonic());
        let in_line = |now| (0..1000).map(|_| book.next(now)).last();
        // While nobody is turned away, the time between two mints says nothing.
        for second in 0..1000 {
            book.granted(start + Duration::from_secs(second));
        }
        let start = start + Duration::from_secs(1000);
        assert_eq!(in_line(start), Some(3));
        // Ten each 100 ms.
        for _ in 0..40_000 {
            book.next(start);
        }
        for n in 0..500 * 10 {
            book.granted(start + Duration::from_millis(n / 10 * 100));
        }
        let waits = in_line(start + Duration::from_secs(90));
        assert!((8..=13).contains(&waits.unwrap()), "{waits:?}");
    }
}
