//! Tells the service what is enforced here, and where it was contradicted.
//!
//! An acknowledgement that is refused (4xx) is not repeated: the next change is told instead. A
//! batch of ours that an origin contradicts, or seems to have lost, goes along once as evidence.
//! Mirrors have no credential and are told nothing.

use std::time::Duration;

use scrip_token::{Digest, Jti};
use scrip_verify::{Freshness, StalePolicy};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::clock::Moment;
use crate::origin::{Fault, Origin};
use crate::random::jitter;
use crate::replica::HeadBatch;
use crate::standing::Position;

/// At most one acknowledgement in this time, the newest.
const PACE: Duration = Duration::from_millis(250);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How long an origin that takes no acknowledgements is not asked again.
const DEAF_FOR: Duration = Duration::from_secs(600);

/// Whether `name` is `[a-z0-9.-]{1,64}`, as a verifier is called.
pub(crate) fn is_verifier(name: &str) -> bool {
    let known = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    matches!(name.len(), 1..=64) && name.as_bytes().iter().all(known)
}

/// What readers judge by. It is said after they do and, where there is a directory, after it is on
/// disk: so what was acknowledged is enforced after a crash too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enforced {
    pub(crate) position: Position,
    pub(crate) as_of: u64,
    /// Which of the origins is followed.
    pub(crate) origin: usize,
    /// The batch at `position`, where it is remembered.
    pub(crate) head: Option<HeadBatch>,
    /// The batch that we were at when an origin last contradicted it, or offered less.
    pub(crate) disputed: Option<HeadBatch>,
}

/// Acknowledges for one verifier.
pub(crate) struct Acks {
    verifier: String,
    freshness: Freshness,
    /// Those that are followed; the issuer itself is the last.
    origins: Vec<Origin>,
    /// Until when each of them need not be asked.
    deaf: Vec<Option<Instant>>,
    enforced: watch::Receiver<Option<Enforced>>,
    /// The batch that we were at when an acknowledgement was refused.
    refused: Option<HeadBatch>,
    /// The furthest batch that was presented as evidence; each is presented once.
    presented: Option<(Jti, u64)>,
}

/// `POST /v1/deny/acks`.
#[derive(Debug, Serialize)]
struct Ack<'a> {
    verifier: &'a str,
    epoch: Jti,
    seq: u64,
    head: Digest,
    as_of: u64,
    max_staleness: u64,
    max_offline: u64,
    policy: &'static str,
    allow_for: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a str>,
}

impl Acks {
    /// `origins` as they are followed, `issuer` to be asked where none of them takes
    /// acknowledgements.
    pub(crate) fn new(
        verifier: String,
        freshness: Freshness,
        origins: &[Origin],
        issuer: &Origin,
        enforced: watch::Receiver<Option<Enforced>>,
    ) -> Self {
        let mut origins = origins.to_vec();
        if origins.iter().all(|origin| origin.base != issuer.base) {
            origins.push(issuer.clone());
        }
        let deaf = vec![None; origins.len()];
        let (refused, presented) = (None, None);
        Self { verifier, freshness, origins, deaf, enforced, refused, presented }
    }

    /// Acknowledges each change for ever. Nobody waits for it.
    pub(crate) async fn keep(mut self) {
        let mut failures = 0;
        while self.enforced.changed().await.is_ok() {
            loop {
                let Some(newest) = self.enforced.borrow_and_update().clone() else { break };
                let begun = Moment::now().monotonic;
                let told = self.tell(&newest).await;
                let pause = match &told {
                    Ok(_) => {
                        failures = 0;
                        PACE
                    }
                    Err(fault) => {
                        tracing::info!(%fault, "not acknowledged");
                        let most = FIRST_RETRY.saturating_mul(1 << failures).min(LAST_RETRY);
                        failures = (failures + 1).min(10);
                        jitter(most).max(PACE)
                    }
                };
                sleep_until(begun + pause).await;
                if told == Ok(Told::All) {
                    break;
                }
            }
        }
    }

    /// Tells the first who listens: whoever is followed, then the others, the issuer last.
    async fn tell(&mut self, enforced: &Enforced) -> Result<Told, Fault> {
        let batches = [&enforced.disputed, &self.refused].into_iter().flatten();
        let evidence = batches.filter(|batch| self.presented < Some(batch.place())).max().cloned();
        let ack = Ack {
            verifier: &self.verifier,
            epoch: enforced.position.epoch,
            seq: enforced.position.seq,
            head: enforced.position.head,
            as_of: enforced.as_of,
            max_staleness: self.freshness.max_staleness(),
            max_offline: self.freshness.max_offline(),
            policy: match self.freshness.policy() {
                StalePolicy::Deny => "deny",
                StalePolicy::DenyAndAlert => "deny-and-alert",
                StalePolicy::AllowFor(_) => "allow-for",
            },
            allow_for: self.freshness.allow_for(),
            evidence: evidence.as_ref().map(|batch| &*batch.text),
        };
        let others = (0..self.origins.len()).filter(|other| *other != enforced.origin);
        let mut last = None;
        for index in std::iter::once(enforced.origin).chain(others) {
            let (Some(origin), Some(deaf)) = (self.origins.get(index), self.deaf.get_mut(index))
            else {
                continue;
            };
            let now = Moment::now().monotonic;
            if deaf.is_some_and(|until| now < until) {
                continue;
            }
            match origin.acknowledge(&ack).await {
                Err(Fault::Absent) => *deaf = Some(now + DEAF_FOR),
                Err(fault @ Fault::Status(400..500)) => {
                    tracing::info!(origin = %origin.base, %fault, "not acknowledged");
                    self.presented = self.presented.max(evidence.map(|batch| batch.place()));
                    // We may be beyond its head: then it has to be shown the batch that it lacks.
                    let beyond = fault == Fault::Status(400);
                    self.refused = enforced.head.clone().filter(|_| beyond);
                    let owed = self
                        .refused
                        .as_ref()
                        .is_some_and(|head| self.presented < Some(head.place()));
                    return Ok(if owed { Told::AllButEvidence } else { Told::All });
                }
                Err(fault) => last = Some(fault),
                Ok(()) => {
                    self.presented = self.presented.max(evidence.map(|batch| batch.place()));
                    return Ok(Told::All);
                }
            }
        }
        // No origin takes acknowledgements: nothing is owed until one of them is asked again.
        last.map_or(Ok(Told::All), Err)
    }
}

/// What has been said.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    All,
    AllButEvidence,
}
