//! What a mint request asks for: RFC 6749 section 4.4 with parameters that narrow the token, or one
//! RFC 9396 `authorization_details` object. Both spellings make one [`MintRequest`].

mod details;
mod error;

use std::borrow::Cow;
use std::num::NonZeroU64;

use scrip_token::limits::{MAX_CIDRS, MAX_INTEGER, MAX_MODELS};
use scrip_token::{Budget, Cidr, ModelPattern, Scopes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

pub use details::{Kind, LlmInference};
pub use error::RequestError;
pub(crate) use error::echo;

/// What is asked for. A member without a value was left out; the policy decides what it gets.
///
/// Serializes as the audit log records it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintRequest {
    /// Exact scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scopes>,
    /// The gateway group: `audience` (RFC 8693) or `resource` (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Models, at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelPattern>>,
    /// Each member on its own.
    #[serde(default, skip_serializing_if = "Budget::is_unlimited")]
    pub budget: Budget,
    /// Networks that the token is to be used from, at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidrs: Option<Vec<Cidr>>,
    /// Life in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// Whether `authorization_details` was given; the reply must then have it too (RFC 9396
    /// section 7).
    #[serde(skip)]
    pub with_details: bool,
}

/// Longest request that is recorded, in bytes of JSON. A longer one makes a token that is too long
/// under any policy.
const MAX_RECORDED: usize = 4096;
/// Most parameters of one request.
const MAX_PARAMETERS: usize = 32;
/// Parameters that only Scrip knows. RFC 6749 section 3.2 takes an empty parameter for an omitted
/// one; to omit one of these would widen the token, so they must not be empty.
const EXTENSIONS: [&str; 7] = [
    "authorization_details",
    "models",
    "budget_tokens",
    "budget_request_tokens",
    "budget_requests",
    "cidrs",
    "ttl",
];

impl MintRequest {
    /// Reads the parameters of a form body, decoded once. The credentials in it (`client_id`,
    /// `client_secret`) are not looked at.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse<'a>(
        parameters: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Self, RequestError> {
        let form = Form::read(parameters)?;
        match form.value("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return Err(RequestError::GrantType),
            None => return Err(RequestError::NoGrantType),
        }
        let details = form.value("authorization_details").map(LlmInference::parse).transpose()?;
        let with_details = details.is_some();
        let details = details.unwrap_or_default();
        let limits = details.budget;
        Ok(Self {
            scope: form.value("scope").map(scopes).transpose()?,
            audience: form.audience()?,
            models: once("models", form.list("models", MAX_MODELS)?, details.models)?,
            budget: Budget {
                tokens: once("budget_tokens", form.amount("budget_tokens")?, limits.tokens)?,
                request_tokens: once(
                    "budget_request_tokens",
                    form.amount("budget_request_tokens")?,
                    limits.request_tokens,
                )?,
                requests: once(
                    "budget_requests",
                    form.amount("budget_requests")?,
                    limits.requests,
                )?,
            },
            cidrs: once("cidrs", form.list("cidrs", MAX_CIDRS)?, details.cidrs)?,
            ttl: once("ttl", form.integer("ttl")?, details.ttl)?,
            with_details,
        })
    }

    /// What stands in the audit log; null for a request that is too long for any token.
    #[must_use]
    pub fn record(&self) -> Value {
        let record = serde_json::to_value(self).unwrap_or_default();
        if record.to_string().len() > MAX_RECORDED { Value::Null } else { record }
    }
}

/// Parameters, each at most once.
struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    fn read(
        parameters: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Self, RequestError> {
        let mut form = Self(Vec::new());
        for (name, value) in parameters {
            if form.0.len() == MAX_PARAMETERS {
                return Err(RequestError::TooManyParameters { most: MAX_PARAMETERS });
            }
            if form.0.iter().any(|(known, _)| *known == name) {
                return Err(match &*name {
                    "audience" | "resource" => RequestError::SeveralAudiences,
                    _ => RequestError::Repeated { parameter: name.into_owned() },
                });
            }
            match EXTENSIONS.into_iter().find(|known| *known == name) {
                Some(parameter) if value.is_empty() => {
                    return Err(RequestError::Empty { parameter });
                }
                None if looks_narrowing(&name) => {
                    return Err(RequestError::Misspelt { parameter: name.into_owned() });
                }
                _ => form.0.push((name, value)),
            }
        }
        Ok(form)
    }

    /// The value of a parameter; an empty one counts as omitted (RFC 6749 section 3.2).
    fn value(&self, parameter: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(name, _)| name == parameter)?;
        Some(&**value).filter(|value| !value.is_empty())
    }

    fn audience(&self) -> Result<Option<String>, RequestError> {
        let audience = match (self.value("audience"), self.value("resource")) {
            (Some(_), Some(_)) => return Err(RequestError::SeveralAudiences),
            (Some(name), None) => name,
            (None, Some(uri)) if is_resource(uri) => uri,
            (None, Some(_)) => return Err(RequestError::Resource),
            (None, None) => return Ok(None),
        };
        if audience.len() > 256 || !audience.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(RequestError::Audience);
        }
        Ok(Some(audience.to_owned()))
    }

    fn list<T: std::str::FromStr + PartialEq>(
        &self,
        parameter: &'static str,
        most: usize,
    ) -> Result<Option<Vec<T>>, RequestError> {
        let Some(text) = self.value(parameter) else { return Ok(None) };
        let mut values = Vec::new();
        for item in text.split(' ') {
            let value = item.parse().map_err(|_| RequestError::Malformed { parameter })?;
            if values.contains(&value) || values.len() == most {
                return Err(RequestError::Malformed { parameter });
            }
            values.push(value);
        }
        Ok(Some(values))
    }

    fn amount(&self, parameter: &'static str) -> Result<Option<NonZeroU64>, RequestError> {
        let positive = |n| NonZeroU64::new(n).ok_or(RequestError::Malformed { parameter });
        self.integer(parameter)?.map(positive).transpose()
    }

    /// An integer in plain decimal: no sign, no leading zero, below 2^53.
    fn integer(&self, parameter: &'static str) -> Result<Option<u64>, RequestError> {
        let Some(text) = self.value(parameter) else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(n) if n < MAX_INTEGER && n.to_string() == text => Ok(Some(n)),
            _ => Err(RequestError::Malformed { parameter }),
        }
    }
}

/// Whether a name looks like one that narrows the token. A typing error in one must not widen it.
fn looks_narrowing(name: &str) -> bool {
    ["budget", "model", "cidr", "ttl"].iter().any(|stem| {
        name.as_bytes().get(..stem.len()).is_some_and(|s| s.eq_ignore_ascii_case(stem.as_bytes()))
    })
}

/// An absolute URI (RFC 8707 section 2) that says nothing but where.
fn is_resource(uri: &str) -> bool {
    let plain = |uri: Url| uri.username().is_empty() && uri.password().is_none();
    !uri.contains('#') && Url::parse(uri).is_ok_and(plain)
}

fn scopes(text: &str) -> Result<Scopes, RequestError> {
    Scopes::parse(text).map_err(|_| RequestError::Scope)
}

/// Takes a restriction from whichever spelling has it.
fn once<T>(
    parameter: &'static str,
    plain: Option<T>,
    detail: Option<T>,
) -> Result<Option<T>, RequestError> {
    match (plain, detail) {
        (Some(_), Some(_)) => Err(RequestError::Twice { parameter }),
        (plain, detail) => Ok(plain.or(detail)),
    }
}

#[cfg(test)]
mod tests;
