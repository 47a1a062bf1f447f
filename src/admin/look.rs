//! Somebody who looks at what is on record.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::caller::{Means, Reach, operator};
use crate::error::Problem;
use crate::router::Arrival;

/// What comes with a request to look at something.
pub struct Look {
    arrival: Arrival,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Look {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let arrival = Arrival::from_request_parts(parts, state).await?;
        Ok(Self { arrival, headers: parts.headers.clone() })
    }
}

impl Look {
    /// Proves an operator by a token of `scope`: how far they see.
    ///
    /// # Errors
    /// 401, 403, 503.
    pub async fn reach(&self, app: &App, scope: &'static str) -> Result<Reach, Problem> {
        let Arrival { address, at, .. } = self.arrival;
        let by = operator(app, &self.headers, address, at, scope, Means::Token).await?;
        let (_, reach) = by.within();
        Ok(reach)
    }
}
