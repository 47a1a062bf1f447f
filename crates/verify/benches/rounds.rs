//! Operations timed in turns, round by round, so that a change of the machine's pace affects all of
//! them.

use std::time::{Duration, Instant};

const ROUNDS: usize = 25;
/// How long one of them runs in one round.
const TURN: Duration = Duration::from_millis(40);

/// What is timed, under a name.
pub(crate) struct Timing<'a> {
    name: &'a str,
    run: Box<dyn FnMut(u64) -> Duration + 'a>,
}

/// Nanoseconds for one operation.
pub(crate) struct Timed {
    name: String,
    pub(crate) median: f64,
    pub(crate) least: f64,
}

impl<'a> Timing<'a> {
    /// Times `operation`, repeated on one thread.
    pub(crate) fn new<T>(name: &'a str, mut operation: impl FnMut() -> T + 'a) -> Self {
        Self::many(name, move |times| {
            let start = now();
            for _ in 0..times {
                std::hint::black_box(operation());
            }
            start.elapsed()
        })
    }

    /// `run` performs so many operations and says how long they took.
    pub(crate) fn many(name: &'a str, run: impl FnMut(u64) -> Duration + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Times them in turns and prints a table: medians over the rounds, the least, and each
/// median over the first's.
pub(crate) fn rounds<const N: usize>(title: &str, mut timings: [Timing<'_>; N]) -> [Timed; N] {
    let times = timings.each_mut().map(|timing| {
        let mut times = 1;
        loop {
            let took = (timing.run)(times);
            if took > TURN / 4 {
                let scaled = TURN.as_secs_f64() / took.as_secs_f64() * times as f64;
                return (scaled as u64).max(1);
            }
            times *= 2;
        }
    });
    let mut samples = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for ((timing, times), samples) in timings.iter_mut().zip(times).zip(&mut samples) {
            samples.push((timing.run)(times).as_nanos() as f64 / times as f64);
        }
    }
    let mut timed = samples.into_iter().zip(&timings).map(|(mut samples, timing)| {
        samples.sort_by(f64::total_cmp);
        Timed { name: timing.name.to_owned(), median: samples[ROUNDS / 2], least: samples[0] }
    });
    let timed = std::array::from_fn(|_| timed.next().expect("one for each"));
    print(title, &timed);
    timed
}

fn print(title: &str, timed: &[Timed]) {
    println!("\n{title}\n{:<44} {:>12} {:>12} {:>8}", "", "median ns", "least ns", "over 1st");
    for Timed { name, median, least } in timed {
        println!("{name:<44} {median:>12.1} {least:>12.1} {:>8.3}", median / timed[0].median);
    }
}

/// The one line by which a figure is found.
pub(crate) fn ratio(name: &str, value: f64, what: &str) {
    println!("RATIO {name} {value:.3} {what}");
}

pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    Instant::now()
}
