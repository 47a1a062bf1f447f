//! Why a token was refused: in full inside the process, as little as needed outside.

use std::net::IpAddr;

use scrip_token::claims::ClaimsError;
use scrip_token::compact::{CompactError, HeaderError};
use scrip_token::signature::Alg;

use crate::deny::Denied;
use crate::presented::Derived;

/// Why a token was refused, with the values that disagreed, in the order of the checks. Holds no
/// part of a token that could be used again. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// 1: not a JWS in compact form.
    #[error(transparent)]
    Malformed(#[from] CompactError),
    /// 2: not the header of a Scrip token.
    #[error(transparent)]
    BadHeader(#[from] HeaderError),
    /// 2: an algorithm that is not used here, `none` among them.
    #[error("algorithm {alg:?} is not known")]
    UnknownAlg {
        /// The header's text, cut to 128 characters.
        alg: String,
    },
    /// 3: no trusted issuer has any key: none was fetched, or all are gone. Told apart from a
    /// single unknown key, because here the verifier is at fault and not the token.
    #[error("no key is known at all")]
    NoKeys,
    /// 3: a key that no issuer has published. Whoever keeps the keys may fetch them again.
    #[error("key {kid} is not known")]
    UnknownKid {
        /// The header's text, well formed.
        kid: String,
    },
    /// 3: not the algorithm of the key.
    #[error("algorithm {alg:?} with a key for {key}")]
    WrongAlg {
        /// The header's text, cut to 128 characters.
        alg: String,
        /// What the key is for.
        key: Alg,
    },
    /// 4: not signed by the key.
    #[error("key {kid} did not sign this")]
    BadSignature {
        /// Which key.
        kid: String,
    },
    /// 5: not the claims of a Scrip token.
    #[error(transparent)]
    BadClaims(#[from] ClaimsError),
    /// 6: signed with a key of another issuer.
    #[error("issuer {token} with a key of {expected}")]
    WrongIssuer {
        /// The claim.
        token: String,
        /// The key's issuer.
        expected: String,
    },
    /// 6: made for somebody else.
    #[error("audience {token} instead of {expected}")]
    WrongAudience {
        /// The claim.
        token: String,
        /// The verifier's own.
        expected: String,
    },
    /// 6: made for another environment.
    #[error("environment {token} instead of {expected}")]
    WrongEnvironment {
        /// The claim.
        token: String,
        /// The verifier's own.
        expected: String,
    },
    /// 7: over, the leeway included.
    #[error("expired at {exp}, it is {now}")]
    Expired {
        /// The claim.
        exp: u64,
        /// As presented.
        now: u64,
    },
    /// 7: not begun, the leeway included.
    #[error("valid from {iat}, it is {now}")]
    NotYetValid {
        /// The claim, equal to `nbf`.
        iat: u64,
        /// As presented.
        now: u64,
    },
    /// 7: longer from `iat` to `exp` than the verifier allows.
    #[error("lives {lifetime} s, {most} s are allowed")]
    LivesTooLong {
        /// In seconds.
        lifetime: u64,
        /// In seconds.
        most: u64,
    },
    /// 8: the deny list is too old for this token; one minted now would be accepted.
    #[error("deny list {}, {most} s are allowed", how_old(*age))]
    Stale {
        /// In seconds.
        age: u64,
        /// In seconds, with what the policy adds.
        most: u64,
        /// Whether an operator is to be told.
        alert: bool,
    },
    /// 8: the deny list is too old for any token.
    #[error("deny list {}, {most} s are allowed even to a new token", how_old(*age))]
    Offline {
        /// In seconds.
        age: u64,
        /// In seconds.
        most: u64,
        /// Whether an operator is to be told.
        alert: bool,
    },
    /// 8: revoked.
    #[error("revoked: {0}")]
    Revoked(Denied),
    /// 9: bound to a key, and no proof was shown.
    #[error("bound to a key, no proof was shown")]
    ProofMissing,
    /// 9: bound to another key.
    #[error("bound to another key than {shown:?}")]
    WrongProof {
        /// The thumbprint that was shown, cut to 128 characters.
        shown: String,
    },
    /// 10: bound to networks, and there is no address.
    #[error("bound to networks, the address is not known")]
    AddressUnknown,
    /// 10: from outside its networks.
    #[error("address {address} ({derived:?}) is outside the token's networks")]
    WrongAddress {
        /// As presented.
        address: IpAddr,
        /// How it was found out.
        derived: Derived,
    },
    /// 11: a scope that it does not have.
    #[error("scope {asked:?} is not granted")]
    InsufficientScope {
        /// As presented, cut to 128 characters.
        asked: String,
    },
    /// 11: bound to models, and the request names none.
    #[error("bound to models, the request names none")]
    ModelUnnamed,
    /// 11: a model that it does not have.
    #[error("model {asked:?} is not granted")]
    WrongModel {
        /// As presented, cut to 128 characters.
        asked: String,
    },
    /// 12: requests are bounded, and the size of this one is not known.
    #[error("size is not known, {most} tokens are allowed for a request")]
    SizeUnknown {
        /// In LLM tokens.
        most: u64,
    },
    /// 12: a request that is too large.
    #[error("{asked} tokens are asked for, {most} are allowed for a request")]
    TooLarge {
        /// In LLM tokens.
        asked: u64,
        /// In LLM tokens.
        most: u64,
    },
}

/// What the sender may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outside {
    /// 401 `invalid_token` with one constant body (RFC 6750 section 3.1): mint a new one.
    InvalidToken,
    /// 403 `insufficient_scope` (RFC 6750 section 3.1).
    InsufficientScope,
    /// 403: this model, or this address, is not for this token.
    Forbidden,
    /// 429 that no retry will change: this request is too large for this token.
    OverBudget,
    /// 503 with `Retry-After`: nothing can be decided, and no new token would help.
    Unavailable,
}

impl Outside {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidToken => 401,
            Self::InsufficientScope | Self::Forbidden => 403,
            Self::OverBudget => 429,
            Self::Unavailable => 503,
        }
    }
}

impl Rejection {
    /// A stable name for metrics, logs and `X-Scrip-Reason`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::BadHeader(_) => "bad-header",
            Self::UnknownAlg { .. } => "unknown-alg",
            Self::NoKeys => "no-keys",
            Self::UnknownKid { .. } => "unknown-kid",
            Self::WrongAlg { .. } => "wrong-alg",
            Self::BadSignature { .. } => "bad-signature",
            Self::BadClaims(_) => "bad-claims",
            Self::WrongIssuer { .. } => "wrong-issuer",
            Self::WrongAudience { .. } => "wrong-audience",
            Self::WrongEnvironment { .. } => "wrong-env",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::LivesTooLong { .. } => "lives-too-long",
            Self::Stale { .. } => "stale",
            Self::Offline { .. } => "offline",
            Self::Revoked(_) => "revoked",
            Self::ProofMissing => "proof-missing",
            Self::WrongProof { .. } => "wrong-proof",
            Self::AddressUnknown => "address-unknown",
            Self::WrongAddress { .. } => "wrong-address",
            Self::InsufficientScope { .. } => "insufficient-scope",
            Self::ModelUnnamed => "model-unnamed",
            Self::WrongModel { .. } => "wrong-model",
            Self::SizeUnknown { .. } => "size-unknown",
            Self::TooLarge { .. } => "too-large",
        }
    }

    /// What the sender may be told. Whatever is wrong with the token itself looks the same.
    #[must_use]
    pub fn outside(&self) -> Outside {
        match self {
            Self::Malformed(_)
            | Self::BadHeader(_)
            | Self::UnknownAlg { .. }
            | Self::NoKeys
            | Self::UnknownKid { .. }
            | Self::WrongAlg { .. }
            | Self::BadSignature { .. }
            | Self::BadClaims(_)
            | Self::WrongIssuer { .. }
            | Self::WrongAudience { .. }
            | Self::WrongEnvironment { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::LivesTooLong { .. }
            | Self::Stale { .. }
            | Self::Revoked(_)
            | Self::ProofMissing
            | Self::WrongProof { .. } => Outside::InvalidToken,
            Self::Offline { .. } => Outside::Unavailable,
            Self::InsufficientScope { .. } => Outside::InsufficientScope,
            Self::AddressUnknown
            | Self::WrongAddress { .. }
            | Self::ModelUnnamed
            | Self::WrongModel { .. } => Outside::Forbidden,
            Self::SizeUnknown { .. } | Self::TooLarge { .. } => Outside::OverBudget,
        }
    }
}

/// The beginning of a text that a sender chose, so that a rejection stays small.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(128).collect()
}

/// For people: an age that is endless means that nothing was ever received.
fn how_old(age: u64) -> String {
    if age == u64::MAX { "was never received".to_owned() } else { format!("is {age} s old") }
}
