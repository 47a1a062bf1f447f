use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::http::api::{Api, Client, run, terms};

#[tokio::test]
async fn the_inventory_says_what_each_token_may_do_and_is_no_token() {
    let api = Api::start().await;
    let client = api.billing().await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(api.token(&client).await);
    }
    let (header, claims) = api.verified(&tokens[0].jwt, "llm-gateway").await;
    let one = format!("/v1/tokens/{}", tokens[0].jti);
    let time = |claim: &str| scrip::admin::rfc3339(claims[claim].as_i64().unwrap());
    let mut whole = json!({
        "jti": tokens[0].jti, "client": "acme/billing", "tenant": "acme", "audience": "llm-gateway",
        "issued": time("iat"), "expires": time("exp"), "live": true, "revoked": false,
        "revocation": null, "kid": header.kid.unwrap(), "claims": claims, "spent": null,
    });
    assert_eq!(api.read(&one).await.json(), whole);
    let revoked = api.revoke(json!({"jti": tokens[0].jti})).await;
    assert_eq!(revoked.status, StatusCode::CREATED, "{revoked:?}");
    let [id, at] = ["id", "at"].map(|member| revoked.text(member));
    whole["revocation"] = json!({"id": id, "reason": "leaked", "at": at});
    whole["live"] = json!(false);
    whole["revoked"] = json!(true);
    assert_eq!(api.read(&one).await.json(), whole);

    let jtis = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["jti"].as_str().unwrap().to_owned()).collect()
    };
    let mut newest_first: Vec<String> = tokens.iter().map(|token| token.jti.clone()).collect();
    newest_first.sort();
    newest_first.reverse();
    for query in ["client=acme/billing", "tenant=acme"] {
        assert_eq!(jtis(&api.read(&format!("/v1/tokens?{query}")).await.json()), newest_first);
    }
    let first = api.read("/v1/tokens?tenant=acme&limit=2").await.json();
    let next = first["next"].as_str().unwrap();
    let rest = api.read(&format!("/v1/tokens?tenant=acme&limit=2&after={next}")).await.json();
    assert_eq!([jtis(&first), jtis(&rest)].concat(), newest_first);
    assert_eq!(rest["next"], Value::Null);
    let all = api.read("/v1/tokens").await;
    assert_eq!(jtis(&all.json()).len(), 4, "the operator's own, too");
    for token in &tokens {
        let signature = token.jwt.rsplit('.').next().unwrap();
        assert!(!all.body.contains(signature));
    }

    for unknown in ["x", "01a1ee56-5e7b-7fff-bfff-ffffffffffff", &tokens[0].jti.to_uppercase()] {
        api.read(&format!("/v1/tokens/{unknown}")).await.problem(404, "not-found");
    }
    for query in ["client=acme", "after=x", "limit=0", "jti=x", "scope=llm:*", "model=", "live=1"] {
        api.read(&format!("/v1/tokens?{query}")).await.problem(400, "invalid-request");
    }
}

/// The ids of what a list shows.
fn shown(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["jti"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_inventory_is_searched_by_what_tokens_may_and_when_they_were_issued() {
    let api = Api::start().await;
    let (acme, beta) = (api.billing().await, api.client("beta/billing", terms()).await);
    let mint = async |client: &Client, parameters: &[(&str, &str)]| {
        let reply = api.mint(client, parameters).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.text("jti")
    };
    let chat = mint(&acme, &[]).await;
    let embed = mint(&acme, &[("scope", "llm:embed"), ("models", "claude-haiku-4*")]).await;
    let both = mint(&beta, &[("scope", "llm:chat llm:embed"), ("models", "claude-haiku-*")]).await;
    let list = async |query: &str| {
        let reply = api.read(&format!("/v1/tokens?{query}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{query}: {reply:?}");
        reply.json()
    };
    let revoked = api.revoke(json!({"client": "beta/billing"})).await;
    for (query, found) in [
        ("scope=llm:embed", vec![&both, &embed]),
        ("scope=llm:chat", vec![&both, &chat]),
        ("scope=llm:cha", vec![]),
        ("model=gpt-4o-mini", vec![&chat]),
        ("model=claude-haiku-4-5", vec![&both, &embed]),
        ("model=claude-haiku-3", vec![&both]),
        ("model=claude-haiku-*", vec![&both]),
        ("model=*", vec![]),
        ("scope=llm:embed&live=true", vec![&embed]),
        ("live=false", vec![&both]),
        ("client=acme/billing&live=true", vec![&embed, &chat]),
        ("client=acme/billing&tenant=acme&scope=llm:chat&model=gpt-4o-mini", vec![&chat]),
        ("client=acme/billing&tenant=beta", vec![]),
        ("tenant=beta&issued_after=2026-01-01T00:00:00Z", vec![&both]),
        ("tenant=beta&issued_before=2026-01-01T00:00:00Z", vec![]),
        ("issued_after=2999-01-01T00:00:00Z", vec![]),
    ] {
        let list = list(query).await;
        assert_eq!(shown(&list), found.into_iter().cloned().collect::<Vec<_>>(), "{query}");
        assert_eq!(list["next"], Value::Null, "{query}");
    }
    let one = list("tenant=beta").await["items"][0].clone();
    assert_eq!(one["revocation"]["id"], revoked.json()["id"], "{one}");
    let issued = one["issued"].as_str().unwrap().to_owned();
    assert_eq!(shown(&list(&format!("tenant=beta&issued_after={issued}")).await), [both.as_str()]);
    assert!(shown(&list(&format!("tenant=beta&issued_before={issued}")).await).is_empty());

    let installation = api.installation.clone();
    let operator = installation
        .set("SCRIP_URL", &api.installation.url())
        .set("SCRIP_CLIENT_ID", &api.operator.id)
        .set("SCRIP_CLIENT_SECRET", &api.operator.secret);
    let search = ["token", "list", "--scope", "llm:embed", "--model", "claude-haiku-4-5", "--live"];
    let (done, table) = run(&operator, &search).await;
    assert!(done && table.contains(&embed) && !table.contains(&both), "{table}");
    assert!(table.contains("claude-haiku-4*") && table.contains("MODELS"), "{table}");
    let dead = ["token", "list", "--json", "--tenant", "beta", "--live=false"];
    let (done, dead) = run(&operator, &dead).await;
    let dead: Value = serde_json::from_str(&dead).unwrap();
    assert!(done && shown(&dead) == [both], "{dead}");
}

#[tokio::test]
async fn what_is_rare_among_many_is_found_page_by_page() {
    let api = Api::start().await;
    let client = api.billing().await;
    let rare = api.mint(&client, &[("scope", "llm:embed")]).await.text("jti");
    // Newer than that one, and of no interest: as if they had been minted after it.
    let hex = rare.replace('-', "");
    let newer = format!("unhex('{}fffbf' || printf('%014x', i))", &hex[..13]);
    api.sql(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) \
         INSERT INTO tokens (jti, tenant, client, sub, aud, kid, cred, iat, exp, claims) \
         SELECT {newer}, tenant, client, sub, aud, kid, cred, iat, exp, \
         replace(claims, 'llm:embed', 'llm:chat') FROM tokens, n WHERE jti = x'{hex}'"
    ))
    .await;

    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = api
            .read(&format!("/v1/tokens?client=acme/billing&scope=llm:embed{after}"))
            .await
            .json();
        pages.push(shown(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
        assert!(pages.len() < 9, "each page looks further");
    }
    assert_eq!(pages, [vec![], vec![], vec![rare]], "5,000 are looked at for each");
}
