//! The body of `POST /v1/revocations`, member by member, so that an error can point at its cause.

use std::time::Duration;

use axum::http::StatusCode;
use scrip_token::compact::is_kid;
use scrip_token::deny::{Credential, Subject};
use scrip_token::limits::{MAX_INTEGER, MAX_SUBJECT_BYTES};
use scrip_token::name::is_label;
use scrip_token::{Jti, QualifiedName, json};
use serde_json::{Map, Value};

use super::enact::Grounds;
use super::selector::{Selector, Target};
use crate::error::{Failure, Problem};

pub(super) struct Asked {
    pub(super) selector: Selector,
    pub(super) grounds: Grounds,
    pub(super) dry_run: bool,
    /// How long the reply may wait for receipts.
    pub(super) wait: Duration,
}

const REASONS: [&str; 6] = ["leaked", "compromised", "rotated", "decommissioned", "test", "other"];
/// Longest note, in bytes.
const MAX_NOTE: usize = 1024;
/// Longest wait for receipts, in seconds.
const MAX_WAIT: u64 = 30;

pub(super) fn parse(body: &[u8]) -> Result<Asked, Problem> {
    let body: Map<String, Value> =
        json::read(body).map_err(|error| Problem::invalid("", error.to_string()))?;
    let mut asked = Asked {
        selector: selector(body.get("selector"))?,
        grounds: Grounds { reason: "other".to_owned(), note: String::new() },
        dry_run: false,
        wait: Duration::ZERO,
    };
    for (name, value) in &body {
        match (name.as_str(), value) {
            ("selector", _) => {}
            ("reason", Value::String(reason)) if REASONS.contains(&reason.as_str()) => {
                asked.grounds.reason.clone_from(reason);
            }
            ("note", Value::String(note)) if note.len() <= MAX_NOTE && !note.contains('\0') => {
                asked.grounds.note.clone_from(note);
            }
            ("dry_run", Value::Bool(dry_run)) => asked.dry_run = *dry_run,
            ("wait", Value::Number(wait)) if wait.as_u64().is_some_and(|wait| wait <= MAX_WAIT) => {
                asked.wait = Duration::from_secs(wait.as_u64().unwrap_or_default());
            }
            ("reason", _) => {
                return Err(Problem::invalid("/reason", format!("one of {}", REASONS.join(", "))));
            }
            ("note", _) => {
                return Err(Problem::invalid("/note", "a text of at most 1024 bytes without NUL"));
            }
            ("wait", _) => {
                return Err(Problem::invalid("/wait", "whole seconds, at most 30"));
            }
            ("dry_run", _) => return Err(Problem::invalid("/dry_run", "true or false")),
            _ => return Err(Problem::invalid(&pointer("", name), "a member that is not known")),
        }
    }
    Ok(asked)
}

/// The members that name a target, in the order of the table in the documentation.
const TARGETS: [&str; 7] = ["jti", "client", "sub", "tenant", "cred", "kid", "all"];

fn selector(value: Option<&Value>) -> Result<Selector, Problem> {
    let exactly_one = || {
        let detail = format!("an object with exactly one of {}", TARGETS.join(", "));
        Problem::invalid("/selector", detail)
    };
    let Some(Value::Object(members)) = value else { return Err(exactly_one()) };
    if let Some(name) = members.keys().find(|name| !is_known(name)) {
        let detail = format!("a selector is one of {}", TARGETS.join(", "));
        let failure = Failure::new(StatusCode::BAD_REQUEST, "unknown-selector", detail);
        return Err(Problem(failure.at(pointer("/selector", name))));
    }
    let mut targets = members.iter().filter(|(name, _)| name.as_str() != "before");
    let (Some((name, value)), None) = (targets.next(), targets.next()) else {
        return Err(exactly_one());
    };
    let target = target(name, value)?;
    let before = match members.get("before") {
        None => None,
        Some(_) if !target.has_cut() => {
            let detail = format!("`{name}` has no cut: it means all tokens of it");
            return Err(Problem::invalid("/selector/before", detail));
        }
        Some(before) => match before.as_u64().filter(|before| *before < MAX_INTEGER) {
            Some(before) => Some(before),
            None => {
                return Err(Problem::invalid("/selector/before", "not seconds since the epoch"));
            }
        },
    };
    Ok(Selector { target, before })
}

const NO_TENANT: &str = "not the name of a tenant";

fn is_known(name: &str) -> bool {
    name == "before" || TARGETS.contains(&name)
}

fn target(name: &str, value: &Value) -> Result<Target, Problem> {
    let at = format!("/selector/{name}");
    let invalid = |detail: String| Problem::invalid(&at, detail);
    let text = value.as_str().unwrap_or_default();
    Ok(match name {
        "jti" => Target::Jti(Jti::parse(text).map_err(|error| invalid(error.to_string()))?),
        "client" => Target::Client(client(text, &at)?),
        "tenant" if is_label(text) => Target::Tenant(text.to_owned()),
        "kid" if is_kid(text) => Target::Kid(text.to_owned()),
        "all" if *value == Value::Bool(true) => Target::All,
        "sub" => {
            let [tenant, id] = pair(value, ["tenant", "id"], &at)?;
            if !is_label(tenant) {
                return Err(Problem::invalid(&format!("{at}/tenant"), NO_TENANT));
            }
            if !is_printable(id, MAX_SUBJECT_BYTES) {
                let detail = "not the `sub` of a token: 1 to 160 printable ASCII characters";
                return Err(Problem::invalid(&format!("{at}/id"), detail));
            }
            Target::Sub(Subject { tenant: tenant.to_owned(), id: id.to_owned() })
        }
        "cred" => {
            let [name, version] = pair(value, ["client", "version"], &at)?;
            let client = client(name, &format!("{at}/client"))?;
            if !is_version(version) {
                let detail = "not the `cred` of a token: <source>:<number>.<created>";
                return Err(Problem::invalid(&format!("{at}/version"), detail));
            }
            Target::Cred(Credential { client, version: version.to_owned() })
        }
        "kid" => return Err(invalid("not the RFC 7638 thumbprint of a key".to_owned())),
        "all" => return Err(invalid("only true is possible".to_owned())),
        _ => return Err(invalid(NO_TENANT.to_owned())),
    })
}

fn client(text: &str, at: &str) -> Result<QualifiedName, Problem> {
    QualifiedName::parse(text).map_err(|error| Problem::invalid(at, error.to_string()))
}

/// Both members of an object, which has no others.
fn pair<'v>(value: &'v Value, names: [&str; 2], at: &str) -> Result<[&'v str; 2], Problem> {
    let [one, two] = names;
    let detail = format!("an object with `{one}` and `{two}`");
    let Value::Object(members) = value else { return Err(Problem::invalid(at, detail)) };
    if let Some(other) = members.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(Problem::invalid(&pointer(at, other), detail));
    }
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    match (text(one), text(two)) {
        (Some(one), Some(two)) => Ok([one, two]),
        _ => Err(Problem::invalid(at, detail)),
    }
}

fn is_printable(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// `<source>:<number>.<created unix seconds>`.
fn is_version(text: &str) -> bool {
    let digits =
        |text: &str| (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = text.strip_prefix("vault:").or_else(|| text.strip_prefix("embedded:"));
    numbers
        .and_then(|numbers| numbers.split_once('.'))
        .is_some_and(|(n, at)| digits(n) && digits(at))
}

/// A JSON pointer (RFC 6901) to a member.
fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}
