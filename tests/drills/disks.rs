//! No room for another byte, or nothing that is written stays.

use super::drill::Drill;
use crate::harness::acme::Acme;
use crate::harness::disk::SmallDisk;
use crate::harness::dying::DyingDisk;
use crate::harness::gateway::Gateway;
use crate::harness::postgres::Cluster;
use crate::harness::service::Installation;
use crate::harness::until::until;
use scrip_feed::Alarm;
use scrip_token::compact::Compact;
use scrip_token::deny::Manifest;
use serde_json::json;
use sqlx::{ConnectOptions, SqliteConnection};
use std::fs;
use std::time::Duration;

/// What is out goes on: nothing excuses a gateway that refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_n117_the_disk_of_sqlite_is_full() {
    let disk = SmallDisk::mount(64).await;
    let database = format!("sqlite:{}", disk.path().join("scrip.db").display());
    let installation = Installation::on(&database).behind(disk.entrance());
    let mut drill = Drill::found("disk full (SQLite)", installation).await;
    drill.has_records = false;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(2) {
        drill.calm().await;
        disk.fill();
        mints_get(503, &drill).await;
        drill.calm().await;
        disk.free();
        mints_get(200, &drill).await;
    }
    let mut acme = drill.end().await;
    acme.kill().await;

    let copy = tempfile::tempdir().unwrap();
    for name in ["scrip.db", "scrip.db-wal"] {
        fs::copy(disk.outside().join(name), copy.path().join(name)).unwrap();
    }
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(copy.path().join("scrip.db"));
    let mut connection: SqliteConnection = options.connect().await.unwrap();
    let found: String =
        sqlx::query_scalar("pragma integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(found, "ok");
}

/// Postgres panics where it cannot write its log, and stays away until somebody has made room and
/// starts it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_n117_the_disk_of_postgres_is_full() {
    let mut cluster = Cluster::on_small_disk().await;
    let installation = Installation::on(&cluster.database().await);
    let mut drill = Drill::found("disk full (Postgres)", installation).await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike();
        cluster.disk().fill();
        mints_get(503, &drill).await;
        drill.calm().await;
        cluster.disk().free();
        if cluster.has_ended() {
            cluster.restart().await;
        }
        mints_get(200, &drill).await;
        drill.recover().await;
    }
    drill.end().await;
}

/// What could not be synced is not acknowledged, whether the process lives on or is killed before the
/// disk heals. SQLite writes all of it again then: no page counts as written because a later sync works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n119_the_disk_of_sqlite_dies() {
    let disk = DyingDisk::new();
    let installation = Installation::on_sqlite().living_by(disk.environment());
    let mut drill = Drill::found("disk dead (SQLite)", installation).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    let mut killed = true;
    while drill.goes_on(2) {
        killed = !killed;
        drill.calm().await;
        dies(&disk, &mut drill).await;
        if killed {
            drill.strike();
            drill.acme.kill().await;
        }
        disk.heal();
        if killed {
            drill.acme.start().await;
            drill.recover().await;
        }
        mints_get(200, &drill).await;
    }
    drill.end().await;
}

/// Postgres panics where it cannot sync its log, and recovers by what is in it; or stays away until
/// somebody starts it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n119_the_disk_of_postgres_dies() {
    let disk = DyingDisk::new();
    let mut cluster = Cluster::living_by(disk.environment()).await;
    let installation = Installation::on(&cluster.database().await);
    let mut drill = Drill::found("disk dead (Postgres)", installation).await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike();
        dies(&disk, &mut drill).await;
        disk.heal();
        until("mints work again", Duration::from_secs(60), async || {
            if cluster.has_ended() {
                cluster.restart().await;
            }
            let answer = drill.acme.http().mint(&drill.workload, &[], None).await;
            (answer.expect("it is answered").status == 200).then_some(())
        })
        .await;
        drill.recover().await;
    }
    drill.end().await;
}

/// It refuses what is revoked all the while; and once there is room its copy becomes whole, so that it
/// starts by that alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n117_the_disk_of_a_gateway_is_full() {
    let disk = SmallDisk::mount(2).await;
    let dir = disk.outside().join("feed");
    let mut acme = Acme::found(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::kept_in(&acme, dir.clone()).await;
    let mut tokens = Vec::new();
    for number in 0..30 {
        match number {
            10 => disk.fill(),
            20 => disk.free(),
            _ => {}
        }
        let minted = acme.http().mint(&billing, &[], None).await.unwrap();
        let revoked = acme.http().revoke(&acme.operator, json!({"jti": minted.body["jti"]})).await;
        assert_eq!(revoked.unwrap().status, 201);
        let token = minted.body["access_token"].as_str().unwrap().to_owned();
        gateway.refuses(&token).await;
        tokens.push(token);
    }
    assert!(gateway.alarms(Alarm::Disk) > 0, "it was full");
    let manifest = dir.join(gateway.epoch().to_string()).join("manifest");
    // It asks once a minute, and the first answer may be older than the loss.
    until("a snapshot of what was lost", Duration::from_secs(240), async || {
        let jws = fs::read_to_string(&manifest).ok()?;
        let payload = Compact::parse(jws.as_bytes(), jws.len()).ok()?.payload;
        (Manifest::parse(&payload).ok()?.seq >= 20).then_some(())
    })
    .await;
    gateway.end().await;
    acme.kill().await;

    let gateway = Gateway::alone(&acme, dir).await;
    assert_eq!(gateway.alarms(Alarm::Disk), 0);
    assert!(tokens.iter().all(|token| gateway.knows_of(token)));
}

/// The disk dies, and nothing that is asked for from then on is acknowledged.
async fn dies(disk: &DyingDisk, drill: &mut Drill) {
    let http = drill.acme.http();
    let minted = http.mint(&drill.workload, &[], None).await.expect("it is answered");
    let operator = drill.acme.operator.clone();
    let is_refused = async || {
        let revoked = http.revoke(&operator, json!({"jti": minted.body["jti"]})).await;
        assert_eq!(revoked.expect("it is answered").status, 503, "it is on no disk");
    };
    disk.die();
    let died = drill.ledger.now();
    is_refused().await;
    mints_get(503, drill).await;
    drill.calm().await;
    is_refused().await;
    // Of the load there may be nobody who has a token left to revoke.
    let history = drill.ledger.read();
    let mut since = history.revocations.iter().filter(|one| one.sent > died);
    assert!(since.all(|one| one.acknowledged.is_none()), "it is on no disk");
}

async fn mints_get(status: u16, drill: &Drill) {
    until(format!("mints get {status}"), Duration::from_secs(60), async || {
        let answer = drill.acme.http().mint(&drill.workload, &[], None).await;
        (answer.expect("it is answered").status == status).then_some(())
    })
    .await;
}
