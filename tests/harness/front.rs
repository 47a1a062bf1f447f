use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::Arc;

/// Lives of tokens as it tells them, in seconds: nobody here waits for a minute.
const LIFE: u64 = 3;

/// A front of the `service`, at the address that is returned: it passes requests on. Tokens are the service's
/// own, and live longer than it says.
pub async fn front(service: String) -> String {
    async fn pass(State(service): State<Arc<str>>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 1 << 16).await.expect("a small body");
        let mut headers = parts.headers;
        headers.remove(header::HOST);
        let http = reqwest::Client::builder().no_proxy().build().expect("no certificates");
        let asked = http.request(parts.method, format!("{service}{}", parts.uri));
        let Ok(answer) = asked.headers(headers).body(body).send().await else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        let status = answer.status();
        let mut body: Value = answer.json().await.unwrap_or_default();
        if let Some(left) = body.get_mut("expires_in") {
            *left = LIFE.into();
        }
        (status, axum::Json(body)).into_response()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let router = Router::new().fallback(pass).with_state(Arc::from(service));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
