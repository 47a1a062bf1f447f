//! Whether what happened keeps the promise. Pure.

use super::history::{Fault, History, Maker, Revocation, Said, Time, Token, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;

/// What was promised (deny-list "Guarantee"), in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// As the gateways are set, and how long they may go on besides.
    pub max_staleness: u64,
    /// Of tokens that a thief dates: they look just minted for as long.
    pub max_offline: u64,
    /// How far their clocks may be off: the leeway, where a drill moves clocks.
    pub skew: u64,
}

/// What a drill that kept the promise has to show.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// Revocations, by kind.
    pub acknowledged: [usize; 7],
    /// Tokens that they cover, each counted once.
    pub covered: usize,
    pub verdicts: usize,
    /// The latest acceptance of any of those, counted from the acknowledgement of a revocation that covers it.
    pub worst: Duration,
    /// What would have been too late, of what could happen in this drill.
    pub allowed: Duration,
}

/// How the promise was broken; `by` is the kind of selector that had revoked the token.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// Accepted so long after the acknowledgement.
    Late { gateway: usize, token: usize, by: &'static str, after: Duration },
    /// Accepted although the gateway's information, as old as it said that was, had the revocation.
    Dishonest { gateway: usize, token: usize, by: &'static str, after: Duration, age: u64 },
    /// Accepted by a gateway that, as the service had said by then, enforced the revocation.
    Untrue { gateway: usize, token: usize, by: &'static str },
    /// Accepted so long after nobody was to accept it any more, as the service had said.
    Rosy { gateway: usize, token: usize, by: &'static str, after: Duration },
    /// Accepted after everything had settled.
    Lost { gateway: usize, token: usize, by: &'static str },
    /// Accepted by a gateway that had refused it as revoked.
    Forgotten { gateway: usize, token: usize },
    /// Refused as revoked, and nobody had asked for that: nothing covers it.
    Invented { gateway: usize, token: usize },
    /// Refused for another reason, and nothing was wrong.
    Refused { gateway: usize, token: usize, at: Time, why: String },
    /// Minted on a request that came after the acknowledgement of a revocation that covers it.
    Stillborn { token: usize, by: &'static str },
}

impl Promise {
    /// The longest that a revoked token may be accepted after the acknowledgement: ages are told
    /// in whole seconds.
    pub fn bound(&self) -> Duration {
        self.aged(self.max_staleness)
    }

    /// The same for this token.
    fn bound_of(&self, token: &Token) -> Duration {
        match token.maker {
            Maker::Service | Maker::Delegate => self.bound(),
            Maker::Thief => self.aged(self.max_offline),
        }
    }

    /// The same for information that is `age` seconds old.
    fn aged(&self, age: u64) -> Duration {
        Duration::from_secs(age + self.skew + 1)
    }
}

impl History {
    /// Everything that breaks the promise, or what was shown.
    pub fn check(&self, promise: Promise) -> Result<Shown, Vec<Broken>> {
        let judge = Judge::new(self, promise);
        let mut broken = judge.stillborn();
        let mut worst = Duration::ZERO;
        let mut refused = BTreeMap::new();
        for verdict in &self.verdicts {
            let &Verdict { gateway, token, asked, answered, .. } = verdict;
            match &verdict.said {
                Said::Accepted => {
                    for (_, _, at) in judge.acknowledged(token) {
                        worst = worst.max(asked.saturating_sub(at));
                    }
                    broken.extend(judge.accepted(verdict));
                    if refused.get(&(gateway, token)).is_some_and(|since| asked > *since) {
                        broken.push(Broken::Forgotten { gateway, token });
                    }
                }
                Said::Revoked => {
                    refused.entry((gateway, token)).or_insert(answered);
                    if !judge.is_asked_for(token, answered) {
                        broken.push(Broken::Invented { gateway, token });
                    }
                }
                Said::Refused(why) => {
                    let excused = judge.is_asked_for(token, answered)
                        || self.faults.iter().any(|fault| fault.excuses(verdict));
                    if !excused {
                        let why = why.clone();
                        broken.push(Broken::Refused { gateway, token, at: asked, why });
                    }
                }
            }
        }
        if !broken.is_empty() {
            return Err(broken);
        }
        let tokens = 0..self.tokens.len();
        Ok(Shown {
            acknowledged: self.mix(),
            covered: tokens.filter(|token| judge.acknowledged(*token).next().is_some()).count(),
            verdicts: self.verdicts.len(),
            worst,
            allowed: self.tokens.iter().map(|one| promise.bound_of(one)).max().unwrap_or_default(),
        })
    }
}

/// A history with what every verdict in it is held against.
pub struct Judge<'h> {
    history: &'h History,
    promise: Promise,
    /// By token, the revocations that cover it.
    covering: Vec<Vec<(usize, &'h Revocation)>>,
    /// Since when each gateway enforces a revocation, as the service said.
    enforced: BTreeMap<(usize, usize), Time>,
    /// From when on nobody accepts what a revocation covers: the earliest that the service has said.
    over: BTreeMap<usize, Time>,
}

impl<'h> Judge<'h> {
    pub fn new(history: &'h History, promise: Promise) -> Self {
        let tokens = 0..history.tokens.len();
        let covering = tokens.map(|token| history.covering(token).collect()).collect();
        let (mut enforced, mut over) = (BTreeMap::new(), BTreeMap::new());
        for receipt in &history.receipts {
            for gateway in &receipt.enforcing {
                enforced.entry((*gateway, receipt.revocation)).or_insert(receipt.at);
            }
            if let Some(by) = receipt.by {
                let earliest = over.entry(receipt.revocation).or_insert(by);
                *earliest = by.min(*earliest);
            }
        }
        Self { history, promise, covering, enforced, over }
    }

    /// What was acknowledged that covers a token, and when.
    pub fn acknowledged(
        &self,
        token: usize,
    ) -> impl Iterator<Item = (usize, &'h Revocation, Time)> {
        let covering = self.covering[token].iter();
        covering.filter_map(|(number, one)| Some((*number, *one, one.acknowledged.as_ref()?.at)))
    }

    /// Whether somebody had asked by then for its revocation, or of everything as old.
    pub fn is_asked_for(&self, token: usize, by: Time) -> bool {
        let minted = self.history.tokens[token].minted;
        let purged = self.history.purged.is_some_and(|purged| minted <= purged);
        purged || self.covering[token].iter().any(|(_, revocation)| revocation.sent <= by)
    }

    /// What no mint may do: the cut, the key or the credential was known to be ended. Only a database
    /// that has lost the revocation knows no better, and what it mints dies with the next epoch.
    fn stillborn(&self) -> Vec<Broken> {
        let minted = self.history.tokens.iter().enumerate();
        minted
            .filter(|(_, token)| token.maker == Maker::Service && !self.is_lost(token))
            .flat_map(|(token, minted)| {
                let before = self.acknowledged(token).filter(|(.., at)| *at < minted.asked);
                before.map(move |(_, one, _)| Broken::Stillborn { token, by: one.kind() })
            })
            .collect()
    }

    /// Whether it was minted while something was wrong for everybody, before an epoch began.
    fn is_lost(&self, token: &Token) -> bool {
        let mut faults = self.history.faults.iter().filter(|fault| fault.gateway.is_none());
        self.history.purged.is_some_and(|purged| token.minted <= purged)
            && faults.any(|fault| fault.during.contains(&token.minted))
    }

    /// What is wrong with an acceptance, for each revocation that covers the token.
    fn accepted(&self, verdict: &Verdict) -> Vec<Broken> {
        let &Verdict { gateway, token, asked, age, .. } = verdict;
        let bound = self.promise.bound_of(&self.history.tokens[token]);
        let mut broken = Vec::new();
        for (number, revocation, acknowledged) in self.acknowledged(token) {
            let by = revocation.kind();
            if let Some(after) = asked.checked_sub(acknowledged) {
                let settled = self.history.settled.is_some_and(|settled| asked >= settled);
                match age {
                    _ if after > bound => {
                        broken.push(Broken::Late { gateway, token, by, after });
                    }
                    _ if settled => broken.push(Broken::Lost { gateway, token, by }),
                    Some(age) if after > self.promise.aged(age) => {
                        broken.push(Broken::Dishonest { gateway, token, by, after, age });
                    }
                    _ => {}
                }
            }
            if self.enforced.get(&(gateway, number)).is_some_and(|since| asked > *since) {
                broken.push(Broken::Untrue { gateway, token, by });
            }
            // By a clock that the drill moves, nothing is said of this one.
            let after = self.over.get(&number).and_then(|over| asked.checked_sub(*over));
            if let Some(after) = after.filter(|after| *after > self.promise.aged(0))
                && self.promise.skew == 0
            {
                broken.push(Broken::Rosy { gateway, token, by, after });
            }
        }
        broken
    }
}

impl Fault {
    fn excuses(&self, verdict: &Verdict) -> bool {
        let concerned = self.gateway.is_none_or(|gateway| gateway == verdict.gateway);
        concerned && self.during.start <= verdict.answered && verdict.asked < self.during.end
    }
}
