//! The body of `POST /v1/revocations`, member by member, so that an error can point at its cause.

use scrip_token::compact::is_kid;
use scrip_token::limits::MAX_INTEGER;
use scrip_token::{Jti, QualifiedName, json};
use serde_json::{Map, Value, json};

use crate::error::{Failure, Problem};
use axum::http::StatusCode;

/// What is to be killed.
pub(super) enum Selector {
    /// One token, with all that was delegated from it.
    Jti(Jti),
    /// A client's tokens up to a time.
    Client { client: QualifiedName, before: Option<u64> },
    /// Everything that a key signed.
    Kid(String),
}

impl Selector {
    /// As it was asked for.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Jti(jti) => json!({"jti": jti.to_string()}),
            Self::Client { client, before: None } => json!({"client": client.to_string()}),
            Self::Client { client, before } => {
                json!({"client": client.to_string(), "before": before})
            }
            Self::Kid(kid) => json!({"kid": kid}),
        }
    }
}

pub(super) struct Asked {
    pub(super) selector: Selector,
    pub(super) reason: String,
    pub(super) note: String,
}

const REASONS: [&str; 6] = ["leaked", "compromised", "rotated", "decommissioned", "test", "other"];
/// Longest note, in bytes.
const MAX_NOTE: usize = 1024;

pub(super) fn parse(body: &[u8]) -> Result<Asked, Problem> {
    let body: Map<String, Value> =
        json::read(body).map_err(|error| Problem::invalid("", error.to_string()))?;
    let mut asked = Asked {
        selector: selector(body.get("selector"))?,
        reason: "other".to_owned(),
        note: String::new(),
    };
    for (name, value) in &body {
        match (name.as_str(), value) {
            ("selector", _) | ("dry_run", Value::Bool(false)) => {}
            ("reason", Value::String(reason)) if REASONS.contains(&reason.as_str()) => {
                asked.reason.clone_from(reason);
            }
            ("note", Value::String(note)) if note.len() <= MAX_NOTE && !note.contains('\0') => {
                asked.note.clone_from(note);
            }
            ("wait", Value::Number(wait)) if wait.as_u64() == Some(0) => {}
            ("reason", _) => {
                return Err(Problem::invalid("/reason", format!("one of {}", REASONS.join(", "))));
            }
            ("note", _) => {
                return Err(Problem::invalid("/note", "a text of at most 1024 bytes without NUL"));
            }
            ("wait", _) => {
                return Err(Problem::invalid("/wait", "receipts are not kept: only 0 is possible"));
            }
            ("dry_run", _) => {
                return Err(Problem::invalid("/dry_run", "only false is possible"));
            }
            _ => return Err(Problem::invalid("", "a member that is not known")),
        }
    }
    Ok(asked)
}

fn selector(value: Option<&Value>) -> Result<Selector, Problem> {
    let Some(Value::Object(members)) = value else {
        return Err(Problem::invalid("/selector", "an object with `jti`, `client` or `kid`"));
    };
    for name in members.keys() {
        if !["jti", "client", "kid", "before"].contains(&name.as_str()) {
            let detail = "a selector is `jti`, `client` (with `before`) or `kid`";
            let pointer = format!("/selector/{}", name.replace('~', "~0").replace('/', "~1"));
            let status = StatusCode::BAD_REQUEST;
            return Err(Problem(Failure::new(status, "unknown-selector", detail).at(pointer)));
        }
    }
    let text = |name: &str| members.get(name).map(|value| value.as_str().unwrap_or_default());
    let before = match members.get("before").map(Value::as_u64) {
        None => None,
        Some(Some(before)) if before < MAX_INTEGER => Some(before),
        Some(_) => return Err(Problem::invalid("/selector/before", "seconds since the epoch")),
    };
    match (text("jti"), text("client"), text("kid"), before) {
        (Some(jti), None, None, None) => Jti::parse(jti)
            .map(Selector::Jti)
            .map_err(|error| Problem::invalid("/selector/jti", error.to_string())),
        (None, Some(client), None, before) => QualifiedName::parse(client)
            .map(|client| Selector::Client { client, before })
            .map_err(|error| Problem::invalid("/selector/client", error.to_string())),
        (None, None, Some(kid), None) if is_kid(kid) => Ok(Selector::Kid(kid.to_owned())),
        (None, None, Some(_), None) => {
            Err(Problem::invalid("/selector/kid", "the RFC 7638 thumbprint of a key"))
        }
        _ => Err(Problem::invalid("/selector", "exactly one of `jti`, `client`, `kid`")),
    }
}
