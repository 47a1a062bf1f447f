//! Each of the seven selectors kills what it names and nothing else; what it would kill can be asked first.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, Client, Reply, Token, terms};
use crate::harness::service::Installation;
use scrip::random;
use scrip_token::Jti;

/// Two clients of one tenant and one of another, with a token each.
struct Tenants {
    api: Api,
    clients: [Client; 3],
    tokens: Vec<Token>,
}

impl Tenants {
    async fn on(installation: Installation) -> Self {
        let api = Api::on(installation).await;
        let billing = api.billing().await;
        let support = api.client_under("acme/support", "acme/billing").await;
        let beta = api.client("beta/billing", terms()).await;
        let clients = [billing, support, beta];
        let tokens = join_all(clients.iter().map(|client| api.token(client))).await;
        Self { api, clients, tokens }
    }

    /// Which of the three tokens still live.
    async fn live(&self) -> [bool; 3] {
        let ask = |n: usize| self.api.is_active(&self.clients[n], &self.tokens[n].jwt);
        let (one, two, three) = tokio::join!(ask(0), ask(1), ask(2));
        [one, two, three]
    }

    async fn dry_run(&self, selector: Value) -> Value {
        let body = json!({"selector": selector, "dry_run": true});
        let reply = self.api.write(Method::POST, "/v1/revocations", &body).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()
    }

    /// Replaces the tokens that are dead.
    async fn mint_again(&mut self) {
        for (n, is_live) in self.live().await.into_iter().enumerate() {
            if !is_live {
                self.tokens[n] = self.api.token(&self.clients[n]).await;
            }
        }
        // An operator's token is a token too.
        self.api.bearer = self.api.mint(&self.api.operator, &[]).await.text("access_token");
    }
}

#[tokio::test]
async fn n66_each_selector_kills_what_it_names_on_sqlite() {
    each_selector_kills_what_it_names(Tenants::on(Installation::on_sqlite()).await).await;
}

#[tokio::test]
async fn n66_each_selector_kills_what_it_names_on_postgres() {
    each_selector_kills_what_it_names(Tenants::on(Installation::on_postgres().await).await).await;
}

async fn each_selector_kills_what_it_names(mut tenants: Tenants) {
    let named = |clients: &[&str]| {
        json!({
            "live_tokens": clients.len(), "clients": clients,
            "budget_outstanding": 5000 * clients.len(),
        })
    };
    let billing = ["acme/billing"].as_slice();
    let subject = json!({"sub": {"tenant": "acme", "id": "client:acme/billing"}});
    let foreign = json!({"sub": {"tenant": "beta", "id": "client:acme/billing"}});
    for (selector, killed, spared, known) in [
        (json!({"jti": tenants.tokens[0].jti}), billing, [false, true, true], true),
        (json!({"client": "acme/billing"}), billing, [false, true, true], true),
        (subject, billing, [false, true, true], true),
        (foreign, &[], [true, true, true], false),
        (json!({"tenant": "acme"}), &["acme/billing", "acme/support"], [false, false, true], true),
    ] {
        assert_eq!(tenants.dry_run(selector.clone()).await, named(killed), "{selector}");
        assert_eq!(tenants.live().await, [true; 3], "a dry run kills nothing");
        let revoked = tenants.api.revoke(selector.clone()).await;
        assert_eq!(revoked.status, StatusCode::CREATED, "{revoked:?}");
        assert_eq!(revoked.json()["selector"], selector);
        assert_eq!(revoked.json()["known"], known, "{selector}");
        assert_eq!(tenants.live().await, spared, "{selector}");
        assert_eq!(tenants.dry_run(selector).await, named(&[]), "what is dead is not counted");
        tenants.mint_again().await;
    }

    // The three tokens and the operator's own.
    let everything = tenants.dry_run(json!({"all": true})).await;
    assert_eq!(
        everything["clients"],
        json!(["acme/billing", "acme/support", "beta/billing", "ops/admin"])
    );
    let keys = tenants.api.read("/v1/keys").await.json();
    let of_use =
        |name: &str| keys["items"].as_array().unwrap().iter().find(|key| key["use"] == name);
    let feed = json!({"kid": of_use("feed").expect("a feed key")["kid"]});
    assert_eq!(tenants.dry_run(feed).await, everything, "a stolen feed key ends the epoch");
    let all = tenants.api.revoke(json!({"all": true})).await;
    assert_eq!(all.status, StatusCode::CREATED, "{all:?}");
    assert_eq!(tenants.live().await, [false; 3]);
    tenants.api.read("/v1/revocations").await.problem(401, "invalid-token");
    tenants.mint_again().await;
    assert_eq!(tenants.live().await, [true; 3]);
    let list = tenants.api.read("/v1/revocations").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 6, "one selector, one entry: {list}");
    assert_eq!(list["items"][0]["seq"], 6);
}

/// The version itself ends as well: it mints nothing after its entry has been forgotten either.
#[tokio::test]
async fn a_revoked_credential_never_authenticates_again() {
    let tenants = Tenants::on(Installation::on_sqlite()).await;
    let Tenants { api, clients, tokens } = &tenants;
    let (_, claims) = api.verified(&tokens[0].jwt, "llm-gateway").await;
    let selector = json!({"cred": {"client": "acme/billing", "version": claims["cred"]}});
    assert_eq!(tenants.dry_run(selector.clone()).await["live_tokens"], 1);
    let revoked = api.revoke(selector.clone()).await;
    assert_eq!(revoked.status, StatusCode::CREATED, "{revoked:?}");
    assert_eq!(
        tenants.dry_run(json!({"tenant": "acme"})).await["clients"],
        json!(["acme/support"])
    );
    api.sql("DELETE FROM deny_entries").await;
    api.mint(&clients[0], &[]).await.refused(401, "invalid_client");
    assert_eq!(api.revoke(selector).await.status, StatusCode::OK);
}

/// Whoever was handed a token delegated from a revoked one holds a dead token, although no selector names it.
#[tokio::test]
async fn what_was_delegated_dies_with_what_it_was_delegated_from() {
    let tenants = Tenants::on(Installation::on_sqlite()).await;
    let Tenants { api, tokens, .. } = &tenants;
    // Nothing mints delegated tokens yet: this record is what a token exchange will leave.
    let (parent, child) = (Jti::parse(&tokens[0].jti).unwrap(), delegate(&tenants).await);
    let of_one = json!({
        "live_tokens": 2, "clients": ["acme/billing", "beta/billing"], "budget_outstanding": 10000,
    });
    for selector in [json!({"client": "acme/billing"}), json!({"jti": parent.to_string()})] {
        assert_eq!(tenants.dry_run(selector).await, of_one);
    }
    let untouched = tenants.dry_run(json!({"client": "acme/support"})).await;
    assert_eq!(untouched["live_tokens"], 1);

    let revoked = api.revoke(json!({"client": "acme/billing"})).await;
    let entries = entries(api, &revoked.json()).await;
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert_eq!(entries[0]["client"], "acme/billing");
    let (_, claims) = api.verified(&tokens[0].jwt, "llm-gateway").await;
    let until = claims["exp"].as_u64().unwrap() + 5;
    assert_eq!(entries[1], json!({"jti": parent.to_string(), "until": until}));
    assert_eq!(tenants.dry_run(json!({"jti": child.to_string()})).await["live_tokens"], 0);

    // Its holder's own cut names it, and needs no ancestor.
    let holder = api.revoke(json!({"client": "beta/billing"})).await;
    assert_eq!(entries_len(api, &holder).await, 1);
}

#[tokio::test]
async fn n50_a_repeated_request_is_one_revocation() {
    let tenants = Tenants::on(Installation::on_sqlite()).await;
    let api = &tenants.api;
    let post = async |key: &str, selector: Value| {
        let request = api.request(Method::POST, "/v1/revocations").bearer_auth(&api.bearer);
        let request = request.header("idempotency-key", key);
        Reply::to(request.json(&json!({"selector": selector}))).await
    };
    // A cut made again a second later would be a second one.
    let first = post("k", json!({"client": "acme/billing"})).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let cut = tenants.api.token(&tenants.clients[0]).await;
    let again = post("k", json!({"client": "acme/billing"})).await;
    assert_eq!((again.status, again.json()), (StatusCode::CREATED, first.json()));
    assert!(api.is_active(&tenants.clients[0], &cut.jwt).await, "it was cut a second time");
    post("k", json!({"client": "acme/support"})).await.problem(409, "conflict");
    post("a b", json!({"client": "acme/support"})).await.problem(400, "invalid-request");

    // All at once: in one group, or one after the other.
    let selector = json!({"jti": tenants.tokens[1].jti});
    let replies = join_all((0..100).map(|_| post("at-once", selector.clone()))).await;
    for reply in &replies {
        assert_eq!((reply.status, reply.json()), (StatusCode::CREATED, replies[0].json()));
    }
    let without = join_all((0..100).map(|_| {
        let selector = json!({"jti": tenants.tokens[2].jti});
        api.revoke(selector)
    }))
    .await;
    let made = without.iter().filter(|reply| reply.status == StatusCode::CREATED);
    assert_eq!(made.count(), 1);
    let list = api.read("/v1/revocations").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
}

/// Many revocations at once are many entries, each with an audit event, and no number is left out.
#[tokio::test]
async fn n67_a_flood_of_calls_is_taken_in_groups() {
    let api = Api::start().await;
    let now = scrip::clock::now_ms().unsigned_abs();
    let jtis: Vec<Jti> = (0..300).map(|_| Jti::new(now, random::bytes())).collect();
    let replies =
        join_all(jtis.iter().map(|jti| api.revoke(json!({"jti": jti.to_string()})))).await;
    let mut seqs: Vec<i64> = Vec::new();
    for (jti, reply) in jtis.iter().zip(&replies) {
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let entries = entries(&api, &reply.json()).await;
        assert!(entries.iter().any(|entry| entry["jti"] == jti.to_string()), "not where it says");
        seqs.push(reply.json()["seq"].as_i64().unwrap());
    }
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
    assert!(seqs.len() < jtis.len(), "each had a commit of its own");
    assert_eq!(api.number("SELECT count(*) FROM audit WHERE action = 'revoke'").await, 300);
}

async fn entries_len(api: &Api, revoked: &Reply) -> usize {
    entries(api, &revoked.json()).await.len()
}

/// The entries of the batch that a revocation names.
async fn entries(api: &Api, revoked: &Value) -> Vec<Value> {
    let (epoch, seq) = (revoked["epoch"].as_str().unwrap(), revoked["seq"].as_i64().unwrap());
    let path = format!("/v1/deny/batches?epoch={epoch}&after={}", seq - 1);
    let request = api.request(Method::GET, &path);
    let request = request.basic_auth(&api.operator.id, Some(&api.operator.secret));
    let batches = Reply::to(request).await.json();
    let jws = batches["batches"][0].as_str().unwrap_or_else(|| panic!("{batches}"));
    let payload = BASE64_URL_SAFE_NO_PAD.decode(jws.split('.').nth(1).unwrap()).unwrap();
    let batch: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(batch["seq"], seq);
    batch["entries"].as_array().unwrap().clone()
}

/// Puts a token on record that `beta/billing` had delegated from the first of the three.
async fn delegate(tenants: &Tenants) -> Jti {
    let child = Jti::new(scrip::clock::now_ms().unsigned_abs(), random::bytes());
    let parent = &tenants.tokens[0].jti;
    let hex = |jti: &str| jti.replace('-', "");
    let sql = format!(
        "INSERT INTO tokens (jti, tenant, client, sub, aud, kid, cred, iat, exp, lin, claims) \
         SELECT x'{child}', 'beta', 'beta/billing', sub, aud, kid, cred, iat, exp, x'{lin}', \
         json_set(claims, '$.jti', '{jti}', '$.tenant', 'beta', '$.client_id', 'beta/billing', \
         '$.lin', json_array('{parent}'), '$.iat', {seconds}, '$.nbf', {seconds}) \
         FROM tokens WHERE jti = x'{lin}'; \
         DELETE FROM tokens WHERE client = 'beta/billing' AND lin IS NULL;",
        child = hex(&child.to_string()),
        jti = child,
        lin = hex(parent),
        seconds = child.seconds(),
    );
    tenants.api.sql(&sql).await;
    child
}
