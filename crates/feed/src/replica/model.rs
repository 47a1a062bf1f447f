//! The follower's protocol, checked in every order in which things can happen: the real rules
//! ([`Replica::apply`], [`Replica::resume`], the real verifier), a service that revokes and is
//! restored from backups, a network that loses, delays, repeats and reorders whatever was ever
//! signed, a follower that crashes, a wall clock that is set back. With the bounds below there are
//! some 80,000 states.
//!
//! What it cannot exclude is a clock that is behind when the process starts: whatever was held back
//! by as much looks fresh then, and nothing on the follower's side can tell.

mod follower;
mod service;

use std::sync::LazyLock;
use std::time::Duration;

use scrip_token::{Alg, SigningKey, Typ, jwk::KeySet};
use scrip_verify::{Freshness, Information, Issuer, Keys, Rejection, StalePolicy, Trust, Verifier};
use stateright::{Checker, HasDiscoveries, Model, Property};

use self::follower::{Follower, Message, Rules};
use self::service::{Fact, ISS, Service, token};
use super::{Object, Outcome, Position, Replica};
use crate::clock::Moment;
use crate::issuer::{NOW, key};

/// Seconds that pass, tokens that are revoked, backups that are restored.
const SECONDS: u64 = 2;
const TOKENS: u8 = 2;
const RESTORES: usize = 1;
const MAX_STALENESS: u64 = 1;
/// Seconds that the tokens have lived at the start: none of them is just minted.
const AGE: u64 = 60;
/// What the wall clock is set back by.
const STEP: u64 = 40;

struct Feed {
    rules: Rules,
}

#[derive(Debug, Clone, PartialEq, Hash)]
struct World {
    service: Service,
    follower: Follower,
    set_back: bool,
    /// The follower was restarted with a clock that was behind, and then heard something that had
    /// been held back by as much: nothing on its side could tell.
    deceived: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Tick,
    Revoke,
    Restore,
    SetBack,
    Crash,
    Deliver(Message),
}

impl Model for Feed {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let (service, follower) = (Service::new(), Follower::new(start()));
        vec![World { service, follower, set_back: false, deceived: false }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let Service { time, epochs, facts } = &world.service;
        let possible = [
            (*time < SECONDS, Step::Tick),
            (world.service.acknowledged().count() < TOKENS.into(), Step::Revoke),
            (epochs.len() <= RESTORES, Step::Restore),
            (!world.set_back, Step::SetBack),
            (true, Step::Crash),
        ];
        steps.extend(possible.into_iter().filter_map(|(holds, step)| holds.then_some(step)));
        for (epoch, batches) in epochs.iter().enumerate() {
            let batches = (1..=batches.len()).map(|seq| Message::Batch { epoch, seq });
            steps.extend(batches.map(Step::Deliver));
        }
        for &fact in facts {
            let said = [Message::Heartbeat(fact), Message::Snapshot(fact)];
            steps.extend(said.map(Step::Deliver));
            // A heartbeat's date is read first; what it counts is read when it is sent.
            let dated = (0..fact.at).map(|at| Message::Heartbeat(Fact { at, ..fact }));
            steps.extend(dated.map(Step::Deliver));
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        let now = world.moment();
        match step {
            Step::Tick => next.service.tick(),
            Step::Revoke => next.service.revoke(),
            Step::Restore => next.service.restore(),
            Step::SetBack => next.set_back = true,
            Step::Crash => next.follower.crash(&world.service, self.rules, now),
            Step::Deliver(message) => {
                next.follower.take(message, &world.service, self.rules, now);
            }
        }
        let as_of = next.follower.replica.standing().as_of();
        if as_of != world.follower.replica.standing().as_of() || step == Step::Crash {
            next.deceived = next.set_back && as_of < NOW + next.service.time;
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what it claims to know of it denies", |_, world: &World| {
                let as_of = world.follower.replica.standing().as_of();
                let mut revoked = world.service.acknowledged();
                revoked.all(|(n, at)| as_of <= NOW + at || denies(&world.follower.replica, n))
            }),
            Property::always(
                "nothing acknowledged is accepted beyond the bound",
                |_, world: &World| {
                    let late = |at: u64| world.service.time > at + MAX_STALENESS;
                    let mut revoked = world.service.acknowledged();
                    world.deceived || revoked.all(|(n, at)| !late(at) || !world.accepts(n))
                },
            ),
            Property::always("it never goes back", |_, world: &World| {
                let stored = world.follower.stored();
                let stored = stored.map(|(epoch, seq)| (service::epoch(epoch), seq as u64));
                let at = world.follower.replica.standing().position;
                at.is_none_or(|at| Some((at.epoch, at.seq)) >= stored)
            }),
            Property::always("an honest issuer is never accused", |_, world: &World| {
                world.follower.replica.evidence().is_none()
            }),
            Property::always("once the network works, it gets in step", |_, world: &World| {
                // With a clock that is wrong for good, nothing that is dated now can count.
                world.set_back || world.healed().is_in_step()
            }),
            Property::sometimes("a token is accepted", |_, world: &World| world.accepts(0)),
            Property::sometimes("a revoked token is accepted for a moment", |_, world: &World| {
                world.service.acknowledged().any(|(n, _)| world.accepts(n))
            }),
            Property::sometimes("it is in step in a later epoch", |_, world: &World| {
                world.service.epochs.len() > 1 && world.is_in_step()
            }),
        ]
    }
}

impl World {
    fn moment(&self) -> Moment {
        let step = if self.set_back { STEP } else { 0 };
        let monotonic = start().monotonic + Duration::from_secs(self.service.time);
        Moment { wall: NOW + self.service.time - step, monotonic }
    }

    /// What a gateway says to a token at this moment.
    fn accepts(&self, n: u8) -> bool {
        let (standing, moment) = (self.follower.replica.standing(), self.moment());
        let information = standing.information(moment);
        verdict(&self.follower.replica, n, information, standing.now(moment)).is_ok()
    }

    fn healed(&self) -> Self {
        let mut healed = self.clone();
        healed.follower.catch_up(&self.service, self.moment());
        healed
    }

    fn is_in_step(&self) -> bool {
        let (epoch, seq) = self.service.place();
        let standing = self.follower.replica.standing();
        let is_there = |at: Position| (at.epoch, at.seq) == (service::epoch(epoch), seq as u64);
        standing.position.is_some_and(is_there)
            && standing.as_of() == NOW + self.service.time
            && self.service.acknowledged().all(|(n, _)| denies(&self.follower.replica, n))
    }
}

fn start() -> Moment {
    static START: LazyLock<Moment> = LazyLock::new(|| Moment { wall: NOW, ..Moment::now() });
    *START
}

fn denies(replica: &Replica, n: u8) -> bool {
    let fresh = Information::Followed { as_of: NOW, silence: 0 };
    matches!(verdict(replica, n, fresh, NOW), Err(Rejection::Revoked(_)))
}

fn verdict(replica: &Replica, n: u8, information: Information, now: u64) -> Result<(), Rejection> {
    struct Gateway {
        verifier: Verifier,
        keys: Keys,
        tokens: Vec<String>,
    }
    static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| {
        let key = key();
        let members = [serde_json::to_string(key.public()).unwrap()];
        let contract = Freshness::new(MAX_STALENESS, MAX_STALENESS, StalePolicy::Deny).unwrap();
        Gateway {
            verifier: Verifier::new("llm-gateway", "prod").freshness(contract).cache(16, 1 << 16),
            keys: Keys::from(KeySet::from_members(members.iter().map(String::as_str))),
            tokens: (0..=TOKENS).map(|n| mint(&key, n)).collect(),
        }
    });
    let issuer = Issuer::new(ISS, GATEWAY.keys.clone(), replica.deny().clone());
    let token = GATEWAY.tokens[usize::from(n)].as_bytes();
    GATEWAY.verifier.authenticate(token, now, &Trust::one(&issuer, information)).map(drop)
}

fn mint(key: &SigningKey, n: u8) -> String {
    assert_eq!(key.alg(), Alg::EdDSA);
    let iat = NOW - AGE;
    let claims = serde_json::json!({"iss": ISS, "sub": "client:acme/billing", "aud": "llm-gateway",
        "client_id": "acme/billing", "iat": iat, "nbf": iat, "exp": iat + 900, "jti": token(n),
        "ver": 1, "scope": "llm:chat", "tenant": "acme", "env": "prod"});
    key.sign(Typ::AccessToken, claims.to_string().as_bytes()).unwrap()
}

#[test]
fn every_order_of_things_keeps_the_guarantee() {
    let checker = Feed { rules: Replica::apply }
        .checker()
        .threads(2)
        .timeout(Duration::from_secs(240))
        .spawn_bfs()
        .join();
    println!(
        "{} states, {} of them different",
        checker.state_count(),
        checker.unique_state_count()
    );
    checker.assert_properties();
}

#[test]
fn broken_rules_are_found_out() {
    let broken: [(Rules, &str); 3] = [
        (accepts_a_gap, "what it claims to know of it denies"),
        (believes_any_sign_of_life, "nothing acknowledged is accepted beyond the bound"),
        (takes_any_snapshot, "it never goes back"),
    ];
    for (rules, property) in broken {
        let failures = HasDiscoveries::AnyOf([property].into());
        let checker = Feed { rules }.checker().threads(2).finish_when(failures).spawn_bfs().join();
        checker.assert_any_discovery(property);
    }
}

/// Takes a batch in as long as it is a later one.
fn accepts_a_gap(replica: &mut Replica, object: Object, now: Moment) -> Outcome {
    if let (Object::Batch(batch), Some(at)) = (&object, replica.standing.position) {
        let later = batch.object();
        if later.epoch == at.epoch && later.seq > at.seq {
            replica.deny = replica.deny.with(&later.entries);
            replica.reach(Position { epoch: at.epoch, seq: later.seq, head: batch.digest() });
            return Outcome::Applied;
        }
    }
    replica.apply(object, now)
}

/// Is made young by a heartbeat, whatever it is about.
fn believes_any_sign_of_life(replica: &mut Replica, object: Object, now: Moment) -> Outcome {
    if let (Object::Heartbeat(beat), Some(_)) = (&object, replica.standing.position) {
        replica.standing.refresh(beat.object().iat, now);
    }
    replica.apply(object, now)
}

/// Goes wherever a snapshot is.
fn takes_any_snapshot(replica: &mut Replica, object: Object, now: Moment) -> Outcome {
    if matches!(object, Object::Snapshot(_)) {
        (replica.standing.position, replica.highest) = (None, None);
    }
    replica.apply(object, now)
}
