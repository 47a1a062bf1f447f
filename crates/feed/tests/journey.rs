use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use scrip_feed::{Alarm, Config, Credential, Follower, StartError, State, TokenSource};
use scrip_token::deny::Entry;
use scrip_token::{Jti, SigningKey, Typ};
use scrip_verify::{Rejection, Verifier};
use serde_json::json;

use crate::origin::{Fault, Origin, now};
use crate::{SECRET, config, follow, revoked, seq, synced, until};

/// A token as the service mints it, and its id.
fn token(iss: &str, key: &SigningKey) -> (String, Jti) {
    let now = now();
    let jti = Jti::new(now * 1000, [7; 10]);
    let claims = json!({"iss": iss, "sub": "client:acme/billing", "aud": "llm-gateway",
        "client_id": "acme/billing", "iat": now, "nbf": now, "exp": now + 300, "jti": jti, "ver": 1,
        "scope": "llm:chat", "tenant": "acme", "env": "prod"});
    (key.sign(Typ::AccessToken, claims.to_string().as_bytes()).unwrap(), jti)
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_another_is_not() {
    let origin = Origin::start().await;
    let (feed, reader) = follow(&origin).await;
    assert_eq!(feed.state(), State::Init);
    let (jws, jti) = origin.with(|issuer| token(&issuer.iss, &issuer.token));
    let verifier = Verifier::new("llm-gateway", "prod");
    let verdict = || {
        let view = reader.view();
        verifier.authenticate(jws.as_bytes(), view.now(), &view.trust()).map(|_| ())
    };
    assert!(verdict().is_err(), "before the first snapshot everything is denied");

    synced(&feed).await;
    verdict().unwrap();
    origin.revoke(vec![Entry::Jti { jti: Jti::new(now() * 1000, [8; 10]), until: now() + 905 }]);
    until(&reader, "the first revocation", |view| seq(view) == 1).await;
    verdict().unwrap();
    origin.revoke(vec![Entry::Jti { jti, until: now() + 905 }]);
    until(&reader, "the second revocation", |view| seq(view) == 2).await;
    assert!(matches!(verdict(), Err(Rejection::Revoked { .. })));
    for alarm in Alarm::ALL {
        assert_eq!(feed.alarms().count(alarm), 0, "{alarm:?}");
    }
    feed.shutdown().await;
    assert!(matches!(verdict(), Err(Rejection::Revoked { .. })), "the last view stays");
}

#[tokio::test]
async fn n85_n86_a_silent_stream_is_left_and_the_feed_polled() {
    let origin = Origin::start().await;
    let (feed, reader) = follow(&origin).await;
    synced(&feed).await;
    // Nothing more comes down the stream, as with a peer that is gone without a word.
    let batch = origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    assert!(!batch.is_empty());
    until(&reader, "lagging", |view| view.state() == Some(State::Lagging)).await;
    until(&reader, "the polled revocation", |view| seq(view) == 1).await;
    synced(&feed).await;
}

#[tokio::test]
async fn another_origin_takes_over_and_is_no_first_contact() {
    let origin = Origin::start().await;
    let relay = origin.relay().await;
    origin.fault("/", Fault::Status(503));
    let root = origin.with(|issuer| issuer.root.kid().to_owned());
    let origins = vec![origin.url().parse().unwrap(), relay.url().parse().unwrap()];
    let pinned = Config { origins: origins.clone(), root: Some(root), ..config(&origin) };
    let (feed, reader) = Follower::start(pinned).await.unwrap();
    synced(&feed).await;
    relay.revoke(vec![revoked(1)]);
    until(&reader, "the revocation", |view| seq(view) == 1).await;

    let keys_of_relay = relay.asked("/.well-known");
    let before = origin.asked("/.well-known");
    let unpinned = Config { origins, ..config(&origin) };
    let (feed, reader) = Follower::start(unpinned).await.unwrap();
    until(&reader, "three attempts", |_| origin.asked("/.well-known") >= before + 3).await;
    assert_eq!((feed.state(), relay.asked("/.well-known")), (State::Init, keys_of_relay));
    origin.heal();
    synced(&feed).await;
}

#[tokio::test]
async fn what_cannot_work_does_not_start() {
    let start = async |config: Config| Follower::start(config).await.map(|_| ()).unwrap_err();
    for url in ["http://sts.example", "ftp://127.0.0.1", "http://127.0.0.1.sts.example", "sts", ""]
    {
        assert!(matches!(start(Config::new(url)).await, StartError::Url(_)), "{url}");
    }
    let origins = vec!["http://10.0.0.1".parse().unwrap()];
    let config = Config { origins, ..Config::new("https://sts.example") };
    assert!(matches!(start(config).await, StartError::Url(_)));
    let root = Some("short".to_owned());
    let config = Config { root, ..Config::new("https://sts.example") };
    assert!(matches!(start(config).await, StartError::Root));
    let ca = Some(b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n".to_vec());
    let config = Config { ca, ..Config::new("https://sts.example") };
    assert!(matches!(start(config).await, StartError::Http(_)));
}

#[tokio::test]
async fn a_credential_opens_the_feed_and_goes_nowhere_else() {
    let origin = Origin::start().await;
    let (feed, _) = follow(&origin).await;
    synced(&feed).await;
    feed.shutdown().await;
    for (path, authorization) in origin.requests() {
        let expected = path
            .starts_with("/v1/deny/")
            .then_some("Basic YWNtZSUyRmdhdGV3YXk6Y2FuYXJ5K29mK3RoZSUyRmZlZWQ=");
        assert_eq!(authorization.as_deref(), expected, "{path}");
    }

    let origin = Origin::start().await;
    let count = Arc::new(AtomicU32::new(0));
    let source: TokenSource = Arc::new(move || {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { (nth > 0).then(|| format!("token-{nth}").into()) })
    });
    let credential = Some(Credential::Token(source));
    let (feed, _) = Follower::start(Config { credential, ..config(&origin) }).await.unwrap();
    synced(&feed).await;
    let used: Vec<_> = origin.requests().into_iter().filter_map(|(_, used)| used).collect();
    assert_eq!(used[0], "Bearer token-1");
    assert_eq!(used[1], "Bearer token-2", "asked for before each request");
}

#[tokio::test]
async fn n134_no_debug_output_shows_the_credential() {
    let origin = Origin::start().await;
    let config = config(&origin);
    let shown = format!("{config:?}");
    let (feed, reader) = Follower::start(config).await.unwrap();
    synced(&feed).await;
    for text in [shown, format!("{feed:?}"), format!("{reader:?} {:?}", reader.view())] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn n82_a_frozen_origin_is_left_for_another() {
    let origin = Origin::start().await;
    let live = origin.relay().await;
    let origins = vec![origin.url().parse().unwrap(), live.url().parse().unwrap()];
    let (feed, reader) = Follower::start(Config { origins, ..config(&origin) }).await.unwrap();
    synced(&feed).await;
    until(&reader, "the first origin's stream", |_| origin.listeners() > 0).await;

    // The origin goes on giving the same answer: genuine, and older and older.
    let frozen = origin.with(|issuer| {
        json!({"epoch": issuer.epoch, "batches": [], "heartbeat": issuer.heartbeat(), "more": false})
    });
    origin.fault("/v1/deny/batches", Fault::Body(frozen.to_string().into()));
    origin.fault("/v1/deny/stream", Fault::Hang);
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    until(&reader, "the other origin's batch", |view| seq(view) == 1).await;
    assert!(live.asked("/v1/deny/stream") + live.asked("/v1/deny/batches") > 0);
}
