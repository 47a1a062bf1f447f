//! One entry of a table: a server under load, round by round.

use std::net::SocketAddr;
use std::time::Duration;

use crate::figures::Times;
use crate::load::{self, Requests};
use crate::proc;

/// One turn under load, and one before it that is not counted.
const TURN: Duration = Duration::from_secs(2);
const WARM: Duration = Duration::from_millis(300);

pub(crate) struct Side {
    pub(crate) name: &'static str,
    address: SocketAddr,
    pid: u32,
    requests: Requests,
    /// Tokens each second, a number for each turn.
    rates: Vec<f64>,
    /// Tokens for each second of the server's processor time.
    by_cpu: Vec<f64>,
    waits: Times,
    refused: usize,
}

impl Side {
    pub(crate) fn new(
        name: &'static str,
        address: SocketAddr,
        pid: u32,
        requests: Requests,
    ) -> Self {
        let (rates, by_cpu, waits) = (Vec::new(), Vec::new(), Times::default());
        Self { name, address, pid, requests, rates, by_cpu, waits, refused: 0 }
    }

    pub(crate) async fn turn(&mut self) {
        load::run(self.address, &self.requests, WARM).await;
        let before = proc::cpu(self.pid);
        let answered = load::run(self.address, &self.requests, TURN).await;
        let cpu = proc::cpu(self.pid) - before;
        let granted = answered.granted.len() as f64;
        self.rates.push(granted / answered.took.as_secs_f64());
        self.by_cpu.push(granted / cpu.as_secs_f64());
        self.refused += answered.refused;
        answered.granted.into_iter().for_each(|wait| self.waits.push(wait));
    }

    /// Tokens each second, in the median turn.
    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// Tokens for each second of processor time, in the median turn.
    pub(crate) fn by_cpu(&self) -> f64 {
        median(&self.by_cpu)
    }

    /// Milliseconds that so large a share of the requests did not exceed.
    pub(crate) fn wait(&self, share: f64) -> f64 {
        self.waits.at(share)
    }

    fn row(&self) {
        let Self { name, refused, .. } = self;
        let least = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rates.iter().copied().fold(0.0, f64::max);
        let (median, by_cpu) = (self.rate(), self.by_cpu());
        let (wait, p99) = (self.wait(0.5), self.wait(0.99));
        println!(
            "{name:<34} {least:>8.0} {median:>8.0} {most:>8.0} {by_cpu:>10.0} {wait:>9.2} {p99:>9.2} {refused:>8}"
        );
    }
}

/// One round after the other, each server in its turn.
pub(crate) async fn interleaved(sides: &mut [Side], rounds: u64) {
    for _ in 0..rounds {
        for side in &mut *sides {
            side.turn().await;
        }
    }
}

pub(crate) fn table(title: &str, sides: &[Side]) {
    println!(
        "\n{title}\n{:<34} {:>8} {:>8} {:>8} {:>10} {:>9} {:>9} {:>8}",
        "tokens each second",
        "least",
        "median",
        "most",
        "/ cpu s",
        "median ms",
        "p99 ms",
        "refused"
    );
    sides.iter().for_each(Side::row);
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
