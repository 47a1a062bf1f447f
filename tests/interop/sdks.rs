//! The SDKs of OpenAI and Anthropic with Scrip's tokens, as docs/workloads.md says to use them.

use crate::harness::acme::Acme;
use crate::harness::front::front;
use crate::harness::http::Http;
use crate::harness::process::Process;
use crate::harness::service::Installation;
use crate::{python, succeeds};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use scrip::clock;
use scrip_token::jwk::KeySet;
use scrip_verify::{DenySet, Information, Issuer, Trust, Verifier};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn the_sdks_take_a_token_from_the_environment_and_from_a_file_that_is_renewed() {
    let installation = Installation::on_sqlite();
    let front = front(installation.url()).await;
    let acme = Acme::found(installation.set("SCRIP_ISSUER", &front)).await;
    let billing = acme.embedded("acme/billing").await;
    let keys = Http::new(&acme.installation).published("/.well-known/jwks.json").await.body;
    let keys = KeySet::parse(keys.to_string().as_bytes()).expect("a JWKS");
    let gateway = gateway(Issuer::new(front.as_str(), keys.into(), DenySet::default())).await;

    let words = ["--env", "OPENAI_API_KEY", "--env", "ANTHROPIC_AUTH_TOKEN", "--"];
    let mut command = billing.command(&[&["token", "exec"], &words[..]].concat());
    let program = python("test_sdks.py");
    command
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(program.get_current_dir().expect("it has one"))
        .env("SCRIP_URL", &front)
        .env("OPENAI_BASE_URL", format!("{gateway}/v1"))
        .env("ANTHROPIC_BASE_URL", &gateway);
    succeeds(Process::start(command)).await;
}

/// Verifies as a gateway does, and answers in either dialect with the `jti` that it was shown.
async fn gateway(issuer: Issuer) -> String {
    async fn answer(State(issuer): State<Arc<Issuer>>, request: Request) -> Response {
        let bearer = request.headers().get(header::AUTHORIZATION);
        let token = bearer.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let verifier = Verifier::new("llm-gateway", "prod");
        let trust = Trust::one(&issuer, Information::Unfollowed);
        let judged = verifier.authenticate(token.unwrap_or_default(), clock::now_seconds(), &trust);
        let Ok(authentic) = judged else { return StatusCode::UNAUTHORIZED.into_response() };
        let jti = authentic.claims().jti.to_string();
        match request.uri().path() {
            "/v1/chat/completions" => Json(json!({
                "id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
                "choices": [{
                    "index": 0, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": jti},
                }],
            }))
            .into_response(),
            "/v1/messages" => Json(json!({
                "id": "x", "type": "message", "role": "assistant", "model": "claude-sonnet-4",
                "content": [{"type": "text", "text": jti}],
                "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }))
            .into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let router = Router::new().fallback(answer).with_state(Arc::new(issuer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
