//! What the answer to a revocation says of who enforces it.

use std::fs;

use reqwest::{Method, StatusCode};
use scrip::clock;
use scrip_token::Jti;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{ack, acknowledge, at_ms, enforced, place, place_read_as, silence, verifiers};
use crate::harness::cli::Cli;
use crate::harness::service::Installation;
use crate::http::api::{Api, Reply, run};
use crate::http::feed::ask;

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
    let until = &unseen["until"];
    let nobody = json!({"all": false, "strangers": true, "by": until, "verifiers": []});
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

    let second = enforced(&api, second["id"].as_str().unwrap()).await;
    let (here, gone) = (&second["verifiers"][0], &second["verifiers"][1]);
    // When it was committed is not known; when somebody had it is.
    let bound = at_ms(&here["since"]) + 66_000;
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
    let old = Jti::new(clock::now_ms().unsigned_abs() - 906_000, [7; 10]);
    let old = api.revoke(json!({"jti": old.to_string()})).await.json();
    let over = json!({"all": true, "strangers": false, "by": old["at"], "verifiers": []});
    assert_eq!(old["enforced"], over);
}

#[tokio::test]
async fn an_answer_that_comes_later_names_the_same_time() {
    let api = Api::start().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let selector = json!({"jti": api.token(&client).await.jti});
    let first = api.revoke(selector.clone()).await.json();
    let at = at_ms(&first["at"]);
    let refuses = (at + 999) / 1000 * 1000 + 66_000;
    assert_eq!(at_ms(&first["enforced"]["by"]), refuses, "{first}");
    // Later by the database's clock.
    api.sql("UPDATE installation SET newest_ms = newest_ms + 30000").await;
    let repeated = api.revoke(selector).await.json();
    for later in [&repeated["enforced"], &enforced(&api, first["id"].as_str().unwrap()).await] {
        assert_eq!(later["by"], first["enforced"]["by"], "{later}");
    }
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
    assert_eq!(known["strangers"], false);

    // Whoever has been answered is on record.
    let by_until = async |whom: &str| {
        let known = enforced(&api, id).await;
        assert_eq!((&known["by"], &known["all"]), (&until_ms, &json!(true)), "{whom}");
        assert_eq!(known["strangers"], true, "{whom}");
    };
    // Under a name nobody is missed from the first look on, until it acknowledges.
    place_read_as(&api, &gateway, Some("gw-2")).await;
    by_until("who has yet to acknowledge is on record").await;
    acknowledge(&api, &gateway, "gw-2", &place(&api, &gateway).await).await;
    assert_ne!(enforced(&api, id).await["by"], until_ms, "it acknowledges now");

    // A mirror reads the feed for others and never does, whoever else has its credential. Somebody
    // who only looks at a token verifies for nobody.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), api.token(&client).await.jwt).unwrap();
    let file = file.path().to_str().unwrap();
    let operator = Cli::new(&api.installation, &api.operator.id, &api.operator.secret);
    let looked = operator.run(&["token", "verify", "--token-file", file]).await;
    assert!(looked.contains("accepted; not judged: whether it is revoked"), "{looked}");
    place_read_as(&api, &gateway, None).await;
    by_until("who gives no name is on record").await;
    api.sql("DELETE FROM sightings WHERE kind = 'feed'").await;
    assert_ne!(enforced(&api, id).await["by"], until_ms);

    api.get("/.well-known/jwks.json").await;
    by_until("the JWKS is read").await;
    let keys = api.read("/v1/keys").await.json();
    let keys = keys["items"].as_array().unwrap().iter();
    let kid = keys.clone().find(|key| key["state"] == "next").unwrap()["kid"].clone();
    let key = api.revoke(json!({"kid": kid})).await.json();
    assert_eq!(key["enforced"]["by"], Value::Null, "nothing that is known stops it");
}

#[tokio::test]
async fn nobody_reads_the_feed_before_that_is_on_record() {
    let api = Api::on(Installation::on_postgres().await).await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let revoked = api.revoke(json!({"jti": api.token(&client).await.jti})).await.json();
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let by = async || enforced(&api, revoked["id"].as_str().unwrap()).await["by"].clone();
    let read =
        || Reply::to(ask(&api, &gateway, "/v1/deny/snapshot", &[("x-scrip-verifier", "gw-2")]));

    let url = api.installation.setting("SCRIP_DATABASE_URL");
    let mut database = PgConnection::connect(url).await.unwrap();
    let mut held = database.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE readers IN EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let refused = read().await;
    refused.problem(503, "temporarily-unavailable");
    assert_ne!(refused.header("retry-after"), "");
    assert_ne!(by().await, revoked["until"], "gw-2 knows nothing");
    // Who acknowledges is known without it.
    place(&api, &gateway).await;

    held.rollback().await.unwrap();
    assert_eq!(read().await.status, StatusCode::OK);
    assert_eq!(by().await, revoked["until"]);
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

    let token = api.token(&client).await;
    let jti = token.jti;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), token.jwt + "\n").unwrap();
    let of_file = ["revoke", "--token-file", file.path().to_str().unwrap(), "--wait", "1"];
    let said = operator.run(&of_file).await;
    assert!(said.contains(&jti), "{said}");
    let verdict = "Not every gateway has acknowledged it. Those that have not refuse it from ";
    for shown in ["ENFORCES SINCE", "gw-1", verdict] {
        assert!(said.contains(shown), "{shown}: {said}");
    }
    acknowledge(&api, &gateway, "gw-1", &place(&api, &gateway).await).await;
    let list = operator.json(&["revocations"]).await;
    let id = list["items"][0]["id"].as_str().unwrap();
    assert!(operator.run(&["revocations"]).await.contains(id));
    let one = operator.json(&["revocations", id]).await;
    assert_eq!(one["enforced"]["all"], true, "{one}");
    let since = one["enforced"]["by"].as_str().unwrap();
    let verdict = format!("Every gateway refuses it since {since}.\n");
    let said = operator.run(&["revocations", id]).await;
    assert!(said.ends_with(&verdict), "{said}");
    // What was never issued is refused, and what is long over needs no gateway.
    let now = clock::now_ms().unsigned_abs();
    let (unknown, over) = (Jti::new(now, [7; 10]), Jti::new(now - 906_000, [7; 10]));
    let said = operator.outcome(&["revoke", "--jti", &unknown.to_string()]).await;
    assert!(said.stderr.contains("warning: nothing of this name is on record"), "{said:?}");
    let said = operator.run(&["revoke", "--jti", &over.to_string()]).await;
    assert!(said.ends_with("It had expired before: nobody accepts it.\n"), "{said}");
    let (done, said) = run(&api.installation, &["revocations", id]).await;
    assert!(!done, "without a credential: {said}");

    // Whoever reads the audit log sees verifiers, and revokes nothing.
    let terms = json!({"audiences": ["self"], "scopes": ["scrip:audit"], "env": "scrip"});
    let auditor = api.client("acme/auditor", terms).await;
    let auditor = Cli::new(&api.installation, &auditor.id, &auditor.secret);
    assert!(auditor.run(&["verifiers"]).await.contains("gw-1"));
    assert_eq!(auditor.outcome(&["revoke", "--jti", &jti]).await.code, Some(1));
}
