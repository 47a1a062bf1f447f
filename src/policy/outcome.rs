//! What a request comes to, in a form that can be compared and shown.

use scrip_token::{Budget, Cidr, Jti, ModelPattern, Scopes};
use serde::Serialize;

use super::{Approved, Denial};
use crate::mint::request::RequestError;

/// What is answered to a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A token.
    Granted(Granted),
    /// None.
    Refused(Refused),
}

/// What the token says, but for who asked and when.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Granted {
    /// The claim.
    pub aud: String,
    /// The claim.
    pub scope: Scopes,
    /// The claim; empty is none.
    pub models: Vec<ModelPattern>,
    /// The claim; null where the token does not limit.
    pub budget: Option<Budget>,
    /// The claim; null is any address.
    pub cidrs: Option<Vec<Cidr>>,
    /// The claim.
    pub env: String,
    /// Life in seconds.
    pub ttl: u64,
}

/// An OAuth error (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The code.
    pub error: &'static str,
    /// Why.
    pub error_description: String,
}

impl From<Result<Approved, Denial>> for Outcome {
    fn from(judged: Result<Approved, Denial>) -> Self {
        let approved = match judged {
            Ok(approved) => approved,
            Err(denial) => {
                let error_description = denial.to_string();
                return Self::Refused(Refused { error: denial.code(), error_description });
            }
        };
        let ttl = approved.lifetime();
        let claims = approved.into_claims(0, Jti::new(0, [0; 10]));
        Self::Granted(Granted {
            aud: claims.aud,
            scope: claims.scope,
            models: claims.models,
            budget: claims.budget,
            cidrs: claims.cidrs,
            env: claims.env,
            ttl,
        })
    }
}

impl From<RequestError> for Outcome {
    fn from(error: RequestError) -> Self {
        let error_description = error.to_string();
        Self::Refused(Refused { error: error.code(), error_description })
    }
}
