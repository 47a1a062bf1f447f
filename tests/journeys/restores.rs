use crate::harness::acme::Acme;
use crate::harness::backup::Backup;
use crate::harness::batches::batches;
use crate::harness::gateway::Gateway;
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::until::until;
use scrip::clock;
use scrip_feed::Alarm;
use scrip_token::Digest;
use scrip_token::compact::Compact;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n82_n83_d11_an_older_sqlite_database_begins_an_epoch_and_revives_nothing() {
    restored(Installation::on_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n82_n83_d11_an_older_postgres_database_begins_an_epoch_and_revives_nothing() {
    restored(Installation::on_postgres().await).await;
}

async fn restored(installation: Installation) {
    let mut acme = Acme::found(installation.set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let before = billing.token(&[]).await;
    let old = gateway.epoch();

    // Tonight's backup.
    let backup = Backup::of(&acme.installation).await;

    // All this is acknowledged, and is not in it.
    let revoked = billing.token(&[]).await;
    let stolen = kid(&acme, "ES256", "active").await;
    assert_eq!(acme.http().give_up(&billing, &revoked).await.status, 200);
    gateway.refuses(&revoked).await;
    acme.operator.run(&["keys", "revoke", &stolen]).await;
    gateway.refuses(&before).await;
    acme.operator.run(&["keys", "rotate", "root"]).await;
    let spared = billing.token(&[]).await;
    gateway.accepts(&spared).await;

    acme.stop().await;
    backup.restore(&acme.installation).await;
    acme.start().await;

    // What was revoked meanwhile is unknown now, and so everything is refused, by whoever lived
    // through it and by whoever comes new.
    let new = until("the epoch arrives", PATIENCE, async || {
        (gateway.epoch() > old).then(|| gateway.epoch())
    })
    .await;
    let newcomer = Gateway::start(&acme).await;
    assert_eq!(newcomer.epoch(), new);
    for gateway in [&gateway, &newcomer] {
        for token in [&before, &revoked, &spared] {
            gateway.refuses(token).await;
        }
    }

    // The stolen key stays revoked, and what is minted now is good everywhere.
    let keys = acme.operator.json(&["keys", "list"]).await;
    let key = keys["items"].as_array().unwrap().iter().find(|key| key["kid"] == *stolen).unwrap();
    assert_eq!(key["state"], "retired", "{key}");
    assert_ne!(key["revoked_at"], Value::Null);
    assert_ne!(kid(&acme, "ES256", "active").await, stolen);
    let minted = billing.token(&[]).await;
    gateway.accepts(&minted).await;
    newcomer.accepts(&minted).await;
    assert_eq!(acme.http().give_up(&billing, &minted).await.status, 200);
    gateway.refuses(&minted).await;
    newcomer.refuses(&minted).await;

    // Nobody had to be restarted, nobody is alarmed, and the next start finds nothing amiss.
    gateway.is_calm().await;
    newcomer.is_calm().await;
    acme.stop().await;
    acme.start().await;
    assert_eq!(Gateway::start(&acme).await.epoch(), new);
    assert_eq!(epochs_begun(&acme).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n82_d3_replicas_whose_database_is_exchanged_begin_one_epoch_between_them() {
    let installation = Installation::on_postgres().await.set("SCRIP_HEARTBEAT", "1");
    let acme = Acme::found(installation).await;
    let billing = acme.embedded("acme/billing").await;
    let older = Backup::of(&acme.installation).await;
    let replica = acme.installation.replica();
    let _other = replica.serve().await;
    let gateways = [Gateway::start(&acme).await, Gateway::at(&acme, &[&replica]).await];
    let old = gateways[0].epoch();
    let token = billing.token(&[]).await;
    assert_eq!(acme.http().give_up(&billing, &token).await.status, 200);
    for gateway in &gateways {
        gateway.refuses(&token).await;
    }

    older.restore(&acme.installation).await;
    for gateway in &gateways {
        until("the epoch arrives", PATIENCE, async || (gateway.epoch() > old).then_some(())).await;
    }
    assert_eq!(gateways[0].epoch(), gateways[1].epoch());
    until("both are ready", PATIENCE, async || {
        let ready = [acme.http(), Http::new(&replica)].map(async |http| http.readiness().await);
        let ready = futures_util::future::join_all(ready).await;
        ready.iter().all(|ready| ready.status == 200).then_some(())
    })
    .await;
    let minted = billing.token(&[]).await;
    for gateway in &gateways {
        gateway.refuses(&token).await;
        gateway.accepts(&minted).await;
        // It may have been offered a snapshot from before what it had, until the exchange was found
        // out; never two histories, and nothing any more.
        let before = Alarm::ALL.map(|alarm| gateway.alarms(alarm));
        gateway.is_in_step().await;
        assert_eq!(Alarm::ALL.map(|alarm| gateway.alarms(alarm)), before);
        assert_eq!(gateway.alarms(Alarm::Equivocation), 0);
    }
    assert_eq!(epochs_begun(&acme).await, 1);
}

/// Whoever is in an epoch that is over has to begin again with a snapshot of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n82_an_epoch_arrives_however_long_the_last_snapshot_waited_for_the_database() {
    let installation = Installation::on_postgres().await.set("SCRIP_HEARTBEAT", "1");
    let acme = Acme::found(installation).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let old = gateway.epoch();
    let token = billing.token(&[]).await;
    assert_eq!(acme.http().give_up(&billing, &token).await.status, 200);
    gateway.refuses(&token).await;

    let url = acme.installation.setting("SCRIP_DATABASE_URL");
    let mut busy = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE deny_snapshots").execute(&mut busy).await.unwrap();
    let asked = acme.http().read(&acme.gateway, "/v1/deny/snapshot").await;
    assert_eq!(asked.status, 200, "from memory: {asked:?}");
    for (what, waits) in [("it waits", true), ("it has given up", false)] {
        until(what, PATIENCE, async || (waiting(&mut busy).await == waits).then_some(())).await;
    }
    busy.close().await.unwrap();

    let feed = key(&acme, &json!({"use": "feed", "state": "active"})).await;
    acme.operator.run(&["keys", "revoke", &feed]).await;
    until("the epoch arrives", PATIENCE, async || (gateway.epoch() > old).then_some(())).await;
    gateway.refuses(&token).await;
    gateway.accepts(&billing.token(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n82_a_follower_proves_what_database_and_witness_have_both_forgotten() {
    let installation = Installation::on_postgres().await.set("SCRIP_HEARTBEAT", "1");
    let mut acme = Acme::found(installation).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let epoch = gateway.epoch();
    let token = billing.token(&[]).await;
    acme.stop().await;
    let database = Backup::of(&acme.installation).await;
    let keys = acme.installation.folder.path().join("keys");
    let witness = fs::read(keys.join("witness-1.json")).unwrap();
    acme.start().await;
    assert_eq!(acme.http().give_up(&billing, &token).await.status, 200);
    gateway.refuses(&token).await;
    let seen = batches(&acme.http(), &acme.gateway, &epoch.to_string()).await;
    let head = Digest::of(&Compact::parse(seen[0].as_bytes(), seen[0].len()).unwrap().payload);

    acme.stop().await;
    database.restore(&acme.installation).await;
    fs::write(keys.join("witness-1.json"), witness).unwrap();
    acme.start().await;
    assert_eq!(epochs_begun(&acme).await, 0, "nothing here tells that anything was lost");
    let ack = json!({
        "verifier": "gw-1a", "epoch": epoch, "seq": 1, "head": head, "as_of": 0,
        "max_staleness": 60, "policy": "deny", "allow_for": 0, "evidence": seen[0],
    });
    let answer = acme.http().acknowledge(&acme.gateway, &ack).await;
    assert_eq!(answer.status, 409, "the epoch of that batch is over: {answer:?}");
    assert_eq!(epochs_begun(&acme).await, 1);
    until("the epoch arrives", PATIENCE, async || (gateway.epoch() > epoch).then_some(())).await;
    Gateway::start(&acme).await.refuses(&token).await;
    gateway.accepts(&billing.token(&[]).await).await;
    let again = acme.http().acknowledge(&acme.gateway, &ack).await;
    assert_eq!((again.status, epochs_begun(&acme).await), (409, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n82_a_follower_that_acknowledges_proves_it_by_itself() {
    let installation = Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1");
    let mut acme = Acme::found(installation).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::named(&acme, "gw-1a").await;
    let (epoch, token) = (gateway.epoch(), billing.token(&[]).await);
    acme.stop().await;
    let database = Backup::of(&acme.installation).await;
    let witness = acme.installation.folder.path().join("keys").join("witness-1.json");
    let before = fs::read(&witness).unwrap();
    acme.start().await;
    assert_eq!(acme.http().give_up(&billing, &token).await.status, 200);
    gateway.refuses(&token).await;

    acme.stop().await;
    database.restore(&acme.installation).await;
    fs::write(&witness, before).unwrap();
    acme.start().await;
    until("the epoch arrives", PATIENCE, async || (gateway.epoch() > epoch).then_some(())).await;
    assert_eq!(epochs_begun(&acme).await, 1);
    gateway.refuses(&token).await;
    Gateway::start(&acme).await.refuses(&token).await;
    gateway.accepts(&billing.token(&[]).await).await;
    gateway.is_in_step().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_copy_that_lost_nothing_changes_nothing() {
    let installation = Installation::on_postgres().await.set("SCRIP_HEARTBEAT", "1");
    let mut acme = Acme::found(installation).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let (kept, revoked) = (billing.token(&[]).await, billing.token(&[]).await);
    assert_eq!(acme.http().give_up(&billing, &revoked).await.status, 200);
    gateway.refuses(&revoked).await;
    let epoch = gateway.epoch();

    acme.stop().await;
    let copy = Backup::of(&acme.installation).await;
    copy.restore(&acme.installation).await;
    acme.start().await;
    gateway.is_calm().await;
    assert_eq!((gateway.epoch(), Gateway::start(&acme).await.epoch()), (epoch, epoch));
    gateway.accepts(&kept).await;
    gateway.refuses(&revoked).await;
    assert_eq!(epochs_begun(&acme).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_database_without_a_witness_is_not_believed() {
    let installation = Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1");
    let mut acme = Acme::found(installation).await;
    let billing = acme.embedded("acme/billing").await;
    let witness = acme.installation.folder.path().join("keys").join("witness-1.json");

    // Where nothing was ever revoked, nothing can have been forgotten.
    acme.stop().await;
    fs::remove_file(&witness).unwrap();
    acme.start().await;
    assert_eq!(epochs_begun(&acme).await, 0);

    let gateway = Gateway::start(&acme).await;
    let (kept, revoked) = (billing.token(&[]).await, billing.token(&[]).await);
    assert_eq!(acme.http().give_up(&billing, &revoked).await.status, 200);
    gateway.refuses(&revoked).await;
    acme.stop().await;
    fs::remove_file(&witness).unwrap();
    acme.start().await;
    gateway.refuses(&kept).await;
    gateway.is_calm().await;
    assert_eq!(epochs_begun(&acme).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_witness_was_kept_of_takes_effect_and_is_not_acknowledged() {
    let acme = Acme::found(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let token = billing.token(&[]).await;

    // A folder stands where the file is to be written: root is refused that as well.
    let obstacle = acme.installation.folder.path().join("keys").join("witness-1.new");
    fs::create_dir(&obstacle).unwrap();
    // Without a date the one that is asked for in the next second would be another.
    let selector = json!({"client": "acme/billing", "before": clock::now_seconds()});
    let refused = acme.http().revoke(&acme.operator, selector.clone()).await.unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body["detail"].as_str().unwrap().contains("took effect"), "{refused:?}");
    gateway.refuses(&token).await;
    let ready = acme.http().readiness().await;
    assert_eq!(ready.status, 503);
    assert!(ready.body["wrong"][0].as_str().unwrap().starts_with("witness: "), "{ready:?}");

    // Asked again it is the same revocation, and acknowledged as soon as it can be.
    fs::remove_dir(&obstacle).unwrap();
    let done = acme.http().revoke(&acme.operator, selector).await.unwrap();
    assert_eq!((done.status, &done.body["seq"]), (200, &json!(1)), "{done:?}");
    assert_eq!(acme.http().readiness().await.status, 200);
}

async fn epochs_begun(acme: &Acme) -> usize {
    let events = acme.operator.json(&["audit", "--action", "epoch.begin"]).await;
    events["items"].as_array().unwrap().len()
}

/// Whether anybody waits for a lock in this database.
async fn waiting(connection: &mut PgConnection) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting: i64 = sqlx::query_scalar(sql).fetch_one(connection).await.unwrap();
    waiting > 0
}

/// The token key that is in this state.
async fn kid(acme: &Acme, alg: &str, state: &str) -> String {
    key(acme, &json!({"alg": alg, "use": "token", "state": state})).await
}

/// The first key that has all these members.
async fn key(acme: &Acme, wanted: &Value) -> String {
    let keys = acme.operator.json(&["keys", "list"]).await;
    let is =
        |key: &&Value| wanted.as_object().unwrap().iter().all(|(name, value)| key[name] == *value);
    let key = keys["items"].as_array().unwrap().iter().find(is).expect("there is one");
    key["kid"].as_str().unwrap().to_owned()
}
