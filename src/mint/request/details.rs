//! `authorization_details` (RFC 9396) of type `llm_inference`, asked for and granted.

use scrip_token::json::present;
use scrip_token::limits::{MAX_CIDRS, MAX_MODELS};
use scrip_token::{Budget, Cidr, Claims, ModelPattern, json};
use serde::{Deserialize, Serialize};

use super::RequestError;
use crate::strict::{Object, are_different, budget};

/// Largest `authorization_details`, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// One object of `authorization_details`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmInference {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Models. In a reply: missing or empty is none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelPattern>>,
    /// LLM-token budget; each member on its own.
    #[serde(default, deserialize_with = "budget", skip_serializing_if = "Budget::is_unlimited")]
    pub budget: Budget,
    /// Networks that the token may be used from.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cidrs: Option<Vec<Cidr>>,
    /// Life in seconds.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// The one type of object that there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Calls to models.
    #[default]
    LlmInference,
}

impl LlmInference {
    /// Reads a request's `authorization_details`: an array of exactly one object.
    pub(super) fn parse(text: &str) -> Result<Self, RequestError> {
        json::bounded(text.as_bytes(), MAX_BYTES).map_err(RequestError::Details)?;
        let details: Vec<Object<Self>> =
            json::read(text.as_bytes()).map_err(RequestError::Details)?;
        let rule = |holds, rule| if holds { Ok(()) } else { Err(RequestError::Detail { rule }) };
        let [Object(detail)] = <[_; 1]>::try_from(details)
            .map_err(|_| RequestError::Detail { rule: "has exactly one object" })?;
        if let Some(models) = &detail.models {
            let good = (1..=MAX_MODELS).contains(&models.len()) && are_different(models);
            rule(good, "models has 1 to 64 different patterns")?;
        }
        if let Some(cidrs) = &detail.cidrs {
            let good = (1..=MAX_CIDRS).contains(&cidrs.len()) && are_different(cidrs);
            rule(good, "cidrs has 1 to 32 different networks")?;
        }
        Ok(detail)
    }
}

impl From<&Claims> for LlmInference {
    /// What a token grants, for the reply.
    fn from(claims: &Claims) -> Self {
        Self {
            kind: Kind::LlmInference,
            models: Some(claims.models.clone()),
            budget: claims.budget.unwrap_or_default(),
            cidrs: claims.cidrs.clone(),
            ttl: Some(claims.exp.saturating_sub(claims.iat)),
        }
    }
}
