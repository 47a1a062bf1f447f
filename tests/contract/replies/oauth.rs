use crate::contract::session::Session;
use crate::harness::api::form;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The client of the document's examples.
const CLIENT: &str = "acme/billing";
const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// Mints, introspects and revokes.
pub async fn speaks(session: &Session) {
    let policy = json!({
        "audiences": ["llm-gateway"], "scopes": ["llm:chat"], "models": ["gpt-4o-mini", "claude-haiku-*"],
        "cidrs": ["127.0.0.0/8", "::1/128"], "env": "prod", "ttl": {"default": 300, "max": 900},
        "budget": {"tokens": 50000, "request_tokens": 2000, "requests": 100},
        "defaults": {"models": ["gpt-4o-mini"], "budget": {"tokens": 5000}},
        "rate": {"mints": 1000, "per": "minute"},
    });
    let secret = session.api.client(CLIENT, policy).await;
    let by = |secret: &str, path: &str, parameters: &[(&str, &str)]| -> RequestBuilder {
        session
            .plain(Method::POST, path)
            .basic_auth(CLIENT, Some(secret))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(parameters))
    };
    let post = |path: &str, parameters: &[(&str, &str)]| by(&secret, path, parameters);
    let mint = |more: &[(&str, &str)]| post("/oauth2/token", &[&[GRANT], more].concat());

    for narrower in [
        [("authorization_details", r#"[{"type":"llm_inference","ttl":60}]"#)].as_slice(),
        &[("models", "claude-haiku-4"), ("budget_tokens", "7"), ("cidrs", "127.0.0.1/32")],
    ] {
        session.expect(200, mint(narrower)).await;
    }
    for beyond in [
        [("scope", "db:all")].as_slice(),
        &[("audience", "elsewhere")],
        &[("models", "gpt-5")],
        &[("ttl", "901")],
        &[("budget", "7")],
        &[GRANT],
        &[("client_id", CLIENT), ("client_secret", "twice")],
    ] {
        session.expect(400, mint(beyond)).await;
    }
    session.expect(400, post("/oauth2/token", &[("grant_type", "password")])).await;

    let once = |ttl| mint(&[("ttl", ttl)]).header("Idempotency-Key", "once");
    let first = session.expect(200, once("60")).await.json();
    assert_eq!(session.expect(200, once("60")).await.json()["jti"], first["jti"]);
    session.expect(409, once("61")).await;

    let token = &[("token", first["access_token"].as_str().expect("a token"))];
    let introspect = async |token| -> Value {
        session.expect(200, post("/oauth2/introspect", token)).await.json()
    };
    assert_eq!(introspect(token).await["active"], true);
    session.expect(200, post("/oauth2/revoke", token)).await;
    assert_eq!(introspect(token).await, json!({"active": false}));
    assert_eq!(introspect(&[("token", "unknown")]).await, json!({"active": false}));
    let foreign = session.bearer.strip_prefix("Bearer ").expect("it is one");
    session.expect(400, post("/oauth2/revoke", &[("token", foreign)])).await;

    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        session.expect(400, post(path, &[])).await;
    }
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        session.expect(401, by("a guess", path, &[GRANT, ("token", "x")])).await;
    }
}
