//! A request to look at what is on record.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::caller::{Means, Operator, Reach, operator};
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
    /// Proves an operator by a token of `scope`, and says how far they see.
    ///
    /// # Errors
    /// 401, 403, 503.
    pub async fn reach(&self, app: &App, scope: &'static str) -> Result<Reach, Problem> {
        let (_, reach) = self.operator(app, scope).await?.within();
        Ok(reach)
    }

    /// Proves an operator by a token of `scope` who may see what is everybody's.
    ///
    /// # Errors
    /// 401; 403 for one who is confined to a tenant too; 503.
    pub async fn everywhere(&self, app: &App, scope: &'static str) -> Result<(), Problem> {
        self.operator(app, scope).await?.everywhere()?;
        Ok(())
    }

    async fn operator(&self, app: &App, scope: &'static str) -> Result<Operator, Problem> {
        let Arrival { address, at, .. } = self.arrival;
        Ok(operator(app, &self.headers, address, at, scope, Means::Token).await?)
    }
}
