//! How secrets end: warned of, past due, refused; and clients that somebody should look at.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::vault::DevVault;
use crate::http::api::{Api, Client, Reply, terms};

const BILLING: &str = "/v1/clients/acme/billing";
const LONG_AGO: &str = "2020-01-31T12:00:00Z";

#[tokio::test]
async fn n41_a_secret_past_its_grace_is_refused_like_a_wrong_one_and_replaced() {
    let api = Api::start().await;
    let client = api.client("acme/billing", strict(terms())).await;
    let wrong = Client { secret: api.operator.secret.clone(), ..client.clone() };
    let before = api.token(&client).await;

    // Its own date is earlier than what the policy says, and counts.
    let shown = set(&api, json!({"rotate_by": LONG_AGO})).await;
    assert_eq!((&shown["due"], &shown["rotate_by"]), (&json!(LONG_AGO), &json!(LONG_AGO)));
    assert_eq!(warnings(&api, BILLING).await, json!(["past-due"]));
    api.token(&client).await;

    // The grace of no days begins with the warning, and is over at the next look.
    set(&api, json!({"rotate_by": LONG_AGO})).await;
    assert_eq!(warnings(&api, BILLING).await, json!(["past-due", "refused"]));
    let refused = api.mint(&client, &[]).await;
    let description = refused.refused(401, "invalid_client");
    let known = api.mint(&wrong, &[]).await;
    assert_eq!(known.refused(401, "invalid_client"), description);
    assert_eq!(refused.header("www-authenticate"), known.header("www-authenticate"));
    assert!(!refused.body.contains("past"), "{refused:?}");
    let verifier = api.verifier().await;
    assert!(api.is_active(&verifier, &before.jwt).await, "its tokens go on");

    // Plain in the log; each warning is given once, however often it is looked at.
    set(&api, json!({"overlap": 3600})).await;
    assert_eq!(alerts(&api).await, ["past-due", "refused"]);
    until("the refusal is in the audit log", Duration::from_secs(10), async || {
        let log = api.read("/v1/audit?action=mint").await;
        log.body.contains("the credential of acme/billing is past due").then_some(())
    })
    .await;

    // A new secret is good, and the old one does not come back for the overlap.
    let rotated = api.write(Method::POST, &format!("{BILLING}/rotate"), &json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    assert_eq!(rotated.json()["warnings"], json!([]));
    assert_eq!(rotated.json()["credentials"].as_array().unwrap().len(), 1);
    api.token(&Client { secret: rotated.text("secret"), ..client.clone() }).await;
    api.mint(&client, &[]).await.refused(401, "invalid_client");
}

#[tokio::test]
async fn n41_a_secret_that_is_past_due_is_tried_as_seldom_as_a_wrong_one() {
    let api = Api::start().await;
    let client = api.client("acme/billing", strict(terms())).await;
    for _ in 0..2 {
        set(&api, json!({"rotate_by": LONG_AGO})).await;
    }
    for refused in join_all((0..20).map(|_| api.mint(&client, &[]))).await {
        refused.refused(401, "invalid_client");
    }
    api.mint(&client, &[]).await.refused(429, "temporarily_unavailable");
}

#[tokio::test]
async fn a_date_that_is_taken_away_or_a_milder_policy_lets_the_secret_be() {
    let api = Api::start().await;
    let client = api.client("acme/billing", strict(terms())).await;
    for _ in 0..2 {
        set(&api, json!({"rotate_by": LONG_AGO})).await;
    }
    api.mint(&client, &[]).await.refused(401, "invalid_client");
    set(&api, json!({"rotate_by": null})).await;
    assert_eq!(warnings(&api, BILLING).await, json!([]));
    let token = api.token(&client).await;

    for _ in 0..2 {
        set(&api, json!({"rotate_by": LONG_AGO})).await;
    }
    api.mint(&client, &[]).await.refused(401, "invalid_client");
    let mut milder = strict(terms());
    milder["name"] = json!("acme/billing");
    milder["rotate"]["refuse"] = json!(false);
    api.write(Method::PUT, "/v1/policies/acme/billing", &milder).await;
    set(&api, json!({"rotate_by": LONG_AGO})).await;
    assert_eq!(warnings(&api, BILLING).await, json!(["past-due"]));
    assert_ne!(api.token(&client).await.jti, token.jti);
}

#[tokio::test]
async fn whoever_revokes_or_follows_with_the_secret_itself_is_only_warned() {
    let api = Api::start().await;
    let terms = json!({
        "audiences": ["self"], "scopes": ["scrip:revoke", "scrip:feed"], "serves": ["llm-gateway"],
        "env": "scrip",
    });
    let gateway = api.client("ops/security", strict(terms)).await;
    let path = "/v1/clients/ops/security";
    for _ in 0..3 {
        let body = json!({"rotate_by": LONG_AGO});
        assert_eq!(api.write(Method::PATCH, path, &body).await.status, StatusCode::OK);
    }
    assert_eq!(warnings(&api, path).await, json!(["past-due"]));
    let revocations = api.request(Method::GET, "/v1/revocations");
    let listed = Reply::to(revocations.basic_auth(&gateway.id, Some(&gateway.secret))).await;
    assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
    // Such use counts: who needs no tokens is not unused.
    until("its use is on record", Duration::from_secs(10), async || {
        let shown = api.read(path).await.json();
        (shown["last_used"].is_string() && shown["mints"] == 0).then_some(())
    })
    .await;
    api.token(&gateway).await;
}

/// Of billing, with from where they were: which is done once a second.
async fn mints_are_written_down(api: &Api, mints: u64) {
    until(format!("{mints} mints are written down"), Duration::from_secs(10), async || {
        (api.read(BILLING).await.json()["mints"] == mints).then_some(())
    })
    .await;
}

#[tokio::test]
async fn stale_clients_are_found_counted_and_told_of() {
    let installation = Installation::on_sqlite()
        .set("SCRIP_MOST_ADDRESSES", "2")
        .set("SCRIP_UNUSED_DAYS", "10")
        .set("SCRIP_TRUSTED_PROXIES", "127.0.0.0/8");
    let api = Api::on(installation).await;
    let shared = api.billing().await;
    for id in ["acme/never", "acme/unused", "acme/new", "acme/off"] {
        api.client_under(id, "acme/billing").await;
    }
    api.sql(
        "UPDATE clients SET created = created - 12 * 86400 \
         WHERE id IN ('acme/never', 'acme/unused', 'acme/off'); \
         UPDATE clients SET last_used = created + 100000 WHERE id = 'acme/unused'; \
         UPDATE clients SET enabled = 0 WHERE id = 'acme/off'",
    )
    .await;
    let from = async |address: &str| {
        let request = api.mint_request(&shared, &[]).header("x-forwarded-for", address);
        assert_eq!(Reply::to(request).await.status, StatusCode::OK);
    };
    for address in ["192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.1"] {
        from(address).await;
    }
    mints_are_written_down(&api, 4).await;
    set(&api, json!({"overlap": 3600})).await;
    assert_eq!(warnings(&api, BILLING).await, json!([]), "one network of IPv6 is one place");
    from("192.0.2.2").await;
    mints_are_written_down(&api, 5).await;

    // Looked at again by a service that was away meanwhile, too.
    let api = api.crash().await;
    let metrics = format!("{}/metrics", api.installation.ops_url());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    until("they are counted", Duration::from_secs(20), async || {
        let metrics = Reply::to(http.get(&metrics)).await.body;
        let is_counted = |line: &&str| metrics.lines().any(|given| given == *line);
        let lines = [
            "scrip_client_warnings{warning=\"never-used\"} 1",
            "scrip_client_warnings{warning=\"unused\"} 1",
            "scrip_client_warnings{warning=\"shared\"} 1",
            "scrip_client_warnings{warning=\"past-due\"} 0",
        ];
        lines.iter().all(is_counted).then_some(())
    })
    .await;
    assert_eq!(alerts(&api).await, ["never-used", "shared", "unused"]);
    assert_eq!(warnings(&api, BILLING).await, json!(["shared"]));

    for (query, expected) in [
        ("stale=any", &["acme/billing", "acme/never", "acme/unused"][..]),
        ("stale=never-used", &["acme/never"]),
        ("stale=unused", &["acme/never", "acme/unused"]),
        ("stale=past-due", &[]),
        ("stale=shared", &["acme/billing"]),
        ("stale=unused&unused_for=11", &["acme/never"]),
        ("unused_for=13", &[]),
        ("stale=any&tenant=ops", &[]),
    ] {
        let listed = api.read(&format!("/v1/clients?{query}")).await.json();
        let mut ids: Vec<_> =
            listed["items"].as_array().unwrap().iter().map(|c| &c["id"]).collect();
        ids.sort_by_key(|id| id.as_str());
        assert_eq!(ids, expected, "{query}");
    }
    for query in ["stale=", "stale=old", "unused_for=0", "unused_for=-1", "unused_for=x"] {
        let refused = api.read(&format!("/v1/clients?{query}")).await;
        refused.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn what_lies_in_vault_without_a_client_is_shown_and_no_secret_is() {
    let vault = DevVault::start().await;
    let secret = "a-secret-of-long-ago-0123456789-abcdef";
    let put = async |path: &str, secret: &str| vault.admin.put_secret(path, secret).await;
    put("scrip/acme/legacy", secret).await;
    put("scrip/acme/short", "only-30-characters-are-in-here").await;
    put("scrip/acme/Old Tool", secret).await;
    put("scrip/acme/team/deep", secret).await;
    put("scrip/acme/gone", secret).await;
    vault.admin.delete_version("scrip/acme/gone", 1).await;
    vault.admin.post("secret/data/scrip/beta/odd", json!({"data": {"password": secret}})).await;
    put("scrip/Beta/x", secret).await;
    put("scrip/top", secret).await;
    put("elsewhere/acme/other", secret).await;
    // Secrets where names should be.
    let names = ["0123456789abcdef0123456789abcdef", "scrip_mc_acme_AbCd"];
    for name in names {
        put(&format!("scrip/acme/{name}"), secret).await;
        put(&format!("scrip/{name}/x"), secret).await;
    }

    let installation = Installation::on_sqlite().with_vault(&vault.admin).await;
    let api = Api::on(installation).await;
    let mut policy = terms();
    policy["name"] = json!("acme/billing");
    api.write(Method::PUT, "/v1/policies/acme/billing", &policy).await;
    for id in ["acme/registered", "acme/deleted"] {
        let body = json!({"id": id, "policy": "acme/billing"});
        assert_eq!(api.write(Method::POST, "/v1/clients", &body).await.status, StatusCode::CREATED);
    }
    let gone = api.request(Method::DELETE, "/v1/clients/acme/deleted").bearer_auth(&api.bearer);
    assert_eq!(Reply::to(gone).await.status, StatusCode::NO_CONTENT);

    let short = "it has fewer than 32 characters";
    let expected = [
        ("/", Some("names no client can have, or that may be secrets: 4")),
        ("acme/", Some("names no client can have, or that may be secrets: 4")),
        ("acme/deleted", Some("the name of a client that was deleted")),
        ("acme/gone", Some("the newest version is deleted")),
        ("acme/legacy", None),
        ("acme/short", Some(short)),
        ("beta/odd", Some("it has no text in the field `secret`")),
    ];
    let page = async |query: &str| {
        let reply = api.read(&format!("/v1/clients/unregistered?{query}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert!(!reply.body.contains("long-ago") && !reply.body.contains("only-30"), "{reply:?}");
        assert!(names.iter().all(|name| !reply.body.contains(name)), "{reply:?}");
        reply.json()
    };
    let named = |page: &Value| -> Vec<(String, Option<String>)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| (text(&item["id"]).unwrap(), text(&item["problem"]))).collect()
    };
    let expected: Vec<_> = expected.map(|(id, why)| (id.to_owned(), why.map(str::to_owned))).into();
    assert_eq!(named(&page("").await), expected);
    assert_eq!(named(&page("tenant=acme").await), expected[1..6]);
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let query = [("limit", "1"), ("after", &after)];
        let part = page(&crate::harness::api::form(&query[..])).await;
        paged.extend(named(&part));
        let Some(next) = part["next"].as_str() else { break };
        next.clone_into(&mut after);
    }
    assert_eq!(paged, expected);
}

#[tokio::test]
async fn without_a_vault_there_is_nothing_to_import() {
    let api = Api::start().await;
    api.read("/v1/clients/unregistered").await.problem(503, "temporarily-unavailable");
    api.read("/v1/clients/unregistered?tenant=Acme").await.problem(400, "invalid-request");
}

/// Terms under which a secret is refused as soon as it has been warned of.
fn strict(mut terms: Value) -> Value {
    terms["rotate"] = json!({"after": 90, "grace": 0, "refuse": true});
    terms
}

async fn set(api: &Api, change: Value) -> Value {
    let changed = api.write(Method::PATCH, BILLING, &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    changed.json()
}

async fn warnings(api: &Api, path: &str) -> Value {
    api.read(path).await.json()["warnings"].clone()
}

/// What was warned of, as the audit log tells.
async fn alerts(api: &Api) -> Vec<String> {
    let log = api.read("/v1/audit?action=client.warn").await.json();
    let events = log["items"].as_array().unwrap().iter();
    let mut alerts: Vec<String> = events
        .map(|event| {
            assert_eq!(event["outcome"], "alert", "{event}");
            event["detail"]["warning"].as_str().unwrap().to_owned()
        })
        .collect();
    alerts.sort();
    alerts
}
