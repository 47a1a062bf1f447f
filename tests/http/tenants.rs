//! Two tenants: whatever an operator who is confined to one asks for, the answer is the same for what exists in
//! the other and for what exists nowhere. What is asked is every operation of `openapi.yaml`, as its examples
//! have it, about somebody else.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, Client, Reply, terms};
use super::usage::{Ledger, ledger};
use crate::contract::document::{Document, Operation, text};
use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::vault::DevVault;

/// The examples' client, token and revocation.
const EXAMPLES: [&str; 4] = [
    "acme",
    "billing",
    "01a1ee56-5e7b-7fff-bfff-ffffffffffff",
    "01a1ee57-0000-7abc-9def-0123456789ab",
];

/// What is asked about in place of the examples, in their order.
struct Subject([String; 4]);

impl Subject {
    fn of(tenant: &str, name: &str, jti: &str, revocation: &str) -> Self {
        Self([tenant, name, jti, revocation].map(str::to_owned))
    }

    fn asked(&self, example: &str) -> String {
        let pairs = EXAMPLES.iter().zip(&self.0);
        pairs.fold(example.to_owned(), |text, (example, asked)| text.replace(example, asked))
    }

    /// An answer, without what differs in the questions.
    fn scrubbed(&self, reply: &Reply) -> String {
        let headers: BTreeMap<&str, &[u8]> = reply
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .filter(|(name, _)| !["x-request-id", "date"].contains(name))
            .collect();
        let id = reply.header("x-request-id");
        let whole = format!("{} {headers:?} {}", reply.status, reply.body).replace(id, "ID");
        let pairs = EXAMPLES.iter().zip(&self.0);
        pairs.fold(whole, |text, (example, asked)| text.replace(asked, example))
    }
}

/// A question: an operation, an address and a body, both about the examples.
struct Question<'d> {
    operation: Operation<'d>,
    path: String,
    body: Option<String>,
}

impl Question<'_> {
    fn request(&self, api: &Api, about: &Subject) -> RequestBuilder {
        let request = api.request(self.operation.method.clone(), &about.asked(&self.path));
        match (&self.body, self.operation.takes()) {
            (Some(body), Some(media)) => {
                request.header("content-type", media).body(about.asked(body))
            }
            _ => request,
        }
    }

    fn is_about_one(&self) -> bool {
        self.operation.method == Method::GET && self.operation.path.contains('{')
    }
}

/// Every operation of the API with each of its bodies and each of its query parameters.
fn questions(document: &Document) -> Vec<Question<'_>> {
    let mut questions = Vec::new();
    let operations = || document.operations().filter(|one| one.path.starts_with("/v1/"));
    for operation in operations() {
        let path = operation.example_path();
        let mut bodies: Vec<String> =
            operation.body_examples().iter().map(ToString::to_string).collect();
        if operation.id() == "createRevocation" {
            bodies.push(json!({"selector": {"tenant": "acme"}}).to_string());
            let dry_run = bodies.iter().map(|body| body.replacen('{', r#"{"dry_run":true,"#, 1));
            bodies.extend(dry_run.collect::<Vec<_>>());
        }
        let bodies =
            if bodies.is_empty() { vec![None] } else { bodies.into_iter().map(Some).collect() };
        for (n, body) in bodies.into_iter().enumerate() {
            let operation = operations().find(|one| one.id() == operation.id()).expect("the same");
            if n == 0 {
                for parameter in operation.parameters("query") {
                    let operation =
                        operations().find(|one| one.id() == operation.id()).expect("the same");
                    let join = if path.contains('?') { '&' } else { '?' };
                    let (name, value) = (text(&parameter["name"]), text(&parameter["example"]));
                    let query = form_urlencoded::Serializer::new(String::new())
                        .append_pair(&name, &value)
                        .finish();
                    let path = format!("{path}{join}{query}");
                    questions.push(Question { operation, path, body: None });
                }
            }
            questions.push(Question { operation, path: path.clone(), body });
        }
    }
    questions
}

#[tokio::test]
async fn n65_nothing_lets_one_tenant_learn_of_another_on_sqlite() {
    nothing_lets_one_tenant_learn_of_another(Installation::on_sqlite()).await;
}

#[tokio::test]
async fn n65_nothing_lets_one_tenant_learn_of_another_on_postgres() {
    nothing_lets_one_tenant_learn_of_another(Installation::on_postgres().await).await;
}

async fn nothing_lets_one_tenant_learn_of_another(installation: Installation) {
    let vault = DevVault::start().await;
    let api = Api::on(installation.with_vault(&vault.admin).await).await;
    vault.admin.put_secret("scrip/acme/found", "acme/found").await;
    let document = Document::load();
    let questions = questions(&document);
    let (own, ..) = populate(&api, "acme").await;
    let confined = json!({
        "audiences": ["self"], "env": "scrip", "serves": ["self"], "admin_tenant": "acme",
        "scopes": scrip::policy::OPERATOR_SCOPES,
    });
    let confined = api.client("acme/operator", confined).await;
    let bearer = api.token(&confined).await.jwt;
    let ask = async |question: &Question<'_>, about: &Subject, bearer: &str| {
        Reply::to(question.request(&api, about).bearer_auth(bearer)).await
    };

    // What it sees of all there is does not change with what the other tenant does.
    let nobody = Subject::of("zeta", "billing", EXAMPLES[2], EXAMPLES[3]);
    let lists: Vec<&Question<'_>> = questions
        .iter()
        .filter(|one| one.operation.method == Method::GET && !one.operation.path.contains('{'))
        .collect();
    mints_are_counted(&api).await;
    let before = all(&lists, async |one| shown(&ask(one, &nobody, &bearer).await)).await;
    let (token, revocation, counter) = populate(&api, "beta").await;
    vault.admin.put_secret("scrip/beta/found", "beta/found").await;
    mints_are_counted(&api).await;
    let after = all(&lists, async |one| shown(&ask(one, &nobody, &bearer).await)).await;
    assert_eq!(before, after);
    for own in ["acme/billing", "acme/gateway", "quota.overrun"] {
        assert!(before.iter().any(|shown| shown.contains(own)), "it sees {own}");
    }

    // What exists there, what does not, and what is nobody's.
    let beta = Subject::of("beta", "billing", &token.jti, &revocation);
    let (jti, other) = (neighbour(&token.jti), neighbour(&revocation));
    let absent = [
        Subject::of("zeta", "billing", &jti, &other),
        Subject::of("beta", "nothing", &jti, &other),
    ];
    let untouched = inventory(&api).await;
    let mut answered = 0;
    for question in &questions {
        let of = format!("{} {}", question.operation.method, question.path);
        let exists = ask(question, &beta, &bearer).await;
        assert!(!exists.status.is_server_error(), "{of}: {exists:?}");
        answered += usize::from(exists.status != StatusCode::FORBIDDEN);
        for nothing in &absent {
            let none = nothing.scrubbed(&ask(question, nothing, &bearer).await);
            assert_eq!(beta.scrubbed(&exists), none, "{of} {:?}", question.body);
            if question.operation.takes_a("client") {
                let by_secret = async |about: &Subject| {
                    let request = question.request(&api, about);
                    let request = request.basic_auth(&confined.id, Some(&confined.secret));
                    about.scrubbed(&Reply::to(request).await)
                };
                assert_eq!(by_secret(&beta).await, by_secret(nothing).await, "{of} by its secret");
            }
            // The same question tells an operator who is not confined whether it exists.
            let told =
                async |about: &Subject| about.scrubbed(&ask(question, about, &api.bearer).await);
            if question.is_about_one() && exists.status == StatusCode::NOT_FOUND {
                assert_ne!(told(&beta).await, told(nothing).await, "{of} asks nothing");
            }
        }
    }
    assert!(answered > 20, "{answered}");
    assert_eq!(inventory(&api).await, untouched, "nothing there was touched");
    assert!(api.is_active(&token.holder, &token.jwt).await);

    // Who counts its tokens is not said, where that is another.
    let own = api.token(&own.holder).await;
    let counted = counter.report(&api, "gw-1a", &[(&own.jti, 7777)]).await;
    assert_eq!(counted.json()["counted"], 1, "{counted:?}");
    let shown = all(&lists, async |one| shown(&ask(one, &nobody, &bearer).await)).await;
    assert!(shown.iter().any(|shown| shown.contains("2777")), "its token has overrun its budget");
    assert!(!shown.iter().any(|shown| shown.contains("beta")), "{shown:?}");

    // Nor does an ordinary client learn whether a token of another is good.
    let billing = api.client_under("acme/curious", "acme/billing").await;
    for guess in [token.jwt.as_str(), "x.y.z"] {
        let reply = api.form("/oauth2/introspect", &billing, &[("token", guess)]).await;
        assert_eq!(reply.json(), json!({"active": false}));
    }
}

struct Minted {
    holder: Client,
    jwt: String,
    jti: String,
}

/// A client with a quota and two tokens, of which one is revoked and one has overrun its budget, a policy, a
/// verifier, a ledger. Yields the token that is good, the revocation, and who counts.
async fn populate(api: &Api, tenant: &str) -> (Minted, String, Ledger) {
    let mut terms = terms();
    terms["quota"] = json!({"tokens": 100_000, "window": "lifetime"});
    let holder = api.client(&format!("{tenant}/billing"), terms).await;
    let gateway = ledger(api, &format!("{tenant}/gateway"), "llm-gateway").await;
    acknowledge(api, &gateway.client).await;
    gateway.register(api, "gw-1a").await;
    let revoked = api.revoke(json!({"jti": api.token(&holder).await.jti})).await;
    let token = api.token(&holder).await;
    gateway.report(api, "gw-1a", &[(&token.jti, 6000)]).await;
    (Minted { holder, jwt: token.jwt, jti: token.jti }, revoked.text("id"), gateway)
}

async fn acknowledge(api: &Api, gateway: &Client) {
    let snapshot = api.request(Method::GET, "/v1/deny/snapshot");
    let manifest = Reply::to(snapshot.basic_auth(&gateway.id, Some(&gateway.secret))).await;
    let manifest = manifest.body.split('.').nth(1).expect("a JWS").as_bytes().to_vec();
    let manifest = scrip_token::compact::from_base64url(str::from_utf8(&manifest).expect("ASCII"));
    let at: Value = serde_json::from_slice(&manifest.expect("base64url")).expect("a manifest");
    let ack = json!({
        "verifier": "gw-1", "epoch": at["epoch"], "seq": at["seq"], "head": at["head"],
        "as_of": at["iat"], "max_staleness": 60, "policy": "deny", "allow_for": 0,
    });
    let request = api.request(Method::POST, "/v1/deny/acks").json(&ack);
    let reply = Reply::to(request.basic_auth(&gateway.id, Some(&gateway.secret))).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
}

/// Returns once every mint is counted at its client, which takes up to a second.
async fn mints_are_counted(api: &Api) {
    until("all mints are counted", Duration::from_secs(10), async || {
        let clients = api.read("/v1/clients?limit=200").await.json();
        let clients = clients["items"].as_array().expect("a list").iter();
        let counted: u64 = clients.filter_map(|client| client["mints"].as_u64()).sum();
        let tokens = api.read("/v1/tokens?limit=200").await.json();
        (tokens["items"].as_array().expect("a list").len() as u64 == counted).then_some(())
    })
    .await;
}

/// Everything that there is, as an operator sees it who sees everything.
async fn inventory(api: &Api) -> Vec<String> {
    let mut seen = Vec::new();
    for list in ["clients", "policies", "tokens", "revocations", "ledgers", "usage"] {
        let listed = api.read(&format!("/v1/{list}?limit=200")).await;
        assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
        let mut body = listed.json();
        for item in body["items"].as_array_mut().into_iter().flatten() {
            // Whoever asks by its secret uses it.
            item["last_used"].take();
        }
        seen.push(body.to_string());
    }
    seen
}

async fn all<T, U>(items: &[T], ask: impl AsyncFn(&T) -> U) -> Vec<U> {
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        answers.push(ask(item).await);
    }
    answers
}

/// A list, without how far the feed has got and whether its verifiers have: it is one for all tenants.
fn shown(reply: &Reply) -> String {
    let Ok(mut body) = serde_json::from_str::<Value>(&reply.body) else {
        return format!("{} {}", reply.status, reply.body);
    };
    body["request_id"].take();
    body["seq"].take();
    for item in body["items"].as_array_mut().into_iter().flatten() {
        for member in ["behind", "connected"] {
            item[member].take();
        }
    }
    format!("{} {body}", reply.status)
}

/// Another id right beside it.
fn neighbour(id: &str) -> String {
    let (rest, last) = id.split_at(id.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}
