//! Prices, and quotas in money as clients meet them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, Client, Reply, terms};
use super::usage::{Ledger, ledger, report, settled_until};
use crate::harness::cli::Cli;
use crate::harness::service::Installation;

fn list(models: &[(&str, &str, &str)]) -> Value {
    let models = models
        .iter()
        .map(|(model, input, output)| json!({"model": model, "input": input, "output": output}));
    json!({"currency": "USD", "models": models.collect::<Vec<_>>()})
}

async fn set(api: &Api, list: &Value) -> Reply {
    api.write(Method::PUT, "/v1/prices", list).await
}

/// `acme/billing` with so much money for its lifetime; a token takes 5,000 LLM tokens.
async fn billing(api: &Api, quota: Value) -> Client {
    let mut terms = terms();
    terms["quota"] = quota;
    api.client("acme/billing", terms).await
}

async fn money(api: &Api) -> Value {
    let page = api.read("/v1/usage?client=acme/billing").await.json();
    page["items"][0]["money"].clone()
}

#[tokio::test]
async fn n47_no_mint_takes_more_money_than_there_is_on_sqlite() {
    no_mint_takes_more_money_than_there_is(Api::start().await).await;
}

#[tokio::test]
async fn n47_no_mint_takes_more_money_than_there_is_on_postgres() {
    no_mint_takes_more_money_than_there_is(Api::on(Installation::on_postgres().await).await).await;
}

async fn no_mint_takes_more_money_than_there_is(api: Api) {
    let client = billing(&api, json!({"money": "0.007", "window": "lifetime"})).await;
    let code = "invalid_authorization_details";
    let none = api.mint(&client, &[]).await.refused(400, code);
    assert_eq!(none, "there are no prices, and the policy has a quota in money");

    let cheap = [("gpt-4o-mini", "0.15", "0.60")];
    assert_eq!(set(&api, &list(&cheap)).await.status, StatusCode::OK);
    let model = ("models", "claude-haiku-4");
    let unpriced = api.mint(&client, &[model]).await.refused(400, code);
    let said =
        "no price says what all of `claude-haiku-4` cost, and the policy has a quota in money";
    assert_eq!(unpriced, said);
    let dear = api.mint(&client, &[("budget_tokens", "50000")]).await.refused(400, code);
    assert_eq!(dear, "the token would take 0.03 USD, above the 0.007 of the quota");

    // 5,000 at 0.60 a million.
    for _ in 0..2 {
        assert_eq!(api.mint(&client, &[]).await.status, StatusCode::OK);
    }
    let refused = api.mint(&client, &[]).await;
    let text = refused.refused(429, "temporarily_unavailable");
    let left =
        "0.001 of the quota of 0.007 USD per lifetime are left, and the token would take 0.003";
    assert_eq!(text, left);
    assert_eq!(refused.header("retry-after"), "3600");
    let expected = json!({
        "quota": "0.007", "granted": "0.006", "reserved": "0.006", "spent": "0", "refunded": "0",
        "overrun": "0", "carried": "0", "left": "0.001",
    });
    assert_eq!(money(&api).await, expected);
    let usage = api.read("/v1/usage").await.json();
    assert_eq!(
        (&usage["items"][0]["quota"], &usage["items"][0]["reserved"]),
        (&Value::Null, &json!(10_000)),
        "LLM tokens are not limited, and counted"
    );
    let alerts = api.read("/v1/audit?action=quota.threshold").await.json();
    let alerts = alerts["items"].as_array().unwrap();
    let mut percents: Vec<_> =
        alerts.iter().map(|alert| alert["detail"]["percent"].as_u64().unwrap()).collect();
    percents.sort_unstable();
    assert_eq!(percents, [50, 80, 100], "each once");
    for alert in alerts {
        let detail = &alert["detail"];
        assert_eq!((&detail["unit"], &detail["quota"]), (&json!("money"), &json!("0.007")));
    }
}

#[tokio::test]
async fn a_report_costs_what_the_prices_were_at_the_mint() {
    let api = Api::start().await;
    let prices = [("gpt-4o-mini", "0.15", "0.60"), ("claude-haiku-*", "1", "5")];
    set(&api, &list(&prices)).await;
    let quota = json!({
        "money": "1", "tokens": 100_000, "window": "lifetime", "unreported": "released", "alerts": [3],
    });
    let client = billing(&api, quota).await;
    let both = ("models", "gpt-4o-mini claude-haiku-4");
    let token = api.mint(&client, &[both]).await.text("jti");
    assert_eq!(money(&api).await["reserved"], "0.025", "the dearest: 5,000 at 5 a million");
    set(&api, &list(&[("*", "100", "100")])).await;

    let gateway = ledger(&api, "acme/gateway", "llm-gateway").await;
    gateway.register(&api, "gw-1a").await;
    let mut used = report("gw-1a", &[(&token, 1200)]);
    used["items"][0]["by_model"] = json!([
        {"model": "gpt-4o-mini", "input": 901, "output": 200},
        {"model": "claude-haiku-4", "input": 50, "output": 49},
    ]);
    for _ in 0..2 {
        let taken = gateway.send(&api, Method::POST, "/v1/usage", &used).await;
        assert_eq!(taken.json()["counted"], 1);
    }
    let shown = api.read(&format!("/v1/tokens/{token}")).await.json();
    assert_eq!(shown["spent"], json!({"tokens": 1200, "requests": 1}));
    let listed = api.read("/v1/tokens?client=acme/billing").await.json();
    assert_eq!(listed["items"][0]["spent"], shown["spent"]);
    assert_eq!(gateway.retire(&api, "gw-1a").await, StatusCode::NO_CONTENT);
    api.sql("UPDATE escrows SET exp = exp - 1000").await;
    settled_until(&api, [0, 1200, 3800, 0, 0]).await;
    // 901 x 0.15 + 200 x 0.60 + 50 x 1 + 49 x 5, in millionths: 550.15, rounded up.
    let after = money(&api).await;
    assert_eq!([&after["spent"], &after["refunded"]], ["0.000551", "0.024449"]);
    assert_eq!([&after["reserved"], &after["left"]], ["0", "0.999449"]);

    let thresholds = async || {
        let alerts = api.read("/v1/audit?action=quota.threshold").await.json();
        let alerts = alerts["items"].as_array().unwrap().iter();
        let mut units: Vec<String> =
            alerts.map(|alert| alert["detail"]["unit"].as_str().unwrap().to_owned()).collect();
        units.sort();
        units
    };
    assert_eq!(thresholds().await, ["tokens"], "5 % of them, at the mint");

    // What nobody knows the model of costs as much as the dearest that was permitted.
    used["items"][0]["tokens"] = json!(7200);
    gateway.send(&api, Method::POST, "/v1/usage", &used).await;
    let after = money(&api).await;
    assert_eq!([&after["overrun"], &after["carried"]], ["0.03", "0.03"], "6,000 at 5 a million");
    let alerts = api.read("/v1/audit?action=quota.overrun").await.json();
    let detail = &alerts["items"][0]["detail"];
    assert_eq!((&detail["tokens"], &detail["money"]), (&json!(6000), &json!("0.03")));
    // Reached by what is charged, and said once.
    assert_eq!(thresholds().await, ["money", "tokens"]);
    used["items"][0]["tokens"] = json!(7300);
    gateway.send(&api, Method::POST, "/v1/usage", &used).await;
    assert_eq!(thresholds().await, ["money", "tokens"]);
}

#[tokio::test]
async fn prices_are_everybodys_versioned_and_of_one_currency() {
    let api = Api::start().await;
    api.read("/v1/prices").await.problem(404, "not-found");
    let first = list(&[("gpt-4o-mini", "0.15", "0.60")]);
    let written = list(&[("gpt-4o-mini", "0.15", "0.6")]);
    let applied = set(&api, &first).await.json();
    assert_eq!((&applied["version"], &applied["prices"]), (&json!(1), &written));
    assert_eq!(set(&api, &first).await.json(), applied, "the same again is no other version");
    assert_eq!(set(&api, &list(&[("*", "1", "1")])).await.json()["version"], 2);
    assert_eq!(api.read("/v1/prices").await.json()["version"], 2);
    assert_eq!(api.read("/v1/prices?version=1").await.json(), applied);
    api.read("/v1/prices?version=3").await.problem(404, "not-found");
    let mut euro = first.clone();
    euro["currency"] = json!("EUR");
    set(&api, &euro).await.problem(409, "conflict");
    let mut odd = first.clone();
    odd["models"][0]["output"] = json!("-0.60");
    let refused = set(&api, &odd).await;
    refused.problem(400, "invalid-request");
    assert_eq!(refused.text("pointer"), "/models/0/output");
    let events = api.read("/v1/audit?action=prices.set").await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 2);
    assert_eq!(events["items"][0]["detail"], json!({"version": 2, "currency": "USD", "models": 1}));

    let confined = json!({
        "audiences": ["self"], "env": "scrip", "admin_tenant": "acme",
        "scopes": ["scrip:policies", "scrip:tokens"],
    });
    let confined = api.client("acme/operator", confined).await;
    let bearer = api.token(&confined).await.jwt;
    let ask = |method: Method| api.request(method, "/v1/prices").bearer_auth(&bearer);
    Reply::to(ask(Method::GET)).await.problem(403, "confined");
    Reply::to(ask(Method::PUT).json(&first)).await.problem(403, "confined");

    // Of ledgers it sees those of its tenant.
    for id in ["acme/gateway", "beta/gateway"] {
        ledger(&api, id, "llm-gateway").await.register(&api, "gw-1a").await;
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["client"].as_str().unwrap().to_owned()).collect()
    };
    let own = Reply::to(api.request(Method::GET, "/v1/ledgers").bearer_auth(&bearer)).await.json();
    assert_eq!(names(&own), ["acme/gateway"]);
    let page = api.read("/v1/ledgers?limit=1").await.json();
    assert_eq!(
        (names(&page), &page["next"]),
        (vec!["acme/gateway".to_owned()], &json!("acme/gateway/gw-1a"))
    );
    let page = api.read("/v1/ledgers?after=acme/gateway/gw-1a").await.json();
    assert_eq!(names(&page), ["beta/gateway"]);
    assert!(names(&api.read("/v1/ledgers?audience=other").await.json()).is_empty());
    api.read("/v1/ledgers?after=gw-1a").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn every_version_is_kept_with_its_author_and_time_on_sqlite() {
    every_version_is_kept_with_its_author_and_time(Api::start().await).await;
}

#[tokio::test]
async fn every_version_is_kept_with_its_author_and_time_on_postgres() {
    every_version_is_kept_with_its_author_and_time(
        Api::on(Installation::on_postgres().await).await,
    )
    .await;
}

async fn every_version_is_kept_with_its_author_and_time(api: Api) {
    let versions = "/v1/prices/versions";
    assert_eq!(api.read(versions).await.json(), json!({"items": [], "next": null}));
    let mut set_ones = Vec::new();
    for price in ["1", "2", "3"] {
        set_ones.push(set(&api, &list(&[("*", price, price)])).await.json());
    }
    assert_eq!((&set_ones[0]["author"], &set_ones[0]["version"]), (&json!("ops/admin"), &json!(1)));
    let page = api.read(&format!("{versions}?limit=2")).await.json();
    assert_eq!(page["items"], json!([set_ones[2], set_ones[1]]));
    let next = page["next"].as_str().unwrap();
    let rest = api.read(&format!("{versions}?after={next}")).await.json();
    assert_eq!(rest, json!({"items": [set_ones[0]], "next": null}));
    for odd in ["?after=x", "?limit=0", "?version=1"] {
        api.read(&format!("{versions}{odd}")).await.problem(400, "invalid-request");
    }

    let confined = json!({
        "audiences": ["self"], "env": "scrip", "admin_tenant": "acme", "scopes": ["scrip:policies"],
    });
    let confined = api.client("acme/operator", confined).await;
    let bearer = api.token(&confined).await.jwt;
    let ask = api.request(Method::GET, versions).bearer_auth(&bearer);
    Reply::to(ask).await.problem(403, "confined");
}

#[tokio::test]
async fn a_policy_is_tried_by_the_prices_that_count_on_sqlite() {
    a_policy_is_tried_by_the_prices_that_count(Api::start().await).await;
}

#[tokio::test]
async fn a_policy_is_tried_by_the_prices_that_count_on_postgres() {
    a_policy_is_tried_by_the_prices_that_count(Api::on(Installation::on_postgres().await).await)
        .await;
}

/// What a replay says of a request is what the mint says of it once the policy is applied.
async fn a_policy_is_tried_by_the_prices_that_count(api: Api) {
    let client = api.billing().await;
    let asked = [
        vec![],
        vec![("models", "claude-haiku-4")],
        vec![("budget_tokens", "50000")],
        vec![("scope", "llm:embed")],
    ];
    for asked in &asked {
        assert_eq!(api.mint(&client, asked).await.status, StatusCode::OK);
    }
    let mut new = terms();
    new["name"] = json!("acme/billing");
    new["scopes"] = json!(["llm:chat"]);
    new["quota"] = json!({"money": "0.007", "window": "lifetime"});
    let tried = async |new: &Value| {
        let replay = "/v1/policies/acme/billing/replay";
        let tried = api.write(Method::POST, replay, new).await;
        assert_eq!(tried.status, StatusCode::OK, "{tried:?}");
        tried.json()
    };
    let none = tried(&new).await;
    assert_eq!((&none["requests"], &none["unchanged"]), (&json!(4), &json!(0)), "{none:#}");
    let nothing = "there are no prices, and the policy has a quota in money";
    let of_prices = none["changes"][0]["cases"].to_string().matches(nothing).count();
    assert_eq!(of_prices, 3, "a scope that is not granted comes first: {none:#}");

    set(&api, &list(&[("gpt-4o-mini", "0.15", "0.60")])).await;
    let some = tried(&new).await;
    assert_eq!((&some["unchanged"], &some["changes"][0]["count"]), (&json!(1), &json!(3)));
    let applied = api.write(Method::PUT, "/v1/policies/acme/billing", &new).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    let foretold = some["changes"][0]["cases"].as_array().unwrap();
    // The newest first; the oldest is granted.
    for (case, asked) in foretold.iter().rev().zip(&asked[1..]) {
        let refused = &case["is"]["refused"];
        let reply = api.mint(&client, asked).await;
        let said = reply.refused(400, refused["error"].as_str().unwrap());
        assert_eq!(said, refused["error_description"], "{asked:?}");
    }
    assert_eq!(api.mint(&client, &asked[0]).await.status, StatusCode::OK);
    assert_eq!(money(&api).await["left"], "0.004");
    // What is left is no part of it: another 0.006 are granted as far as this goes.
    new["quota"]["window"] = json!("day");
    new["defaults"]["budget"] = json!({"tokens": 10_000});
    let after = tried(&new).await;
    let token =
        after["changes"].as_array().unwrap().iter().find(|one| one["kind"] == "another-token");
    assert!(token.is_some(), "{after:#}");
}

#[tokio::test]
async fn what_no_price_covers_is_said_and_done_on_sqlite() {
    what_no_price_covers_is_said_and_done(Api::start().await).await;
}

#[tokio::test]
async fn what_no_price_covers_is_said_and_done_on_postgres() {
    what_no_price_covers_is_said_and_done(Api::on(Installation::on_postgres().await).await).await;
}

async fn what_no_price_covers_is_said_and_done(api: Api) {
    let path = "/v1/policies/acme/billing";
    let mut policy = terms();
    policy["name"] = json!("acme/billing");
    policy["quota"] = json!({"money": "5", "window": "day"});
    let apply = async |policy: &Value| api.write(Method::PUT, path, policy).await;
    let applied = apply(&policy).await.json();
    let none = json!(["there are no prices, and the policy has a quota in money"]);
    assert_eq!((&applied["version"], &applied["warnings"]), (&json!(1), &none));
    assert_eq!(apply(&policy).await.json(), applied, "it is said again");
    let shown = api.read(path).await.json();
    assert_eq!(shown["warnings"], Value::Null);
    let event = api.read("/v1/audit?action=policy.apply&limit=1").await.json();
    assert_eq!(event["items"][0]["detail"], shown, "the log has what was applied");

    let why =
        "no price says what all of `claude-haiku-*` cost, and the policy has a quota in money";
    let part = list(&[("gpt-*", "1", "1"), ("claude-haiku-4", "1", "1")]);
    let keyed = || {
        let request = api.request(Method::PUT, "/v1/prices").bearer_auth(&api.bearer);
        request.json(&part).header("idempotency-key", "once")
    };
    let set_one = Reply::to(keyed()).await.json();
    assert_eq!(set_one["warnings"], json!([format!("acme/billing: {why}")]));
    assert_eq!(Reply::to(keyed()).await.json(), set_one);
    assert_eq!(set(&api, &part).await.json(), set_one, "the same again is no other version");
    assert_eq!(apply(&policy).await.json()["warnings"], json!([why]));

    let all = set(&api, &list(&[("gpt-*", "1", "1"), ("claude-*", "1", "1")])).await.json();
    assert_eq!((&all["version"], &all["warnings"]), (&json!(2), &Value::Null));
    assert_eq!(apply(&policy).await.json(), shown);
    // Whoever has no quota in money needs no price.
    policy["quota"] = json!({"tokens": 1_000_000, "window": "day"});
    apply(&policy).await;
    assert_eq!(set(&api, &list(&[("x", "1", "1")])).await.json()["warnings"], Value::Null);
    assert_eq!(apply(&policy).await.json()["warnings"], Value::Null);
}

#[tokio::test]
async fn warnings_of_many_policies_are_counted() {
    let api = Api::start().await;
    let one = api.billing().await;
    let policy = json!({
        "name": "acme/x", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod",
        "models": ["gpt-5"], "quota": {"money": "5", "window": "day"},
    })
    .to_string();
    // More than are read at once, some of them of one second.
    let mut rows: Vec<String> = (0..450)
        .map(|n| {
            let name = format!("acme/x{n:03}");
            let body = policy.replace("acme/x", &name);
            format!("('{name}', 1, 'ops/admin', {}, '{body}')", 1_795_000_000 + n / 7)
        })
        .collect();
    // Of a later version, which this one cannot read.
    rows.push("('acme/later', 1, 'ops/admin', 1795000000, '{\"later\": true}')".to_owned());
    api.sql(&format!(
        "INSERT INTO policies (name, version, author, at, body) VALUES {}",
        rows.join(",")
    ))
    .await;
    let warned = set(&api, &list(&[("gpt-4o", "1", "1")])).await.json();
    let warnings = warned["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[100]), (101, &json!("and 350 more")));
    assert_eq!(set(&api, &list(&[("gpt-*", "1", "1")])).await.json()["warnings"], Value::Null);
    assert_eq!(api.mint(&one, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_command_line_sets_and_shows_prices() {
    let installation = Installation::on_sqlite();
    let api = Api::on(installation.clone()).await;
    let cli = Cli::new(&installation, &api.operator.id, &api.operator.secret);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prices.toml");
    let path = file.to_str().unwrap();
    let toml = "currency = \"USD\"\n[[models]]\nmodel = \"gpt-4o-mini\"\ninput = \"0.15\"\noutput = \"0.60\"\n";
    std::fs::write(&file, toml).unwrap();
    assert!(cli.run(&["price", "set", path]).await.contains("USD"));
    let shown = cli.run(&["price", "show"]).await;
    assert!(shown.starts_with("# version 1, by "), "{shown}");
    std::fs::write(&file, &shown).unwrap();
    let again = cli.json(&["price", "set", path]).await;
    assert_eq!(again["version"], 1, "what is shown can be set");

    let client = billing(&api, json!({"money": "0.006", "window": "day"})).await;
    assert_eq!(api.mint(&client, &[]).await.status, StatusCode::OK);
    let covered = set(&api, &list(&[("gpt-4o", "1", "1")])).await;
    assert_eq!(covered.json()["version"], 2);
    let warned = cli.outcome(&["price", "set", path]).await;
    assert_eq!(warned.code, Some(0), "{warned:?}");
    let why = "warning: acme/billing: no price says what all of `claude-haiku-*` cost";
    assert!(warned.stderr.contains(why), "{warned:?}");
    let versions = cli.json(&["price", "versions", "--limit", "2"]).await;
    assert_eq!((&versions["items"][0]["version"], &versions["next"]), (&json!(3), &json!("2")));
    let printed = cli.run(&["price", "versions"]).await;
    assert_eq!(printed.lines().count(), 4, "{printed}");
    let usage = cli.run(&["usage", "--money"]).await;
    assert!(usage.contains("0.006") && usage.contains("++++++++++.........."), "{usage}");
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/gateway.toml");
    cli.run(&["policy", "apply", policy]).await;
    let gateway = Ledger::of(&api, api.client_under("acme/gateway", "acme/gateway").await).await;
    assert_eq!(gateway.register(&api, "gw-1a").await.status, StatusCode::OK);
    let ledgers = cli.run(&["ledger", "list"]).await;
    assert!(ledgers.contains("acme/gateway") && ledgers.contains("gw-1a"), "{ledgers}");
    cli.run(&["ledger", "retire", "acme/gateway", "gw-1a"]).await;
    let ledgers = cli.json(&["ledger", "list"]).await;
    assert!(ledgers["items"][0]["retired"].is_string(), "{ledgers}");
}
