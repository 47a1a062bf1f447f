//! The only mapping from what can go wrong inside to what is said outside.
//!
//! A handler fails with an [`OAuthError`] or a [`Problem`], whichever dialect its endpoint speaks;
//! both carry a [`Failure`]. [`render`] writes the body with the request's id, gives bare statuses
//! of the framework (404, 405, 413, ..) a body too, and logs, once.

mod failure;
mod rendering;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use crate::caller::{Unproved, Unread};
use crate::deny::PublishError;
use crate::mint::Refused;
use crate::mint::request::RequestError;
use crate::policy::Denial;
use crate::rates::TooOften;
use crate::receipts::NotTaken;
use crate::recorder::NotRecorded;
use crate::recorder::quotas::NotHeld;
use crate::revoke::NotRevoked;
use crate::signer::SignerError;
use crate::store::StoreError;
use crate::usage;
use crate::vault::VaultError;

pub use failure::{Failure, OAuthError, Problem};
pub use rendering::{instead_of, is_held_back, render};

fn unpublished(error: &PublishError) -> &'static str {
    match error {
        PublishError::Lost => {
            "the database has lost what was published; a new epoch is about to begin"
        }
        PublishError::Unwitnessed(_) => {
            "it took effect, and is not acknowledged: the witness cannot be written"
        }
        _ => "the deny list cannot be extended",
    }
}

/// What failed for a whole group. Who of it has conflicted, or sent what cannot be stored, is not known.
fn of_a_group(error: &StoreError, cause: Arc<dyn StdError + Send + Sync>) -> Failure {
    match error {
        StoreError::Unavailable(_) | StoreError::Conflict | StoreError::Unstorable(_) => {
            Failure::unavailable("the database is unavailable", 1).because(cause)
        }
        _ => Failure::internal(cause),
    }
}

/// When whoever has too much waiting may ask again, and when entries of the deny list will be over.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);

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
    Arc<PublishError> => |error| match &*error {
        PublishError::Store(cause) => of_a_group(cause, error.clone()),
        _ => Failure::unavailable(unpublished(&error), 1).because(error),
    };
    Arc<StoreError> => |error| of_a_group(&error, error.clone());
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
        NotRevoked::Publish(cause) => cause.into(),
        NotRevoked::TooMany => Failure::too_often(error.to_string(), SOON),
        NotRevoked::TooManyUnissued => Failure::too_often(error.to_string(), LATER),
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
        NotRecorded::Store(cause) => cause.into(),
        NotRecorded::Busy | NotRecorded::Cut | NotRecorded::NoKey => {
            Failure::unavailable("no token can be recorded at the moment", 1).because(error)
        }
        NotRecorded::Quota(NotHeld::Exhausted { retry_after, .. }) => {
            let mut failure = Failure::new(
                StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", error.to_string(),
            );
            failure.retry_after = Some(retry_after);
            failure
        }
        NotRecorded::Quota(NotHeld::Denied(denial)) => denial.into(),
        // As late as if it had ended before it was proved.
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
        ).challenging(r#"Basic realm="scrip", charset="UTF-8""#).held_back(),
        Unproved::Ambiguous => Failure::new(
            StatusCode::BAD_REQUEST, "invalid_request", "two ways of authenticating in one request",
        ),
        Unproved::Away => {
            Failure::unavailable("credentials cannot be checked at the moment", 5).held_back()
        }
        Unproved::TooOften(error) => error.into(),
        Unproved::OneTooMany(error) => Failure::from(error).held_back(),
        Unproved::Crowded => Failure::unavailable("too many are waiting", 1),
        Unproved::Store(error) => error.into(),
        Unproved::Unread(Unread::Store(error)) => error.into(),
        Unproved::Unread(Unread::Busy) => Failure::unavailable("too many are waiting", 1),
        Unproved::Token(_) => Failure::new(
            StatusCode::UNAUTHORIZED, "invalid-token",
            "this needs an access token for the audience `self`; there is none, or it is not accepted",
        ).challenging(r#"Bearer realm="scrip", error="invalid_token""#),
        Unproved::Scope(scope) => Failure::new(
            StatusCode::FORBIDDEN, "insufficient-scope", format!("this needs the scope `{scope}`"),
        ).challenging(r#"Bearer realm="scrip", error="insufficient_scope""#),
        Unproved::InVault(scope) => Failure::new(
            StatusCode::FORBIDDEN, "insufficient-scope",
            format!("a secret that Vault keeps opens nothing here: get a token with the scope `{scope}` \
                     for the audience `self`"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(failure: impl Into<Failure>) -> StatusCode {
        failure.into().status
    }

    #[test]
    fn a_fault_of_the_database_has_one_status_whoever_shares_it() {
        let corrupt = || StoreError::Corrupt("a row".to_owned());
        let away = || StoreError::Unavailable(sqlx::Error::PoolTimedOut);
        for (fault, expected) in [
            (&corrupt as &dyn Fn() -> StoreError, StatusCode::INTERNAL_SERVER_ERROR),
            (&away, StatusCode::SERVICE_UNAVAILABLE),
        ] {
            let published = || PublishError::from(fault());
            assert_eq!(status(fault()), expected);
            assert_eq!(status(Arc::new(fault())), expected);
            assert_eq!(status(published()), expected);
            assert_eq!(status(Arc::new(published())), expected);
            assert_eq!(status(NotRecorded::from(fault())), expected);
            assert_eq!(status(NotRevoked::from(fault())), expected);
        }
        // Of two who ask for the same, the group says nothing; alone, it was theirs.
        assert_eq!(status(StoreError::Conflict), StatusCode::CONFLICT);
        assert_eq!(status(Arc::new(StoreError::Conflict)), StatusCode::SERVICE_UNAVAILABLE);
    }
}
