//! Who is told what a token says.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::api::{Api, Client, Reply};

#[tokio::test]
async fn holders_and_verifiers_are_told_and_nobody_else() {
    let api = Api::start().await;
    let client = api.billing().await;
    let stranger = api.client_under("acme/stranger", "acme/billing").await;
    let gateway = api.verifier().await;
    let elsewhere = json!({
        "audiences": ["self"], "scopes": ["scrip:feed"], "serves": ["other"], "env": "scrip",
    });
    let elsewhere = api.client("acme/elsewhere", elsewhere).await;
    let token = api.token(&client).await;
    let ask = |who: &Client, jwt: &str| {
        let (who, jwt) = (who.clone(), jwt.to_owned());
        let api = &api;
        async move { api.form("/oauth2/introspect", &who, &[("token", &jwt)]).await }
    };

    let (_, claims) = api.verified(&token.jwt, "llm-gateway").await;
    let mut whole = claims;
    whole["active"] = json!(true);
    whole["token_type"] = json!("Bearer");
    for may in [&client, &gateway] {
        let reply = ask(may, &token.jwt).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.json(), whole);
    }
    let nothing = json!({"active": false});
    for may_not in [&stranger, &elsewhere] {
        assert_eq!(ask(may_not, &token.jwt).await.json(), nothing);
    }

    let cut = &token.jwt[..token.jwt.len() - 1];
    let long = format!("{}{}", token.jwt, "A".repeat(9000));
    for odd in [cut, "x", "..", "a.b.c.d.e", &token.jti, &long] {
        assert_eq!(ask(&client, odd).await.json(), nothing, "{odd}");
    }
    assert_eq!(api.revoke(json!({"jti": token.jti})).await.status, StatusCode::CREATED);
    for told in [&client, &gateway] {
        assert_eq!(ask(told, &token.jwt).await.json(), nothing);
    }
}

#[tokio::test]
async fn the_one_who_asks_is_proved_first() {
    let api = Api::start().await;
    let client = api.billing().await;
    let jwt = api.token(&client).await.jwt;
    let wrong = Client { secret: api.operator.secret.clone(), ..client.clone() };
    let asked = [("token", jwt.as_str())];
    api.form("/oauth2/introspect", &wrong, &asked).await.refused(401, "invalid_client");
    let get = api.request(Method::GET, &format!("/oauth2/introspect?token={jwt}"));
    Reply::to(get).await.problem(405, "method-not-allowed");
    for malformed in [&[][..], &[asked[0], asked[0]], &[("tokens", "x")]] {
        let refused = api.form("/oauth2/introspect", &client, malformed).await;
        refused.refused(400, "invalid_request");
    }
}
