//! What the running service mints.

use super::case::Case;
use crate::harness::api::{Api, form};
use crate::harness::service::Installation;
use reqwest::header::CONTENT_TYPE;
use scrip_token::compact::from_base64url;
use scrip_token::jwk::KeySet;
use scrip_verify::{DenySet, Information, Issuer, Keys, Rejection, Trust, Verifier};
use serde_json::{Value, json};
use std::sync::Arc;

/// What is asked for beside an audience: nothing, each restriction, all of them.
const SHAPES: &[&[(&str, &str)]] = &[
    &[],
    &[("ttl", "60")],
    &[("ttl", "900")],
    &[("scope", "llm:chat tool:payments")],
    &[("models", "gpt-4o-mini claude-haiku-4*")],
    &[("budget_tokens", "1000")],
    &[
        ("budget_tokens", "9007199254740991"),
        ("budget_request_tokens", "1"),
        ("budget_requests", "7"),
    ],
    &[("cidrs", "10.20.30.0/24 2001:db8::1/128")],
    &[
        ("scope", "llm:chat"),
        ("models", "gpt-4o-mini"),
        ("budget_tokens", "1000"),
        ("cidrs", "10.0.0.0/8"),
        ("ttl", "300"),
    ],
];

/// A token of each shape with each algorithm, judged by our verifier a second after it was minted.
pub(super) async fn cases() -> Vec<Case> {
    let installation =
        Installation::on_sqlite().set("SCRIP_AUDIENCE_ALG", "gateway-ed=EdDSA,gateway-rs=RS256");
    let operator = installation.bootstrap().await;
    let _running = installation.serve().await;
    let api = Api::new(&installation, operator);
    let policy = json!({
        "audiences": ["gateway-es", "gateway-ed", "gateway-rs"],
        "scopes": ["llm:chat", "tool:*"],
        "models": ["gpt-4o-mini", "claude-*"],
        "env": "test",
        "ttl": {"default": 300, "max": 900},
        "defaults": {"scopes": ["llm:chat"], "models": ["gpt-4o-mini"]},
    });
    let secret = api.client("acme/billing", policy).await;
    let jwks = api.http.get(format!("{}/.well-known/jwks.json", api.url)).send().await;
    let jwks = jwks.expect("the service answers").text().await.expect("a whole body");
    let keys = Keys::from(KeySet::parse(jwks.as_bytes()).expect("a key set"));
    let issuer = Issuer::new(&api.url, keys, DenySet::default());
    let jwks = Arc::from(jwks);

    let mut cases = Vec::new();
    for (aud, alg) in [("gateway-es", "ES256"), ("gateway-ed", "EdDSA"), ("gateway-rs", "RS256")] {
        for shape in SHAPES {
            let token = mint(&api, &secret, aud, shape).await;
            let [header, claims] = [0, 1].map(|which| part(&token, which));
            assert_eq!(header["alg"], alg);
            let now = claims["iat"].as_u64().expect("an integer") + 1;
            let trust = Trust::one(&issuer, Information::Unfollowed);
            let verdict = Verifier::new(aud, "test").authenticate(token.as_bytes(), now, &trust);
            cases.push(Case {
                name: format!("minted for {aud} with {shape:?}"),
                token,
                jwks: Arc::clone(&jwks),
                iss: api.url.clone(),
                aud: aud.to_owned(),
                now,
                refused: verdict.as_ref().err().map(Rejection::code).map(str::to_owned),
                rule: None,
            });
        }
    }
    cases
}

async fn mint(api: &Api, secret: &str, aud: &str, shape: &[(&str, &str)]) -> String {
    let parameters = [&[("grant_type", "client_credentials"), ("audience", aud)], shape].concat();
    let request = api.http.post(format!("{}/oauth2/token", api.url));
    let request = request.basic_auth("acme/billing", Some(secret));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let reply = request.body(form(&parameters)).send().await.expect("the service answers");
    let body = reply.text().await.expect("a whole body");
    let reply: Value = serde_json::from_str(&body).expect("JSON");
    reply["access_token"].as_str().unwrap_or_else(|| panic!("{shape:?}: {body}")).to_owned()
}

fn part(token: &str, which: usize) -> Value {
    let text = token.split('.').nth(which).and_then(from_base64url).expect("a JWS");
    serde_json::from_slice(&text).expect("JSON")
}
