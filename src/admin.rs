//! Administration under `/v1/`: clients, policies, tokens, keys, the audit log, one file for each
//! noun. Here is what they share.

pub mod audit;
mod change;
pub mod clients;
pub mod keys;
mod look;
mod page;
pub mod policies;
pub mod prices;
pub mod tokens;
pub mod usage;

use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, SecondsFormat, Utc};
use scrip_token::{QualifiedName, json};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::caller::Reach;
use crate::error::{Failure, Problem};
use crate::strict::Object;

pub use change::{Asked, Change};
pub use look::Look;
pub use page::Page;

/// Seconds since 1970 as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    let at = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Milliseconds since 1970 as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339_ms(milliseconds: i64) -> String {
    let at = DateTime::from_timestamp_millis(milliseconds).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A moment that was given in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Moment(DateTime<Utc>);

impl Moment {
    /// Seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.timestamp()
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn milliseconds(self) -> i64 {
        self.0.timestamp_millis()
    }
}

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let at = DateTime::parse_from_rfc3339(&text);
        at.map(|at| Self(at.to_utc())).map_err(|_| "not a time such as 2030-01-31T12:00:00Z")
    }
}

/// Refuses a body that is not declared as plain JSON.
///
/// # Errors
/// 415.
pub fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    let is_json = media.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"));
    if is_json && !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let detail = "the body must be application/json, without Content-Encoding";
    Err(Problem(Failure::new(status, "unsupported-media-type", detail)))
}

/// Reads a body that means one thing only.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    json::read(body)
        .map(|Object(body)| body)
        .map_err(|error| Problem::invalid("", error.to_string()))
}

/// The name in `../{tenant}/{name}`. A name out of reach is not looked up: it is answered with
/// `beyond`, whether it exists or not.
pub(crate) fn named(
    (tenant, name): (String, String),
    reach: &Reach,
    beyond: fn() -> Problem,
) -> Result<QualifiedName, Problem> {
    let name = QualifiedName::parse(&format!("{tenant}/{name}")).map_err(|error| {
        Problem(Failure::new(StatusCode::BAD_REQUEST, "invalid-request", error.to_string()))
    })?;
    if reach.covers_name(&name) { Ok(name) } else { Err(beyond()) }
}

/// The answer to a change that was made, with the `warnings` about it if there are any.
fn warned(mut reply: Value, warnings: Vec<String>) -> Value {
    if !warnings.is_empty() {
        reply["warnings"] = warnings.into();
    }
    reply
}

/// 403 for a name that the operator has no right to.
fn confined() -> Problem {
    Problem(Failure::confined())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn times_are_written_in_utc_and_read_with_any_offset() {
        assert_eq!(rfc3339(1_795_000_000), "2026-11-18T11:06:40Z");
        assert_eq!(rfc3339_ms(1_795_000_000_123), "2026-11-18T11:06:40.123Z");
        let read = |text: &str| Moment::try_from(text.to_owned()).map(Moment::milliseconds);
        assert_eq!(read("2026-11-18T11:06:40.123Z"), Ok(1_795_000_000_123));
        assert_eq!(read("2026-11-18T12:06:40+01:00"), Ok(1_795_000_000_000));
        for bad in ["", "tomorrow", "1795000000", "2026-11-18", "2026-13-18T10:26:40Z"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn n49_only_plain_json_is_read() {
        let headers = |pairs: &[(header::HeaderName, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(k, v)| (k.clone(), HeaderValue::from_static(v))).collect()
        };
        let media = |text| headers(&[(header::CONTENT_TYPE, text)]);
        assert!(is_json(&media("application/json")).is_ok());
        assert!(is_json(&media("Application/JSON; charset=utf-8")).is_ok());
        for bad in ["application/x-www-form-urlencoded", "application/jsonp", "text/json", ""] {
            assert!(is_json(&media(bad)).is_err(), "{bad}");
        }
        assert!(is_json(&HeaderMap::new()).is_err());
        let zipped =
            [(header::CONTENT_TYPE, "application/json"), (header::CONTENT_ENCODING, "gzip")];
        assert!(is_json(&headers(&zipped)).is_err());
        for bad in ["[]", "null", "{}x", r#"{"a":1,"a":1}"#, ""] {
            assert!(read::<serde_json::Value>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
