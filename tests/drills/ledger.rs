//! What was asked for and what every gateway said, on one clock, and whether that keeps the promise.

mod history;
mod judge;
mod selector;

pub use history::{Acknowledgement, Fault, History, Maker, Receipt, Said, Time, Token, Verdict};
pub use judge::{Judge, Promise};
pub use selector::{Selector, Target};

use chrono::DateTime;
use scrip::clock;
use scrip_token::compact::{Compact, Header};
use scrip_token::limits::HORIZON;
use scrip_token::{Claims, Typ};
use serde_json::Value;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Writes down what happens while it happens.
pub struct Ledger {
    began: Instant,
    history: Mutex<History>,
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

    /// `asked` is when the request left. Returns the number of the token.
    pub fn minted(&self, maker: Maker, text: &str, asked: Time) -> usize {
        let compact = Compact::parse(text.as_bytes(), text.len()).expect("a token");
        let header = Header::parse(&compact.header, Typ::AccessToken).expect("a token's");
        let kid = header.kid.into_owned();
        let claims = Claims::parse(&compact.payload).expect("a token's");
        let token = Token { text: text.into(), claims, kid, maker, asked, minted: self.now() };
        self.read().put(token)
    }

    /// To be called before the revocation leaves. Returns its number.
    pub fn sends(&self, selector: Selector) -> usize {
        let sent = self.now();
        self.read().send(selector, sent)
    }

    /// As the reply to a revocation has it, which came just now.
    pub fn acknowledged(&self, revocation: usize, reply: &Value) {
        let at = self.now();
        let mut history = self.read();
        let until = time(&reply["until"]).map(|until| until.timestamp().unsigned_abs());
        let has_cut = history.revocations[revocation].selector.target.has_cut();
        let acknowledgement = Acknowledgement {
            at,
            epoch: reply["epoch"].as_str().expect("a text").to_owned(),
            seq: reply["seq"].as_u64().expect("a number"),
            cut: has_cut.then(|| until.expect("a time") - HORIZON),
        };
        history.acknowledge(revocation, acknowledgement);
    }

    /// Takes down the `enforced` of a reply.
    pub fn receipt(&self, revocation: usize, enforced: &Value) {
        let at = self.now();
        let by = time(&enforced["by"]).map(|by| {
            let ahead = by.timestamp_millis() - clock::now_ms();
            let gap = Duration::from_millis(ahead.unsigned_abs());
            if ahead < 0 { at.saturating_sub(gap) } else { at + gap }
        });
        let verifiers = enforced["verifiers"].as_array().expect("a list").iter();
        let enforcing = verifiers.filter(|one| !one["since"].is_null()).map(|one| {
            let number = one["verifier"].as_str().and_then(|name| name.strip_prefix("gateway-"));
            number.and_then(|number| number.parse().ok()).expect("the name of a gateway")
        });
        let enforcing = enforcing.collect();
        let all = enforced["all"].as_bool().expect("yes or no");
        self.read().receipts.push(Receipt { revocation, at, enforcing, all, by });
    }

    pub fn verdict(&self, verdict: Verdict) {
        self.read().verdicts.push(verdict);
    }
}

/// RFC 3339; `None` for `null`.
fn time(value: &Value) -> Option<DateTime<chrono::FixedOffset>> {
    let text = value.as_str()?;
    Some(DateTime::parse_from_rfc3339(text).expect("a time"))
}

#[cfg(test)]
mod tests;
