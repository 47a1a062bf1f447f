//! Chance that can be repeated, and how long a drill is.

use scrip::random;
use std::ops::Range;
use std::time::Duration;

/// SplitMix64 from a seed that is printed; `DRILL_SEED` repeats one.
#[derive(Clone)]
pub struct Dice {
    pub seed: u64,
    state: u64,
}

/// How much a drill does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// For each run of the tests.
    Short,
    /// At least a thousand acknowledged revocations; by `DRILL=long`.
    Long,
}

impl Dice {
    pub fn new() -> Self {
        let given = environment("DRILL_SEED").map(|seed| seed.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| u64::from_le_bytes(random::bytes()));
        println!("seed {seed}");
        Self { seed, state: seed }
    }

    pub fn roll(&mut self, range: Range<u64>) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) % (range.end - range.start)
    }

    /// Others, for somebody who rolls in no order with this one.
    pub fn fork(&mut self) -> Self {
        Self { seed: self.seed, state: self.roll(0..u64::MAX) }
    }

    pub fn ms(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.roll(range))
    }
}

impl Size {
    pub fn asked_for() -> Self {
        match environment("DRILL").as_deref() {
            None => Self::Short,
            Some("long") => Self::Long,
            Some(other) => panic!("DRILL is `long` or unset, not `{other}`"),
        }
    }

    /// One number for the short form, one for the long.
    pub fn of<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

/// How long the soak is to take, by `DRILL_MINUTES`.
pub fn minutes() -> Option<Duration> {
    let minutes: u64 = environment("DRILL_MINUTES")?.parse().expect("a number");
    Some(Duration::from_secs(60 * minutes))
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests chooses these three")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
