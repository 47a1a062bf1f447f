use std::time::Duration;

const REST_AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// Why there is no token. Never carries a secret, and is cheap to clone: one failed attempt
/// answers every waiting caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The service, or Vault, could not be reached or asked for patience. Being retried.
    #[error("{peer} is away: {reason}")]
    Away {
        /// Who is away.
        peer: &'static str,
        /// What happened.
        reason: String,
        /// How long it asked to be left alone, already bounded.
        retry_after: Option<Duration>,
    },
    /// The master credential could not be read. Being retried: Vault Agent may still be writing it.
    #[error("the master credential cannot be read: {0}")]
    Credential(String),
    /// The service answered and said no.
    #[error("the service refused: {0}")]
    Refused(Refusal),
    /// The service said not now: it was asked too often, or too little is left of the client's quota.
    /// Being retried.
    #[error("the service refused for now: {refusal}")]
    NotYet {
        /// What it said.
        refusal: Refusal,
        /// How long it asked to be left alone, already bounded.
        retry_after: Option<Duration>,
    },
    /// Whatever answered is not a Scrip service for this issuer.
    #[error("not an answer of a Scrip service: {0}")]
    Malformed(&'static str),
    /// The renewal ended together with the Tokio runtime in which the source was built.
    #[error("the runtime in which this token source was built has ended")]
    Stopped,
}

impl ClientError {
    /// Whether waiting may help without anybody changing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Credential(_) | Self::NotYet { .. })
    }

    /// Whether this is still the answer after so long a wait.
    pub(crate) fn outlasts(&self, patience: Duration) -> bool {
        !self.is_temporary() || self.rest() > patience
    }

    /// The least time before another attempt makes sense.
    pub(crate) fn rest(&self) -> Duration {
        match self {
            Self::Away { retry_after, .. } | Self::NotYet { retry_after, .. } => {
                retry_after.unwrap_or_default()
            }
            Self::Credential(_) => Duration::ZERO,
            // Somebody has to change something first, and failed attempts count as guesses.
            _ => REST_AFTER_REFUSAL,
        }
    }

    pub(crate) fn is_invalid_client(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.error == "invalid_client")
    }
}

/// An error reply of the token endpoint (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error} ({status}): {description} [request {request_id}]")]
#[non_exhaustive]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `invalid_client`, `invalid_scope`, ...
    pub error: String,
    /// `error_description`: which value was refused. Empty when the service gave none.
    pub description: String,
    /// What to quote to whoever runs the service. Empty when the service gave none.
    pub request_id: String,
}
