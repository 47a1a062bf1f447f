use scrip_feed::{Alarm, State};
use scrip_token::Typ;
use scrip_token::deny::Manifest;

use crate::issuer::{Issuer, jti};
use crate::origin::{Fault, Origin, event, now};
use crate::{follow, listening, revoked, seq, synced, until, until_alarm};

#[tokio::test]
async fn n78_n92_what_is_not_proven_is_dropped_and_the_stream_goes_on() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    let stranger = Issuer::new(&origin.url());
    let (forged, odd, token) = origin.with(|issuer| {
        let batch = issuer.batch(1, issuer.head(), vec![revoked(1)]);
        let mut odd = serde_json::to_value(&batch).unwrap();
        odd["entries"][0]["kind"] = "new".into();
        let token = issuer.token.sign(Typ::AccessToken, b"{}").unwrap();
        (stranger.sign(Typ::DenyBatch, &batch), issuer.sign(Typ::DenyBatch, &odd), token)
    });
    for frame in [&forged, &token, "", "garbage", "<html>"] {
        origin.send(&event("batch", frame));
        origin.send(&event("heartbeat", frame));
    }
    origin.send(&event("batch", &odd));
    until_alarm(&feed, Alarm::NotUnderstood).await;
    assert!(feed.alarms().count(Alarm::Unproven) >= 8);
    assert_eq!(seq(&reader.view()), 0);
    let streams = origin.asked("/v1/deny/stream");
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the genuine batch", |view| seq(view) == 1).await;
    assert_eq!(origin.asked("/v1/deny/stream"), streams, "no reconnect");
}

#[tokio::test]
async fn n81_a_gap_is_filled_by_a_range() {
    let origin = Origin::start().await;
    let (_feed, reader) = listening(&origin).await;
    let snapshots = origin.asked("/v1/deny/snapshot");
    for n in 1..=5 {
        origin.with(|issuer| issuer.revoke(vec![revoked(n)]));
    }
    origin.revoke(vec![revoked(6)]);
    let view = until(&reader, "the six batches", |view| seq(view) == 6).await;
    assert_eq!(view.issuer().deny().len(), 6);
    assert_eq!(origin.asked("/v1/deny/snapshot"), snapshots, "no snapshot was needed");
}

#[tokio::test]
async fn n81_n83_another_epoch_comes_through_a_snapshot_and_the_old_one_never_back() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the first batch", |view| seq(view) == 1).await;
    let (old_beat, old) = origin.with(|issuer| (issuer.heartbeat(), issuer.epoch));

    origin.with(|issuer| {
        issuer.begin_epoch(jti(now(), 1));
        issuer.revoke(vec![revoked(2)])
    });
    origin.send(&event("reset", r#"{"reason":"epoch"}"#));
    let epoch = origin.with(|issuer| issuer.epoch);
    let view = until(&reader, "the new epoch", |view| {
        view.position().is_some_and(|position| position.epoch == epoch)
    });
    assert_eq!(view.await.issuer().deny().len(), 2, "entries of the old epoch are kept");
    synced(&feed).await;

    until(&reader, "the alarm", |_| {
        origin.send(&event("heartbeat", &old_beat));
        feed.alarms().count(Alarm::Backwards) > 0
    })
    .await;
    assert_ne!(reader.view().position().unwrap().epoch, old);
}

#[tokio::test]
async fn n82_an_old_snapshot_and_a_false_410_move_nothing_back() {
    let origin = Origin::start().await;
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    let old = origin.with(|issuer| issuer.snapshot().0);
    let (feed, reader) = listening(&origin).await;
    origin.revoke(vec![revoked(2)]);
    until(&reader, "the second batch", |view| seq(view) == 2).await;

    origin.fault("/v1/deny/batches", Fault::Status(410));
    origin.fault("/v1/deny/snapshot", Fault::Body(old.into()));
    origin.end_streams();
    until_alarm(&feed, Alarm::Backwards).await;
    assert_eq!(seq(&reader.view()), 2);
    assert_eq!(reader.view().issuer().deny().len(), 2);
    origin.heal();
    origin.revoke(vec![revoked(3)]);
    until(&reader, "the third batch", |view| seq(view) == 3).await;
}

#[tokio::test]
async fn n81_two_payloads_for_one_number_keep_the_evidence() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    let first = origin.with(|issuer| issuer.head());
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the first batch", |view| seq(view) == 1).await;
    let theirs = origin
        .with(|issuer| issuer.sign(Typ::DenyBatch, &issuer.batch(1, first, vec![revoked(9)])));
    origin.send(&event("batch", &theirs));
    until_alarm(&feed, Alarm::Equivocation).await;
    let ours = origin.with(|issuer| issuer.batches[0].1.clone());
    until(&reader, "the evidence", |_| feed.evidence().is_some()).await;
    let evidence = feed.evidence().unwrap();
    assert_eq!((evidence.ours.as_deref(), &*evidence.theirs), (Some(ours.as_str()), &*theirs));
    assert_eq!(reader.view().issuer().deny().len(), 1);
}

#[tokio::test]
async fn n88_a_stream_cut_within_a_frame_is_resumed_after_what_was_applied() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    let batch = origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    let frame = event("batch", &batch);
    for cut in [3, 20, frame.len() / 2, frame.len() - 1] {
        let streams = origin.asked("/v1/deny/stream");
        origin.send(&frame[..cut]);
        origin.end_streams();
        until(&reader, "another stream", |_| origin.asked("/v1/deny/stream") > streams).await;
    }
    until(&reader, "the batch", |view| seq(view) == 1).await;
    assert_eq!(feed.alarms().count(Alarm::Unproven), 0, "no part of a frame was looked at");
}

#[tokio::test]
async fn n89_a_lost_place_is_found_through_a_snapshot() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    let snapshots = origin.asked("/v1/deny/snapshot");
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    origin.fault("/v1/deny/batches", Fault::Status(410));
    origin.beat();
    until(&reader, "the snapshot", |view| seq(view) == 1).await;
    assert!(origin.asked("/v1/deny/snapshot") > snapshots);
    origin.heal();
    synced(&feed).await;
}

#[tokio::test]
async fn n93_login_pages_and_cut_bodies_change_nothing() {
    let cut = |text: &[u8]| Fault::Body(text[..text.len() / 2].to_vec().into());
    let html = |_: &Origin| Fault::Body("<html>please log in</html>".into());
    let half_manifest = |origin: &Origin| cut(origin.with(|i| i.snapshot()).0.as_bytes());
    let half_blob = |origin: &Origin| cut(&origin.with(|i| i.snapshot()).1);
    tokio::join!(
        n93("/v1/deny/batches", Alarm::Origin, html),
        n93("/v1/deny/snapshot", Alarm::Unproven, html),
        n93("/v1/deny/snapshot", Alarm::Unproven, half_manifest),
        n93("/v1/deny/blobs", Alarm::Origin, html),
        n93("/v1/deny/blobs", Alarm::Origin, half_blob),
        n93("/v1/deny/blobs", Alarm::Origin, |_| Fault::Endless),
    );
}

async fn n93(path: &'static str, alarm: Alarm, fault: impl Fn(&Origin) -> Fault) {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    if path != "/v1/deny/batches" {
        origin.fault("/v1/deny/batches", Fault::Status(410));
    }
    origin.fault(path, fault(&origin));
    origin.end_streams();
    until_alarm(&feed, alarm).await;
    assert_eq!(seq(&reader.view()), 0, "{path}");
    origin.heal();
    until(&reader, "the batch", |view| seq(view) == 1).await;
}

#[tokio::test]
async fn n94_redirects_are_not_followed() {
    let origin = Origin::start().await;
    let elsewhere = origin.relay().await;
    let (_feed, reader) = listening(&origin).await;
    origin.fault("/", Fault::Redirect(format!("{}/v1/deny/batches", elsewhere.url())));
    let before = origin.asked("/");
    origin.end_streams();
    until(&reader, "two attempts", |_| origin.asked("/") >= before + 2).await;
    assert_eq!(elsewhere.requests(), []);
}

#[tokio::test]
async fn n85_a_sign_of_life_from_the_future_does_not_count() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    let future = origin.with(|issuer| {
        issuer.iat += 3600;
        issuer.heartbeat()
    });
    origin.send(&event("heartbeat", &future));
    until_alarm(&feed, Alarm::Ahead).await;
    assert!(reader.view().now() < now() + 60, "it moves no clock");
}

#[tokio::test]
async fn n79_n87_a_stream_that_never_says_anything_is_left_for_polling() {
    for fault in [Fault::Endless, Fault::Drip] {
        let origin = Origin::start().await;
        let (_feed, reader) = listening(&origin).await;
        origin.fault("/v1/deny/stream", fault);
        let streams = origin.asked("/v1/deny/stream");
        origin.end_streams();
        until(&reader, "the bad stream", |_| origin.asked("/v1/deny/stream") > streams).await;
        origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
        until(&reader, "the polled batch", |view| seq(view) == 1).await;
    }
}

#[tokio::test]
async fn n93_a_manifest_that_promises_another_blob_is_refused() {
    let origin = Origin::start().await;
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    let lie = origin.with(|issuer| {
        let (manifest, _) = issuer.manifest();
        issuer.sign(Typ::DenySnapshot, &Manifest { count: 7, ..manifest })
    });
    origin.fault("/v1/deny/snapshot", Fault::Body(lie.into()));
    let (feed, reader) = follow(&origin).await;
    until_alarm(&feed, Alarm::Origin).await;
    assert_eq!(feed.state(), State::Init);
    origin.heal();
    until(&reader, "the honest one", |view| seq(view) == 1).await;
}
