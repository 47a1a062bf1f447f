use crate::harness::acme::Acme;
use crate::harness::hook::{Hook, Mood, SECRET, Told};
use crate::harness::service::Installation;
use crate::harness::until::until;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::CertifiedKey;
use ring::hmac;
use scrip::audit::Event;
use scrip::clock;
use scrip::store::{Lock, Store, audit};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;
use uuid::Uuid;

/// Longer than a claim of one that died, and than an attempt that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_tell_the_webhook_of_each_alert_once_and_signed() {
    let hook = Hook::start(Mood::Takes).await;
    let acme = Acme::found(told_of_by(Installation::on_postgres().await, &hook.url)).await;
    let other = acme.installation.replica();
    let service = other.serve().await;
    let alerts = raise(&acme.installation, 60, 0).await;
    let raised: BTreeSet<String> = alerts.iter().map(Uuid::to_string).collect();
    until("all alerts are told", PATIENCE, async || {
        (hook.taken().iter().cloned().collect::<BTreeSet<_>>() == raised).then_some(())
    })
    .await;
    until("the outbox is empty", PATIENCE, async || waiting(&acme).await.is_empty().then_some(()))
        .await;
    assert_eq!(hook.taken().len(), alerts.len(), "each of them once");
    for told in hook.told() {
        is_signed(&told);
    }
    let first = &hook.told()[0].json();
    assert_eq!(first["type"], "test.raised");
    assert_eq!(first["data"]["outcome"], "alert");
    assert_eq!(first["data"]["detail"], json!({"percent": 80}));
    assert_eq!(first["timestamp"], first["data"]["at"]);
    // What is no alert is nobody's business.
    assert!(hook.told().iter().all(|told| told.json()["data"]["action"] == "test.raised"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_survives_kill_9_in_the_middle_of_being_told() {
    let hook = Hook::start(Mood::Hangs).await;
    let mut acme = Acme::found(told_of_by(Installation::on_postgres().await, &hook.url)).await;
    let alerts = raise(&acme.installation, 1, 0).await;
    until("it is being told", PATIENCE, async || (!hook.told().is_empty()).then_some(())).await;
    acme.kill().await;
    hook.turn(Mood::Takes);
    acme.start().await;
    until("it is told again", PATIENCE, async || (!hook.taken().is_empty()).then_some(())).await;
    assert_eq!(hook.taken(), [alerts[0].to_string()]);
    let [hung, taken] = hook.told().try_into().unwrap();
    is_signed(&taken);
    // The same message under the same id, so that whoever had it already knows it.
    assert_eq!((hung.id(), &hung.body), (taken.id(), &taken.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_misbehaves_hurts_nobody() {
    let hook = Hook::start(Mood::Fails).await;
    let acme = Acme::found(told_of_by(Installation::on_postgres().await, &hook.url)).await;
    let (http, billing) = (acme.http(), acme.embedded("acme/billing").await);
    for mood in [Mood::Fails, Mood::Redirects, Mood::Babbles, Mood::Hangs] {
        hook.turn(mood);
        let before = hook.told().len();
        let alert = raise(&acme.installation, 1, 0).await[0].to_string();
        until(format!("it {mood:?}"), PATIENCE, async || {
            (hook.told().len() > before).then_some(())
        })
        .await;
        let minted = http.mint(&billing, &[], None).await.unwrap();
        assert_eq!(minted.status, 200, "{mood:?}: {minted:?}");
        let revoked = http.revoke(&acme.operator, json!({"jti": minted.body["jti"]})).await;
        assert_eq!(revoked.unwrap().status, 201, "{mood:?}");
        hook.turn(Mood::Takes);
        until(format!("it takes what it {mood:?} before"), PATIENCE, async || {
            hook.taken().contains(&alert).then_some(())
        })
        .await;
    }
    assert!(hook.told().iter().all(|told| told.path == "/alerts?key=hidden"), "no redirect");
    let mut acme = acme;
    acme.stop().await;
    // The address may hold a secret, as many do.
    let log = acme.service.process.stderr();
    assert!(log.contains("it answered 307"), "{log}");
    for secret in ["hidden", SECRET, "alerts?"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_to_whom_no_authority_vouches_for() {
    let installation = Installation::on_postgres().await;
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let path = |name: &str| installation.folder.path().join(name).display().to_string();
    fs::write(path("cert.pem"), cert.pem()).unwrap();
    fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
    // Another service stands in for a receiver with TLS; it logs what reaches it.
    let receiver = Installation::on_sqlite()
        .set("SCRIP_TLS_CERT", &path("cert.pem"))
        .set("SCRIP_TLS_KEY", &path("key.pem"))
        .set("SCRIP_LOG", "debug");
    receiver.bootstrap().await;
    let receiving = receiver.serve().await;
    let url = receiver.url().replace("http://", "https://") + "/alerts";
    let mut acme = Acme::found(told_of_by(installation, &url)).await;

    // A day old: given up as soon as it fails once more.
    let alert = raise(&acme.installation, 1, 25 * 3600).await[0].to_string();
    let given_up = until("it is given up", PATIENCE, async || {
        let log = ["audit", "--action", "webhook", "--limit", "10"];
        let events = acme.operator.json(&log).await["items"].clone();
        events.as_array()?.first().cloned()
    })
    .await;
    assert_eq!((&given_up["outcome"], &given_up["target"]), (&json!("given_up"), &json!(alert)));
    assert_eq!(given_up["detail"]["action"], "test.raised");
    assert_eq!(given_up["tenant"], "acme");
    assert!(waiting(&acme).await.is_empty());
    assert!(!given_up.to_string().contains("/alerts"), "{given_up}");
    acme.stop().await;
    let seen = receiving.stop().await.stderr();
    assert!(!seen.contains("POST"), "{seen}");
}

fn told_of_by(installation: Installation, url: &str) -> Installation {
    installation.set("SCRIP_WEBHOOK_URL", url).set("SCRIP_WEBHOOK_SECRET", SECRET)
}

/// Writes alerts into the audit log, as another replica would, dated `age` seconds ago.
async fn raise(installation: &Installation, alerts: usize, age: i64) -> Vec<Uuid> {
    let store = store(installation).await;
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let now_ms = tx.now_ms(clock::now_ms()).await.unwrap() - age * 1000;
    let event = || {
        let event = Event::new("test.raised", "alert").tenant("acme").target("acme/billing");
        event.detail(&json!({"percent": 80})).at(now_ms)
    };
    let mut events: Vec<_> = (0..alerts).map(|_| event()).collect();
    let raised = events.iter().map(|event| event.id).collect();
    events.push(Event::new("test.done", "done").at(now_ms));
    audit::insert_many(&mut tx, &events).await.unwrap();
    tx.commit().await.unwrap();
    raised
}

/// What nobody has taken yet.
async fn waiting(acme: &Acme) -> Vec<Uuid> {
    let store = store(&acme.installation).await;
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    // Of all times; and given back at once, since this is rolled back.
    let claimed = scrip::store::outbox::claim(&mut tx, i64::MAX, 0, 1000).await.unwrap();
    claimed.iter().map(|message| message.event.id).collect()
}

async fn store(installation: &Installation) -> Store {
    Store::connect(&installation.setting("SCRIP_DATABASE_URL").as_str().into()).await.unwrap()
}

fn is_signed(told: &Told) {
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut signed = format!("{}.{}.", told.id(), told.header("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(&told.body);
    let signature = told.header("webhook-signature").strip_prefix("v1,").unwrap();
    hmac::verify(&key, &signed, &STANDARD.decode(signature).unwrap()).unwrap();
    let sent: i64 = told.header("webhook-timestamp").parse().unwrap();
    assert!((sent - clock::now_ms() / 1000).abs() < 300, "{told:?}");
    assert_eq!(told.header("content-type"), "application/json");
}
