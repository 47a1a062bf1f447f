//! What is revoked, by whom, and what an acknowledgement is worth.

mod floods;

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::api::{Api, Client, Reply, Token, terms};
use crate::harness::process::Signal;
use crate::harness::service::{Installation, Service};
use crate::harness::until::until;
use scrip::clock;
use scrip_token::Jti;

#[tokio::test]
async fn a_revocation_is_shown_whole_and_kept() {
    let api = Api::start().await;
    let client = api.billing().await;
    let (token, other) = (api.token(&client).await, api.token(&client).await);
    let request = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
    let body = json!({"selector": {"jti": token.jti}, "reason": "leaked", "note": "ticket 7"});
    let reply = Reply::to(request.json(&body)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");

    let shown = reply.json();
    let (_, claims) = api.verified(&token.jwt, "llm-gateway").await;
    let until = scrip::admin::rfc3339(claims["exp"].as_i64().unwrap() + 5);
    let (id, at, epoch) = (reply.text("id"), reply.text("at"), reply.text("epoch"));
    assert!(Jti::parse(&id).is_ok() && Jti::parse(&epoch).is_ok());
    let whole = json!({
        "id": id, "selector": {"jti": token.jti}, "reason": "leaked", "note": "ticket 7",
        "by": "ops/admin", "at": at, "epoch": epoch, "seq": 1, "until": until, "known": true,
    });
    let mut with_receipts = whole.clone();
    with_receipts["enforced"] =
        json!({"all": false, "strangers": true, "by": until, "verifiers": []});
    assert_eq!(shown, with_receipts);
    assert_eq!(api.read(&format!("/v1/revocations/{id}")).await.json(), with_receipts);
    assert_eq!(api.read("/v1/revocations").await.json(), json!({"items": [whole], "next": null}));
    assert!(!api.is_active(&client, &token.jwt).await);
    assert!(api.is_active(&client, &other.jwt).await);

    api.read("/v1/revocations/x").await.problem(404, "not-found");
    api.read(&format!("/v1/revocations/{}", token.jti)).await.problem(404, "not-found");
    let audit = api.read(&format!("/v1/audit?action=revoke&jti={}", token.jti)).await.json();
    assert_eq!(audit["items"][0]["detail"]["seq"], 1);
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_with_a_pointer() {
    let api = Api::start().await;
    let client = api.billing().await;
    let jti = api.token(&client).await.jti;
    let post = async |body: String| {
        let request = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
        Reply::to(request.header("content-type", "application/json").body(body)).await
    };
    let unknown = post(json!({"selector": {"jit": jti}}).to_string()).await;
    unknown.problem(400, "unknown-selector");
    assert_eq!(unknown.text("pointer"), "/selector/jit");
    for (body, pointer) in [
        (json!({}), "/selector"),
        (json!({"selector": {}}), "/selector"),
        (json!({"selector": [jti]}), "/selector"),
        (json!({"selector": {"jti": "x"}}), "/selector/jti"),
        (json!({"selector": {"jti": jti.to_uppercase()}}), "/selector/jti"),
        (json!({"selector": {"jti": jti, "client": "acme/billing"}}), "/selector"),
        (json!({"selector": {"jti": jti, "before": 1}}), "/selector/before"),
        (json!({"selector": {"client": "acme"}}), "/selector/client"),
        (json!({"selector": {"client": "acme/billing", "before": -1}}), "/selector/before"),
        (json!({"selector": {"client": "acme/billing", "before": 1.5}}), "/selector/before"),
        (
            json!({"selector": {"client": "acme/billing", "before": 1_u64 << 53}}),
            "/selector/before",
        ),
        (json!({"selector": {"kid": "x"}}), "/selector/kid"),
        (json!({"selector": {"jti": jti}, "reason": "because"}), "/reason"),
        (json!({"selector": {"jti": jti}, "note": "x".repeat(1025)}), "/note"),
        (json!({"selector": {"jti": jti}, "note": "a\0b"}), "/note"),
        (json!({"selector": {"jti": jti}, "wait": 31}), "/wait"),
        (json!({"selector": {"jti": jti}, "wait": -1}), "/wait"),
        (json!({"selector": {"jti": jti}, "wait": 0.5}), "/wait"),
        (json!({"selector": {"jti": jti}, "dry_run": 1}), "/dry_run"),
        (json!({"selector": {"jti": jti}, "reasons": "leaked"}), "/reasons"),
        (json!({"selector": {"sub": "client:acme/billing"}}), "/selector/sub"),
        (json!({"selector": {"sub": {"tenant": "acme"}}}), "/selector/sub"),
        (json!({"selector": {"sub": {"tenant": "acme", "id": ""}}}), "/selector/sub/id"),
        (json!({"selector": {"sub": {"tenant": "acme", "id": "a b"}}}), "/selector/sub/id"),
        (json!({"selector": {"sub": {"tenant": "Acme", "id": "a"}}}), "/selector/sub/tenant"),
        (json!({"selector": {"sub": {"tenant": "acme", "id": "a", "n": 1}}}), "/selector/sub/n"),
        (json!({"selector": {"tenant": "acme/billing"}}), "/selector/tenant"),
        (json!({"selector": {"tenant": null}}), "/selector/tenant"),
        (json!({"selector": {"cred": {"client": "acme/billing"}}}), "/selector/cred"),
        (
            json!({"selector": {"cred": {"client": "acme", "version": "vault:1.1"}}}),
            "/selector/cred/client",
        ),
        (
            json!({"selector": {"cred": {"client": "acme/billing", "version": "3"}}}),
            "/selector/cred/version",
        ),
        (json!({"selector": {"kid": "A".repeat(43), "before": 1}}), "/selector/before"),
        (json!({"selector": {"all": false}}), "/selector/all"),
        (json!({"selector": {"all": 1}}), "/selector/all"),
        (json!({"selector": {"all": true, "tenant": "acme"}}), "/selector"),
        (json!({"selector": {"before": 1}}), "/selector"),
    ] {
        let refused = post(body.to_string()).await;
        refused.problem(400, "invalid-request");
        assert_eq!(refused.text("pointer"), pointer, "{body}");
    }
    let twice = format!(r#"{{"selector":{{"jti":"{jti}","\u006ati":"{jti}"}}}}"#);
    for body in [twice.as_str(), "", "null", "[]", "{", r#"{"selector":"#, "\u{feff}{}"] {
        post(body.to_owned()).await.problem(400, "invalid-request");
    }
    for nobody in [
        json!({"client": "acme/nobody"}),
        json!({"sub": {"tenant": "nowhere", "id": "client:acme/billing"}}),
        json!({"tenant": "nowhere"}),
        json!({"cred": {"client": "acme/nobody", "version": "vault:1.1"}}),
        json!({"kid": "A".repeat(43)}),
    ] {
        api.revoke(nobody).await.problem(404, "not-found");
    }
    assert!(api.read("/v1/revocations").await.json()["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn n64_revoking_again_or_what_is_over_changes_nothing() {
    let api = Api::start().await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    let first = api.revoke(json!({"jti": token.jti})).await;
    let again = api.revoke(json!({"jti": token.jti})).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.json(), again.json());

    let at =
        |seconds_ago: u64| Jti::new(clock::now_ms().unsigned_abs() - seconds_ago * 1000, [7; 10]);
    let unknown = api.revoke(json!({"jti": at(10).to_string()})).await;
    assert_eq!(unknown.status, StatusCode::CREATED);
    assert_eq!((&unknown.json()["known"], &unknown.json()["seq"]), (&json!(false), &json!(2)));
    let old = api.revoke(json!({"jti": at(906).to_string()})).await;
    assert_eq!(old.status, StatusCode::OK);
    assert_eq!((&old.json()["until"], &old.json()["seq"]), (&Value::Null, &Value::Null));
    let ahead = Jti::new(clock::now_ms().unsigned_abs() + 60_000, [7; 10]);
    let ahead = api.revoke(json!({"jti": ahead.to_string()})).await;
    ahead.problem(400, "invalid-request");
    assert_eq!(ahead.text("pointer"), "/selector/jti");
    assert_eq!(head(&api).await, 2, "the list grew by two entries only");
}

#[tokio::test]
async fn n64_holders_revoke_their_own_tokens_by_rfc_7009() {
    let api = Api::start().await;
    let client = api.billing().await;
    let stranger = api.client_under("acme/stranger", "acme/billing").await;
    let token = api.token(&client).await;
    let revoke = async |who: &Client, jwt: &str| {
        api.form("/oauth2/revoke", who, &[("token", jwt), ("token_type_hint", "access_token")])
            .await
    };
    revoke(&stranger, &token.jwt).await.refused(400, "unauthorized_client");
    assert!(api.is_active(&client, &token.jwt).await);
    let cut = &token.jwt[..token.jwt.len() - 4];
    for odd in [cut, "x", "..", &token.jti] {
        let reply = revoke(&client, odd).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""), "{odd}");
    }
    assert_eq!(head(&api).await, 0, "what is no token of ours makes no entry");
    for _ in 0..2 {
        let reply = revoke(&client, &token.jwt).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(reply.header("cache-control"), "no-store");
    }
    assert!(!api.is_active(&client, &token.jwt).await);
    assert_eq!(head(&api).await, 1);
    for malformed in [&[][..], &[("token", "x"), ("token", "y")]] {
        api.form("/oauth2/revoke", &client, malformed).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn n64_what_has_no_witness_is_not_acknowledged_to_its_holder_either() {
    let api = Api::start().await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    let obstacle = api.installation.folder.path().join("keys").join("witness-1.new");
    fs::create_dir(&obstacle).unwrap();
    let revoke = async || api.form("/oauth2/revoke", &client, &[("token", &token.jwt)]).await;
    for _ in 0..2 {
        revoke().await.refused(503, "temporarily_unavailable");
    }
    assert!(!api.is_active(&client, &token.jwt).await, "it took effect");
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(revoke().await.status, StatusCode::OK);
    assert_eq!(head(&api).await, 1);
}

#[tokio::test]
async fn n66_a_cut_reaches_back_and_never_far_ahead() {
    let api = Api::start().await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    let now = clock::now_ms() / 1000;
    let cut = |before: i64| api.revoke(json!({"client": "acme/billing", "before": before}));

    assert_eq!(cut(0).await.status, StatusCode::CREATED);
    assert_eq!(cut(now - 100).await.status, StatusCode::CREATED);
    assert_eq!(cut(now - 200).await.status, StatusCode::OK, "an earlier cut is covered");
    assert!(api.is_active(&client, &token.jwt).await);
    let ahead = cut(now + 60).await;
    ahead.problem(400, "invalid-request");
    assert_eq!(ahead.text("pointer"), "/selector/before");
    assert_eq!(head(&api).await, 2);

    let all = api.revoke(json!({"client": "acme/billing"})).await;
    assert_eq!(all.status, StatusCode::CREATED);
    assert!(!api.is_active(&client, &token.jwt).await);
    let listed = api.read("/v1/revocations").await.json();
    let seqs: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|r| r["seq"].as_u64()).collect();
    assert_eq!(seqs, [Some(3), Some(2), Some(1)]);
    let audited = api.read("/v1/audit?action=revoke").await.json();
    assert_eq!(audited["items"].as_array().unwrap().len(), 3);
    assert!(
        api.is_active(&client, &api.token(&client).await.jwt).await,
        "new tokens are dated after"
    );
}

#[tokio::test]
async fn n67_a_flood_of_identifiers_in_one_call_is_refused() {
    let api = Api::start().await;
    let jtis = vec!["01a1ee56-5e7b-7fff-bfff-ffffffffffff"; 2_000];
    let refused = api.revoke(json!({"jti": jtis})).await;
    refused.problem(413, "too-large");
    assert_eq!(head(&api).await, 0);
}

#[tokio::test]
async fn n68_two_replicas_revoke_the_same_token_once() {
    let (api, other, _second) = replicas().await;
    let client = api.billing().await;
    let mut jtis = Vec::new();
    for _ in 0..5 {
        jtis.push(api.token(&client).await.jti);
    }
    for (n, jti) in (1..).zip(&jtis) {
        let on = |installation: &Installation| {
            let url = format!("{}/v1/revocations", installation.url());
            let request = reqwest::Client::builder().no_proxy().build().unwrap().post(url);
            let request = request.basic_auth(&api.operator.id, Some(&api.operator.secret));
            Reply::to(request.json(&json!({"selector": {"jti": jti}})))
        };
        let (one, two) = tokio::join!(on(&api.installation), on(&other));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201], "{one:?} {two:?}");
        assert_eq!(one.json(), two.json());
        assert_eq!(one.json()["seq"], json!(n));
    }
    let listed = api.read("/v1/revocations").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), jtis.len());
}

#[tokio::test]
async fn what_one_replica_revokes_wakes_those_who_wait_at_the_other() {
    let (api, other, _second) = replicas().await;
    let (client, gateway) = (api.billing().await, api.verifier().await);
    let first = api.revoke(json!({"jti": api.token(&client).await.jti})).await;
    let path = format!("/v1/deny/batches?epoch={}&after=1", first.text("epoch"));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let waiting = http
        .get(format!("{}{path}", other.url()))
        .basic_auth(&gateway.id, Some(&gateway.secret))
        .header("prefer", "wait=15");
    let waiting = tokio::spawn(Reply::to(waiting));
    for _ in 0..5 {
        // The other one is waited at meanwhile.
        api.token(&client).await;
    }
    let revoked = api.revoke(json!({"jti": api.token(&client).await.jti})).await;
    assert_eq!(revoked.status, StatusCode::CREATED, "{revoked:?}");
    let told = waiting.await.unwrap().json();
    assert_eq!(told["batches"].as_array().unwrap().len(), 1, "{told}");
}

#[tokio::test]
async fn n69_no_token_slips_past_a_cut_on_sqlite() {
    no_token_slips_past_a_cut(Api::start().await).await;
}

#[tokio::test]
async fn n69_no_token_slips_past_a_cut_on_postgres() {
    no_token_slips_past_a_cut(Api::on(Installation::on_postgres().await).await).await;
}

/// Mints race with cuts of their client: each token is dated up to the cut and denied, or dated after it and
/// good; there is no third kind.
async fn no_token_slips_past_a_cut(api: Api) {
    let client = api.billing().await;
    for _ in 0..3 {
        let minting = async {
            let mut minted = Vec::new();
            for _ in 0..6 {
                let tokens = join_all((0..5).map(|_| api.token(&client))).await;
                minted.extend(tokens.into_iter().map(|token| (clock::monotonic(), token)));
            }
            minted
        };
        let cutting = async {
            // In the midst of them.
            let _ = api.token(&client).await;
            (clock::monotonic(), api.revoke(json!({"client": "acme/billing"})).await)
        };
        let (minted, (sent, cut)) = tokio::join!(minting, cutting);
        assert_eq!(cut.status, StatusCode::CREATED, "{cut:?}");
        let until = chrono::DateTime::parse_from_rfc3339(&cut.text("until")).unwrap();
        let before = until.timestamp() - 905;
        for (at, token) in minted {
            let (_, claims) = api.verified(&token.jwt, "llm-gateway").await;
            let is_covered = claims["iat"].as_i64().unwrap() <= before;
            assert!(is_covered || at > sent, "minted before the cut, dated after it: {claims}");
            assert_eq!(api.is_active(&client, &token.jwt).await, !is_covered, "{claims}");
        }
    }
}

#[tokio::test]
async fn n70_nothing_takes_a_revocation_back() {
    let api = Api::start().await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    let id = api.revoke(json!({"jti": token.jti})).await.text("id");
    let one = format!("/v1/revocations/{id}");
    for (method, path) in [
        (Method::DELETE, one.as_str()),
        (Method::PATCH, &one),
        (Method::PUT, &one),
        (Method::POST, &one),
        (Method::DELETE, "/v1/revocations"),
        (Method::PUT, "/v1/revocations"),
    ] {
        let refused = api.write(method, path, &json!({})).await;
        refused.problem(405, "method-not-allowed");
        assert!(!refused.header("allow").is_empty());
    }
    assert!(!api.is_active(&client, &token.jwt).await);
}

#[tokio::test]
async fn n77_an_acknowledged_revocation_outlives_kill_9() {
    let mut api = Api::start().await;
    let client = api.billing().await;
    for round in 0..3 {
        let tokens = join_all((0..8).map(|_| api.token(&client))).await;
        let mut revoking = tokio::task::JoinSet::new();
        for Token { jti, .. } in &tokens {
            let request = api.request(Method::POST, "/v1/revocations");
            let request = request.basic_auth(&api.operator.id, Some(&api.operator.secret));
            let (jti, request) = (jti.clone(), request.json(&json!({"selector": {"jti": jti}})));
            revoking.spawn(async move { (jti, request.send().await) });
        }
        // Killed as soon as the first has been acknowledged, with the others under way.
        let first = revoking.join_next().await.unwrap().unwrap();
        api.service.process.signal(Signal::Kill);
        let mut acknowledged = Vec::new();
        for (jti, reply) in std::iter::once(first).chain(revoking.join_all().await) {
            if reply.is_ok_and(|reply| reply.status() == StatusCode::CREATED) {
                acknowledged.push(jti);
            }
        }
        api.service.process.exit().await;
        api = api.crash().await;
        assert!(!acknowledged.is_empty(), "round {round}");
        for jti in acknowledged {
            let shown = api.read(&format!("/v1/tokens/{jti}")).await;
            assert_eq!(shown.json()["revoked"], true, "round {round}: {shown:?}");
        }
    }
}

#[tokio::test]
async fn n116_a_revocation_that_cannot_be_written_is_not_acknowledged() {
    let api = Api::start().await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    for table in ["revocations", "deny_batches", "deny_entries", "audit"] {
        api.sql(&format!(
            "CREATE TRIGGER refuses BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
        ))
        .await;
        let refused = api.revoke(json!({"jti": token.jti})).await;
        refused.problem(503, "temporarily-unavailable");
        assert!(!refused.body.contains(table) && !refused.body.contains("ABORT"), "{refused:?}");
        api.sql("DROP TRIGGER refuses").await;
        assert!(api.is_active(&client, &token.jwt).await, "{table}: nothing was half done");
        assert_eq!(head(&api).await, 0, "{table}");
    }
    assert_eq!(api.revoke(json!({"jti": token.jti})).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn n114_slow_administration_holds_no_revocation_up_and_no_mint() {
    let url = crate::harness::postgres::database().await;
    let api = Api::on(Installation::on(&url)).await;
    let client = api.billing().await;
    let token = api.token(&client).await;
    let mut database = PgConnection::connect(&url).await.unwrap();
    let mut slow = database.begin().await.unwrap();
    sqlx::query("LOCK TABLE idempotency").execute(&mut *slow).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..4 {
        let put = api.request(Method::PUT, "/v1/policies/acme/billing").bearer_auth(&api.bearer);
        let mut policy = terms();
        policy["name"] = json!("acme/billing");
        let put = put.header("idempotency-key", n.to_string()).json(&policy);
        waiting.spawn(async move { put.send().await });
    }
    until("all connections for this are taken", Duration::from_secs(5), async || {
        let stuck = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'idempotency'::regclass";
        let stuck: i64 = sqlx::query_scalar(stuck).fetch_one(&mut *slow).await.unwrap();
        (stuck == 4).then_some(())
    })
    .await;
    let revoked = api.revoke(json!({"jti": token.jti})).await;
    assert_eq!(revoked.status, StatusCode::CREATED, "{revoked:?}");
    let token = api.token(&client).await;
    assert!(api.is_active(&client, &token.jwt).await);
    assert!(waiting.try_join_next().is_none(), "they were in the way all the time");
}

/// How many batches the deny list has.
async fn head(api: &Api) -> i64 {
    api.number("SELECT seq FROM installation").await
}

/// Two services on one Postgres.
async fn replicas() -> (Api, Installation, Service) {
    let api = Api::on(Installation::on_postgres().await).await;
    let other = api.installation.replica();
    let second = other.serve().await;
    (api, other, second)
}

#[tokio::test]
async fn n50_an_answer_that_cannot_be_read_is_nobody_elses_fault() {
    let api = Api::start().await;
    let client = api.billing().await;
    let revoke = async |token: &Token, key: &str| {
        let request = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
        let body = json!({"selector": {"jti": token.jti}, "reason": "leaked"});
        Reply::to(request.header("Idempotency-Key", key).json(&body)).await.status
    };
    let first = api.token(&client).await;
    assert_eq!(revoke(&first, "broken").await, StatusCode::CREATED);
    api.sql("UPDATE idempotency SET reply = '{}' WHERE key = 'broken'").await;
    let others = join_all((0..20).map(|_| api.token(&client))).await;
    // Many at once, so that they are in one group.
    let (broken, good) = tokio::join!(
        join_all((0..20).map(|_| revoke(&first, "broken"))),
        join_all(others.iter().map(|token| revoke(token, &token.jti))),
    );
    assert_eq!(broken, [StatusCode::INTERNAL_SERVER_ERROR; 20]);
    assert_eq!(good, [StatusCode::CREATED; 20]);
}
