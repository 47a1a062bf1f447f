use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::http::api::Api;

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
        "kid": header.kid.unwrap(), "claims": claims,
    });
    assert_eq!(api.read(&one).await.json(), whole);
    assert_eq!(api.revoke(json!({"jti": tokens[0].jti})).await.status, StatusCode::CREATED);
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
    for query in ["client=acme", "after=x", "client=acme/billing&tenant=acme", "limit=0", "jti=x"] {
        api.read(&format!("/v1/tokens?{query}")).await.problem(400, "invalid-request");
    }
}
