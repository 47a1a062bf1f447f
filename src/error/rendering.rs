use std::error::Error as StdError;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Failure, OAuthError, Problem};
use crate::mint::NO_STORE;
use crate::router::RequestId;

#[derive(Clone)]
enum Outside {
    OAuth(Failure),
    Problem(Failure),
}

impl IntoResponse for OAuthError {
    /// 405, 413 and 415 are problem documents everywhere: they are about HTTP, not about OAuth.
    fn into_response(self) -> Response {
        let status = self.0.status;
        let is_http = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE];
        let outside = if is_http.contains(&status) { Outside::Problem } else { Outside::OAuth };
        unrendered(status, outside(self.0))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        unrendered(self.0.status, Outside::Problem(self.0))
    }
}

fn unrendered(status: StatusCode, outside: Outside) -> Response {
    let mut response = status.into_response();
    response.extensions_mut().insert(outside);
    response
}

/// Whether an answer is to be as late as every failed authentication.
pub fn is_held_back(response: &Response) -> bool {
    let outside = response.extensions().get();
    let Some(Outside::OAuth(failure) | Outside::Problem(failure)) = outside else { return false };
    failure.is_held_back
}

/// Another failure than this answer has, in its dialect.
pub fn instead_of(response: &Response, failure: Failure) -> Response {
    match response.extensions().get() {
        Some(Outside::OAuth(_)) => OAuthError(failure).into_response(),
        _ => Problem(failure).into_response(),
    }
}

/// Writes the body of a failure and logs it.
pub async fn render(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
    let mut response = next.run(request).await;
    let outside = match response.extensions_mut().remove::<Outside>() {
        Some(outside) => outside,
        None => match bare(&response) {
            Some(failure) => Outside::Problem(failure),
            None => return response,
        },
    };

    let (failure, content_type, body) = match outside {
        Outside::OAuth(failure) => {
            let description = printable(&failure.detail);
            let body = json!({
                "error": failure.code, "error_description": description, "request_id": id,
            });
            (failure, "application/json", body)
        }
        Outside::Problem(failure) => {
            let code = failure.code.replace('_', "-");
            let title = code.replace('-', " ");
            let mut body = json!({
                "type": format!("urn:scrip:problem:{code}"), "title": title,
                "status": failure.status.as_u16(), "detail": failure.detail, "request_id": id,
            });
            if let Some(pointer) = &failure.pointer {
                body["pointer"] = json!(pointer);
            }
            (failure, "application/problem+json", body)
        }
    };

    match &failure.cause {
        Some(cause) => tracing::error!(
            status = failure.status.as_u16(), code = failure.code, cause = %Chain(&**cause), "failed"
        ),
        None => tracing::info!(
            status = failure.status.as_u16(),
            code = failure.code,
            detail = failure.detail,
            "refused"
        ),
    }

    let mut rendered = (failure.status, Json(body)).into_response();
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    let headers = rendered.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.extend(NO_STORE);
    if let Some(seconds) = failure.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(challenge) = failure.challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    rendered
}

/// A status that the framework answered by itself.
fn bare(response: &Response) -> Option<Failure> {
    let (code, detail) = match response.status() {
        StatusCode::NOT_FOUND => ("not-found", "there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "see the `Allow` header"),
        StatusCode::REQUEST_TIMEOUT => ("request-timeout", "the request took too long to arrive"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported-media-type", "see the documentation"),
        StatusCode::BAD_REQUEST => ("invalid-request", "the request could not be read"),
        StatusCode::INTERNAL_SERVER_ERROR => ("server-error", "something went wrong here"),
        _ => return None,
    };
    Some(Failure::new(response.status(), code, detail))
}

/// The characters that RFC 6749 section 5.2 allows in a description.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

/// An error with all its causes.
struct Chain<'a>(&'a (dyn StdError + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
