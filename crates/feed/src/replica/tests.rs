use std::time::Duration;

use proptest::prelude::*;
use scrip_token::Typ;
use scrip_token::jwk::KeySet;
use scrip_verify::DenySet;

use super::*;
use crate::issuer::{Issuer, NOW, entry, jti, key};
use crate::signed::{FeedKeys, Object as Signed, Unproven};
use crate::standing::State;

const ISS: &str = "https://sts.example";

fn issuer() -> (Issuer, FeedKeys) {
    let issuer = Issuer::new(ISS);
    let keys = feed_keys(&[&issuer.feed]);
    (issuer, keys)
}

fn feed_keys(keys: &[&scrip_token::SigningKey]) -> FeedKeys {
    let members: Vec<String> =
        keys.iter().map(|key| serde_json::to_string(key.public()).unwrap()).collect();
    FeedKeys::new(ISS, KeySet::from_members(members.iter().map(String::as_str)))
}

/// The start of the test, and moments after it; the wall clock agrees unless a test says so.
#[derive(Clone, Copy)]
struct Clock(Moment);

impl Clock {
    fn new() -> Self {
        Self(Moment { wall: NOW, ..Moment::now() })
    }
    fn after(self, seconds: u64) -> Moment {
        self.split(NOW + seconds, seconds)
    }
    fn split(self, wall: u64, passed: u64) -> Moment {
        Moment { wall, monotonic: self.0.monotonic + Duration::from_secs(passed) }
    }
}

fn batch(keys: &FeedKeys, jws: &str) -> Object {
    Object::Batch(keys.prove(jws).unwrap())
}

fn heartbeat(keys: &FeedKeys, jws: &str) -> Object {
    Object::Heartbeat(keys.prove(jws).unwrap())
}

fn snapshot(keys: &FeedKeys, issuer: &Issuer) -> Object {
    let (manifest, blob) = issuer.snapshot();
    Object::Snapshot(Snapshot::new(keys.prove(&manifest).unwrap(), blob).unwrap())
}

/// A replica that has the issuer's snapshot.
fn synced(keys: &FeedKeys, issuer: &Issuer, clock: Clock) -> Replica {
    let mut replica = Replica::new(clock.after(0));
    assert_eq!(replica.apply(snapshot(keys, issuer), clock.after(0)), Outcome::Applied);
    replica
}

fn deny(entries: &[Entry]) -> DenySet {
    DenySet::default().with(entries)
}

#[test]
fn a_snapshot_then_batches_in_order_each_once() {
    let (mut issuer, keys) = issuer();
    let clock = Clock::new();
    let mut replica = Replica::new(clock.after(0));
    assert_eq!(replica.standing().state(clock.after(0), 60), State::Init);
    issuer.revoke(vec![entry(1)]);
    assert_eq!(replica.apply(snapshot(&keys, &issuer), clock.after(0)), Outcome::Applied);
    let state = |replica: &Replica| replica.standing().state(clock.after(0), 60);
    assert_eq!(state(&replica), State::Lagging, "a snapshot may be older than the request for it");
    replica.apply(heartbeat(&keys, &issuer.heartbeat()), clock.after(0));
    assert_eq!(state(&replica), State::Synced);

    let second = issuer.revoke(vec![entry(2)]);
    let third = issuer.revoke(vec![entry(3)]);
    let mut apply = |jws: &str| replica.apply(batch(&keys, jws), clock.after(1));
    assert_eq!(apply(&third), Outcome::Gap);
    assert_eq!(apply(&second), Outcome::Applied);
    assert_eq!(apply(&second), Outcome::Known);
    assert_eq!(apply(&third), Outcome::Applied);
    assert_eq!(apply(&second), Outcome::Known);
    assert_eq!(*replica.deny(), deny(&[entry(1), entry(2), entry(3)]));
    let at = replica.standing().position.unwrap();
    assert_eq!((at.seq, at.head), (3, issuer.head()));
}

proptest! {
    #[test]
    fn n81_any_order_with_losses_and_repeats_ends_where_the_issuer_is(
        deliveries in proptest::collection::vec((0..12_usize, any::<bool>()), 0..60),
    ) {
        let (mut issuer, keys) = issuer();
        let clock = Clock::new();
        let mut replica = synced(&keys, &issuer, clock);
        let texts: Vec<String> = (1..=12).map(|n| issuer.revoke(vec![entry(n)])).collect();
        let beat = issuer.heartbeat();
        for (n, repeat) in deliveries {
            for _ in 0..=usize::from(repeat) {
                let before = replica.standing().position.unwrap().seq;
                let outcome = replica.apply(batch(&keys, &texts[n]), clock.after(1));
                let after = replica.standing().position.unwrap().seq;
                let next = before as usize == n;
                prop_assert_eq!(after, before + u64::from(next));
                prop_assert_eq!(outcome == Outcome::Applied, next);
                prop_assert_eq!(outcome == Outcome::Gap, n as u64 > before);
            }
            let applied = replica.standing().position.unwrap().seq;
            let known: Vec<Entry> = issuer.entries.iter().take(applied as usize).cloned().collect();
            prop_assert_eq!(replica.deny(), &deny(&known));
            let whole = replica.apply(heartbeat(&keys, &beat), clock.after(1)) != Outcome::Gap;
            prop_assert_eq!(whole, applied == 12);
        }
        let from = replica.standing().position.unwrap().seq as usize;
        for text in &texts[from..] {
            prop_assert_eq!(replica.apply(batch(&keys, text), clock.after(1)), Outcome::Applied);
        }
        prop_assert_eq!(replica.deny(), &deny(&issuer.entries));
    }
}

#[test]
fn n78_only_a_feed_key_of_this_issuer_is_believed() {
    let (mut issuer, keys) = issuer();
    let jws = issuer.revoke(vec![entry(1)]);
    assert!(keys.prove::<Batch>(&jws).is_ok());

    let stranger = Issuer::new(ISS);
    let theirs = stranger.sign(Typ::DenyBatch, &issuer.batch(1, issuer.head(), vec![entry(1)]));
    assert_eq!(keys.prove::<Batch>(&theirs).unwrap_err(), Unproven::UnknownKey);

    let (mut staging, _) = self::issuer();
    staging.iss = "https://sts.staging.example".to_owned();
    let staged = crate::issuer::sign(
        &issuer.feed,
        Typ::DenyBatch,
        &staging.batch(1, issuer.head(), vec![entry(1)]),
    );
    assert_eq!(keys.prove::<Batch>(&staged).unwrap_err(), Unproven::Issuer);

    let (input, _) = jws.rsplit_once('.').unwrap();
    let other = issuer.heartbeat();
    let (_, signature) = other.rsplit_once('.').unwrap();
    let swapped = format!("{input}.{signature}");
    assert_eq!(keys.prove::<Batch>(&swapped).unwrap_err(), Unproven::Signature);

    let token = issuer.token.sign(Typ::AccessToken, b"{}").unwrap();
    for jws in [token.as_str(), &other, &issuer.keys(), input, "", "..", "<html>"] {
        let refused = keys.prove::<Batch>(jws).unwrap_err();
        assert!(matches!(refused, Unproven::Header(_) | Unproven::Compact(_)), "{jws}");
    }
}

#[test]
fn n79_garbage_is_refused_at_every_length() {
    let (mut issuer, keys) = issuer();
    let jws = issuer.revoke(vec![entry(1)]);
    for cut in 0..jws.len() {
        assert!(keys.prove::<Batch>(&jws[..cut]).is_err(), "{cut}");
    }
    let most = <Batch as Signed>::MOST_BYTES;
    let long = format!("{jws}{}", "A".repeat(most));
    assert!(matches!(keys.prove::<Batch>(&long), Err(Unproven::Compact(_))));
}

#[test]
fn n92_what_is_signed_but_not_understood_is_not_applied_and_refreshes_nothing() {
    let (issuer, keys) = issuer();
    let mut value = serde_json::to_value(issuer.batch(1, issuer.head(), vec![entry(1)])).unwrap();
    value["entries"][0]["later"] = 1.into();
    let odd = issuer.sign(Typ::DenyBatch, &value);
    assert!(matches!(keys.prove::<Batch>(&odd), Err(Unproven::Payload(_))));
    let mut value = serde_json::to_value(issuer.beat()).unwrap();
    value["ver"] = 2.into();
    let odd = issuer.sign(Typ::DenyHeartbeat, &value);
    assert!(matches!(keys.prove::<Heartbeat>(&odd), Err(Unproven::Payload(_))));

    // An `until` in the past is applied like any other, and forgotten with the next pruning.
    let (mut issuer, keys) = self::issuer();
    let clock = Clock::new();
    let mut replica = synced(&keys, &issuer, clock);
    let past = Entry::All { all: scrip_token::deny::True, before: 1, until: 2 };
    let jws = issuer.revoke(vec![past, entry(1)]);
    assert_eq!(replica.apply(batch(&keys, &jws), clock.after(1)), Outcome::Applied);
    assert_eq!(replica.deny().len(), 2);
    issuer.iat = NOW + PRUNE_EVERY;
    replica.apply(heartbeat(&keys, &issuer.heartbeat()), clock.after(PRUNE_EVERY));
    assert_eq!(*replica.deny(), deny(&[entry(1)]));
}

#[test]
fn n82_n83_neither_an_older_snapshot_nor_an_older_epoch_is_taken() {
    let (mut issuer, keys) = issuer();
    let clock = Clock::new();
    let early = snapshot(&keys, &issuer);
    issuer.revoke(vec![entry(1)]);
    let late_of_old = snapshot(&keys, &issuer);
    let mut replica = synced(&keys, &issuer, clock);
    assert_eq!(replica.apply(early.clone(), clock.after(1)), Outcome::Late);

    issuer.begin_epoch(jti(NOW + 1, 0));
    let of_new = issuer.revoke(vec![entry(2)]);
    let beat = heartbeat(&keys, &issuer.heartbeat());
    assert_eq!(replica.apply(batch(&keys, &of_new), clock.after(2)), Outcome::Elsewhere);
    assert_eq!(replica.apply(beat, clock.after(2)), Outcome::Elsewhere);
    assert_eq!(replica.standing().state(clock.after(2), 60), State::Lagging);
    assert_eq!(replica.apply(snapshot(&keys, &issuer), clock.after(2)), Outcome::Applied);
    assert_eq!(*replica.deny(), deny(&[entry(1), entry(2)]), "what was denied stays denied");
    for old in [early, late_of_old] {
        assert_eq!(replica.apply(old, clock.after(3)), Outcome::Backwards);
    }
    assert_eq!(replica.standing().position.unwrap().epoch, issuer.epoch);
}

#[test]
fn n81_two_payloads_for_one_number_are_an_alarm_with_evidence() {
    let (mut issuer, keys) = issuer();
    let clock = Clock::new();
    let mut replica = synced(&keys, &issuer, clock);
    let first = issuer.head();
    let ours = issuer.revoke(vec![entry(1)]);
    assert_eq!(replica.apply(batch(&keys, &ours), clock.after(1)), Outcome::Applied);

    let theirs = issuer.sign(Typ::DenyBatch, &issuer.batch(1, first, vec![entry(9)]));
    assert_eq!(replica.apply(batch(&keys, &theirs), clock.after(1)), Outcome::Equivocation);
    let evidence = replica.evidence().unwrap();
    assert_eq!((evidence.seq, evidence.ours.as_deref()), (1, Some(ours.as_str())));
    assert_eq!(&*evidence.theirs, theirs);

    let beat = Heartbeat { head: first, iat: NOW + 1, ..issuer.beat() };
    let beat = heartbeat(&keys, &issuer.sign(Typ::DenyHeartbeat, &beat));
    assert_eq!(replica.apply(beat, clock.after(1)), Outcome::Equivocation);
    let onwards = issuer.sign(Typ::DenyBatch, &issuer.batch(2, first, vec![entry(8)]));
    assert_eq!(replica.apply(batch(&keys, &onwards), clock.after(1)), Outcome::Equivocation);
    assert_eq!(*replica.deny(), deny(&[entry(1)]));
    assert_eq!(replica.standing().as_of(), NOW, "a contradiction refreshes nothing");
}

#[test]
fn n85_only_a_new_matching_heartbeat_makes_it_young() {
    let (mut issuer, keys) = issuer();
    let clock = Clock::new();
    let mut replica = synced(&keys, &issuer, clock);
    issuer.iat = NOW + 10;
    let beat = heartbeat(&keys, &issuer.heartbeat());
    assert_eq!(replica.apply(beat.clone(), clock.after(10)), Outcome::Applied);
    assert_eq!(replica.apply(beat, clock.after(12)), Outcome::Known, "replayed");
    let state = |replica: &Replica, at: u64| replica.standing().state(clock.after(at), 60);
    assert_eq!(replica.standing().age(clock.after(12)), 2);
    assert_eq!(state(&replica, 12), State::Synced);
    assert_eq!(state(&replica, 13), State::Lagging, "three heartbeats of one second");
    assert_eq!(state(&replica, 70), State::Lagging);
    assert_eq!(state(&replica, 71), State::Stale);

    let late = issuer.revoke(vec![entry(1)]);
    issuer.iat = NOW + 20;
    let ahead_of_us = heartbeat(&keys, &issuer.heartbeat());
    assert_eq!(replica.apply(ahead_of_us.clone(), clock.after(20)), Outcome::Gap);
    assert_eq!(replica.standing().as_of(), NOW + 10);
    assert_eq!(replica.apply(batch(&keys, &late), clock.after(20)), Outcome::Applied);
    assert_eq!(replica.apply(ahead_of_us, clock.after(20)), Outcome::Applied);
    assert_eq!(replica.standing().as_of(), NOW + 20);

    issuer.iat = NOW + 36;
    let future = heartbeat(&keys, &issuer.heartbeat());
    assert_eq!(replica.apply(future.clone(), clock.after(30)), Outcome::Ahead);
    assert_eq!(replica.standing().as_of(), NOW + 20);
    assert_eq!(replica.apply(future, clock.after(31)), Outcome::Applied, "within the leeway");
}

#[test]
fn n147_a_clock_set_back_does_not_turn_time_back() {
    let (mut issuer, keys) = issuer();
    let clock = Clock::new();
    let mut replica = synced(&keys, &issuer, clock);
    let hour_back = |passed| clock.split(NOW - 3600, passed);
    assert_eq!(replica.standing().now(hour_back(30)), NOW + 30);
    assert_eq!(replica.standing().age(hour_back(30)), 30);
    issuer.iat = NOW + 31;
    let beat = heartbeat(&keys, &issuer.heartbeat());
    assert_eq!(replica.apply(beat, hour_back(31)), Outcome::Applied);
    assert_eq!(replica.standing().now(hour_back(33)), NOW + 33);
    assert_eq!(replica.standing().age(clock.split(NOW + 3600, 33)), 3569, "forward is old");
}

#[test]
fn n147_a_clock_set_back_does_not_make_young_what_was_held_back() {
    let (mut issuer, keys) = issuer();
    let clock = Clock::new();
    let mut replica = synced(&keys, &issuer, clock);
    issuer.iat = NOW + 5;
    let late = heartbeat(&keys, &issuer.heartbeat());
    assert_eq!(replica.apply(late, clock.after(50)), Outcome::Applied);
    assert_eq!(replica.standing().age(clock.after(50)), 45);
    let minute_back = clock.split(NOW - 9, 51);
    assert_eq!(replica.standing().now(minute_back), NOW + 51, "the first one was not late");
    assert_eq!(replica.standing().age(minute_back), 46);

    let mut replica = Replica::new(clock.after(50));
    issuer.iat = NOW;
    assert_eq!(replica.apply(snapshot(&keys, &issuer), clock.after(50)), Outcome::Applied);
    assert_eq!(replica.standing().age(minute_back), 51, "how old it came is not forgotten");
    issuer.iat = NOW + 52;
    let fresh = heartbeat(&keys, &issuer.heartbeat());
    assert_eq!(replica.apply(fresh, clock.after(52)), Outcome::Applied);
    assert_eq!(replica.standing().age(clock.after(52)), 0);
}

#[test]
fn n93_a_blob_that_is_not_the_promised_one_is_no_snapshot() {
    let (mut issuer, keys) = issuer();
    issuer.revoke(vec![entry(1), entry(2)]);
    let (manifest, blob) = issuer.manifest();
    let build = |manifest: &Manifest, blob: &[u8]| {
        let jws = issuer.sign(Typ::DenySnapshot, manifest);
        Snapshot::new(keys.prove(&jws).unwrap(), blob.to_vec())
    };
    assert!(build(&manifest, &blob).is_ok());
    let longer = [&blob[..], &[0]].concat();
    for other in [&b""[..], b"<html>login</html>", &blob[..blob.len() - 1], &longer] {
        assert_eq!(build(&manifest, other).unwrap_err(), SnapshotError::Other);
    }
    let miscounted = Manifest { count: 1, ..manifest };
    assert_eq!(build(&miscounted, &blob).unwrap_err(), SnapshotError::Other);
}

#[test]
fn n95_a_retired_feed_key_is_not_believed_any_more() {
    let (mut issuer, keys) = issuer();
    let old = issuer.heartbeat();
    let new = key();
    assert!(keys.prove::<Heartbeat>(&old).is_ok());
    let overlap = feed_keys(&[&issuer.feed, &new]);
    let after = feed_keys(&[&new]);
    issuer.feed = new;
    for jws in [&old, &issuer.heartbeat()] {
        assert!(overlap.prove::<Heartbeat>(jws).is_ok());
    }
    assert_eq!(after.prove::<Heartbeat>(&old).unwrap_err(), Unproven::UnknownKey);
    assert!(after.prove::<Heartbeat>(&issuer.heartbeat()).is_ok());
}
