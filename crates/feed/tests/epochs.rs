use std::time::Duration;

use scrip_feed::{Alarm, Config, Follower, State};
use scrip_token::Typ;

use crate::issuer::{jti, key, sign};
use crate::origin::{Fault, Origin, event, now};
use crate::{config, listening, revoked, seq, synced, until, until_alarm};

#[tokio::test]
async fn n95_a_feed_key_withdrawn_while_cut_off_leads_to_a_snapshot() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the first batch", |view| seq(view) == 1).await;

    origin.fault("/", Fault::Status(503));
    origin.end_streams();
    origin.with(|issuer| issuer.revoke(vec![revoked(2)]));
    origin.rotate(|issuer| {
        issuer.feed = key();
        issuer.keys()
    });
    origin.with(|issuer| issuer.revoke(vec![revoked(3)]));
    origin.heal();
    let view = until(&reader, "all three", |view| seq(view) == 3).await;
    assert_eq!(view.issuer().deny().len(), 3);
    synced(&feed).await;
    origin.revoke(vec![revoked(4)]);
    until(&reader, "a batch of the new key", |view| seq(view) == 4).await;
}

#[tokio::test]
async fn n95_a_feed_key_is_rotated_in_peace() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    let old = origin.with(|issuer| std::mem::replace(&mut issuer.feed, key()));
    origin.rotate(|issuer| {
        let feed = [&old, &issuer.feed];
        issuer.keys_naming(&[&issuer.root], &feed, &[&issuer.token])
    });
    origin.revoke(vec![revoked(1)]);
    until(&reader, "a batch of the new key", |view| seq(view) == 1).await;
    origin.rotate(|issuer| issuer.keys());
    origin.revoke(vec![revoked(2)]);
    let view = until(&reader, "the next batch", |view| seq(view) == 2).await;
    assert_eq!(view.issuer().deny().len(), 2);
    synced(&feed).await;
    assert_eq!(feed.alarms().count(Alarm::Unproven), 0);
}

#[tokio::test]
async fn n95_a_new_epoch_of_a_new_key_keeps_what_was_denied() {
    let origin = Origin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let kept = Config { dir: Some(dir.path().to_owned()), ..config(&origin) };
    let (feed, reader) = Follower::start(kept.clone()).await.unwrap();
    synced(&feed).await;
    until(&reader, "an open stream", |_| origin.listeners() > 0).await;
    for n in 1..=9 {
        origin.revoke(vec![revoked(n)]);
    }
    until(&reader, "nine batches", |view| seq(view) == 9).await;

    let epoch = jti(now(), 1);
    origin.rotate(|issuer| {
        issuer.feed = key();
        issuer.begin_epoch(epoch);
        issuer.keys()
    });
    origin.with(|issuer| issuer.revoke(vec![revoked(10)]));
    origin.send(&event("reset", r#"{"reason":"epoch"}"#));
    let is_new = |view: &scrip_feed::View| view.position().is_some_and(|at| at.epoch == epoch);
    let view = until(&reader, "the new epoch", is_new).await;
    assert_eq!((seq(&view), view.issuer().deny().len()), (1, 10));
    synced(&feed).await;
    feed.shutdown().await;

    origin.fault("/", Fault::Status(503));
    let (feed, reader) = Follower::start(kept).await.unwrap();
    assert!(is_new(&reader.view()));
    assert_ne!(feed.state(), State::Init);
}

/// As after a crash between writing new keys and writing what they sign.
#[tokio::test]
async fn n95_n97_a_disk_of_a_withdrawn_key_denies_all_until_there_is_a_snapshot() {
    let origin = Origin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let kept = Config { dir: Some(dir.path().to_owned()), ..config(&origin) };
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    let (feed, _) = Follower::start(kept.clone()).await.unwrap();
    synced(&feed).await;
    feed.shutdown().await;

    origin.rotate(|issuer| {
        issuer.feed = key();
        issuer.keys()
    });
    let newest = origin.with(|issuer| issuer.keys());
    std::fs::write(dir.path().join("keys"), newest).unwrap();
    origin.fault("/v1", Fault::Status(503));
    let (feed, reader) = Follower::start(kept).await.unwrap();
    assert_eq!((feed.state(), feed.alarms().count(Alarm::Disk)), (State::Init, 1));
    origin.with(|issuer| issuer.revoke(vec![revoked(2)]));
    origin.heal();
    let view = until(&reader, "the snapshot", |view| seq(view) == 2).await;
    assert_eq!(view.issuer().deny().len(), 2);
    synced(&feed).await;
}

#[tokio::test]
async fn n83_an_older_epoch_is_refused_until_there_is_a_newer_one() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the first batch", |view| seq(view) == 1).await;
    let (epoch, as_of) = (origin.with(|issuer| issuer.epoch), reader.view().information());

    origin.with(|issuer| {
        issuer.begin_epoch(jti(now() - 400 * 86_400, 1));
        for n in 2..=9 {
            issuer.revoke(vec![revoked(n)]);
        }
    });
    origin.send(&event("reset", r#"{"reason":"epoch"}"#));
    until_alarm(&feed, Alarm::Backwards).await;
    let view = reader.view();
    assert_eq!((view.position().unwrap().epoch, seq(&view)), (epoch, 1));
    let scrip_verify::Information::Followed { as_of, .. } = as_of else { panic!("followed") };
    assert!(view.now() - view.age().unwrap() <= as_of, "an older epoch makes nothing young");

    origin.with(|issuer| issuer.begin_epoch(jti(now(), 2)));
    synced(&feed).await;
    assert_eq!(reader.view().issuer().deny().len(), 1);
}

#[tokio::test]
async fn n81_a_fork_is_one_alarm_no_storm_and_ends_with_a_new_epoch() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the first batch", |view| seq(view) == 1).await;
    let ours = reader.view().position();

    // Restored from before that batch, the issuer gives its number to another one.
    origin.with(|issuer| {
        issuer.batches.clear();
        issuer.entries.clear();
        issuer.revoke(vec![revoked(2)])
    });
    origin.end_streams();
    until_alarm(&feed, Alarm::Equivocation).await;
    let asked = || origin.asked("/v1/deny/snapshot");
    let (begun, before) = (instant(), asked());
    until(&reader, "three attempts to get out of it", |_| asked() >= before + 3).await;
    let passed = instant() - begun;
    assert!(passed > Duration::from_millis(50), "three attempts in {passed:?}");
    assert_eq!(feed.alarms().count(Alarm::Equivocation), 1, "signs of life repeat it");
    assert_eq!((reader.view().position(), reader.view().issuer().deny().len()), (ours, 1));

    let other = origin.with(|issuer| {
        let batch = issuer.batch(1, scrip_token::deny::first_head(issuer.epoch), vec![revoked(3)]);
        sign(&issuer.feed, Typ::DenyBatch, &batch)
    });
    let range = serde_json::json!({"epoch": ours.unwrap().epoch, "batches": [other],
        "heartbeat": null, "more": false});
    origin.fault("/v1/deny/batches", Fault::Body(range.to_string().into()));
    until(&reader, "another contradiction", |_| feed.alarms().count(Alarm::Equivocation) >= 2)
        .await;
    origin.heal();

    origin.with(|issuer| {
        issuer.begin_epoch(jti(now(), 1));
        issuer.revoke(vec![revoked(4)])
    });
    synced(&feed).await;
    assert_eq!(reader.view().issuer().deny().len(), 2, "ours, and the new epoch's");
}

fn instant() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "the test measures a back-off")]
    std::time::Instant::now()
}
