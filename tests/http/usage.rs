//! What ledgers report, who may, and what becomes of escrows by it.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::api::{Api, Client, Reply, terms};
use super::receipts::{acknowledge, place};
use crate::harness::service::Installation;
use crate::harness::until::until;
use scrip::clock;

const PATIENCE: Duration = Duration::from_secs(30);
const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A gateway's client with the token that its ledger reports with.
pub struct Ledger {
    pub client: Client,
    bearer: String,
}

pub async fn ledger(api: &Api, id: &str, serves: &str) -> Ledger {
    let terms = json!({
        "audiences": ["self"], "scopes": ["scrip:feed", "scrip:usage"], "serves": [serves],
        "env": "scrip",
    });
    Ledger::of(api, api.client(id, terms).await).await
}

impl Ledger {
    pub async fn of(api: &Api, client: Client) -> Self {
        let bearer = api.mint(&client, &[("scope", "scrip:usage")]).await.text("access_token");
        Self { client, bearer }
    }

    pub async fn send(&self, api: &Api, method: Method, path: &str, body: &Value) -> Reply {
        Reply::to(api.request(method, path).bearer_auth(&self.bearer).json(body)).await
    }

    pub async fn register(&self, api: &Api, instance: &str) -> Reply {
        let body = json!({"audience": "llm-gateway"});
        self.send(api, Method::PUT, &format!("/v1/ledgers/{instance}"), &body).await
    }

    pub async fn retire(&self, api: &Api, instance: &str) -> StatusCode {
        let request = api.request(Method::DELETE, &format!("/v1/ledgers/{instance}"));
        Reply::to(request.bearer_auth(&self.bearer)).await.status
    }

    /// Of everything up to now.
    pub async fn report(&self, api: &Api, instance: &str, counts: &[(&str, u64)]) -> Reply {
        self.send(api, Method::POST, "/v1/usage", &report(instance, counts)).await
    }
}

pub fn report(instance: &str, counts: &[(&str, u64)]) -> Value {
    let items = counts.iter().map(|(jti, tokens)| {
        let by_model = json!([{"model": "gpt-4o-mini", "input": tokens, "output": 0}]);
        json!({"jti": jti, "tokens": tokens, "requests": 1, "by_model": by_model})
    });
    json!({
        "id": ID, "instance": instance, "audience": "llm-gateway",
        "complete_until": clock::now_seconds(), "items": items.collect::<Vec<_>>(),
    })
}

/// `acme/billing`, 100,000 tokens an hour.
async fn billing(api: &Api, unreported: &str) -> Client {
    let mut terms = terms();
    terms["quota"] = json!({"tokens": 100_000, "window": "lifetime", "unreported": unreported});
    api.client("acme/billing", terms).await
}

/// Reserved, spent, refunded, overrun and carried of `acme/billing`.
async fn amounts(api: &Api) -> [u64; 5] {
    let page = api.read("/v1/usage?client=acme/billing").await.json();
    ["reserved", "spent", "refunded", "overrun", "carried"]
        .map(|member| page["items"][0][member].as_u64().unwrap_or_else(|| panic!("{page}")))
}

pub async fn settled_until(api: &Api, expected: [u64; 5]) {
    until("it is settled", PATIENCE, async || (amounts(api).await == expected).then_some(())).await;
}

#[tokio::test]
async fn n114_operators_hold_up_no_ledger() {
    let api = Api::on(Installation::on_postgres().await).await;
    let client = api.billing().await;
    let ledger = ledger(&api, "acme/gateway", "llm-gateway").await;
    assert_eq!(ledger.register(&api, "gw-1").await.status, StatusCode::OK);
    let token = api.token(&client).await;

    let url = api.installation.setting("SCRIP_DATABASE_URL");
    let mut database = PgConnection::connect(url).await.unwrap();
    let mut held = database.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE audit").execute(&mut *held).await.unwrap();
    let mut flood: FuturesUnordered<_> = (0..64).map(|_| api.read("/v1/audit")).collect();
    // By then they have all the connections that they get.
    flood.next().await.unwrap().problem(503, "temporarily-unavailable");
    let others = async {
        assert_eq!(ledger.register(&api, "gw-1").await.status, StatusCode::OK);
        let reported = ledger.report(&api, "gw-1", &[(&token.jti, 7)]).await;
        assert_eq!(reported.json()["counted"], 1, "{reported:?}");
    };
    let refused = async {
        while let Some(refused) = flood.next().await {
            refused.problem(503, "temporarily-unavailable");
            assert_ne!(refused.header("retry-after"), "");
        }
    };
    tokio::join!(others, refused);
    held.rollback().await.unwrap();
    assert_eq!(api.read("/v1/audit").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_report_is_set_and_never_added() {
    let api = Api::start().await;
    let (client, gateway) =
        (billing(&api, "spent").await, ledger(&api, "acme/gateway", "llm-gateway").await);
    let token = api.token(&client).await.jti;
    let registered = gateway.register(&api, "gw-1a").await;
    assert_eq!(registered.status, StatusCode::OK, "{registered:?}");
    let at = registered.text("registered");
    let whole = json!({
        "client": "acme/gateway", "instance": "gw-1a", "audience": "llm-gateway",
        "registered": at, "retired": null, "complete_until": at, "silent": null,
    });
    assert_eq!(registered.json(), whole);
    assert_eq!(gateway.register(&api, "gw-1a").await.json(), whole, "the same again");

    let reply = gateway.report(&api, "gw-1a", &[(&token, 1200)]).await;
    assert_eq!(reply.json(), json!({"id": ID, "counted": 1, "ignored": []}));
    let count = "SELECT tokens FROM usage";
    for (tokens, counted) in [(1200, 1200), (900, 1200), (1300, 1300)] {
        gateway.report(&api, "gw-1a", &[(&token, tokens)]).await;
        assert_eq!(api.number(count).await, counted);
    }
    assert_eq!(amounts(&api).await, [5000, 0, 0, 0, 0]);
    gateway.register(&api, "gw-1b").await;
    gateway.report(&api, "gw-1b", &[(&token, 4000)]).await;
    assert_eq!(amounts(&api).await, [5000, 0, 0, 300, 300], "1,300 and 4,000 of 5,000");
    gateway.report(&api, "gw-1b", &[(&token, 4000)]).await;
    assert_eq!(amounts(&api).await, [5000, 0, 0, 300, 300]);
    gateway.report(&api, "gw-1a", &[(&token, 1350)]).await;
    assert_eq!(amounts(&api).await, [5000, 0, 0, 350, 350], "that it goes on is no news");

    let alerts = api.read("/v1/audit?action=quota.overrun").await.json();
    let alert = &alerts["items"][0];
    assert_eq!(alerts["items"].as_array().unwrap().len(), 1, "{alerts}");
    assert_eq!((&alert["outcome"], &alert["target"]), (&json!("alert"), &json!("acme/billing")));
    assert_eq!((&alert["detail"]["tokens"], &alert["detail"]["money"]), (&json!(300), &json!("0")));
    assert_eq!(alert["detail"]["ledger"], "acme/gateway/gw-1b");
}

#[tokio::test]
async fn what_does_not_count_is_said() {
    let api = Api::start().await;
    let gateway = ledger(&api, "acme/gateway", "llm-gateway").await;
    gateway.register(&api, "gw-1a").await;
    let unquoted = api.client("acme/free", terms()).await;
    let unquoted = api.token(&unquoted).await.jti;
    let foreign = api.mint(&gateway.client, &[("scope", "scrip:usage")]).await.text("jti");
    let counts = [(unquoted.as_str(), 7), (foreign.as_str(), 7), (ID, 7)];
    let reply = gateway.report(&api, "gw-1a", &counts).await;
    let ignored = json!([
        {"jti": foreign, "reason": "wrong-audience"}, {"jti": ID, "reason": "unknown"},
    ]);
    assert_eq!(reply.json(), json!({"id": ID, "counted": 1, "ignored": ignored}));
    assert_eq!(api.number("SELECT count(*) FROM usage").await, 1, "tokens without a quota count");
    assert_eq!(api.read("/v1/usage").await.json(), json!({"items": [], "next": null}));
}

#[tokio::test]
async fn nobody_reports_for_somebody_else() {
    let api = Api::start().await;
    let gateway = ledger(&api, "acme/gateway", "llm-gateway").await;
    let other = ledger(&api, "acme/other", "llm-gateway").await;
    let batch = ledger(&api, "acme/batch", "gw-batch").await;
    let token = api.token(&billing(&api, "spent").await).await.jti;
    assert_eq!(gateway.register(&api, "gw-1a").await.status, StatusCode::OK);

    other.report(&api, "gw-1a", &[(&token, 9000)]).await.problem(404, "not-found");
    assert_eq!(other.retire(&api, "gw-1a").await, StatusCode::NOT_FOUND);
    batch.register(&api, "gw-1a").await.problem(403, "wrong-audience");
    batch.report(&api, "gw-1a", &[(&token, 9000)]).await.problem(403, "wrong-audience");
    let gw_batch = json!({"audience": "gw-batch"});
    let own = batch.send(&api, Method::PUT, "/v1/ledgers/gw-1a", &gw_batch).await;
    assert_eq!(own.status, StatusCode::OK, "names are each client's own: {own:?}");
    let mut ahead = report("gw-1a", &[]);
    ahead["complete_until"] = json!(clock::now_seconds() + 60);
    let refused = gateway.send(&api, Method::POST, "/v1/usage", &ahead).await;
    refused.problem(400, "invalid-request");
    assert_eq!(refused.text("pointer"), "/complete_until");
    for odd in ["GW", "a_b", &"a".repeat(65)] {
        gateway.register(&api, odd).await.problem(400, "invalid-request");
    }
    let feed = api.mint(&gateway.client, &[("scope", "scrip:feed")]).await.text("access_token");
    let request = api.request(Method::POST, "/v1/usage").bearer_auth(feed);
    Reply::to(request.json(&report("gw-1a", &[]))).await.problem(403, "insufficient-scope");
    api.read("/v1/usage").await.json();
    let usage = api.request(Method::GET, "/v1/usage").bearer_auth(&gateway.bearer);
    Reply::to(usage).await.problem(403, "insufficient-scope");
    assert_eq!(amounts(&api).await, [5000, 0, 0, 0, 0]);
    assert_eq!(api.number("SELECT count(*) FROM usage").await, 0);
}

#[tokio::test]
async fn a_ledger_counts_for_one_audience_until_it_retires() {
    let api = Api::start().await;
    let terms = json!({
        "audiences": ["self"], "scopes": ["scrip:usage"], "serves": ["llm-gateway", "gw-batch"],
        "env": "scrip",
    });
    let client = api.client("acme/gateway", terms).await;
    let bearer = api.mint(&client, &[]).await.text("access_token");
    let gateway = Ledger { client, bearer };
    gateway.register(&api, "gw-1a").await;
    let batch = json!({"audience": "gw-batch"});
    let elsewhere = || gateway.send(&api, Method::PUT, "/v1/ledgers/gw-1a", &batch);
    elsewhere().await.problem(409, "conflict");
    let mut other = report("gw-1a", &[]);
    other["audience"] = json!("gw-batch");
    gateway.send(&api, Method::POST, "/v1/usage", &other).await.problem(409, "conflict");
    for _ in 0..2 {
        assert_eq!(gateway.retire(&api, "gw-1a").await, StatusCode::NO_CONTENT);
    }
    assert_eq!(
        gateway.report(&api, "gw-1a", &[]).await.status,
        StatusCode::OK,
        "heard all the same"
    );
    assert_eq!(elsewhere().await.json()["audience"], "gw-batch");
    assert_eq!(gateway.retire(&api, "gw-2").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_revoked_token_did_not_use_is_back_at_once_on_sqlite() {
    what_a_revoked_token_did_not_use_is_back_at_once(Api::start().await).await;
}

#[tokio::test]
async fn what_a_revoked_token_did_not_use_is_back_at_once_on_postgres() {
    let api = Api::on(Installation::on_postgres().await).await;
    what_a_revoked_token_did_not_use_is_back_at_once(api).await;
}

/// Once the verifier beside the ledger refuses it, and the ledger has reported up to then; not before.
async fn what_a_revoked_token_did_not_use_is_back_at_once(api: Api) {
    let (client, gateway) =
        (billing(&api, "spent").await, ledger(&api, "acme/gateway", "llm-gateway").await);
    gateway.register(&api, "gw-1a").await;
    let [one, two, _three] =
        [api.token(&client).await, api.token(&client).await, api.token(&client).await];
    api.revoke(json!({"jti": one.jti})).await;
    gateway.report(&api, "gw-1a", &[(&one.jti, 1200)]).await;
    assert_eq!(amounts(&api).await[0], 15_000);

    let refuses = async || {
        acknowledge(&api, &gateway.client, "gw-1a", &place(&api, &gateway.client).await).await;
    };
    let goes_on = async |counts: &[(&str, u64)], expected: [u64; 5]| {
        until("it is refunded", PATIENCE, async || {
            gateway.report(&api, "gw-1a", counts).await;
            (amounts(&api).await == expected).then_some(())
        })
        .await;
    };
    refuses().await;
    goes_on(&[(&one.jti, 1300)], [10_000, 1300, 3700, 0, 0]).await;
    gateway.report(&api, "gw-1a", &[(&one.jti, 1400)]).await;
    assert_eq!(amounts(&api).await, [10_000, 1300, 3700, 100, 100], "it came after the refund");

    api.revoke(json!({"client": "acme/billing"})).await;
    refuses().await;
    goes_on(&[(&two.jti, 5000)], [0, 6300, 8700, 100, 100]).await;
}

#[tokio::test]
async fn an_audience_without_ledgers_is_settled_as_the_policy_says() {
    for (unreported, expected) in [("spent", [0, 5000, 0, 0, 0]), ("released", [0, 0, 5000, 0, 0])]
    {
        let api = Api::start().await;
        api.token(&billing(&api, unreported).await).await;
        // Nothing here waits for a token's life to pass.
        api.sql("UPDATE escrows SET exp = exp - 1000").await;
        settled_until(&api, expected).await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_one_audience_keeps_no_other_waiting() {
    let api = Api::start().await;
    let gateway = ledger(&api, "acme/gateway", "broken").await;
    let mut terms = terms();
    terms["audiences"] = json!(["broken"]);
    terms["quota"] = json!({"tokens": 100_000, "window": "lifetime"});
    let broken = api.token(&api.client("acme/broken", terms).await).await;
    let register = json!({"audience": "broken"});
    gateway.send(&api, Method::PUT, "/v1/ledgers/gw-1a", &register).await;
    let mut counts = report("gw-1a", &[(&broken.jti, 1)]);
    counts["audience"] = json!("broken");
    let reply = gateway.send(&api, Method::POST, "/v1/usage", &counts).await;
    assert_eq!(reply.json()["counted"], 1, "{reply:?}");
    assert_eq!(gateway.retire(&api, "gw-1a").await, StatusCode::NO_CONTENT);
    api.token(&billing(&api, "spent").await).await;
    api.sql("UPDATE escrows SET prices = 99 WHERE aud = 'broken'").await;
    api.sql("UPDATE escrows SET exp = exp - 1000").await;
    settled_until(&api, [0, 5000, 0, 0, 0]).await;
    assert_eq!(api.number("SELECT count(*) FROM escrows WHERE settled IS NULL").await, 1);
}

#[tokio::test]
async fn a_silent_ledger_is_waited_for_and_then_all_is_spent() {
    let api = Api::start().await;
    let (client, gateway) =
        (billing(&api, "released").await, ledger(&api, "acme/gateway", "llm-gateway").await);
    gateway.register(&api, "gw-1a").await;
    gateway.register(&api, "gw-1b").await;
    let [one, two, three] =
        [api.token(&client).await, api.token(&client).await, api.token(&client).await];
    gateway.report(&api, "gw-1a", &[(&one.jti, 1200), (&two.jti, 1200)]).await;
    let blob = |jti: &str| format!("x'{}'", jti.replace('-', ""));
    let expire = |jti: &str, ago: u32| {
        format!("UPDATE escrows SET exp = unixepoch() - {ago} WHERE jti = {};", blob(jti))
    };
    api.sql(&expire(&one.jti, 60)).await;
    api.sql(&expire(&two.jti, 3700)).await;
    // Both have registered, and so have been complete, after the two had expired; as if they had
    // fallen silent before.
    api.sql("UPDATE ledgers SET complete_until = complete_until - 8000").await;
    settled_until(&api, [10_000, 5000, 0, 0, 0]).await;
    assert_eq!(silent(&api).await, ["gw-1a", "gw-1b"]);
    let alerts = async || {
        let alerts = api.read("/v1/audit?action=ledger.silent").await.json();
        let alerts = alerts["items"].as_array().unwrap().iter().map(|alert| {
            assert_eq!(alert["outcome"], "alert");
            assert_eq!(
                (&alert["tenant"], &alert["target"]),
                (&json!("acme"), &json!("acme/gateway"))
            );
            alert["detail"]["instance"].as_str().unwrap().to_owned()
        });
        let mut alerts: Vec<String> = alerts.collect();
        alerts.sort_unstable();
        alerts
    };
    assert_eq!(alerts().await, ["gw-1a", "gw-1b"]);

    gateway.report(&api, "gw-1a", &[]).await;
    gateway.report(&api, "gw-1b", &[(&one.jti, 800)]).await;
    settled_until(&api, [5000, 7000, 3000, 0, 0]).await;
    gateway.report(&api, "gw-1b", &[(&two.jti, 3800)]).await;
    assert_eq!(amounts(&api).await, [5000, 7000, 3000, 0, 0], "it has paid for all already");
    assert!(silent(&api).await.is_empty(), "they have caught up");

    // One of them falls silent again, and that is said once, whatever else waits for it.
    api.sql("UPDATE ledgers SET complete_until = complete_until - 8000 WHERE instance = 'gw-1b'")
        .await;
    api.sql(&expire(&three.jti, 3700)).await;
    settled_until(&api, [0, 12_000, 3000, 0, 0]).await;
    let four = api.token(&client).await;
    api.sql(&expire(&four.jti, 3700)).await;
    settled_until(&api, [0, 17_000, 3000, 0, 0]).await;
    assert_eq!(silent(&api).await, ["gw-1b"]);
    assert_eq!(alerts().await, ["gw-1a", "gw-1b", "gw-1b"]);
}

#[tokio::test]
async fn the_grace_of_ledgers_is_a_setting() {
    let installation = Installation::on_sqlite();
    let api = Api::on(installation.set("SCRIP_LEDGER_GRACE", "60")).await;
    let (client, gateway) =
        (billing(&api, "released").await, ledger(&api, "acme/gateway", "llm-gateway").await);
    gateway.register(&api, "gw-1a").await;
    api.token(&client).await;
    api.sql("UPDATE ledgers SET complete_until = complete_until - 8000").await;
    api.sql("UPDATE escrows SET exp = unixepoch() - 100").await;
    settled_until(&api, [0, 5000, 0, 0, 0]).await;
}

/// The ledgers that escrows wait for in vain.
async fn silent(api: &Api) -> Vec<String> {
    let page = api.read("/v1/ledgers").await.json();
    let items = page["items"].as_array().unwrap().iter();
    let silent = items.filter(|ledger| !ledger["silent"].is_null());
    silent.map(|ledger| ledger["instance"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn nobody_waits_for_a_ledger_whose_client_is_gone_on_sqlite() {
    nobody_waits_for_a_ledger_whose_client_is_gone(Api::start().await).await;
}

#[tokio::test]
async fn nobody_waits_for_a_ledger_whose_client_is_gone_on_postgres() {
    let api = Api::on(Installation::on_postgres().await).await;
    nobody_waits_for_a_ledger_whose_client_is_gone(api).await;
}

async fn nobody_waits_for_a_ledger_whose_client_is_gone(api: Api) {
    let gone = ledger(&api, "acme/gone", "llm-gateway").await;
    let crashed = ledger(&api, "acme/crashed", "llm-gateway").await;
    for (gateway, instance) in [(&gone, "gw-1a"), (&gone, "gw-1b"), (&crashed, "gw-1a")] {
        assert_eq!(gateway.register(&api, instance).await.status, StatusCode::OK);
    }
    let counted = async || -> Vec<String> {
        let page = api.read("/v1/ledgers").await.json();
        let items = page["items"].as_array().unwrap().iter();
        let counted = items.filter(|ledger| ledger["retired"].is_null());
        let name = |ledger: &Value, of: &str| ledger[of].as_str().unwrap().to_owned();
        counted.map(|one| format!("{}/{}", name(one, "client"), name(one, "instance"))).collect()
    };
    let delete = async |bearer: &str, path: &str| {
        Reply::to(api.request(Method::DELETE, path).bearer_auth(bearer)).await
    };
    let of_beta = json!({
        "audiences": ["self"], "env": "scrip", "admin_tenant": "beta", "scopes": ["scrip:clients"],
    });
    let of_beta = api.client("beta/operator", of_beta).await;
    let of_beta = api.token(&of_beta).await.jwt;
    let crashed = "/v1/ledgers/acme/crashed/gw-1a";
    delete(&of_beta, crashed).await.problem(404, "not-found");
    delete(&api.bearer, "/v1/ledgers/acme/crashed/gw-9").await.problem(404, "not-found");
    delete(&gone.bearer, crashed).await.problem(403, "insufficient-scope");
    // Nor whoever may end clients, and has not what this one's policy grants.
    let lesser = json!({"audiences": ["self"], "scopes": ["scrip:clients"], "env": "scrip"});
    let lesser = api.client("ops/lesser", lesser).await;
    let lesser = api.token(&lesser).await.jwt;
    for path in [crashed, "/v1/clients/acme/crashed"] {
        let why = delete(&lesser, path).await.problem(403, "insufficient-scope");
        assert!(why.contains("scrip:"), "{path}: {why}");
    }
    assert_eq!(counted().await.len(), 3);

    for _ in 0..2 {
        assert_eq!(delete(&api.bearer, crashed).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(counted().await, ["acme/gone/gw-1a", "acme/gone/gw-1b"]);
    let events = api.read("/v1/audit?action=ledger.retire").await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
    assert_eq!(events["items"][0]["actor"], api.operator.id.as_str());
    assert_eq!(events["items"][0]["target"], "acme/crashed");

    let deleted = delete(&api.bearer, "/v1/clients/acme/gone").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(counted().await, [""; 0]);
}

#[tokio::test]
async fn usage_is_listed_by_client_and_by_tenant() {
    let api = Api::start().await;
    let mut terms = terms();
    terms["quota"] = json!({"tokens": 100_000, "window": "month"});
    for id in ["acme/a", "acme/b", "beta/a"] {
        let client = api.client(id, terms.clone()).await;
        api.token(&client).await;
    }
    let page = api.read("/v1/usage?limit=2").await.json();
    let (starts, ends) = (page["items"][0]["starts"].clone(), page["items"][0]["ends"].clone());
    let first = json!({
        "client": "beta/a", "tenant": "beta", "window": "month", "starts": starts, "ends": ends,
        "quota": 100_000, "granted": 5000, "reserved": 5000, "spent": 0, "refunded": 0,
        "overrun": 0, "carried": 0, "left": 95_000, "money": null,
    });
    assert_eq!(page["items"][0], first);
    let rest =
        api.read(&format!("/v1/usage?after={}", page["next"].as_str().unwrap())).await.json();
    assert_eq!(rest["items"][0]["client"], "acme/a");
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);

    let sums = api.read("/v1/usage?by=tenant&tenant=acme&window=month").await.json();
    let sum = &sums["items"][0];
    assert_eq!(
        (&sum["client"], &sum["tenant"], &sum["quota"]),
        (&Value::Null, &json!("acme"), &json!(200_000))
    );
    assert_eq!((&sum["reserved"], &sum["left"]), (&json!(10_000), &json!(190_000)));
    assert_eq!(api.read("/v1/usage?window=hour").await.json()["items"], json!([]));
    for odd in [
        "window=week",
        "by=model",
        "client=acme/a&tenant=acme",
        "by=tenant&client=acme/a",
        "after=x",
        "after=1:day",
        "after=1:week:acme/a",
        "limit=0",
    ] {
        api.read(&format!("/v1/usage?{odd}")).await.problem(400, "invalid-request");
    }
}
