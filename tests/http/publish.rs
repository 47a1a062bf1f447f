//! What everybody may read, and the life of keys.

use std::collections::BTreeSet;

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, Client, Reply, run};
use super::feed::Events;
use crate::harness::postgres::Cluster;
use crate::harness::service::{Installation, Operator};
use scrip::clock;

const JWKS: &str = "/.well-known/jwks.json";
const METADATA: &str = "/.well-known/oauth-authorization-server";
const KEYS: &str = "/.well-known/scrip-keys";

#[tokio::test]
async fn n63_the_metadata_follows_from_the_issuer_alone() {
    let api = Api::start().await;
    let issuer = api.installation.url();
    let forged = api.request(Method::GET, METADATA).header("host", "evil.example");
    let forged =
        forged.header("x-forwarded-host", "evil.example").header("forwarded", "host=evil.example");
    for reply in [api.get(METADATA).await, Reply::to(forged).await] {
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("cache-control"), "public, max-age=300");
        let methods = ["client_secret_basic", "client_secret_post"];
        let whole = json!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}/oauth2/token"),
            "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
            "scopes_supported": [
                "scrip:audit", "scrip:clients", "scrip:feed", "scrip:keys", "scrip:policies",
                "scrip:revoke", "scrip:tokens", "scrip:usage",
            ],
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": methods,
            "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
            "revocation_endpoint_auth_methods_supported": methods,
            "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
            "introspection_endpoint_auth_methods_supported": methods,
            "authorization_details_types_supported": ["llm_inference"],
            "scrip_feed_uri": format!("{issuer}/v1/deny/stream"),
            "scrip_keys_uri": format!("{issuer}/.well-known/scrip-keys"),
            "scrip_revocations_uri": format!("{issuer}/v1/revocations"),
            "scrip_token_parameters_supported": [
                "models", "budget_tokens", "budget_request_tokens", "budget_requests", "cidrs", "ttl",
            ],
        });
        assert_eq!(reply.json(), whole);
    }
}

#[tokio::test]
async fn n103_the_jwks_has_public_members_only_and_is_revalidated() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_AUDIENCE_ALG", "a=EdDSA,b=RS256")).await;
    let reply = api.get(JWKS).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), "application/jwk-set+json");
    assert_eq!(reply.header("cache-control"), "public, max-age=300");

    let document = reply.json();
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["keys"]);
    let mut algs = Vec::new();
    for key in document["keys"].as_array().unwrap() {
        let members: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        let (of_kind, material): (_, &[&str]) = match key["alg"].as_str().unwrap() {
            "ES256" => (json!({"kty": "EC", "crv": "P-256"}), &["crv", "x", "y"]),
            "EdDSA" => (json!({"kty": "OKP", "crv": "Ed25519"}), &["crv", "x"]),
            "RS256" => (json!({"kty": "RSA"}), &["e", "n"]),
            other => panic!("{other}"),
        };
        let expected =
            BTreeSet::from_iter(["kty", "kid", "alg", "use"].iter().chain(material).copied());
        assert_eq!(members, expected, "{key}");
        assert_eq!(key["use"], "sig");
        for (member, value) in of_kind.as_object().unwrap() {
            assert_eq!(&key[member], value);
        }
        assert_eq!(key["kid"], thumbprint(key));
        algs.push(key["alg"].as_str().unwrap());
    }
    algs.sort_unstable();
    assert_eq!(algs, ["ES256", "ES256", "EdDSA", "EdDSA", "RS256", "RS256"], "active and next");

    let tag = reply.header("etag");
    let ask = |tag: &str| Reply::to(api.request(Method::GET, JWKS).header("if-none-match", tag));
    for same in [tag, &format!("\"x\", {tag}"), "*"] {
        let same = ask(same).await;
        assert_eq!((same.status, same.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(
            (same.header("etag"), same.header("cache-control")),
            (tag, "public, max-age=300")
        );
    }
    assert_eq!(ask("\"x\"").await.status, StatusCode::OK);
    api.write(Method::POST, JWKS, &json!({})).await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn the_keys_document_is_signed_by_the_pinned_root() {
    let installation = Installation::on_sqlite();
    let Operator { id, secret } = installation.bootstrap().await;
    let (again, printed) = run(&installation, &["bootstrap"]).await;
    assert!(again && printed.starts_with("root key"), "{printed}");
    let root = printed.split_whitespace().nth(2).unwrap().to_owned();
    let api = Api::over(installation.set("SCRIP_KEY_LEAD", "0"), Client { id, secret }).await;

    let reply = api.get(KEYS).await;
    assert_eq!(reply.header("content-type"), "application/jose");
    assert_eq!(reply.header("cache-control"), "public, max-age=0");
    let first = document(&reply, &root);
    let whole = json!({
        "ver": 1, "iss": api.installation.url(), "version": 1, "iat": first["iat"],
        "roots": first["roots"], "feed_keys": first["feed_keys"], "token_keys": first["token_keys"],
    });
    assert_eq!(first, whole);
    assert_eq!((kids(&first["roots"]), kids(&first["feed_keys"]).len()), (vec![root.clone()], 1));
    assert_eq!(
        first["token_keys"],
        api.get(JWKS).await.json()["keys"],
        "the same keys, the same order"
    );

    // Each change of a key is a version, and the older ones stay.
    let rotated = api.write(Method::POST, "/v1/keys/ES256/rotate", &json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    let second = document(&api.get(KEYS).await, &root);
    assert_eq!((&second["version"], kids(&second["token_keys"]).len()), (&json!(2), 3));
    let active = rotated.json()["active"]["kid"].clone();
    assert_eq!(api.revoke(json!({"kid": active})).await.status, StatusCode::CREATED);
    let third = document(&api.get(KEYS).await, &root);
    assert_eq!(third["version"], 3);
    assert!(!kids(&third["token_keys"]).contains(&active.as_str().unwrap().to_owned()));
    for (version, then) in [(1, &first), (2, &second), (3, &third)] {
        assert_eq!(&document(&api.get(&format!("{KEYS}?version={version}")).await, &root), then);
    }
    for unknown in ["0", "4", "4294967295"] {
        api.get(&format!("{KEYS}?version={unknown}")).await.problem(404, "not-found");
    }
    for malformed in ["version=-1", "version=x", "version=1&version=2", "versions=1"] {
        api.get(&format!("{KEYS}?{malformed}")).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn n57_n106_no_key_signs_before_verifiers_can_know_it() {
    let api = Api::start().await;
    let before = api.read("/v1/keys").await.json();
    let refused = api.write(Method::POST, "/v1/keys/ES256/rotate", &json!({})).await;
    let detail = refused.problem(409, "conflict");
    let next = by_state(&before, "next");
    let published =
        chrono::DateTime::parse_from_rfc3339(next["published"].as_str().unwrap()).unwrap();
    let ripe = scrip::admin::rfc3339(published.timestamp() + 1200);
    assert!(detail.contains(&ripe), "{detail}: not {ripe}");
    for unused in ["EdDSA", "RS256", "HS256", "none", "es256"] {
        let refused =
            api.write(Method::POST, &format!("/v1/keys/{unused}/rotate"), &json!({})).await;
        refused.problem(404, "not-found");
    }
    assert_eq!(api.read("/v1/keys").await.json(), before);
}

#[tokio::test]
async fn a_rotation_changes_who_signs_and_spares_what_was_signed() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_KEY_LEAD", "0")).await;
    let client = api.billing().await;
    let old = api.token(&client).await;
    let before = api.read("/v1/keys").await.json();
    let (active, next) = (by_state(&before, "active"), by_state(&before, "next"));
    let tag = api.get(JWKS).await.header("etag").to_owned();

    let rotated = api.write(Method::POST, "/v1/keys/ES256/rotate", &json!({})).await.json();
    assert_eq!(rotated["active"]["kid"], next["kid"]);
    let whole = json!({
        "kid": rotated["next"]["kid"], "alg": "ES256", "use": "token", "state": "next",
        "published": rotated["next"]["published"], "active_from": null, "retire_at": null,
        "revoked_at": null,
    });
    assert_eq!(rotated["next"], whole);
    assert_ne!(api.get(JWKS).await.header("etag"), tag);

    let new = api.token(&client).await;
    let kid = async |jwt| api.verified(jwt, "llm-gateway").await.0.kid.unwrap();
    assert_eq!(kid(&old.jwt).await, active["kid"]);
    assert_eq!(kid(&new.jwt).await, next["kid"]);
    assert!(api.is_active(&client, &old.jwt).await && api.is_active(&client, &new.jwt).await);
    let after = api.read("/v1/keys").await.json();
    let retiring = by_state(&after, "retiring");
    assert_eq!(retiring["kid"], active["kid"]);
    let retires =
        chrono::DateTime::parse_from_rfc3339(retiring["retire_at"].as_str().unwrap()).unwrap();
    assert!(retires.timestamp() > clock::now_ms() / 1000 + 890, "longer than any token lives");

    let retire = |kid: &Value| format!("/v1/keys/{}/retire", kid.as_str().unwrap());
    let post = async |path: &str| api.write(Method::POST, path, &json!({})).await;
    post(&retire(&next["kid"])).await.problem(409, "conflict");
    post(&retire(&json!("A".repeat(43)))).await.problem(404, "not-found");
    let retired = post(&retire(&rotated["next"]["kid"])).await;
    assert_eq!(retired.json()["state"], "retired", "{retired:?}");
    assert_ne!(by_state(&api.read("/v1/keys").await.json(), "next")["kid"], rotated["next"]["kid"]);
}

#[tokio::test]
async fn n107_revoking_the_signing_key_kills_its_tokens_and_promotes_the_next() {
    let mut api = Api::start().await;
    let client = api.billing().await;
    let stolen = api.token(&client).await;
    let before = api.read("/v1/keys").await.json();
    let (active, next) = (by_state(&before, "active"), by_state(&before, "next"));

    let revoked = api.revoke(json!({"kid": active["kid"]})).await;
    assert_eq!(revoked.status, StatusCode::CREATED, "{revoked:?}");
    assert_eq!(revoked.json()["until"], Value::Null, "for ever");
    assert!(!api.is_active(&client, &stolen.jwt).await);
    let jwks = api.get(JWKS).await.json();
    assert!(!kids(&jwks["keys"]).contains(&active["kid"].as_str().unwrap().to_owned()));
    api.read("/v1/keys").await.problem(401, "invalid-token");

    api.bearer = api.mint(&api.operator, &[]).await.text("access_token");
    let token = api.token(&client).await;
    let (header, _) = api.verified(&token.jwt, "llm-gateway").await;
    assert_eq!(header.kid.unwrap(), next["kid"]);
    assert!(api.is_active(&client, &token.jwt).await);
    let after = api.read("/v1/keys").await.json();
    assert_eq!(by_state(&after, "active")["kid"], next["kid"]);
    assert_ne!(by_state(&after, "next")["kid"], next["kid"]);
    let again = api.revoke(json!({"kid": active["kid"]})).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, revoked.json()));
    let root = after["items"].as_array().unwrap().iter().find(|key| key["use"] == "root").unwrap();
    api.revoke(json!({"kid": root["kid"]})).await.problem(404, "not-found");
}

/// Checks the signature of a keys document and its root against the pin; what it says.
fn document(reply: &Reply, root: &str) -> Value {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let header = jsonwebtoken::decode_header(&reply.body).unwrap();
    assert_eq!(header.typ.as_deref(), Some("scrip-keys+jwt"));
    assert_eq!(header.kid.as_deref(), Some(root));
    let payload = reply.body.split('.').nth(1).unwrap();
    let payload = scrip_token::compact::from_base64url(payload).unwrap();
    let unverified: Value = serde_json::from_slice(&payload).unwrap();
    let roots = unverified["roots"].as_array().unwrap();
    let jwk = roots.iter().find(|jwk| thumbprint(jwk) == root).expect("the pinned root");
    let key = DecodingKey::from_jwk(&serde_json::from_value::<Jwk>(jwk.clone()).unwrap()).unwrap();
    let mut any = Validation::new(Algorithm::EdDSA);
    any.required_spec_claims.clear();
    any.validate_exp = false;
    any.validate_aud = false;
    jsonwebtoken::decode::<Value>(&reply.body, &key, &any).expect("signed by the root").claims
}

/// By jsonwebtoken (RFC 7638).
fn thumbprint(jwk: &Value) -> String {
    serde_json::from_value::<Jwk>(jwk.clone()).unwrap().thumbprint(ThumbprintHash::SHA256).unwrap()
}

fn kids(keys: &Value) -> Vec<String> {
    keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The one key of tokens in this state.
fn by_state(keys: &Value, state: &str) -> Value {
    let items = keys["items"].as_array().unwrap().iter();
    let mut found = items.filter(|key| key["use"] == "token" && key["state"] == state);
    let key = found.next().unwrap_or_else(|| panic!("none is {state}: {keys}")).clone();
    assert!(found.next().is_none(), "{keys}");
    key
}

#[tokio::test]
async fn a_replica_does_not_go_on_publishing_what_another_has_revoked() {
    let mut cluster = Cluster::start(&[]).await;
    let settings = Installation::on(&cluster.database().await).set("SCRIP_HEARTBEAT", "1");
    let api = Api::on(settings).await;
    let gateway = api.verifier().await;
    let other = api.installation.replica();
    let replica = other.serve().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |path: &str| http.get(format!("{}{path}", other.url()));
    let active = by_state(&api.read("/v1/keys").await.json(), "active")["kid"].clone();
    let active = active.as_str().unwrap();
    let before = Reply::to(get(JWKS)).await;
    assert!(before.body.contains(active), "{before:?}");
    let stream = get("/v1/deny/stream").basic_auth(&gateway.id, Some(&gateway.secret));
    let mut stream = Events::of(stream.send().await.unwrap());
    assert_eq!(api.revoke(json!({"kid": active})).await.status, StatusCode::CREATED);
    stream.named("batch").await;
    stream.named("heartbeat").await;
    cluster.kill().await;
    let after = Reply::to(get(JWKS)).await;
    assert!(!after.body.contains(active), "{after:?}");
    replica.stop().await;
}
