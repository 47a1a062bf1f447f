//! Who acknowledges what, what the answer to a revocation says of it, and what it waits for. A verifier
//! is anybody here who posts acknowledgements; the real follower's are scrip-feed's to test.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder, StatusCode};
use scrip::admin::Moment;
use scrip::clock;
use scrip_token::compact::from_base64url;
use serde_json::{Value, json};

use super::api::{Api, Client, Reply, run};
use crate::harness::cli::Cli;
use crate::harness::process::Signal;
use crate::harness::service::Installation;
use crate::harness::until::until;

const PATIENCE: Duration = Duration::from_secs(20);

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
}

#[tokio::test]
async fn an_answer_says_who_enforces_since_when_and_by_when_the_others_refuse() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let revoke = async || {
        let body = json!({"selector": {"jti": api.token(&client).await.jti}});
        let reply = api.write(Method::POST, "/v1/revocations", &body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        reply.json()
    };

    let unseen = revoke().await;
    let nobody = json!({"all": false, "by": unseen["until"], "verifiers": []});
    assert_eq!(unseen["enforced"], nobody, "whoever verifies has never said so");
    let id = unseen["id"].as_str().unwrap();
    assert_eq!(enforced(&api, id).await, nobody);

    // Both have the first; one gets the second, the other falls silent.
    let at = place(&api, &gateway).await;
    acknowledge(&api, &gateway, "gw-1", &at).await;
    acknowledge(&api, &gateway, "gw-2", &at).await;
    let since = verifiers(&api).await["items"][0]["acked_at"].clone();
    let second = revoke().await;
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    silence(&api).await;
    let third = revoke().await;

    let first = enforced(&api, id).await;
    assert_eq!((&first["all"], first["verifiers"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(first["verifiers"][0]["since"], since, "not since it went further");
    let latest = first["verifiers"].as_array().unwrap().iter().map(|one| one["since"].as_str());
    assert_eq!(first["by"].as_str(), latest.max().unwrap());
    assert_eq!(first["verifiers"][0]["refuses_by"], since);

    let bound = at_ms(&second["at"]) + 66_000;
    let second = enforced(&api, second["id"].as_str().unwrap()).await;
    let (here, gone) = (&second["verifiers"][0], &second["verifiers"][1]);
    assert_eq!(
        (&second["all"], &here["behind"], &gone["behind"]),
        (&json!(false), &json!(0), &json!(1))
    );
    assert!(here["since"].is_string() && gone["since"].is_null(), "{second}");
    assert_eq!(second["by"], gone["refuses_by"]);
    let by = at_ms(&second["by"]);
    assert!((bound..bound + 1000).contains(&by), "{by} is not just after {bound}");

    assert_eq!(third["enforced"]["verifiers"][0]["behind"], 1);
    assert_eq!(third["enforced"]["verifiers"][1]["behind"], 2);
    let by = at_ms(&third["enforced"]["by"]);
    assert!(by >= at_ms(&third["at"]) + 66_000 && by < at_ms(&third["until"]), "{third}");

    // What was too old for an entry was over before it was revoked.
    let old = scrip_token::Jti::new(clock::now_ms().unsigned_abs() - 906_000, [7; 10]);
    let old = api.revoke(json!({"jti": old.to_string()})).await.json();
    assert_eq!(old["enforced"], json!({"all": true, "by": old["at"], "verifiers": []}));
}

#[tokio::test]
async fn terms_decide_by_when_a_silent_verifier_refuses() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let at = place(&api, &gateway).await;
    for (name, terms) in [
        ("alerting", json!({"policy": "deny-and-alert", "max_staleness": 10})),
        ("allowing", json!({"policy": "allow-for", "allow_for": 20, "max_offline": 60})),
        ("usual", json!({})),
    ] {
        let reply = Reply::to(ack(&api, &gateway, name, &at, &terms)).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    }
    let keys = api.read("/v1/keys").await.json();
    let keys = keys["items"].as_array().unwrap().iter();
    let kid = keys.clone().find(|key| key["state"] == "next").unwrap()["kid"].clone();
    let token = api.revoke(json!({"jti": api.token(&client).await.jti})).await.json();
    let key = api.revoke(json!({"kid": kid})).await.json();
    assert_eq!(key["until"], Value::Null);
    // In seconds after the revocation, rounded up.
    let after = |revoked: &Value, at: usize| {
        let by = at_ms(&revoked["enforced"]["verifiers"][at]["refuses_by"]);
        (by - at_ms(&revoked["at"]) + 999).div_euclid(1000)
    };
    let close = |seconds: i64, to: i64| (to..=to + 2).contains(&seconds);
    assert!(close(after(&token, 0), 16), "{token}");
    assert_eq!(token["enforced"]["verifiers"][1]["refuses_by"], token["until"]);
    assert!(close(after(&token, 2), 66), "{token}");
    assert_eq!(token["enforced"]["by"], token["until"], "AllowFor decides");
    assert!(close(after(&key, 0), 906), "{key}");
    assert!(close(after(&key, 1), 86), "{key}");
    assert!(close(after(&key, 2), 906), "{key}");
    assert_eq!(key["enforced"]["verifiers"][0]["behind"], 2);
}

#[tokio::test]
async fn whoever_verifies_in_silence_is_reckoned_with() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let at = place(&api, &gateway).await;
    acknowledge(&api, &gateway, "gw-1", &at).await;
    let revoked = api.revoke(json!({"jti": api.token(&client).await.jti})).await.json();
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let id = revoked["id"].as_str().unwrap().to_owned();
    let (until_ms, id) = (revoked["until"].clone(), id.as_str());
    let known = enforced(&api, id).await;
    assert_eq!((&known["all"], &known["by"]), (&json!(true), &known["verifiers"][0]["since"]));

    // A mirror reads the feed for others, and acknowledges nothing.
    let mirror = api.follower("acme/mirror").await;
    place(&api, &mirror).await;
    let by_until = async || {
        let by_until = async || (enforced(&api, id).await["by"] == until_ms).then_some(());
        until("the sighting is on record", PATIENCE, by_until).await;
    };
    by_until().await;
    assert_eq!(enforced(&api, id).await["all"], true, "all who are known");
    acknowledge(&api, &mirror, "mirror", &place(&api, &mirror).await).await;
    assert_ne!(enforced(&api, id).await["by"], until_ms, "it acknowledges now");

    api.get("/.well-known/jwks.json").await;
    by_until().await;
    let keys = api.read("/v1/keys").await.json();
    let keys = keys["items"].as_array().unwrap().iter();
    let kid = keys.clone().find(|key| key["state"] == "next").unwrap()["kid"].clone();
    let key = api.revoke(json!({"kid": kid})).await.json();
    assert_eq!(key["enforced"]["by"], Value::Null, "nothing that is known stops it");
}

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

#[tokio::test]
async fn commands_show_verifiers_and_receipts() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let operator = Cli::new(&api.installation, &api.operator.id, &api.operator.secret);
    let table = operator.run(&["verifiers"]).await;
    assert!(table.contains("gw-1") && table.contains("CONNECTED"), "{table}");
    assert_eq!(operator.json(&["verifiers"]).await, verifiers(&api).await);

    let jti = api.token(&client).await.jti;
    let said = operator.run(&["revoke", "--jti", &jti, "--wait", "1"]).await;
    for shown in ["all enforce it", "nobody accepts from", "ENFORCES SINCE", "gw-1"] {
        assert!(said.contains(shown), "{shown}: {said}");
    }
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let list = operator.json(&["revocations"]).await;
    let id = list["items"][0]["id"].as_str().unwrap();
    assert!(operator.run(&["revocations"]).await.contains(id));
    let one = operator.json(&["revocations", id]).await;
    assert_eq!(one["enforced"]["all"], true, "{one}");
    let (done, said) = run(&api.installation, &["revocations", id]).await;
    assert!(!done, "without a credential: {said}");

    // Whoever reads the audit log sees verifiers, and revokes nothing.
    let terms = json!({"audiences": ["self"], "scopes": ["scrip:audit"], "env": "scrip"});
    let auditor = api.client("acme/auditor", terms).await;
    let auditor = Cli::new(&api.installation, &auditor.id, &auditor.secret);
    assert!(auditor.run(&["verifiers"]).await.contains("gw-1"));
    assert_eq!(auditor.outcome(&["revoke", "--jti", &jti]).await.code, Some(1));
}

/// Where the feed stands: `epoch`, `seq`, `head` and `iat` of a heartbeat made now.
pub async fn place(api: &Api, gateway: &Client) -> Value {
    let read = |path: String| {
        let request = api.request(Method::GET, &path);
        Reply::to(request.basic_auth(&gateway.id, Some(&gateway.secret)))
    };
    let manifest = payload(&read("/v1/deny/snapshot".to_owned()).await.body);
    let epoch = manifest["epoch"].as_str().expect("an epoch");
    let path = format!("/v1/deny/batches?epoch={epoch}&after={}", manifest["seq"]);
    payload(&read(path).await.text("heartbeat"))
}

fn payload(jws: &str) -> Value {
    let payload = jws.split('.').nth(1).and_then(from_base64url).expect("a JWS");
    serde_json::from_slice(&payload).expect("JSON")
}

fn body_of(verifier: &str, at: &Value, change: &Value) -> Value {
    let mut body = json!({
        "verifier": verifier, "epoch": at["epoch"], "seq": at["seq"], "head": at["head"],
        "as_of": at["iat"], "max_staleness": 60, "policy": "deny", "allow_for": 0,
    });
    for (name, value) in change.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

fn ack(api: &Api, gateway: &Client, verifier: &str, at: &Value, change: &Value) -> RequestBuilder {
    let request = api.request(Method::POST, "/v1/deny/acks");
    let request = request.basic_auth(&gateway.id, Some(&gateway.secret));
    request.json(&body_of(verifier, at, change))
}

pub async fn acknowledge(api: &Api, gateway: &Client, verifier: &str, at: &Value) {
    let reply = Reply::to(ack(api, gateway, verifier, at, &json!({}))).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
}

async fn verifiers(api: &Api) -> Value {
    let reply = api.read("/v1/deny/verifiers").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json()
}

async fn enforced(api: &Api, id: &str) -> Value {
    api.read(&format!("/v1/revocations/{id}")).await.json()["enforced"].clone()
}

/// As if all verifiers had acknowledged nothing for ten minutes.
async fn silence(api: &Api) {
    api.sql("UPDATE verifiers SET acked_ms = acked_ms - 600000").await;
}

fn at_ms(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("no time: {time}")).to_owned();
    Moment::try_from(text).expect("RFC 3339").milliseconds()
}
