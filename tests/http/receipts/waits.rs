//! What the answer to a revocation waits for.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use scrip::clock;
use serde_json::json;

use super::{PATIENCE, acknowledge, body_of, place, silence};
use crate::harness::process::Signal;
use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::http::api::{Api, Reply};

#[tokio::test]
async fn an_answer_waits_for_all_who_are_connected() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "60")).await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let at = place(&api, &gateway).await;
    acknowledge(&api, &gateway, "gone", &at).await;
    silence(&api).await;
    acknowledge(&api, &gateway, "gw-1", &at).await;
    acknowledge(&api, &gateway, "gw-2", &at).await;
    let waiting = |wait: u64, jti: String| {
        let begun = clock::monotonic();
        let body = json!({"selector": {"jti": jti}, "wait": wait});
        let request = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
        let request = request.timeout(Duration::from_secs(40)).json(&body);
        async move { (Reply::to(request).await, begun.elapsed()) }
    };
    let enforce = async || {
        let at = until("the revocation is committed", PATIENCE, async || {
            let at = place(&api, &gateway).await;
            (at["seq"] == 1).then_some(at)
        });
        let at = at.await;
        acknowledge(&api, &gateway, "gw-1", &at).await;
        acknowledge(&api, &gateway, "gw-2", &at).await;
    };
    let jti = api.token(&client).await.jti;
    let ((released, took), ()) = tokio::join!(waiting(30, jti.clone()), enforce());
    assert_eq!(released.status, StatusCode::CREATED, "{released:?}");
    assert!(took < PATIENCE, "{took:?}");
    let since = |reply: &Reply| {
        let verifiers = reply.json()["enforced"]["verifiers"].clone();
        let verifiers = verifiers.as_array().unwrap().iter();
        verifiers.map(|one| (one["verifier"].clone(), one["since"].is_string())).collect::<Vec<_>>()
    };
    let (gone, one, two) = (json!("gone"), json!("gw-1"), json!("gw-2"));
    assert_eq!(since(&released), [(gone.clone(), false), (one.clone(), true), (two.clone(), true)]);
    assert_eq!(released.json()["enforced"]["all"], false, "one that is not connected lacks it");

    // Revoked already, and enforced by all who are connected: nothing to wait for.
    let (again, took) = waiting(30, jti).await;
    assert_eq!(again.status, StatusCode::OK);
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(since(&again), since(&released));

    // Nobody acknowledges: the end of the wait is an answer too.
    let (over, took) = waiting(1, api.token(&client).await.jti).await;
    assert_eq!(over.status, StatusCode::CREATED);
    assert!(took >= Duration::from_secs(1) && took < PATIENCE, "{took:?}");
    assert_eq!(since(&over), [(gone, false), (one, false), (two, false)]);

    // The service ends: so does the wait.
    let jti = api.token(&client).await.jti;
    let stop = async {
        until("it is committed", PATIENCE, async || {
            let revoked = api.number("SELECT count(*) FROM revocations").await;
            (revoked == 3).then_some(())
        })
        .await;
        api.service.process.signal(Signal::Terminate);
    };
    let ((ended, took), ()) = tokio::join!(waiting(30, jti), stop);
    assert_eq!(ended.status, StatusCode::CREATED, "{ended:?}");
    assert!(took < PATIENCE, "{took:?}");
}

#[tokio::test]
async fn many_who_wait_hold_no_connection_and_are_released_together() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let mut jtis = Vec::new();
    for _ in 0..12 {
        jtis.push(api.token(&client).await.jti);
    }
    let begun = clock::monotonic();
    let waiting = jtis.iter().map(|jti| {
        let body = json!({"selector": {"jti": jti}, "wait": 30});
        let request = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
        Reply::to(request.timeout(Duration::from_secs(40)).json(&body))
    });
    let release = async {
        until("all are committed", PATIENCE, async || {
            let revoked = api.number("SELECT count(*) FROM revocations").await;
            (revoked == 12).then_some(())
        })
        .await;
        acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    };
    let (replies, ()) = tokio::join!(join_all(waiting), release);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    for reply in replies {
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        assert_eq!(reply.json()["enforced"]["all"], true, "{reply:?}");
    }
}

#[tokio::test]
async fn what_another_replica_was_told_ends_a_wait_too() {
    let api = Api::on(Installation::on_postgres().await).await;
    let other = api.installation.replica();
    let _service = other.serve().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let at = place(&api, &gateway).await;
    acknowledge(&api, &gateway, "gw-1", &at).await;
    let body = json!({"selector": {"jti": api.token(&client).await.jti}, "wait": 30});
    let request = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
    let begun = clock::monotonic();
    let waiting = Reply::to(request.timeout(Duration::from_secs(40)).json(&body));
    let elsewhere = async {
        let at = until("the revocation is committed", PATIENCE, async || {
            let at = place(&api, &gateway).await;
            (at["seq"] == 1).then_some(at)
        });
        let at = at.await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(format!("{}/v1/deny/acks", other.url()));
        let request = request.basic_auth(&gateway.id, Some(&gateway.secret));
        let reply = Reply::to(request.json(&body_of("gw-1", &at, &json!({})))).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    };
    let (reply, ()) = tokio::join!(waiting, elsewhere);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(reply.status, StatusCode::CREATED);
    let enforced = &reply.json()["enforced"];
    assert_eq!(enforced["all"], true, "{enforced}");
    assert_eq!(enforced["by"], enforced["verifiers"][0]["since"]);
}
