//! Who enforces a revocation since when, and by when the others refuse too. Pure.
//!
//! What is said here holds from the time that is named at the latest: an answer may be more
//! cautious than the truth, and is never rosier.
//!
//! * A verifier **enforces** a revocation since it first acknowledged the batch that carries it, or
//!   a later one. It did so a little earlier: it applies a batch before it acknowledges it.
//! * One that has not, may not have heard of it. The youngest information it can have without it is
//!   as old as its time on record, however long the commit took: no heartbeat and no manifest is of a
//!   later time and lacks it (`Store::settled_ms`). A token is admitted while that information
//!   is at most `max_staleness` old, and `allow_for` more where the policy says so; that a token was
//!   just minted helps it no longer, because no mint overlaps it. The verifier's clock may be off by
//!   the leeway, and times on the wire are whole seconds: one more. So it refuses at the latest from
//!   `at + max_staleness + allow_for + 6 s` on, or when the token's life is over.
//! * A key that was **stolen** dates its tokens as it likes. All of them look just minted, until the
//!   information is `max_offline` old.
//! * `AllowFor` is a promise to go on without information. It is not held against the token's life:
//!   such a verifier counts as refusing when the token's life is over. A key's entry has no end; there
//!   the freshness contract is all there is.
//! * Whoever **does not acknowledge** may never hear of it: readers of the plain JWKS, readers of the feed
//!   that give no name, or the name of a verifier that is not known (yet), whoever was one verifier too
//!   many, and everybody while no verifier is known at all. Only the end of the token's life stops them;
//!   for a key, nothing that is known here does. Of two processes under one name, one is not missed.

use chrono::{DateTime, SecondsFormat};
use scrip_token::limits::LEEWAY;
use serde_json::{Value, json};

use super::tenant_of;
use crate::caller::Reach;
use crate::store::revocations::Revocation;
use crate::store::verifiers::Verifier;

/// What a verifier's clock may be off by, and a second for what was rounded.
pub(super) const SLACK: i64 = LEEWAY.cast_signed() + 1;

/// What is judged.
pub(super) struct Case<'a> {
    /// The epoch and number of the batch that carries it.
    pub(super) position: (&'a str, i64),
    /// Its time on record. Milliseconds.
    pub(super) at_ms: i64,
    /// When the last token that it kills has expired. Seconds; `None` for a key.
    pub(super) until: Option<i64>,
}

/// A verifier, and since when it enforces what is judged.
pub(super) struct Standing<'a> {
    pub(super) verifier: &'a Verifier,
    /// Milliseconds; `None` where it does not.
    pub(super) since_ms: Option<i64>,
}

/// The judgement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Enforced {
    /// Whether every known verifier enforces it, and there is one.
    pub(super) all: bool,
    /// Whether somebody may verify who acknowledges nothing: only the end of the tokens' life is
    /// certain then.
    pub(super) strangers: bool,
    /// From then on nobody accepts what it kills. Milliseconds; `None` where no time can be named.
    pub(super) by_ms: Option<i64>,
    /// Each known verifier.
    pub(super) verifiers: Vec<Receipt>,
}

/// What is known of one verifier.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) client: String,
    pub(super) verifier: String,
    /// Milliseconds; `None` where it does not enforce it, as far as is known.
    pub(super) since_ms: Option<i64>,
    /// Batches that it has yet to apply.
    pub(super) behind: i64,
    /// From then on it does not accept what is killed. Milliseconds.
    pub(super) refuses_by_ms: i64,
}

/// Judges. `strangers`: whether there may be somebody who verifies and acknowledges nothing.
pub(super) fn judge(case: &Case<'_>, verifiers: &[Standing<'_>], strangers: bool) -> Enforced {
    let receipts: Vec<Receipt> = verifiers.iter().map(|standing| case.receipt(standing)).collect();
    let strangers = strangers || receipts.is_empty();
    let by_ms = if strangers {
        case.until_ms()
    } else {
        receipts.iter().map(|receipt| receipt.refuses_by_ms).max()
    };
    let all = !receipts.is_empty() && receipts.iter().all(|receipt| receipt.since_ms.is_some());
    Enforced { all, strangers, by_ms, verifiers: receipts }
}

impl Case<'_> {
    fn receipt(&self, Standing { verifier, since_ms }: &Standing<'_>) -> Receipt {
        let (epoch, seq) = self.position;
        let behind = match since_ms {
            Some(_) => 0,
            None if verifier.epoch == epoch => seq - verifier.seq,
            None => seq,
        };
        let until = self.until_ms().unwrap_or(i64::MAX);
        let refuses_by_ms = since_ms.unwrap_or_else(|| self.unheard(verifier)).min(until);
        let (client, name) = verifier.name();
        Receipt {
            client: client.to_owned(),
            verifier: name.to_owned(),
            since_ms: *since_ms,
            behind,
            refuses_by_ms,
        }
    }

    /// When a verifier refuses even if it never hears of the revocation. Milliseconds.
    fn unheard(&self, verifier: &Verifier) -> i64 {
        let stale = verifier.max_staleness.saturating_add(verifier.allow_for);
        let bound = match self.until_ms() {
            Some(until) if verifier.policy == "allow-for" => return until,
            Some(_) => stale,
            None => stale.max(verifier.max_offline),
        };
        // What it has said of itself counts where it is later: our clock may have been set back.
        let youngest = seconds_up(self.at_ms).max(verifier.as_of);
        youngest.saturating_add(bound).saturating_add(SLACK).saturating_mul(1000)
    }

    fn until_ms(&self) -> Option<i64> {
        self.until.map(|until| until.saturating_mul(1000))
    }
}

fn seconds_up(ms: i64) -> i64 {
    ms.saturating_add(999).div_euclid(1000)
}

impl Enforced {
    /// Where the tokens were too old to need an entry: nobody has accepted them for long.
    pub(super) fn expired(revocation: &Revocation) -> Self {
        let by_ms = Some(revocation.at_ms);
        Self { all: true, strangers: false, by_ms, verifiers: Vec::new() }
    }

    /// Where it cannot be found out.
    pub(super) fn unknown(revocation: &Revocation) -> Self {
        let by_ms = revocation.until.map(|until| until.saturating_mul(1000));
        Self { all: false, strangers: true, by_ms, verifiers: Vec::new() }
    }

    /// As it stands in a reply to whoever reaches so far: whether all enforce it, by when, and whether
    /// strangers may verify, is said to everybody, because it is about their own tokens; who the others
    /// are is not.
    pub(super) fn to_json(&self, reach: &Reach) -> Value {
        let named =
            self.verifiers.iter().filter(|receipt| reach.covers(tenant_of(&receipt.client)));
        let receipts = named.map(|receipt| {
            json!({
                "client": receipt.client, "verifier": receipt.verifier,
                "since": receipt.since_ms.map(shown), "behind": receipt.behind,
                "refuses_by": shown(receipt.refuses_by_ms),
            })
        });
        let verifiers = Value::Array(receipts.collect());
        json!({
            "all": self.all, "strangers": self.strangers, "by": self.by_ms.map(shown),
            "verifiers": verifiers,
        })
    }
}

/// The last time that RFC 3339 can write, in milliseconds. A verifier's terms may add up to later.
const LAST_MS: i64 = 253_402_300_799_000;

/// Milliseconds as RFC 3339, with a fraction only where there is one.
pub(super) fn shown(ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(ms.clamp(0, LAST_MS)).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests;
