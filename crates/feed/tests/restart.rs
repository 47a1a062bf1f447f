use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::process::Command;

use scrip_feed::{Alarm, Config, Follower, State};

use crate::origin::{Fault, Origin};
use crate::{config, revoked, seq, synced, until, until_alarm};

#[tokio::test]
async fn n98_a_gateway_starts_while_the_service_is_away() {
    let origin = Origin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let kept = Config { dir: Some(dir.path().join("feed")), ..config(&origin) };
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    let (feed, reader) = Follower::start(kept.clone()).await.unwrap();
    synced(&feed).await;
    origin.revoke(vec![revoked(2)]);
    until(&reader, "the batch", |view| seq(view) == 2).await;
    assert!(Follower::start(kept.clone()).await.is_err(), "one follower for one directory");
    feed.shutdown().await;

    origin.fault("/", Fault::Status(503));
    let (feed, reader) = Follower::start(kept.clone()).await.unwrap();
    let view = reader.view();
    let kid = origin.with(|issuer| issuer.token.kid().to_owned());
    assert_eq!((seq(&view), view.issuer().deny().len()), (2, 2));
    assert!(view.issuer().keys().by_kid(&kid).is_some());
    assert!(view.age().is_some_and(|age| age <= 60), "usable until it is too old");
    assert_eq!(feed.state(), State::Lagging);
    origin.heal();
    origin.with(|issuer| issuer.revoke(vec![revoked(3)]));
    until(&reader, "what was missed", |view| seq(view) == 3).await;
    synced(&feed).await;
    feed.shutdown().await;

    std::fs::write(dir.path().join("feed/highest"), r#"{"epoch":"x"}"#).unwrap();
    origin.fault("/v1", Fault::Status(503));
    let (feed, _reader) = Follower::start(kept).await.unwrap();
    assert_eq!(feed.alarms().count(Alarm::Disk), 1);
    assert_eq!(feed.state(), State::Init, "n97: what does not verify is not there");
    origin.heal();
    synced(&feed).await;
}

#[tokio::test]
async fn n117_a_disk_that_hangs_holds_up_no_batch_and_is_made_up_for() {
    let origin = Origin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let kept = Config { dir: Some(dir.path().to_owned()), ..config(&origin) };
    let (feed, reader) = Follower::start(kept.clone()).await.unwrap();
    synced(&feed).await;
    until(&reader, "an open stream", |_| origin.listeners() > 0).await;
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the first batch", |view| seq(view) == 1).await;

    // A pipe that is full, in the place of the batches: whoever appends to it waits for a reader.
    let batches = dir.path().join(origin.with(|issuer| issuer.epoch.to_string())).join("batches");
    fs::remove_file(&batches).unwrap();
    assert!(Command::new("mkfifo").arg(&batches).status().unwrap().success());
    let mut pipe = OpenOptions::new().read(true).write(true).open(&batches).unwrap();
    pipe.write_all(&[b'x'; 65_536]).unwrap();
    for n in 2..=5 {
        origin.revoke(vec![revoked(n)]);
        until(&reader, "a batch, whatever the disk does", |view| seq(view) == u64::from(n)).await;
    }
    until_alarm(&feed, Alarm::Disk).await;

    pipe.read_exact(&mut [0; 65_536]).unwrap();
    fs::remove_file(&batches).unwrap();
    drop(pipe);
    feed.shutdown().await;
    let (feed, _) = Follower::start(kept).await.unwrap();
    synced(&feed).await;
}

#[tokio::test]
async fn n97_another_root_makes_the_copy_on_disk_worthless() {
    let origin = Origin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let root = origin.with(|issuer| issuer.root.kid().to_owned());
    let kept = Config { dir: Some(dir.path().to_owned()), ..config(&origin) };
    let (feed, _) = Follower::start(kept.clone()).await.unwrap();
    synced(&feed).await;
    feed.shutdown().await;

    let other = crate::issuer::key().kid().to_owned();
    let repinned = Config { root: Some(other), ..kept.clone() };
    let (feed, reader) = Follower::start(repinned).await.unwrap();
    until_alarm(&feed, Alarm::Disk).await;
    assert_eq!(feed.state(), State::Init);
    assert_eq!(reader.view().issuer().keys().kids().count(), 0);
    feed.shutdown().await;

    let (feed, _) = Follower::start(Config { root: Some(root), ..kept }).await.unwrap();
    assert_eq!(feed.alarms().count(Alarm::Disk), 0);
    synced(&feed).await;
}

#[tokio::test]
async fn n95_n98_the_copy_on_disk_outlives_the_key_that_signed_it() {
    let origin = Origin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let kept = Config { dir: Some(dir.path().to_owned()), ..config(&origin) };
    let (feed, reader) = Follower::start(kept.clone()).await.unwrap();
    synced(&feed).await;
    until(&reader, "an open stream", |_| origin.listeners() > 0).await;
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the batch of the old key", |view| seq(view) == 1).await;

    let epoch = dir.path().join(origin.with(|issuer| issuer.epoch.to_string()));
    let on_disk = |name: &str| std::fs::read(epoch.join(name)).unwrap_or_default();
    let (manifest, heartbeat) = (on_disk("manifest"), on_disk("heartbeat"));
    origin.with(|issuer| issuer.feed = crate::issuer::key());
    origin.rotate(|issuer| issuer.keys());
    until(&reader, "files of the new key", |_| {
        origin.beat();
        on_disk("manifest") != manifest && on_disk("heartbeat") != heartbeat
    })
    .await;
    feed.shutdown().await;

    origin.fault("/", Fault::Status(503));
    let (feed, reader) = Follower::start(kept).await.unwrap();
    assert_eq!(feed.alarms().count(Alarm::Disk), 0);
    assert_eq!((seq(&reader.view()), feed.state()), (1, State::Lagging));
}
