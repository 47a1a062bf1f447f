use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::vault::DevVault;
use crate::http::api::{Api, Client, Reply, terms};

const BILLING: &str = "/v1/clients/acme/billing";

#[tokio::test]
async fn a_client_is_made_shown_listed_and_its_secret_told_once() {
    let api = Api::start().await;
    let mut policy = terms();
    policy["name"] = json!("acme/billing");
    api.write(Method::PUT, "/v1/policies/acme/billing", &policy).await;
    let body = json!({
        "id": "acme/billing", "policy": "acme/billing", "source": "embedded", "overlap": 60,
        "rotate_by": "2099-01-31T12:00:00Z",
    });
    let made = api.write(Method::POST, "/v1/clients", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.header("cache-control"), "no-store");
    let mut shown = made.json();
    let secret = shown.as_object_mut().unwrap().remove("secret").unwrap();
    let secret = secret.as_str().unwrap();
    assert!(secret.starts_with("scrip_mc_acme_"), "{secret}");
    let since = shown["created"].clone();
    let version = shown["credentials"][0]["version"].clone();
    assert!(version.as_str().unwrap().starts_with("embedded:1."));
    let whole = json!({
        "id": "acme/billing", "policy": "acme/billing", "source": "embedded", "enabled": true,
        "overlap": 60, "rotate_by": "2099-01-31T12:00:00Z", "due": "2099-01-31T12:00:00Z",
        "warnings": [], "created": since, "rotated": null,
        "last_used": null, "last_address": null, "mints": 0,
        "credentials": [{"version": version, "since": since, "until": null}],
    });
    assert_eq!(shown, whole);
    assert_eq!(api.read(BILLING).await.json(), whole);

    let client = Client { id: "acme/billing".to_owned(), secret: secret.to_owned() };
    api.token(&client).await;
    api.token(&client).await;
    until("two mints are written down", Duration::from_secs(10), async || {
        let used = api.read(BILLING).await.json();
        let shown = used["mints"] == 2 && used["last_address"] == "127.0.0.1";
        (shown && used["last_used"].is_string()).then_some(())
    })
    .await;

    api.client_under("acme/second", "acme/billing").await;
    let ids = async |query: &str| -> Vec<String> {
        let listed = api.read(&format!("/v1/clients{query}")).await.json();
        let items = listed["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("?tenant=acme").await.len(), 2);
    assert_eq!(ids("?tenant=ops").await, ["ops/admin"]);
    assert_eq!(ids("").await.len(), 3);
    let first = api.read("/v1/clients?limit=2").await.json();
    let next = first["next"].as_str().unwrap();
    let rest = api.read(&format!("/v1/clients?limit=2&after={next}")).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    api.read("/v1/clients/acme/nobody").await.problem(404, "not-found");
    for query in ["limit=0", "limit=x", "tenants=acme", "limit=1&limit=2"] {
        let refused = api.read(&format!("/v1/clients?{query}")).await;
        refused.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn what_is_not_understood_or_not_there_makes_no_client() {
    let api = Api::start().await;
    api.billing().await;
    let post = async |body: &Value| api.write(Method::POST, "/v1/clients", body).await;
    let good = json!({"id": "acme/new", "policy": "acme/billing"});
    for (member, value) in [
        ("policy", json!("acme/none")),
        ("policy", json!("ops/operator")),
        ("policy", Value::Null),
        ("source", json!("vault")),
        ("source", json!("file")),
        ("overlap", json!(604_801)),
        ("overlap", json!(-1)),
        ("overlap", json!(1.5)),
        ("rotate_by", json!(1_795_000_000)),
        ("rotate_by", json!("tomorrow")),
        ("show_secret", json!("yes")),
        ("secret", json!("chosen by the operator")),
        ("id", json!("acme/a\0b")),
    ] {
        let mut body = good.clone();
        body[member] = value;
        post(&body).await.problem(400, "invalid-request");
    }
    post(&json!({"id": "acme/billing", "policy": "acme/billing"})).await.problem(409, "conflict");
    let request = api.request(Method::POST, "/v1/clients").bearer_auth(&api.bearer);
    let form =
        request.header("content-type", "application/x-www-form-urlencoded").body(good.to_string());
    Reply::to(form).await.problem(415, "unsupported-media-type");
    assert_eq!(
        api.read("/v1/clients?tenant=acme").await.json()["items"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn n50_a_repeated_creation_is_one_client_and_repeats_no_secret() {
    let api = Api::start().await;
    api.billing().await;
    let send = async |key: &str, body: &Value| {
        let request = api.request(Method::POST, "/v1/clients").bearer_auth(&api.bearer);
        Reply::to(request.header("idempotency-key", key).json(body)).await
    };
    let body = json!({"id": "acme/new", "policy": "acme/billing"});
    let first = send("k", &body).await;
    let again = send("k", &body).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
    let mut without = first.json();
    assert!(without.as_object_mut().unwrap().remove("secret").is_some());
    assert_eq!(again.json(), without);
    send("k", &json!({"id": "acme/other", "policy": "acme/billing"}))
        .await
        .problem(409, "conflict");
    let race = json!({"id": "acme/race", "policy": "acme/billing"});
    let raced = join_all((0..10).map(|_| send("race", &race))).await;
    let secrets = raced.iter().filter(|reply| reply.json().get("secret").is_some()).count();
    assert!(raced.iter().all(|reply| reply.status == StatusCode::CREATED), "{raced:?}");
    assert_eq!(secrets, 1);
}

#[tokio::test]
async fn a_rotated_secret_overlaps_the_old_one_for_as_long_as_was_said() {
    let api = Api::start().await;
    let client = api.billing().await;
    let rotate =
        async |body: &Value| api.write(Method::POST, &format!("{BILLING}/rotate"), body).await;
    let before = api.token(&client).await;

    let rotated = rotate(&json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    let second = Client { secret: rotated.text("secret"), ..client.clone() };
    let credentials = rotated.json()["credentials"].clone();
    assert_eq!(credentials.as_array().unwrap().len(), 2, "{credentials}");
    for good in [&client, &second] {
        assert_eq!(api.mint(good, &[]).await.status, StatusCode::OK);
    }

    // With `revoke`, what is old ends now, with the tokens that it was traded for.
    let newest = api.token(&second).await;
    let ending = rotate(&json!({"revoke": true})).await;
    assert_eq!(ending.status, StatusCode::OK, "{ending:?}");
    let third = Client { secret: ending.text("secret"), ..client.clone() };
    for ended in [&client, &second] {
        api.mint(ended, &[]).await.refused(401, "invalid_client");
    }
    for dead in [&before.jwt, &newest.jwt] {
        assert!(!api.is_active(&third, dead).await);
    }
    assert!(api.is_active(&third, &api.token(&third).await.jwt).await);
    let shown = api.read(BILLING).await.json();
    assert_eq!(shown["credentials"].as_array().unwrap().len(), 1, "{shown}");
    assert!(shown["rotated"].is_string());
    rotate(&json!({"revoked": true})).await.problem(400, "invalid-request");
}

#[tokio::test]
async fn a_longer_overlap_brings_back_neither_a_secret_that_was_over_nor_its_tokens() {
    let api = Api::start().await;
    let client = api.billing().await;
    let change = async |body: Value| api.write(Method::PATCH, BILLING, &body).await;
    assert_eq!(change(json!({"overlap": 0})).await.status, StatusCode::OK);
    let token = api.token(&client).await;
    let rotated = api.write(Method::POST, &format!("{BILLING}/rotate"), &json!({})).await;
    let newest = Client { secret: rotated.text("secret"), ..client.clone() };
    let kept = api.token(&newest).await;

    assert_eq!(change(json!({"overlap": 3600})).await.status, StatusCode::OK);
    api.mint(&client, &[]).await.refused(401, "invalid_client");
    assert!(!api.is_active(&newest, &token.jwt).await, "it ended with its secret");
    assert!(api.is_active(&newest, &kept.jwt).await);
    let revoked = api.read("/v1/revocations").await.json();
    assert_eq!(revoked["items"].as_array().unwrap().len(), 1, "{revoked}");
    assert_eq!(revoked["items"][0]["selector"]["cred"]["client"], "acme/billing");

    // Nothing is over a second time.
    assert_eq!(change(json!({"overlap": 7200})).await.status, StatusCode::OK);
    let again = api.read("/v1/revocations").await.json();
    assert_eq!(again, revoked);
}

#[tokio::test]
async fn disabling_and_deleting_stop_a_client_at_once() {
    let api = Api::start().await;
    let client = api.billing().await;
    let witness = api.verifier().await;
    let token = api.token(&client).await;
    let change = async |body: Value| api.write(Method::PATCH, BILLING, &body).await;

    assert_eq!(change(json!({"enabled": false})).await.json()["enabled"], false);
    api.mint(&client, &[]).await.refused(401, "invalid_client");
    assert!(api.is_active(&witness, &token.jwt).await, "its tokens go on");
    assert_eq!(change(json!({"enabled": true, "revoke": true})).await.status, StatusCode::OK);
    assert!(!api.is_active(&witness, &token.jwt).await);
    let token = api.token(&client).await;
    assert!(api.is_active(&witness, &token.jwt).await);

    for _ in 0..2 {
        let gone = api.request(Method::DELETE, BILLING).bearer_auth(&api.bearer);
        let gone = Reply::to(gone).await;
        assert_eq!((gone.status, gone.body.as_str()), (StatusCode::NO_CONTENT, ""));
    }
    api.mint(&client, &[]).await.refused(401, "invalid_client");
    assert!(!api.is_active(&witness, &token.jwt).await);
    api.read(BILLING).await.problem(404, "not-found");
    change(json!({"enabled": true})).await.problem(404, "not-found");
    let again = json!({"id": "acme/billing", "policy": "acme/billing"});
    api.write(Method::POST, "/v1/clients", &again).await.problem(409, "conflict");
    assert_eq!(api.read(&format!("/v1/tokens/{}", token.jti)).await.json()["revoked"], true);

    for (method, body) in
        [(Method::PATCH, json!({"polic": "x"})), (Method::PATCH, json!({"enabled": 1}))]
    {
        let refused = api.write(method, "/v1/clients/ops/admin", &body).await;
        refused.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn disabling_and_revoking_at_once_is_one_transaction() {
    let api = Api::start().await;
    let (client, witness) = (api.billing().await, api.verifier().await);
    let token = api.token(&client).await;
    let body = json!({"enabled": false, "revoke": true});
    let both = async || api.write(Method::PATCH, BILLING, &body).await;

    api.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON audit WHEN NEW.action = 'client.change' \
         BEGIN SELECT RAISE(ABORT, 'broken'); END",
    )
    .await;
    let failed = both().await;
    assert!(failed.status.is_server_error() || failed.status == StatusCode::CONFLICT, "{failed:?}");
    assert!(api.is_active(&witness, &token.jwt).await, "neither has happened");
    api.token(&client).await;
    api.sql("DROP TRIGGER broken").await;

    assert_eq!(both().await.json()["enabled"], false);
    api.mint(&client, &[]).await.refused(401, "invalid_client");
    assert!(!api.is_active(&witness, &token.jwt).await);
    let revoked = api.read("/v1/revocations").await.json();
    assert_eq!(revoked["items"].as_array().unwrap().len(), 1, "{revoked}");
    assert_eq!(revoked["items"][0]["selector"]["client"], "acme/billing");
    api.write(Method::PATCH, BILLING, &json!({"enabled": true})).await;
    assert!(!api.is_active(&witness, &token.jwt).await, "what was revoked stays so");
    assert!(api.is_active(&witness, &api.token(&client).await.jwt).await);
}

#[tokio::test]
async fn what_no_witness_was_kept_of_is_not_acknowledged_by_asking_again() {
    let api = Api::start().await;
    api.billing().await;
    let keyed = |method: Method, path: &str, body: Value| {
        let request = api.request(method, path).bearer_auth(&api.bearer).json(&body);
        request.header("Idempotency-Key", "once")
    };
    let rotate = format!("{BILLING}/rotate");
    // A folder stands where the file is to be written: root is refused that as well.
    let obstacle = api.installation.folder.path().join("keys").join("witness-1.new");
    for ask in [
        &|| keyed(Method::POST, &rotate, json!({"revoke": true})),
        &|| keyed(Method::PATCH, BILLING, json!({"enabled": false, "revoke": true})),
        &|| api.request(Method::DELETE, BILLING).bearer_auth(&api.bearer),
    ] as [&dyn Fn() -> RequestBuilder; 3]
    {
        std::fs::create_dir(&obstacle).unwrap();
        for _ in 0..2 {
            let refused = Reply::to(ask()).await;
            assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
            assert!(refused.body.contains("took effect"), "{refused:?}");
        }
        std::fs::remove_dir(&obstacle).unwrap();
        let done = Reply::to(ask()).await;
        assert!(done.status.is_success(), "{done:?}");
    }
    assert_eq!(api.number("SELECT count(*) FROM revocations").await, 3, "each was done once");
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let api = Api::start().await;
    let limited = json!({
        "audiences": ["self"], "scopes": ["scrip:clients", "scrip:policies"], "env": "scrip",
    });
    let limited = api.client("ops/limited", limited).await;
    let bearer = api.token(&limited).await.jwt;
    let as_limited = async |method: Method, path: &str, body: Value| {
        Reply::to(api.request(method, path).bearer_auth(&bearer).json(&body)).await
    };
    let wide = json!({"name": "ops/wide", "audiences": ["self"], "scopes": ["scrip:revoke"], "env": "scrip"});
    let refused = as_limited(Method::PUT, "/v1/policies/ops/wide", wide).await;
    refused.problem(403, "insufficient-scope");
    for (method, path, body) in [
        (Method::POST, "/v1/clients", json!({"id": "ops/new", "policy": "ops/operator"})),
        (Method::PATCH, "/v1/clients/ops/limited", json!({"policy": "ops/operator"})),
        (Method::POST, "/v1/clients/ops/admin/rotate", json!({})),
        (Method::PATCH, "/v1/clients/ops/admin", json!({"enabled": true})),
        (Method::PATCH, "/v1/clients/ops/admin", json!({"policy": "ops/limited"})),
        // Nor is it taken from whoever has more.
        (Method::PATCH, "/v1/clients/ops/admin", json!({"enabled": false})),
        (Method::DELETE, "/v1/clients/ops/admin", json!({})),
    ] {
        as_limited(method, path, body).await.problem(403, "insufficient-scope");
    }
    api.read("/v1/policies/ops/wide").await.problem(404, "not-found");
    let own = json!({"id": "ops/second", "policy": "ops/limited"});
    assert_eq!(as_limited(Method::POST, "/v1/clients", own).await.status, StatusCode::CREATED);
    let (second, off) = ("/v1/clients/ops/second", json!({"enabled": false}));
    assert_eq!(as_limited(Method::PATCH, second, off).await.status, StatusCode::OK);
    let gone = as_limited(Method::DELETE, second, json!({})).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    api.token(&api.operator).await;

    let audited = async || {
        let audit = api.read("/v1/audit?actor=ops/limited&action=grant").await.json();
        (audit["items"].as_array()?.len() == 8).then_some(())
    };
    until("the refusals are in the audit log", Duration::from_secs(10), audited).await;
}

#[tokio::test]
async fn vault_keeps_the_secret_where_there_is_a_vault() {
    let vault = DevVault::start().await;
    let installation = Installation::on_sqlite().with_vault(&vault.admin).await;
    let api = Api::on(installation).await;
    let mut policy = terms();
    policy["name"] = json!("acme/billing");
    api.write(Method::PUT, "/v1/policies/acme/billing", &policy).await;
    let body = json!({"id": "acme/billing", "policy": "acme/billing"});
    let made = api.write(Method::POST, "/v1/clients", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!((&made.json()["source"], made.json().get("secret")), (&json!("vault"), None));
    let in_vault = async |version| {
        let secret = vault.admin.secret("scrip/acme/billing", version).await.unwrap();
        Client { id: "acme/billing".to_owned(), secret }
    };
    let first = in_vault(1).await;
    let token = api.token(&first).await;
    let (_, claims) = api.verified(&token.jwt, "llm-gateway").await;
    assert!(claims["cred"].as_str().unwrap().starts_with("vault:1."), "{claims}");

    let rotate = json!({"show_secret": true, "revoke": true});
    let rotated = api.write(Method::POST, &format!("{BILLING}/rotate"), &rotate).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    let second = in_vault(2).await;
    assert_eq!(rotated.text("secret"), second.secret);
    assert!(!api.is_active(&second, &token.jwt).await);
    api.mint(&first, &[]).await.refused(401, "invalid_client");

    // One that somebody else put there is adopted, and never shown.
    vault.admin.put_secret("scrip/acme/adopted", &"own-secret-of-the-team-".repeat(2)).await;
    let body = json!({"id": "acme/adopted", "policy": "acme/billing", "show_secret": true});
    let made = api.write(Method::POST, "/v1/clients", &body).await;
    assert_eq!((made.status, made.json().get("secret")), (StatusCode::CREATED, None), "{made:?}");
    let adopted =
        Client { id: "acme/adopted".to_owned(), secret: "own-secret-of-the-team-".repeat(2) };
    assert_eq!(api.mint(&adopted, &[]).await.status, StatusCode::OK);
}
