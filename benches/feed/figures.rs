//! Times in milliseconds, and the one line by which a figure is found.

use std::time::Duration;

/// Times of one kind, over all rounds.
#[derive(Clone, Default)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1000.0);
    }

    /// The least time that `share` of all do not exceed.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    pub(crate) fn row(&self, name: &str) {
        let (least, median, p99, most) = (self.at(0.0), self.median(), self.at(0.99), self.at(1.0));
        let count = self.0.len();
        println!("{name:<44} {count:>6} {least:>9.2} {median:>9.2} {p99:>9.2} {most:>9.2}");
    }
}

/// The head of a table of [`Times::row`]s.
pub(crate) fn title(title: &str) {
    println!(
        "\n{title}\n{:<44} {:>6} {:>9} {:>9} {:>9} {:>9}",
        "milliseconds", "times", "least", "median", "p99", "most"
    );
}

pub(crate) fn ratio(name: &str, value: f64, what: &str) {
    println!("RATIO {name} {value:.3} {what}");
}
