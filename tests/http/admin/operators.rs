//! Operators who are confined to a tenant, and what nobody grants.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::until::until;
use crate::http::api::{Api, Client, Reply, terms};

/// Every scope of an operator but those of verifiers and ledgers.
const SCOPES: [&str; 6] = [
    "scrip:audit",
    "scrip:clients",
    "scrip:keys",
    "scrip:policies",
    "scrip:revoke",
    "scrip:tokens",
];

fn operators(scopes: &[&str], confined: Option<&str>) -> Value {
    let mut terms = json!({"audiences": ["self"], "scopes": scopes, "env": "scrip"});
    if let Some(tenant) = confined {
        terms["admin_tenant"] = json!(tenant);
    }
    terms
}

/// An operator with a token of its own.
struct Asking<'a> {
    api: &'a Api,
    client: Client,
    bearer: String,
}

impl<'a> Asking<'a> {
    async fn new(api: &'a Api, id: &str, terms: Value) -> Self {
        let client = api.client(id, terms).await;
        let bearer = api.token(&client).await.jwt;
        Self { api, client, bearer }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Reply {
        let request = self.api.request(method, path).bearer_auth(&self.bearer);
        Reply::to(if body.is_null() { request } else { request.json(body) }).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, &Value::Null).await
    }

    async fn apply(&self, name: &str, mut terms: Value) -> Reply {
        terms["name"] = json!(name);
        self.ask(Method::PUT, &format!("/v1/policies/{name}"), &terms).await
    }

    /// By its secret, without a token.
    async fn revoke(&self, selector: Value) -> Reply {
        let request = self.api.request(Method::POST, "/v1/revocations");
        let request = request.basic_auth(&self.client.id, Some(&self.client.secret));
        Reply::to(request.json(&json!({"selector": selector}))).await
    }
}

#[tokio::test]
async fn n65_a_foreign_token_is_as_unknown_as_one_that_nobody_has() {
    let api = Api::start().await;
    let (own, foreign) = (api.billing().await, api.client("beta/billing", terms()).await);
    let (own, foreign) = (api.token(&own).await, (api.token(&foreign).await, foreign));
    let acme = Asking::new(&api, "acme/operator", operators(&SCOPES, Some("acme"))).await;

    for (token, status) in [(&foreign.0.jti, 404), (&own.jti, 201), (&own.jti, 200)] {
        let body = json!({"selector": {"jti": token}});
        let preview = json!({"selector": {"jti": token}, "dry_run": true});
        let previewed = acme.ask(Method::POST, "/v1/revocations", &preview).await;
        assert_eq!(previewed.status.as_u16(), if status == 404 { 404 } else { 200 });
        let reply = acme.ask(Method::POST, "/v1/revocations", &body).await;
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
        let shown = acme.get(&format!("/v1/tokens/{token}")).await;
        assert_eq!(shown.status.as_u16(), if status == 404 { 404 } else { 200 });
    }
    let unknown = "01a1ee56-5e7b-7fff-bfff-ffffffffffff";
    for selector in [
        json!({"jti": foreign.0.jti}),
        json!({"jti": unknown}),
        json!({"client": "beta/billing"}),
        json!({"tenant": "beta"}),
        json!({"sub": {"tenant": "beta", "id": "client:beta/billing"}}),
        json!({"cred": {"client": "beta/billing", "version": "embedded:1.1"}}),
    ] {
        acme.revoke(selector).await.problem(404, "not-found");
    }
    let kid = acme.get(&format!("/v1/tokens/{}", own.jti)).await.text("kid");
    for selector in [json!({"all": true}), json!({"kid": kid}), json!({"kid": "A".repeat(43)})] {
        let (refused, previewed) = (acme.revoke(selector.clone()).await, {
            let body = json!({"selector": selector, "dry_run": true});
            acme.ask(Method::POST, "/v1/revocations", &body).await
        });
        refused.problem(403, "confined");
        previewed.problem(403, "confined");
    }
    assert!(api.is_active(&foreign.1, &foreign.0.jwt).await);
    for global in ["/v1/keys", "/v1/keys/ES256/rotate"] {
        let method = if global.ends_with("rotate") { Method::POST } else { Method::GET };
        acme.ask(method, global, &Value::Null).await.problem(403, "confined");
    }

    let listed = acme.get("/v1/revocations").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(acme.revoke(json!({"tenant": "acme"})).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_confined_operator_administers_its_tenant_and_no_other() {
    let api = Api::start().await;
    api.client("beta/billing", terms()).await;
    let acme = Asking::new(&api, "acme/operator", operators(&SCOPES, Some("acme"))).await;

    assert_eq!(acme.apply("acme/billing", terms()).await.status, StatusCode::OK);
    let billing = json!({"id": "acme/billing", "policy": "acme/billing"});
    let made = acme.ask(Method::POST, "/v1/clients", &billing).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    for name in ["beta/billing", "beta/new", "nowhere/new"] {
        acme.apply(name, terms()).await.problem(403, "confined");
        let body = json!({"id": name, "policy": name});
        acme.ask(Method::POST, "/v1/clients", &body).await.problem(403, "confined");
        for kind in ["clients", "policies"] {
            acme.get(&format!("/v1/{kind}/{name}")).await.problem(404, "not-found");
            let none = acme.get(&format!("/v1/{kind}?tenant={}", &name[..4])).await.json();
            assert_eq!(none, json!({"items": [], "next": null}));
        }
        let client = format!("/v1/clients/{name}");
        let off = json!({"enabled": false});
        acme.ask(Method::PATCH, &client, &off).await.problem(404, "not-found");
        acme.ask(Method::DELETE, &client, &Value::Null).await.problem(404, "not-found");
        let rotate = format!("{client}/rotate");
        acme.ask(Method::POST, &rotate, &json!({})).await.problem(404, "not-found");
    }
    for (list, own) in [("clients", 2), ("policies", 2), ("tokens", 1)] {
        let listed = acme.get(&format!("/v1/{list}")).await;
        assert_eq!(listed.json()["items"].as_array().unwrap().len(), own, "{listed:?}");
        assert!(!listed.body.contains("beta") && !listed.body.contains("\"ops/operator"));
    }
    let audit = acme.get("/v1/audit").await.json();
    let tenants = audit["items"].as_array().unwrap().iter().map(|event| &event["tenant"]);
    assert!(tenants.clone().count() > 3 && tenants.clone().all(|tenant| tenant == "acme"));
}

#[tokio::test]
async fn a_confinement_counts_from_the_request_after_it_on() {
    let api = Api::start().await;
    api.client("beta/billing", terms()).await;
    let free = operators(&SCOPES, None);
    let acme = Asking::new(&api, "acme/operator", free.clone()).await;
    let foreign = "/v1/clients/beta/billing";
    assert_eq!(acme.get(foreign).await.status, StatusCode::OK);
    let created = json!({"id": "beta/second", "policy": "beta/billing"});
    let create = async || {
        let request = api.request(Method::POST, "/v1/clients").bearer_auth(&acme.bearer);
        Reply::to(request.header("idempotency-key", "k").json(&created)).await
    };
    assert_eq!(create().await.status, StatusCode::CREATED);
    assert_eq!(acme.revoke(json!({"tenant": "beta"})).await.status, StatusCode::CREATED);

    let put = async |mut terms: Value| {
        terms["name"] = json!("acme/operator");
        let path = "/v1/policies/acme/operator";
        let applied = api.write(Method::PUT, path, &terms).await;
        assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    };
    put(operators(&SCOPES, Some("acme"))).await;
    acme.get(foreign).await.problem(404, "not-found");
    create().await.problem(403, "confined");
    acme.revoke(json!({"tenant": "beta"})).await.problem(404, "not-found");
    put(free.clone()).await;
    assert_eq!(acme.get(foreign).await.status, StatusCode::OK);

    // Nor is there a way out by having another policy: what grants nothing opens nothing.
    put(operators(&SCOPES, Some("acme"))).await;
    assert_eq!(acme.apply("acme/plain", terms()).await.status, StatusCode::OK);
    let own = "/v1/clients/acme/operator";
    let plain = acme.ask(Method::PATCH, own, &json!({"policy": "acme/plain"})).await;
    assert_eq!(plain.status, StatusCode::OK, "{plain:?}");
    acme.get(foreign).await.problem(403, "insufficient-scope");
    let back = json!({"policy": "acme/operator", "enabled": false});
    assert_eq!(api.write(Method::PATCH, own, &back).await.status, StatusCode::OK);
    acme.get(own).await.problem(403, "insufficient-scope");
}

#[tokio::test]
async fn nobody_widens_what_they_have_by_any_way_round() {
    let api = Api::start().await;
    let (some, confined) = (["scrip:clients", "scrip:policies"], Some("acme"));
    let acme = Asking::new(&api, "acme/operator", operators(&some, confined)).await;
    api.client("acme/boss", operators(&some, None)).await;
    api.client("acme/strong", operators(&SCOPES, confined)).await;

    let follower = json!({
        "audiences": ["self"], "scopes": ["scrip:feed"], "serves": ["llm-gateway"], "env": "scrip",
        "admin_tenant": "acme",
    });
    let tried = [
        // Its own policy, one that somebody has, and one that nobody has yet.
        acme.apply("acme/operator", operators(&some, None)).await,
        acme.apply("acme/operator", operators(&SCOPES, confined)).await,
        acme.apply("acme/operator", operators(&some, Some("beta"))).await,
        acme.apply("acme/boss", operators(&some, confined)).await,
        acme.apply("acme/strong", operators(&some, confined)).await,
        acme.apply("acme/new", operators(&some, None)).await,
        acme.apply("acme/new", follower.clone()).await,
        // A client with more, made, changed or taken over.
        acme.ask(Method::POST, "/v1/clients", &json!({"id": "acme/new", "policy": "acme/boss"}))
            .await,
        acme.ask(Method::PATCH, "/v1/clients/acme/operator", &json!({"policy": "acme/boss"})).await,
        acme.ask(Method::PATCH, "/v1/clients/acme/boss", &json!({"policy": "acme/operator"})).await,
        acme.ask(Method::POST, "/v1/clients/acme/boss/rotate", &json!({})).await,
        acme.ask(Method::POST, "/v1/clients/acme/strong/rotate", &json!({})).await,
    ];
    for refused in &tried {
        let why = refused.problem(403, "insufficient-scope");
        assert!(why.contains("`scrip:"), "it says which scope: {why}");
    }
    let events = async || {
        let path = "/v1/audit?actor=acme/operator&action=grant";
        let items = api.read(path).await.json()["items"].clone();
        let items = items.as_array()?.clone();
        (items.len() == tried.len()).then_some(items)
    };
    let events = until("the refusals are in the audit log", Duration::from_secs(10), events).await;
    assert!(events.iter().all(|event| event["detail"]["scope"].is_string()), "{events:?}");
    assert!(events.iter().any(|event| event["detail"]["outside"] == "acme"), "{events:?}");

    let narrower = operators(&["scrip:clients"], confined);
    assert_eq!(acme.apply("acme/helper", narrower).await.status, StatusCode::OK);
    let helper = json!({"id": "acme/helper", "policy": "acme/helper"});
    assert_eq!(acme.ask(Method::POST, "/v1/clients", &helper).await.status, StatusCode::CREATED);
    // Whoever serves one audience registers verifiers of no other.
    let mut registrar = follower.clone();
    registrar["scopes"] = json!(["scrip:feed", "scrip:policies"]);
    registrar.as_object_mut().unwrap().remove("admin_tenant");
    let registrar = Asking::new(&api, "ops/registrar", registrar).await;
    let mut other = follower;
    other.as_object_mut().unwrap().remove("admin_tenant");
    assert_eq!(registrar.apply("acme/gateway", other.clone()).await.status, StatusCode::OK);
    other["serves"] = json!(["llm-gateway", "another"]);
    let why = registrar.apply("acme/gateway", other).await.problem(403, "insufficient-scope");
    assert!(why.contains("`another`"), "{why}");
}

#[tokio::test]
async fn a_confined_verifier_sees_its_tenants_tokens_and_follows_nothing() {
    let api = Api::start().await;
    let (own, foreign) = (api.billing().await, api.client("beta/billing", terms()).await);
    let (own, foreign) = (api.token(&own).await, api.token(&foreign).await);
    let gateway = json!({
        "audiences": ["self"], "scopes": ["scrip:feed"], "serves": ["llm-gateway"], "env": "scrip",
        "admin_tenant": "acme",
    });
    let gateway = api.client("acme/gateway", gateway).await;
    assert!(api.is_active(&gateway, &own.jwt).await);
    assert!(!api.is_active(&gateway, &foreign.jwt).await);
    for path in ["/v1/deny/snapshot", "/v1/deny/stream"] {
        let request = api.request(Method::GET, path);
        let refused = Reply::to(request.basic_auth(&gateway.id, Some(&gateway.secret))).await;
        refused.problem(403, "confined");
    }
}
