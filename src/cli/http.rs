//! One request, bounded in time and size, to whom the caller named and to nobody else.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, redirect};
use serde_json::Value;

use super::failure::{Failure, Refusal};

/// Largest answer that is read, in bytes: a page of a list is far smaller.
const MAX_BODY_BYTES: usize = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a revocation may wait for receipts.
const TIMEOUT: Duration = Duration::from_secs(45);

/// A client that follows no redirect and no proxy: either would carry a credential elsewhere.
pub(super) fn client() -> Result<Client, Failure> {
    Client::builder()
        .user_agent(concat!("scrip/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| Failure::Unreachable(reason(error)))
}

/// A successful answer.
pub(super) struct Reply {
    body: Vec<u8>,
}

impl Reply {
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }

    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            Failure::Unreachable("the answer is not JSON: is this the URL of Scrip?".to_owned())
        })
    }
}

/// Sends a request.
///
/// # Errors
/// [`Failure::Refused`] for 4xx; [`Failure::Unreachable`] without an answer, and for an answer that
/// a well service does not give: 5xx, a redirect, a body beyond all bounds.
pub(super) async fn exchange(request: RequestBuilder) -> Result<Reply, Failure> {
    let unreachable = |error| Failure::Unreachable(reason(error));
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let request_id = request_id.map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Failure::Unreachable(format!("the answer exceeds {MAX_BODY_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(Reply { body });
    }
    let refusal = Refusal::read(status.as_u16(), request_id, &body);
    if status.is_client_error() {
        return Err(Failure::Refused(refusal));
    }
    Err(Failure::Unreachable(refusal.to_string()))
}

/// The whole chain of causes: reqwest's own text stops before "connection refused".
fn reason(error: reqwest::Error) -> String {
    let host = error.url().map(|url| url.origin().ascii_serialization());
    let error = error.without_url();
    let mut reason = match host {
        Some(host) => format!("{host}: {error}"),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    reason
}
