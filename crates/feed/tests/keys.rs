use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::routing::get;
use scrip_feed::{Alarm, Config, Follower, KeySource, KeysAlone, State};
use scrip_token::Typ;
use scrip_verify::Information;
use serde_json::json;

use crate::issuer::{key, sign};
use crate::origin::{Fault, Origin, event};
use crate::{PATIENCE, config, follow, listening, revoked, seq, synced, until, until_alarm};

const KEYS: &str = "/.well-known/scrip-keys";

#[tokio::test]
async fn n95_a_heartbeat_tells_of_new_keys_and_the_old_feed_key_is_out() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    let old = origin.with(|issuer| std::mem::replace(&mut issuer.feed, key()));
    origin.rotate(|issuer| {
        issuer.token = key();
        issuer.keys_naming(&[&issuer.root], &[&old, &issuer.feed], &[&issuer.token])
    });
    // The new feed key signs it: unknown, so the keys are fetched before it is judged.
    origin.revoke(vec![revoked(1)]);
    until(&reader, "the batch of the new key", |view| seq(view) == 1).await;
    let has_newest = |view: &scrip_feed::View| {
        let kid = origin.with(|issuer| issuer.token.kid().to_owned());
        view.issuer().keys().by_kid(&kid).is_some()
    };
    until(&reader, "the new token key", has_newest).await;

    origin.rotate(|issuer| {
        issuer.token = key();
        issuer.keys()
    });
    until(&reader, "the keys without the old one, told by a heartbeat", |view| {
        origin.beat();
        has_newest(view)
    })
    .await;
    let forged = origin.with(|issuer| {
        let batch = issuer.batch(2, issuer.head(), vec![revoked(2)]);
        sign(&old, Typ::DenyBatch, &batch)
    });
    origin.send(&event("batch", &forged));
    until_alarm(&feed, Alarm::Unproven).await;
    assert_eq!(seq(&reader.view()), 1);
}

#[tokio::test]
async fn n95_an_origin_that_keeps_the_old_keys_keeps_no_newer_ones_from_us() {
    let origin = Origin::start().await;
    let relay = origin.relay().await;
    let mut old = String::new();
    origin.rotate(|issuer| {
        old = issuer.keys();
        old.clone()
    });
    relay.fault(KEYS, Fault::Body(old.into()));
    let origins = vec![relay.url().parse().unwrap(), origin.url().parse().unwrap()];
    let (feed, reader) = Follower::start(Config { origins, ..config(&origin) }).await.unwrap();
    synced(&feed).await;
    until(&reader, "the relay's stream", |_| relay.listeners() > 0).await;

    origin.rotate(|issuer| {
        issuer.feed = key();
        issuer.keys()
    });
    relay.revoke(vec![revoked(1)]);
    until(&reader, "the batch of the new key", |view| seq(view) == 1).await;
    assert_eq!(feed.alarms().count(Alarm::Keys), 0, "the same as before is no offence");
}

#[tokio::test]
async fn n95_an_old_pin_walks_to_the_new_root() {
    let origin = Origin::start().await;
    let pin = origin.with(|issuer| issuer.root.kid().to_owned());
    let (second, third) = (key(), key());
    origin.rotate(|issuer| {
        let roots = [&issuer.root, &second];
        issuer.keys_naming(&roots, &[&issuer.feed], &[&issuer.token])
    });
    origin.rotate(|issuer| {
        issuer.root = second;
        issuer.keys_naming(&[&issuer.root, &third], &[&issuer.feed], &[&issuer.token])
    });
    origin.rotate(|issuer| {
        issuer.root = third;
        issuer.keys()
    });
    let pinned = Config { root: Some(pin), ..config(&origin) };
    let (feed, _) = Follower::start(pinned).await.unwrap();
    synced(&feed).await;

    let stranger = Config { root: Some(key().kid().to_owned()), ..config(&origin) };
    let (feed, _) = Follower::start(stranger).await.unwrap();
    until_alarm(&feed, Alarm::Keys).await;
    assert_eq!(feed.state(), State::Init);
}

#[tokio::test]
async fn n99_askers_share_one_fetch() {
    let origin = Origin::start().await;
    let (feed, _) = follow(&origin).await;
    synced(&feed).await;
    let before = origin.asked(KEYS);
    futures_util::future::join_all((0..1_000).map(|_| feed.refetch_keys())).await;
    for _ in 0..100 {
        feed.refetch_keys().await;
    }
    assert_eq!(origin.asked(KEYS), before + 1);
}

#[tokio::test]
async fn n99_n104_a_mirror_that_leads_nowhere_holds_up_no_keys() {
    let origin = Origin::start().await;
    let (mirror, asked) = endless_way(&origin).await;
    let mirrors = vec![mirror.parse().unwrap()];
    let (feed, reader) = Follower::start(Config { mirrors, ..config(&origin) }).await.unwrap();
    synced(&feed).await;
    until(&reader, "an open stream", |_| origin.listeners() > 0).await;
    let refetch = || tokio::time::timeout(PATIENCE / 3, feed.refetch_keys());
    refetch().await.expect("the issuer has answered");
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody needs the mirror");

    // The issuer is away, and comes back while the mirror is still being followed.
    origin.fault(KEYS, Fault::Status(503));
    origin.rotate(|issuer| {
        issuer.token = key();
        issuer.keys()
    });
    until(&reader, "the mirror is asked", |_| {
        origin.beat();
        asked.load(Ordering::Relaxed) > 1
    })
    .await;
    refetch().await.expect("whoever asks is let go on");
    origin.heal();
    let kid = origin.with(|issuer| issuer.token.kid().to_owned());
    until(&reader, "the newest keys", |view| view.issuer().keys().by_kid(&kid).is_some()).await;
}

/// A mirror that claims to be a thousand versions ahead, takes its time to say that it has none of
/// those before, and counts who asks.
async fn endless_way(origin: &Origin) -> (String, Arc<AtomicUsize>) {
    let far = origin.with(|issuer| {
        issuer.version += 1000;
        let payload = issuer.keys_naming(&[&key()], &[&issuer.feed], &[&issuer.token]);
        issuer.version -= 1000;
        let payload = payload.split('.').nth(1).map(scrip_token::compact::from_base64url);
        let payload: serde_json::Value =
            serde_json::from_slice(&payload.flatten().unwrap()).unwrap();
        sign(&key(), Typ::Keys, &payload)
    });
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let newest = move |RawQuery(query): RawQuery| async move {
        count.fetch_add(1, Ordering::Relaxed);
        if query.is_some() {
            tokio::time::sleep(Duration::from_secs(4)).await;
            return Err(StatusCode::NOT_FOUND);
        }
        Ok(far)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route(KEYS, get(newest));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, asked)
}

#[tokio::test]
async fn n100_n104_a_broken_keys_endpoint_takes_no_keys_away() {
    let origin = Origin::start().await;
    let (feed, reader) = listening(&origin).await;
    let kid = origin.with(|issuer| issuer.token.kid().to_owned());
    for fault in [
        Fault::Status(500),
        Fault::Body("<html>".into()),
        Fault::Body("{}".into()),
        Fault::Body("null".into()),
        Fault::Body("".into()),
        Fault::Body(vec![b'x'; 50 << 20].into()),
        Fault::Endless,
        Fault::Redirect("http://169.254.169.254/".to_owned()),
    ] {
        origin.fault(KEYS, fault);
        let asked = origin.asked(KEYS);
        origin.rotate(|issuer| issuer.keys());
        origin.beat();
        until(&reader, "a fetch", |_| {
            origin.beat();
            origin.asked(KEYS) > asked
        })
        .await;
        assert!(reader.view().issuer().keys().by_kid(&kid).is_some());
    }
    until_alarm(&feed, Alarm::Keys).await;
    synced(&feed).await;
}

#[tokio::test]
async fn n104_a_slow_answer_is_given_up() {
    tokio::join!(slow(Fault::Drip), slow(Fault::Hang));
}

async fn slow(fault: Fault) {
    let origin = Origin::start().await;
    origin.fault(KEYS, fault);
    let (feed, reader) = follow(&origin).await;
    until(&reader, "a second attempt", |_| origin.asked(KEYS) >= 2).await;
    origin.heal();
    synced(&feed).await;
}

#[tokio::test]
async fn n100_a_plain_key_set_is_kept_through_anything() {
    let origin = Origin::start().await;
    let good = key();
    let path = "/.well-known/jwks.json";
    let set = |keys: serde_json::Value| Fault::Body(json!({"keys": keys}).to_string().into());
    origin.fault(path, set(json!([good.public(), {"kty": "AKP"}])));
    let source = KeySource {
        issuer: "https://other.example".to_owned(),
        jwks: format!("{}{path}", origin.url()).parse().unwrap(),
        ca: None,
    };
    let (keys, reader) = KeysAlone::start(source).unwrap();
    let has = |view: &scrip_feed::View| view.issuer().keys().by_kid(good.kid()).is_some();
    let view = until(&reader, "the key", has).await;
    assert_eq!((view.information(), view.state()), (Information::Unfollowed, None));

    origin.fault(path, set(json!([])));
    keys.refetch_keys().await;
    assert_eq!(keys.alarms().count(Alarm::Keys), 1);
    assert!(has(&reader.view()));
    let asked = origin.asked(path);
    keys.refetch_keys().await;
    assert_eq!(origin.asked(path), asked, "n99: a cool-down");
}
