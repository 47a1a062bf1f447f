//! A gateway that is asked all the time.

use super::ledger::{History, Ledger, Said, Time, Verdict};
use crate::harness::process::{Process, Signal};
use scrip_feed::{Config, Follower, Handle, Reader};
use scrip_verify::{Rejection, Verifier};
use serde::Deserialize;
use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Questions for each turn.
const EAGERNESS: usize = 4;
/// Questions that may be open, so that the pipe to a process that is stopped never fills up.
const MOST_OPEN: usize = 48;
/// How often a process that does not answer is asked.
const NAGGING: Duration = Duration::from_millis(150);
/// Tokens that live for ten minutes are not asked about for longer than this.
const USEFUL: Duration = Duration::from_secs(400);

/// A gateway with its questions.
pub struct Gateway {
    pub number: usize,
    seat: Mutex<Seat>,
}

struct Seat {
    judge: Judge,
    watch: Watch,
}

enum Judge {
    /// A follower in this process.
    Inside {
        _handle: Handle,
        reader: Reader,
        verifier: Verifier,
    },
    /// `scrip token verify --follow`, which can be stopped and killed, with what it was asked.
    Apart {
        process: Process,
        open: VecDeque<(usize, Time)>,
    },
    Nobody,
}

impl Gateway {
    /// One in this process, which cannot be hurt; for faults elsewhere.
    pub async fn inside(number: usize, config: Config) -> Self {
        let freshness = config.freshness;
        let (handle, reader) = Follower::start(config).await.expect("it can be configured so");
        let verifier = Verifier::new("llm-gateway", "prod").freshness(freshness);
        Self::new(number, Judge::Inside { _handle: handle, reader, verifier })
    }

    /// A process of its own.
    pub fn apart(number: usize, command: Command) -> Self {
        Self::new(number, Judge::apart(command))
    }

    fn new(number: usize, judge: Judge) -> Self {
        let seat = Seat { judge, watch: Watch::default() };
        Self { number, seat: Mutex::new(seat) }
    }

    /// Asks at each turn until the runtime ends.
    pub async fn work(self: Arc<Self>, ledger: Arc<Ledger>, turn: Duration) {
        let mut turns = tokio::time::interval(turn);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.seat().turn(self.number, &ledger);
        }
    }

    /// Sends a signal to its process.
    pub fn signal(&self, signal: Signal) {
        match &self.seat().judge {
            Judge::Apart { process, .. } => process.signal(signal),
            Judge::Inside { .. } | Judge::Nobody => panic!("it has no process"),
        }
    }

    /// `kill -9`.
    pub async fn kill(&self) {
        let judge = std::mem::replace(&mut self.seat().judge, Judge::Nobody);
        let Judge::Apart { mut process, .. } = judge else { panic!("it has no process") };
        process.kill().await;
    }

    /// Starts it again where it was killed.
    pub fn start(&self, command: Command) {
        self.seat().judge = Judge::apart(command);
    }

    /// Whether it has accepted a token, since `since`, by information that was no older
    /// than `in_step` seconds.
    pub fn is_well(&self, history: &History, since: Time, in_step: u64) -> bool {
        let recent = history.verdicts.iter().rev().take_while(|verdict| verdict.answered >= since);
        recent.filter(|verdict| verdict.gateway == self.number && verdict.asked >= since).any(
            |verdict| {
                verdict.said == Said::Accepted && verdict.age.is_some_and(|age| age <= in_step)
            },
        )
    }

    /// Tokens that are revoked and that it has not refused as that.
    pub fn unrefused(&self) -> Vec<usize> {
        let watch = &self.seat().watch;
        (0..watch.stages.len()).filter(|token| watch.stages[*token] == Stage::Open).collect()
    }

    /// Asks about everything once more that is revoked.
    pub fn sweep(&self) {
        let Watch { stages, doomed, open, closed, .. } = &mut self.seat().watch;
        closed.retain(|token| stages[*token] == Stage::Closed);
        for token in closed.drain(..).filter(|token| doomed[*token]) {
            stages[token] = Stage::Open;
            open.push_back(token);
        }
    }

    fn seat(&self) -> std::sync::MutexGuard<'_, Seat> {
        self.seat.lock().expect("nobody panics with it")
    }
}

impl Seat {
    fn turn(&mut self, number: usize, ledger: &Ledger) {
        let Self { judge, watch } = self;
        watch.catch_up(&ledger.read(), ledger.now());
        match judge {
            Judge::Inside { reader, verifier, .. } => {
                for _ in 0..EAGERNESS {
                    let Some(token) = watch.next() else { return };
                    let text = ledger.read().tokens[token].text.clone();
                    let asked = ledger.now();
                    let view = reader.view();
                    let outcome = verifier.authenticate(text.as_bytes(), view.now(), &view.trust());
                    let said =
                        outcome.map_or_else(|rejection| Said::from(&rejection), |_| Said::Accepted);
                    let verdict = Verdict {
                        gateway: number,
                        token,
                        asked,
                        answered: ledger.now(),
                        said,
                        age: view.age(),
                    };
                    watch.learn(&verdict);
                    ledger.verdict(verdict);
                }
            }
            Judge::Apart { process, open } => {
                for line in process.unread() {
                    let Ok(answer) = serde_json::from_str::<Answer>(&line) else { continue };
                    let (token, asked) = open.pop_front().expect("it answers what it was asked");
                    let verdict = Verdict {
                        gateway: number,
                        token,
                        asked,
                        answered: ledger.now(),
                        said: answer.said(),
                        age: answer.age,
                    };
                    watch.learn(&verdict);
                    ledger.verdict(verdict);
                }
                while open.len() < EAGERNESS
                    || open.len() < MOST_OPEN
                        && open.back().is_some_and(|(_, asked)| ledger.now() > *asked + NAGGING)
                {
                    let Some(token) = watch.next() else { return };
                    let text = ledger.read().tokens[token].text.clone();
                    open.push_back((token, ledger.now()));
                    process.write_line(&text);
                }
            }
            Judge::Nobody => {}
        }
    }
}

impl Judge {
    fn apart(command: Command) -> Self {
        Self::Apart { process: Process::start(command), open: VecDeque::new() }
    }
}

/// A verdict as the command prints it; the first line, which tells of the start, is none.
#[derive(Deserialize)]
struct Answer {
    accepted: bool,
    reason: Option<String>,
    age: Option<u64>,
}

impl Answer {
    fn said(&self) -> Said {
        match (self.accepted, self.reason.as_deref()) {
            (true, _) => Said::Accepted,
            (false, Some("revoked")) => Said::Revoked,
            (false, reason) => Said::Refused(reason.unwrap_or_default().to_owned()),
        }
    }
}

impl From<&Rejection> for Said {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::Revoked(_) => Self::Revoked,
            other => Self::Refused(other.code().to_owned()),
        }
    }
}

/// Which token is next.
#[derive(Default)]
struct Watch {
    /// By token.
    stages: Vec<Stage>,
    /// By token: whether it is revoked, or about to be.
    doomed: Vec<bool>,
    /// How many of the ledger's doomed have been taken notice of.
    noticed: usize,
    /// Tokens that are useful no more.
    over: usize,
    /// Each stage's tokens, in turn. One that has gone on to another is left out when its turn comes.
    live: VecDeque<usize>,
    open: VecDeque<usize>,
    closed: VecDeque<usize>,
    turn: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has asked for its revocation.
    Live,
    /// To be revoked and not yet refused as that: asked about most often.
    Open,
    /// Refused as revoked.
    Closed,
    Over,
}

impl Watch {
    fn catch_up(&mut self, history: &History, now: Time) {
        self.live.extend(self.stages.len()..history.tokens.len());
        self.stages.resize(history.tokens.len(), Stage::Live);
        self.doomed.resize(history.tokens.len(), false);
        for token in history.doomed[self.noticed..].iter().copied() {
            self.doomed[token] = true;
            if self.stages[token] == Stage::Live {
                self.stages[token] = Stage::Open;
                self.open.push_back(token);
            }
        }
        self.noticed = history.doomed.len();
        while history.tokens.get(self.over).is_some_and(|token| token.minted + USEFUL <= now) {
            self.stages[self.over] = Stage::Over;
            self.over += 1;
        }
    }

    fn next(&mut self) -> Option<usize> {
        self.turn = self.turn.wrapping_add(1);
        let Self { stages, live, open, closed, .. } = self;
        let token = match self.turn % 4 {
            0 => next_of(live, stages, Stage::Live),
            1 => next_of(closed, stages, Stage::Closed),
            _ => None,
        };
        token
            .or_else(|| next_of(open, stages, Stage::Open))
            .or_else(|| next_of(live, stages, Stage::Live))
    }

    fn learn(&mut self, verdict: &Verdict) {
        let token = verdict.token;
        let is_refused = match &verdict.said {
            Said::Accepted => false,
            Said::Revoked => true,
            // A key that is unknown was revoked, where the token is doomed.
            Said::Refused(why) => why == "unknown-kid" && self.doomed[token],
        };
        if is_refused && matches!(self.stages[token], Stage::Live | Stage::Open) {
            self.stages[token] = Stage::Closed;
            self.closed.push_back(token);
        }
    }
}

/// Whose turn it is among those of a stage.
fn next_of(queue: &mut VecDeque<usize>, stages: &[Stage], stage: Stage) -> Option<usize> {
    while let Some(token) = queue.pop_front() {
        if stages[token] == stage {
            queue.push_back(token);
            return Some(token);
        }
    }
    None
}
