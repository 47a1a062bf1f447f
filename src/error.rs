//! The only mapping from what can go wrong inside to what is said outside.
//!
//! A handler fails with an [`OAuthError`] or a [`Problem`], whichever dialect its endpoint speaks;
//! both carry a [`Failure`]. [`render`] writes the body with the request's id, gives bare statuses
//! of the framework (404, 405, 413, ..) a body too, and logs, once.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::caller::{Unproved, Unread};
use crate::deny::PublishError;
use crate::mint::request::RequestError;
use crate::mint::{NO_STORE, Refused};
use crate::policy::Denial;
use crate::rates::TooOften;
use crate::receipts::NotTaken;
use crate::recorder::NotRecorded;
use crate::revoke::NotRevoked;
use crate::router::RequestId;
use crate::secret;
use crate::signer::SignerError;
use crate::store::StoreError;
use crate::usage;
use crate::vault::VaultError;

/// What is said outside, in neither dialect yet.
#[derive(Debug, Clone)]
pub struct Failure {
    status: StatusCode,
    /// An OAuth error code, or the last part of `urn:scrip:problem:..`.
    code: &'static str,
    /// For people. Never a secret, never unchecked input.
    detail: String,
    /// JSON pointer (RFC 6901) to the member at fault.
    pointer: Option<String>,
    /// Seconds.
    retry_after: Option<u64>,
    challenge: Option<&'static str>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Failure {
    /// A refusal that is the caller's to mend.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if secret::is_in(&detail) {
            // It may be good elsewhere: not even whoever sent it gets it back, nor the log.
            "a master credential stands where none belongs".clone_into(&mut detail);
        }
        Self {
            status,
            code,
            detail,
            pointer: None,
            retry_after: None,
            challenge: None,
            cause: None,
        }
    }

    /// A dependency is away, or there is too much to do.
    #[must_use]
    pub fn unavailable(detail: &'static str, retry_after: u64) -> Self {
        let mut failure =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", detail);
        failure.retry_after = Some(retry_after);
        failure
    }

    /// Asked before its time.
    #[must_use]
    pub fn too_often(detail: impl Into<String>, wait: Duration) -> Self {
        let mut failure =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", detail);
        // Whole seconds, and never too early (RFC 9110 section 10.2.3).
        failure.retry_after = Some(wait.as_millis().div_ceil(1000).max(1) as u64);
        failure
    }

    /// What is everybody's, or another tenant's, for an operator who is confined to one.
    pub(crate) fn confined() -> Self {
        let detail = "this operator is confined to a tenant, and this is not that tenant's alone";
        Self::new(StatusCode::FORBIDDEN, "confined", detail)
    }

    /// What is the service's own fault; the cause goes to the log only.
    fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        let detail = "something is wrong with the service; its log has the reason";
        let mut failure = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", detail);
        failure.cause = Some(Arc::new(cause));
        failure
    }

    /// Points at the member of the request's body that is at fault.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// With a `WWW-Authenticate` challenge.
    #[must_use]
    pub fn challenging(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// Where it points.
    #[cfg(test)]
    pub(crate) fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }

    fn because(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }
}

/// A failure of an OAuth endpoint (RFC 6749 section 5.2).
#[derive(Debug)]
pub struct OAuthError(pub Failure);

/// A failure of any other endpoint (RFC 9457).
#[derive(Debug)]
pub struct Problem(pub Failure);

impl Problem {
    /// 400 for a member of the body.
    #[must_use]
    pub fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        Self(Failure::new(StatusCode::BAD_REQUEST, "invalid-request", detail).at(pointer))
    }

    /// 404 for what is not there, or not the caller's to see.
    #[must_use]
    pub fn not_found(detail: &'static str) -> Self {
        Self(Failure::new(StatusCode::NOT_FOUND, "not-found", detail))
    }

    /// 409.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self(Failure::new(StatusCode::CONFLICT, "conflict", detail))
    }
}

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

fn unpublished(error: &PublishError) -> &'static str {
    match error {
        PublishError::Store(_) => "the database is unavailable",
        PublishError::Lost => {
            "the database has lost what was published; a new epoch is about to begin"
        }
        PublishError::Unwitnessed(_) => {
            "it took effect, and is not acknowledged: the witness cannot be written"
        }
        _ => "the deny list cannot be extended",
    }
}

macro_rules! both {
    ($($inside:ty => $map:expr;)*) => {$(
        impl From<$inside> for Failure {
            fn from(error: $inside) -> Self {
                let map: fn($inside) -> Failure = $map;
                map(error)
            }
        }
        impl From<$inside> for OAuthError {
            fn from(error: $inside) -> Self {
                Self(error.into())
            }
        }
        impl From<$inside> for Problem {
            fn from(error: $inside) -> Self {
                Self(error.into())
            }
        }
    )*};
}

both! {
    StoreError => |error| match error {
        StoreError::Unavailable(_) => {
            Failure::unavailable("the database is unavailable", 1).because(error)
        }
        StoreError::Conflict => {
            Failure::new(StatusCode::CONFLICT, "conflict", "this exists already, or has changed")
        }
        StoreError::Unstorable(_) => Failure::new(
            StatusCode::BAD_REQUEST, "invalid_request", "a text holds a character that cannot be stored",
        ),
        _ => Failure::internal(error),
    };
    PublishError => |error| match error {
        PublishError::Store(error) => error.into(),
        _ => Failure::unavailable(unpublished(&error), 1).because(error),
    };
    Arc<StoreError> => |error| {
        Failure::unavailable("the database is unavailable", 1).because(error)
    };
    NotTaken => |error| match error {
        NotTaken::Store(cause) => cause.into(),
        NotTaken::Busy => Failure::unavailable("too many acknowledgements at once", 1),
        NotTaken::Epoch(_) => Failure::new(StatusCode::CONFLICT, "conflict", error.to_string()),
        NotTaken::Full(_) => {
            Failure::new(StatusCode::CONFLICT, "too-many-verifiers", error.to_string())
        }
        NotTaken::Head => {
            Failure::new(StatusCode::BAD_REQUEST, "invalid-request", error.to_string()).at("/head")
        }
        NotTaken::Beyond(_) | NotTaken::Forgotten => {
            Failure::new(StatusCode::BAD_REQUEST, "invalid-request", error.to_string()).at("/seq")
        }
    };
    usage::NotTaken => |error| match error {
        usage::NotTaken::Store(error) => error.into(),
        usage::NotTaken::Unregistered => {
            Failure::new(StatusCode::NOT_FOUND, "not-found", error.to_string()).at("/instance")
        }
        usage::NotTaken::Audience => {
            Failure::new(StatusCode::CONFLICT, "conflict", error.to_string()).at("/audience")
        }
        usage::NotTaken::Ahead => {
            let status = StatusCode::BAD_REQUEST;
            Failure::new(status, "invalid-request", error.to_string()).at("/complete_until")
        }
    };
    NotRevoked => |error| match error {
        NotRevoked::Publish(cause) => {
            Failure::unavailable(unpublished(&cause), 1).because(cause)
        }
        NotRevoked::Busy => Failure::unavailable("too many revocations are waiting", 1),
        NotRevoked::Unknown(_) => {
            Failure::new(StatusCode::NOT_FOUND, "not-found", error.to_string())
        }
        NotRevoked::Confined => Failure::confined(),
        NotRevoked::KeyReused => {
            Failure::new(StatusCode::CONFLICT, "conflict", error.to_string())
        }
        NotRevoked::Ahead(pointer) => {
            let detail = "it lies in the future";
            Failure::new(StatusCode::BAD_REQUEST, "invalid-request", detail).at(pointer)
        }
    };
    SignerError => |error| match error {
        SignerError::Store(error) => error.into(),
        SignerError::NoKey(_) => {
            Failure::unavailable("the signing key is not available here", 1).because(error)
        }
        _ => Failure::internal(error),
    };
    NotRecorded => |error| match error {
        NotRecorded::Store(cause) => {
            Failure::unavailable("the database is unavailable", 1).because(cause)
        }
        NotRecorded::Busy | NotRecorded::Cut | NotRecorded::NoKey => {
            Failure::unavailable("no token can be recorded at the moment", 1).because(error)
        }
        NotRecorded::Quota(exhausted) => {
            let mut failure = Failure::new(
                StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", exhausted.to_string(),
            );
            failure.retry_after = Some(exhausted.retry_after);
            failure
        }
        NotRecorded::Ended => Unproved::Wrong.into(),
        NotRecorded::KeyReused | NotRecorded::NotRepeatable => Failure::new(
            StatusCode::CONFLICT, "invalid_request", error.to_string(),
        ),
    };
    VaultError => |error| match error {
        VaultError::Away(_) => Failure::unavailable("Vault is away", 5).because(error),
        VaultError::Denied | VaultError::NotFound => {
            Failure::unavailable("Vault does not let the service have this secret", 5).because(error)
        }
        VaultError::Conflict | VaultError::Unusable(_) => {
            Failure::new(StatusCode::CONFLICT, "conflict", error.to_string())
        }
    };
    Unproved => |error| match error {
        Unproved::Wrong | Unproved::PastDue(_) => Failure::new(
            StatusCode::UNAUTHORIZED, "invalid_client", "client authentication failed",
        ).challenging(r#"Basic realm="scrip", charset="UTF-8""#),
        Unproved::Ambiguous => Failure::new(
            StatusCode::BAD_REQUEST, "invalid_request", "two ways of authenticating in one request",
        ),
        Unproved::Away => Failure::unavailable("credentials cannot be checked at the moment", 5),
        Unproved::TooOften(error) => error.into(),
        Unproved::Crowded => Failure::unavailable("too many failed authentications at once", 1),
        Unproved::Store(error) => error.into(),
        Unproved::Unread(Unread::Store(error)) => error.into(),
        Unproved::Unread(Unread::Busy) => Failure::unavailable("too many are waiting", 1),
        Unproved::Token(_) => Failure::new(
            StatusCode::UNAUTHORIZED, "invalid-token", "the access token is missing or not accepted",
        ).challenging(r#"Bearer realm="scrip", error="invalid_token""#),
        Unproved::Scope(scope) => Failure::new(
            StatusCode::FORBIDDEN, "insufficient-scope", format!("this needs the scope `{scope}`"),
        ).challenging(r#"Bearer realm="scrip", error="insufficient_scope""#),
        Unproved::Confined => Failure::confined(),
        Unproved::Elsewhere => Failure::new(
            StatusCode::FORBIDDEN, "wrong-network", "this client may not ask from here",
        ),
    };
    Refused => |error| match error {
        Refused::Request(error) => error.into(),
        Refused::Denied(denial) => denial.into(),
        Refused::TooOften(error) => error.into(),
        Refused::NotRecorded(error) => error.into(),
    };
    TooOften => |error| Failure::too_often(error.to_string(), error.wait());
    RequestError => |error| Failure::new(StatusCode::BAD_REQUEST, error.code(), error.to_string());
    Denial => |error| Failure::new(StatusCode::BAD_REQUEST, error.code(), error.to_string());
}
