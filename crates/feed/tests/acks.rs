use std::collections::BTreeSet;

use scrip_feed::{Alarm, Config, Follower, Handle, Reader, StartError};
use scrip_verify::{Freshness, StalePolicy};
use serde_json::{Value, json};

use crate::issuer::jti;
use crate::origin::{Fault, Origin, now};
use crate::{config, revoked, seq, synced, until, until_alarm};

fn named(origin: &Origin) -> Config {
    Config { verifier: Some("gw-1a".to_owned()), ..config(origin) }
}

/// A follower that is synced, and whose stream is open.
async fn acknowledging(origin: &Origin) -> (Handle, Reader) {
    let (feed, reader) = Follower::start(named(origin)).await.unwrap();
    synced(&feed).await;
    until(&reader, "an open stream", |_| origin.listeners() > 0).await;
    (feed, reader)
}

fn acked(origin: &Origin, seq: u64) -> Option<Value> {
    origin.acks().into_iter().map(|(_, ack)| ack).rfind(|ack| ack["seq"] == seq)
}

#[tokio::test]
async fn what_is_enforced_is_acknowledged_with_its_contract() {
    let origin = Origin::start().await;
    let freshness = Freshness::new(30, 300, StalePolicy::AllowFor(10)).unwrap();
    let config = Config { freshness, ..named(&origin) };
    let (feed, reader) = Follower::start(config).await.unwrap();
    assert_eq!(reader.freshness(), freshness);
    synced(&feed).await;
    until(&reader, "an open stream", |_| origin.listeners() > 0).await;
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the acknowledgement", |_| acked(&origin, 1).is_some()).await;
    let as_of = acked(&origin, 1).unwrap()["as_of"].as_u64().unwrap();
    assert!(as_of <= now() && as_of > now() - 60);
    let (epoch, head) = origin.with(|issuer| (issuer.epoch, issuer.head()));
    let expected = json!({"verifier": "gw-1a", "epoch": epoch, "seq": 1, "head": head, "as_of": as_of,
        "max_staleness": 30, "max_offline": 300, "policy": "allow-for", "allow_for": 10});
    assert_eq!(acked(&origin, 1).unwrap(), expected);
    assert_eq!(seq(&reader.view()), 1, "enforced before it was acknowledged");

    // A sign of life says that it is still there.
    until(&reader, "another `as_of`", |_| {
        origin.beat();
        acked(&origin, 1).unwrap()["as_of"].as_u64().unwrap() > as_of
    })
    .await;
    assert!(origin.acks().iter().all(|(status, _)| *status == 204));
}

#[tokio::test]
async fn who_has_no_name_says_nothing_and_a_wrong_one_does_not_start() {
    let origin = Origin::start().await;
    let (feed, reader) = Follower::start(config(&origin)).await.unwrap();
    synced(&feed).await;
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the batch", |view| seq(view) == 1).await;
    assert_eq!(origin.asked("/v1/deny/acks"), 0);
    for name in ["", "Gw", "gw/1", "gw 1", &"g".repeat(65)] {
        let config = Config { verifier: Some(name.to_owned()), ..config(&origin) };
        let refused = Follower::start(config).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, StartError::Verifier), "{name}");
    }
}

#[tokio::test]
async fn a_burst_is_acknowledged_by_its_newest() {
    let origin = Origin::start().await;
    let (_feed, reader) = acknowledging(&origin).await;
    let before = origin.acks().len();
    for n in 1..=50 {
        origin.revoke(vec![revoked(n)]);
    }
    until(&reader, "the newest", |_| acked(&origin, 50).is_some()).await;
    let sent = origin.acks().len() - before;
    assert!(sent < 25, "{sent} for 50 revocations");
}

#[tokio::test]
async fn who_does_not_listen_is_told_later_and_holds_nobody_up() {
    for fault in [Fault::Status(500), Fault::Status(429), Fault::Hang, Fault::Endless] {
        let origin = Origin::start().await;
        let (_feed, reader) = acknowledging(&origin).await;
        origin.fault("/v1/deny/acks", fault);
        origin.revoke(vec![revoked(1)]);
        until(&reader, "the first batch", |view| seq(view) == 1).await;
        until(&reader, "an attempt", |_| origin.asked("/v1/deny/acks") > 1).await;
        origin.revoke(vec![revoked(2)]);
        until(&reader, "the second batch", |view| seq(view) == 2).await;
        origin.heal();
        until(&reader, "the newest alone", |_| {
            origin.beat();
            acked(&origin, 2).is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let origin = Origin::start().await;
    let (_feed, reader) = acknowledging(&origin).await;
    for status in [400, 403, 409, 429] {
        origin.refuse_acks(status);
        let refused = || {
            let acks = origin.acks().into_iter().filter(|(answer, _)| *answer == status);
            acks.map(|(_, ack)| ack.to_string()).collect::<Vec<_>>()
        };
        until(&reader, "three refusals", |_| {
            origin.beat();
            refused().len() >= 3
        })
        .await;
        let distinct: BTreeSet<String> = refused().into_iter().collect();
        assert_eq!(distinct.len(), refused().len(), "{status}: each says something new");
    }
}

#[tokio::test]
async fn an_origin_that_takes_none_is_passed_over_and_the_issuer_is_the_last() {
    let origin = Origin::start().await;
    let relay = origin.relay().await;
    relay.fault("/v1/deny/acks", Fault::Status(405));
    let root = origin.with(|issuer| issuer.root.kid().to_owned());
    let origins = vec![relay.url().parse().unwrap()];
    let config = Config { origins, root: Some(root), ..named(&origin) };
    let (feed, reader) = Follower::start(config).await.unwrap();
    synced(&feed).await;
    until(&reader, "an open stream", |_| relay.listeners() > 0).await;
    relay.revoke(vec![revoked(1)]);
    until(&reader, "the issuer is told", |_| acked(&origin, 1).is_some()).await;
    assert_eq!(origin.asked("/v1/deny/stream"), 0, "it is not followed");
    relay.revoke(vec![revoked(2)]);
    until(&reader, "the issuer is told", |_| acked(&origin, 2).is_some()).await;
    assert_eq!(relay.asked("/v1/deny/acks"), 1);
}

#[tokio::test]
async fn n82_a_service_that_lost_something_is_shown_it_once_and_followed_into_a_new_epoch() {
    let origin = Origin::start().await;
    let (feed, reader) = acknowledging(&origin).await;
    origin.revoke(vec![revoked(1)]);
    origin.revoke(vec![revoked(2)]);
    until(&reader, "both", |_| acked(&origin, 2).is_some()).await;
    let lost = origin.with(|issuer| {
        issuer.entries.pop();
        issuer.batches.pop().unwrap().1
    });
    origin.end_streams();
    let shown = || {
        let acks = origin.acks();
        acks.into_iter().filter(|(_, ack)| ack["evidence"].is_string()).collect::<Vec<_>>()
    };
    until(&reader, "the evidence", |_| !shown().is_empty()).await;
    assert_eq!(shown()[0].1["evidence"], lost);
    until_alarm(&feed, Alarm::Backwards).await;
    assert_eq!(seq(&reader.view()), 2);

    origin.with(|issuer| {
        issuer.begin_epoch(jti(now(), 1));
        issuer.revoke(vec![revoked(3)])
    });
    origin.send(&crate::origin::event("reset", r#"{"reason":"epoch"}"#));
    let epoch = origin.with(|issuer| issuer.epoch.to_string());
    until(&reader, "the new epoch", |_| acked(&origin, 1).is_some_and(|ack| ack["epoch"] == epoch))
        .await;
    synced(&feed).await;
    assert_eq!(reader.view().issuer().deny().len(), 3);
    assert_eq!(shown().len(), 1, "once for each batch");
}
