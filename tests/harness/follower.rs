use super::cli::Cli;
use super::process::Process;
use super::until::until;
use serde_json::Value;
use std::time::Duration;

/// Far above what a revocation takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// `scrip token verify --follow`: a process that keeps up with the deny list and judges tokens.
pub struct Follower {
    process: Process,
    /// Lines that have been read.
    read: usize,
    /// What it said first: whether it is `synced`, and where.
    pub start: Value,
}

impl Follower {
    /// Starts as the client `gateway`; returns when it has caught up, or has given up waiting.
    pub async fn start(gateway: &Cli, arguments: &[&str]) -> Self {
        let fixed = ["token", "verify", "--follow"];
        let process = Process::start(gateway.command(&[&fixed, arguments].concat()));
        let mut follower = Self { process, read: 0, start: Value::Null };
        follower.start = follower.next(1).await.remove(0);
        follower
    }

    /// Its verdict on `token` at this moment.
    pub async fn judge(&mut self, token: &str) -> Value {
        self.judge_all([token]).await.remove(0)
    }

    /// Its verdict on each of `tokens`, in their order.
    pub async fn judge_all<'t>(&mut self, tokens: impl IntoIterator<Item = &'t str>) -> Vec<Value> {
        let written = tokens.into_iter().map(|token| self.process.write_line(token)).count();
        self.next(written).await
    }

    /// Panics unless `token` is accepted at this moment.
    pub async fn accepts(&mut self, token: &str) {
        let verdict = self.judge(token).await;
        assert_eq!(verdict["accepted"], true, "{verdict}");
    }

    /// Panics unless `token` is refused as revoked at this moment.
    pub async fn refuses(&mut self, token: &str) {
        let verdict = self.judge(token).await;
        assert_eq!(verdict["reason"], "revoked", "{verdict}");
    }

    /// Waits until `token` is refused as revoked.
    pub async fn learns_of(&mut self, token: &str) {
        until("the revocation arrives", PATIENCE, async || {
            (self.judge(token).await["reason"] == "revoked").then_some(())
        })
        .await;
    }

    /// Waits until `token` is accepted.
    pub async fn comes_to_accept(&mut self, token: &str) {
        until("the token is accepted", PATIENCE, async || {
            (self.judge(token).await["accepted"] == true).then_some(())
        })
        .await;
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.process.kill().await;
    }

    async fn next(&mut self, count: usize) -> Vec<Value> {
        let lines = self.process.lines(self.read..self.read + count).await;
        self.read += count;
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        lines.iter().map(parse).collect()
    }
}
