//! What was asked for and what every gateway said, on one clock, and whether that keeps the promise.

use chrono::DateTime;
use scrip::clock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Time since the drill began, on the monotonic clock of the process that runs it.
pub type Time = Duration;

/// Writes down what happens while it happens.
pub struct Ledger {
    began: Instant,
    history: Mutex<History>,
}

/// Everything that one drill saw.
#[derive(Debug, Default)]
pub struct History {
    pub tokens: Vec<Token>,
    /// By token.
    pub revocations: BTreeMap<usize, Revocation>,
    pub verdicts: Vec<Verdict>,
    pub receipts: Vec<Receipt>,
    pub faults: Vec<Fault>,
    /// When an epoch began that revokes everything older.
    pub purged: Option<Time>,
    /// From here on nothing was wrong and nothing was asked for.
    pub settled: Option<Time>,
}

/// When something was wrong, up to when everybody was well again.
#[derive(Debug)]
pub struct Fault {
    /// The gateway that it was between; `None`: everybody.
    pub gateway: Option<usize>,
    pub during: Range<Time>,
}

#[derive(Debug)]
pub struct Token {
    pub jti: String,
    pub text: Arc<str>,
    pub minted: Time,
    /// Never to be revoked.
    pub kept: bool,
}

#[derive(Debug)]
pub struct Revocation {
    pub sent: Time,
    pub acknowledged: Option<Acknowledgement>,
}

#[derive(Debug, Clone)]
pub struct Acknowledgement {
    pub at: Time,
    pub epoch: String,
    pub seq: u64,
}

/// What the service said of who enforces a revocation.
#[derive(Debug)]
pub struct Receipt {
    pub token: usize,
    pub at: Time,
    /// The gateways that do.
    pub enforcing: Vec<usize>,
    /// Whether those are all.
    pub all: bool,
    /// From when on nobody accepts the token, enforced or not.
    pub by: Time,
}

/// What one gateway said of one token.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub gateway: usize,
    pub token: usize,
    pub asked: Time,
    pub answered: Time,
    pub said: Said,
    /// How old its information was, in seconds, as it says itself.
    pub age: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Accepted,
    Revoked,
    /// For another reason, such as `stale`.
    Refused(String),
}

/// What was promised (deny-list "Guarantee"), in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// As the gateways are set.
    pub max_staleness: u64,
    /// How far their clocks may be off: the leeway, where a drill moves clocks.
    pub skew: u64,
}

/// What a drill that kept the promise has to show.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub acknowledged: usize,
    pub verdicts: usize,
    /// The latest acceptance, counted from the acknowledgement of the revocation.
    pub worst: Duration,
}

/// How the promise was broken.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// Accepted so long after the acknowledgement.
    Late { gateway: usize, token: usize, after: Duration },
    /// Accepted although the gateway's information, as old as it said that was, had the revocation.
    Dishonest { gateway: usize, token: usize, after: Duration, age: u64 },
    /// Accepted by a gateway that, as the service had said by then, enforced the revocation.
    Untrue { gateway: usize, token: usize },
    /// Accepted so long after nobody was to accept it any more, as the service had said.
    Rosy { gateway: usize, token: usize, after: Duration },
    /// Accepted after everything had settled.
    Lost { gateway: usize, token: usize },
    /// Accepted by a gateway that had refused it as revoked.
    Forgotten { gateway: usize, token: usize },
    /// Refused as revoked, and nobody had asked for it.
    Invented { gateway: usize, token: usize },
    /// Refused for another reason, and nothing was wrong.
    Refused { gateway: usize, token: usize, at: Time, why: String },
}

impl Promise {
    /// The longest that a revoked token may be accepted after the acknowledgement: ages are told
    /// in whole seconds.
    pub fn bound(&self) -> Duration {
        self.aged(self.max_staleness)
    }

    /// The same for information that is `age` seconds old.
    fn aged(&self, age: u64) -> Duration {
        Duration::from_secs(age + self.skew + 1)
    }
}

impl History {
    /// Everything that breaks the promise, or what was shown.
    pub fn check(&self, promise: Promise) -> Result<Shown, Vec<Broken>> {
        let mut broken = Vec::new();
        let mut worst = Duration::ZERO;
        let mut refused = BTreeMap::new();
        let enforced = self.enforced();
        let over = self.over();
        for verdict in &self.verdicts {
            let &Verdict { gateway, token, asked, answered, .. } = verdict;
            match &verdict.said {
                Said::Accepted => {
                    worst = worst.max(self.accepted_after(verdict).unwrap_or_default());
                    broken.extend(self.accepted(verdict, promise));
                    if enforced.get(&(gateway, token)).is_some_and(|since| asked > *since) {
                        broken.push(Broken::Untrue { gateway, token });
                    }
                    // By a clock that the drill moves, nothing is said of this one.
                    let after = over.get(&token).and_then(|by| asked.checked_sub(*by));
                    if let Some(after) = after.filter(|after| *after > promise.aged(0))
                        && promise.skew == 0
                    {
                        broken.push(Broken::Rosy { gateway, token, after });
                    }
                    if refused.get(&(gateway, token)).is_some_and(|since| asked > *since) {
                        broken.push(Broken::Forgotten { gateway, token });
                    }
                }
                Said::Revoked => {
                    refused.entry((gateway, token)).or_insert(answered);
                    if !self.is_asked_for(token, answered) {
                        broken.push(Broken::Invented { gateway, token });
                    }
                }
                Said::Refused(why) => {
                    let excused = self.is_asked_for(token, answered)
                        || self.faults.iter().any(|fault| fault.excuses(verdict));
                    if !excused {
                        let why = why.clone();
                        broken.push(Broken::Refused { gateway, token, at: asked, why });
                    }
                }
            }
        }
        if broken.is_empty() {
            let acknowledged = self.acknowledged().count();
            Ok(Shown { acknowledged, verdicts: self.verdicts.len(), worst })
        } else {
            Err(broken)
        }
    }

    /// What was acknowledged, by token.
    pub fn acknowledged(&self) -> impl Iterator<Item = (usize, &Acknowledgement)> {
        let revocations = self.revocations.iter();
        revocations
            .filter_map(|(token, revocation)| Some((*token, revocation.acknowledged.as_ref()?)))
    }

    /// Since when each gateway enforces a revocation, as the service said.
    fn enforced(&self) -> BTreeMap<(usize, usize), Time> {
        let mut enforced = BTreeMap::new();
        for receipt in &self.receipts {
            for gateway in &receipt.enforcing {
                enforced.entry((*gateway, receipt.token)).or_insert(receipt.at);
            }
        }
        enforced
    }

    /// From when on nobody accepts each token: the earliest that the service has said.
    fn over(&self) -> BTreeMap<usize, Time> {
        let mut over = BTreeMap::new();
        for receipt in &self.receipts {
            let by = over.entry(receipt.token).or_insert(receipt.by);
            *by = receipt.by.min(*by);
        }
        over
    }

    fn accepted(&self, verdict: &Verdict, promise: Promise) -> Option<Broken> {
        let &Verdict { gateway, token, asked, age, .. } = verdict;
        let after = self.accepted_after(verdict)?;
        if after > promise.bound() {
            return Some(Broken::Late { gateway, token, after });
        }
        if self.settled.is_some_and(|settled| asked >= settled) {
            return Some(Broken::Lost { gateway, token });
        }
        let age = age.filter(|age| after > promise.aged(*age))?;
        Some(Broken::Dishonest { gateway, token, after, age })
    }

    /// How long after the acknowledgement this verdict was asked for.
    fn accepted_after(&self, verdict: &Verdict) -> Option<Duration> {
        let acknowledged = self.revocations.get(&verdict.token)?.acknowledged.as_ref()?;
        verdict.asked.checked_sub(acknowledged.at)
    }

    /// Whether somebody had asked for its revocation by then, or of everything as old.
    fn is_asked_for(&self, token: usize, by: Time) -> bool {
        let purged = self.purged.is_some_and(|purged| self.tokens[token].minted <= purged);
        purged || self.revocations.get(&token).is_some_and(|revocation| revocation.sent <= by)
    }
}

impl Fault {
    fn excuses(&self, verdict: &Verdict) -> bool {
        let concerned = self.gateway.is_none_or(|gateway| gateway == verdict.gateway);
        concerned && self.during.start <= verdict.answered && verdict.asked < self.during.end
    }
}

impl Ledger {
    pub fn new() -> Self {
        Self { began: clock::monotonic(), history: Mutex::default() }
    }

    pub fn now(&self) -> Time {
        self.began.elapsed()
    }

    pub fn read(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nobody panics with it")
    }

    /// Returns the number of the token.
    pub fn minted(&self, jti: String, text: &str, kept: bool) -> usize {
        let minted = self.now();
        let mut history = self.read();
        history.tokens.push(Token { jti, text: text.into(), minted, kept });
        history.tokens.len() - 1
    }

    /// To be called before the revocation leaves.
    pub fn sends(&self, token: usize) {
        let sent = self.now();
        self.read().revocations.insert(token, Revocation { sent, acknowledged: None });
    }

    /// Of now, as the reply to a revocation has it.
    pub fn acknowledgement(&self, reply: &Value) -> Acknowledgement {
        let epoch = reply["epoch"].as_str().expect("a text").to_owned();
        Acknowledgement { at: self.now(), epoch, seq: reply["seq"].as_u64().expect("a number") }
    }

    pub fn acknowledged(&self, token: usize, acknowledgement: Acknowledgement) {
        let mut history = self.read();
        let revocation = history.revocations.get_mut(&token).expect("it was sent");
        revocation.acknowledged = Some(acknowledgement);
    }

    /// Somebody made a token that had been revoked before.
    pub fn forged(&self, jti: String, text: &str, acknowledgement: Acknowledgement) {
        let token = self.minted(jti, text, false);
        self.sends(token);
        self.acknowledged(token, acknowledgement);
    }

    /// Takes down the `enforced` of a reply.
    pub fn receipt(&self, token: usize, enforced: &Value) {
        let at = self.now();
        let by = enforced["by"].as_str().and_then(|by| DateTime::parse_from_rfc3339(by).ok());
        let ahead = by.expect("a time").timestamp_millis() - clock::now_ms();
        let gap = Duration::from_millis(ahead.unsigned_abs());
        let by = if ahead < 0 { at.saturating_sub(gap) } else { at + gap };
        let verifiers = enforced["verifiers"].as_array().expect("a list").iter();
        let enforcing = verifiers.filter(|one| !one["since"].is_null()).map(|one| {
            let number = one["verifier"].as_str().and_then(|name| name.strip_prefix("gateway-"));
            number.and_then(|number| number.parse().ok()).expect("the name of a gateway")
        });
        let enforcing = enforcing.collect();
        let all = enforced["all"].as_bool().expect("yes or no");
        self.read().receipts.push(Receipt { token, at, enforcing, all, by });
    }

    pub fn verdict(&self, verdict: Verdict) {
        self.read().verdicts.push(verdict);
    }
}

#[cfg(test)]
mod tests;
