use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use crate::secret;

/// What is said outside, in neither dialect yet.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(super) status: StatusCode,
    /// An OAuth error code, or the last part of `urn:scrip:problem:..`.
    pub(super) code: &'static str,
    /// For people. Never a secret, never unchecked input.
    pub(super) detail: String,
    /// JSON pointer (RFC 6901) to the member at fault.
    pub(super) pointer: Option<String>,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
    pub(super) challenge: Option<&'static str>,
    pub(super) cause: Option<Arc<dyn StdError + Send + Sync>>,
    /// Whether it is answered as late as every failed authentication.
    pub(super) is_held_back: bool,
}

impl Failure {
    /// A refusal that is the caller's to mend.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if secret::is_in(&detail) {
            // The secret may be good elsewhere: neither its sender nor the log is shown it.
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
            is_held_back: false,
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

    /// An operator who is confined to a tenant, and something that is not that tenant's.
    pub(crate) fn confined() -> Self {
        let detail = "this operator is confined to a tenant, and this is not that tenant's alone";
        Self::new(StatusCode::FORBIDDEN, "confined", detail)
    }

    /// What is the service's own fault; the cause goes to the log only.
    pub(crate) fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
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

    /// Adds a `WWW-Authenticate` challenge.
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

    pub(super) fn held_back(mut self) -> Self {
        self.is_held_back = true;
        self
    }

    pub(super) fn because(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
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
