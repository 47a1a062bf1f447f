//! What is acknowledged, by whom, and what of that is refused.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use scrip::clock;
use serde_json::{Value, json};

use super::{ack, acknowledge, enforced, place, silence, verifiers};
use crate::http::api::{Api, Reply};

#[tokio::test]
async fn a_verifier_is_listed_with_how_far_it_has_got() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    assert_eq!(verifiers(&api).await["items"], json!([]));
    let at = place(&api, &gateway).await;
    acknowledge(&api, &gateway, "gw-1", &at).await;
    api.revoke(json!({"jti": api.token(&client).await.jti})).await;
    api.revoke(json!({"jti": api.token(&client).await.jti})).await;

    let listed = verifiers(&api).await;
    let one = &listed["items"][0];
    let (acked, as_of) = (&one["acked_at"], scrip::admin::rfc3339(at["iat"].as_i64().unwrap()));
    let refuses = scrip::admin::rfc3339(at["iat"].as_i64().unwrap() + 60 + 6);
    let whole = json!({"epoch": at["epoch"], "seq": 2, "next": null, "items": [{
        "client": "acme/gateway", "verifier": "gw-1", "connected": true, "seq": 0, "behind": 2,
        "acked_at": acked, "as_of": as_of, "max_staleness": 60, "policy": "deny",
        "refuses_by": refuses,
    }]});
    assert_eq!(listed, whole);

    let at = place(&api, &gateway).await;
    let terms = json!({"policy": "allow-for", "allow_for": 30, "max_offline": 1000});
    let allowing = Reply::to(ack(&api, &gateway, "gw-1", &at, &terms)).await;
    assert_eq!((allowing.status, allowing.body.as_str()), (StatusCode::NO_CONTENT, ""));
    let one = &verifiers(&api).await["items"][0];
    let refuses = scrip::admin::rfc3339(at["iat"].as_i64().unwrap() + 60 + 30 + 6);
    assert_eq!(
        (&one["seq"], &one["behind"], &one["policy"], &one["refuses_by"]),
        (&json!(2), &json!(0), &json!("allow-for"), &json!(refuses))
    );

    silence(&api).await;
    assert_eq!(
        verifiers(&api).await["items"][0]["connected"],
        false,
        "silent for three heartbeats"
    );
    let api = api.crash().await;
    assert_eq!(verifiers(&api).await["items"][0]["seq"], 2, "what was acknowledged is durable");
}

#[tokio::test]
async fn verifiers_are_paged_in_order_of_their_names() {
    let api = Api::start().await;
    let gateway = api.verifier().await;
    let at = place(&api, &gateway).await;
    for name in ["b", "a.1", "c-2"] {
        acknowledge(&api, &gateway, name, &at).await;
    }
    let page = async |query: &str| {
        let page = api.read(&format!("/v1/deny/verifiers?{query}")).await.json();
        let names = page["items"].as_array().unwrap().iter();
        (names.map(|one| one["verifier"].clone()).collect::<Vec<_>>(), page["next"].clone())
    };
    let next = json!("acme/gateway/b");
    assert_eq!(page("limit=2").await, (vec![json!("a.1"), json!("b")], next));
    assert_eq!(page("limit=2&after=acme/gateway/b").await, (vec![json!("c-2")], Value::Null));
    for odd in ["after=acme", "after=acme/gateway", "after=", "limit=0", "page=2"] {
        api.read(&format!("/v1/deny/verifiers?{odd}")).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn an_acknowledgement_that_cannot_be_is_refused() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let first = place(&api, &gateway).await;
    api.revoke(json!({"jti": api.token(&client).await.jti})).await;
    api.revoke(json!({"jti": api.token(&client).await.jti})).await;
    let at = place(&api, &gateway).await;

    for (change, pointer) in [
        (json!({"seq": 3}), "/seq"),
        (json!({"seq": 1}), "/head"),
        (json!({"seq": 0}), "/head"),
        (json!({"head": first["head"]}), "/head"),
        (json!({"verifier": ""}), "/verifier"),
        (json!({"verifier": "a".repeat(65)}), "/verifier"),
        (json!({"verifier": "gw_1"}), "/verifier"),
        (json!({"verifier": "GW"}), "/verifier"),
        (json!({"verifier": "a/b"}), "/verifier"),
        (json!({"allow_for": 1}), "/allow_for"),
        (json!({"as_of": 1_u64 << 53}), "/as_of"),
        (json!({"max_staleness": 1_u64 << 53}), "/max_staleness"),
        (json!({"max_offline": null}), ""),
        (json!({"max_staleness": -1}), ""),
        (json!({"max_staleness": 1.5}), ""),
        (json!({"policy": "allow"}), ""),
        (json!({"policy": null}), ""),
        (json!({"head": "x"}), ""),
        (json!({"epoch": "x"}), ""),
        (json!({"evidence": 7}), ""),
        (json!({"state": "synced"}), ""),
    ] {
        let refused = Reply::to(ack(&api, &gateway, "gw-1", &at, &change)).await;
        let detail = refused.problem(400, "invalid-request");
        assert_eq!(refused.text("pointer"), pointer, "{change}");
        if change.get("state").is_some() {
            assert!(detail.contains("`state`"), "{detail}");
        }
    }
    let post = async |body: &str| {
        let request = api.request(Method::POST, "/v1/deny/acks");
        let request = request.basic_auth(&gateway.id, Some(&gateway.secret));
        Reply::to(request.header("content-type", "application/json").body(body.to_owned())).await
    };
    for body in ["", "null", "[]", "{}", r#"{"seq":1,"seq":1}"#] {
        post(body).await.problem(400, "invalid-request");
    }
    let epoch = json!({"epoch": "01a1e000-0000-7abc-9def-0123456789ab"});
    let other = Reply::to(ack(&api, &gateway, "gw-1", &at, &epoch)).await;
    other.problem(409, "conflict");
    // Looked at first, and it does not make a false claim true.
    let evidence = json!({"evidence": "e30.e30.e30", "seq": 3});
    Reply::to(ack(&api, &gateway, "gw-1", &at, &evidence)).await.problem(400, "invalid-request");
    let evidence = json!({"evidence": "e".repeat(1_400_000)});
    let large = Reply::to(ack(&api, &gateway, "large", &at, &evidence)).await;
    assert_eq!(large.status, StatusCode::NO_CONTENT, "{large:?}");
    api.sql("DELETE FROM verifiers").await;
    api.sql("DELETE FROM deny_batches WHERE seq = 1").await;
    let forgotten = Reply::to(ack(&api, &gateway, "gw-1", &at, &json!({"seq": 1}))).await;
    forgotten.problem(400, "invalid-request");
    assert_eq!(forgotten.text("pointer"), "/seq");

    let nobody = api.request(Method::POST, "/v1/deny/acks").json(&json!({}));
    Reply::to(nobody).await.problem(401, "invalid-token");
    let stranger = Reply::to(ack(&api, &client, "gw-1", &at, &json!({}))).await;
    stranger.problem(403, "insufficient-scope");
    assert_eq!(verifiers(&api).await["items"], json!([]), "nothing of all that counted");
}

#[tokio::test]
async fn nobody_acknowledges_for_another_client() {
    let api = Api::start().await;
    let (client, gateway, other) =
        (api.billing().await, api.verifier().await, api.follower("acme/other").await);
    let at = place(&api, &gateway).await;
    acknowledge(&api, &gateway, "gw-1", &at).await;
    let revoked = api.revoke(json!({"jti": api.token(&client).await.jti})).await.json();
    // The same name, by another client: another verifier.
    acknowledge(&api, &other, "gw-1", &place(&api, &other).await).await;
    let id = revoked["id"].as_str().unwrap();
    let enforced = enforced(&api, id).await;
    let who = |at: usize| {
        let one = &enforced["verifiers"][at];
        (one["client"].clone(), one["since"].is_null(), one["behind"].clone())
    };
    assert_eq!(who(0), (json!("acme/gateway"), true, json!(1)));
    assert_eq!(who(1), (json!("acme/other"), false, json!(0)));
    assert_eq!(enforced["all"], false);
}

#[tokio::test]
async fn a_verifier_never_moves_back() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let before = place(&api, &gateway).await;
    api.revoke(json!({"jti": api.token(&client).await.jti})).await;
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let listed = verifiers(&api).await;
    acknowledge(&api, &gateway, "gw-1", &before).await;
    assert_eq!(verifiers(&api).await, listed, "what comes late is no sign of life either");
}

#[tokio::test]
async fn of_one_verifiers_acknowledgements_the_newest_counts_every_250_ms() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let mut places = vec![place(&api, &gateway).await];
    let begun = clock::monotonic();
    acknowledge(&api, &gateway, "gw-1", &places[0]).await;
    for _ in 0..3 {
        api.revoke(json!({"jti": api.token(&client).await.jti})).await;
        places.push(place(&api, &gateway).await);
    }
    let many = places.iter().cycle().take(20);
    join_all(many.map(|at| acknowledge(&api, &gateway, "gw-1", at))).await;
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    assert_eq!(verifiers(&api).await["items"][0]["seq"], 3);
    acknowledge(&api, &gateway, "gw-1", &places[3]).await;
    assert_eq!(api.number("SELECT count(*) FROM acks WHERE seq = 3").await, 1, "it moved once");
}

#[tokio::test]
async fn a_client_has_a_bounded_number_of_verifiers() {
    let api = Api::start().await;
    let (gateway, other) = (api.verifier().await, api.follower("acme/other").await);
    let at = place(&api, &gateway).await;
    acknowledge(&api, &gateway, "gw-1", &at).await;
    api.sql(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999) \
         INSERT INTO verifiers SELECT client, 'n' || n, epoch, seq, moved_ms, acked_ms, as_of, \
         max_staleness, max_offline, policy, allow_for FROM verifiers, numbers",
    )
    .await;
    let full = Reply::to(ack(&api, &gateway, "gw-2", &at, &json!({}))).await;
    assert!(full.problem(409, "too-many-verifiers").contains("1000"), "{full:?}");
    acknowledge(&api, &gateway, "n7", &at).await;
    acknowledge(&api, &other, "gw-2", &at).await;
    assert_eq!(api.number("SELECT count(*) FROM verifiers").await, 1001);

    // It verifies all the same, and nobody knows how far it has got.
    let revoked = api.revoke(json!({"all": true})).await.json();
    assert_eq!(revoked["enforced"]["by"], revoked["until"], "{revoked}");
}
