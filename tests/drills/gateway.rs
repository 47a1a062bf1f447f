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

    /// Whether it has accepted a token that is good, since `since`, by information that was no older
    /// than `in_step` seconds.
    pub fn is_well(&self, history: &History, since: Time, in_step: u64) -> bool {
        let recent = history.verdicts.iter().rev().take_while(|verdict| verdict.answered >= since);
        recent.filter(|verdict| verdict.gateway == self.number && verdict.asked >= since).any(
            |verdict| {
                verdict.said == Said::Accepted
                    && verdict.age.is_some_and(|age| age <= in_step)
                    && history.tokens[verdict.token].kept
            },
        )
    }

    /// Tokens to be revoked that it has not refused as revoked.
    pub fn unrefused(&self) -> Vec<usize> {
        self.seat().watch.open.iter().copied().collect()
    }

    /// Asks about everything once more.
    pub fn sweep(&self) {
        let Watch { open, closed, .. } = &mut self.seat().watch;
        open.extend(closed.drain(..));
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
    /// Tokens that have been taken notice of.
    seen: usize,
    /// To be revoked and not yet refused as that: asked about in turn, and most often.
    open: VecDeque<usize>,
    /// Refused as revoked.
    closed: Vec<usize>,
    /// Never to be revoked.
    kept: VecDeque<usize>,
    turn: usize,
}

impl Watch {
    fn catch_up(&mut self, history: &History, now: Time) {
        for token in self.seen..history.tokens.len() {
            match history.tokens[token].kept {
                true => self.kept.push_back(token),
                false => self.open.push_back(token),
            }
        }
        self.seen = history.tokens.len();
        let is_useful = |token: &usize| history.tokens[*token].minted + USEFUL > now;
        self.open.retain(is_useful);
        self.closed.retain(is_useful);
        self.kept.retain(is_useful);
    }

    fn next(&mut self) -> Option<usize> {
        self.turn = self.turn.wrapping_add(1);
        let token = match self.turn % 4 {
            0 => self.kept.pop_front().inspect(|token| self.kept.push_back(*token)),
            1 if !self.closed.is_empty() => Some(self.closed[self.turn / 4 % self.closed.len()]),
            _ => self.open.pop_front().inspect(|token| self.open.push_back(*token)),
        };
        token.or_else(|| self.kept.front().copied())
    }

    fn learn(&mut self, verdict: &Verdict) {
        let before = self.open.len();
        // A key that is unknown was revoked: none of these drills shows a gateway a key too early.
        if [Said::Revoked, Said::Refused("unknown-kid".to_owned())].contains(&verdict.said) {
            self.open.retain(|token| *token != verdict.token);
        }
        if self.open.len() < before {
            self.closed.push(verdict.token);
        }
    }
}
