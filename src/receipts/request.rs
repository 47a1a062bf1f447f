//! The body of `POST /v1/deny/acks`, read strictly: who acknowledges what on which terms decides what
//! others are promised.

use scrip_token::json::present;
use scrip_token::limits::MAX_INTEGER;
use scrip_token::{Digest, Jti, QualifiedName};
use serde::Deserialize;

use crate::admin::read;
use crate::error::Problem;
use crate::store::verifiers::Verifier;

/// Longest name of a verifier, in bytes.
const MAX_NAME: usize = 64;
/// What a follower has where nothing is said of it, in seconds.
const MAX_OFFLINE: u64 = 900;

/// What a verifier says.
pub(super) struct Asked {
    /// Where it stands and on which terms. When it said so is not known yet.
    pub(super) verifier: Verifier,
    /// The digest of its last batch.
    pub(super) head: Digest,
    /// A batch, as it was signed, that the database may not have.
    pub(super) evidence: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    verifier: String,
    epoch: Jti,
    seq: u64,
    head: Digest,
    as_of: u64,
    max_staleness: u64,
    #[serde(default, deserialize_with = "present")]
    max_offline: Option<u64>,
    policy: Policy,
    allow_for: u64,
    #[serde(default, deserialize_with = "present")]
    evidence: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    Deny,
    DenyAndAlert,
    AllowFor,
}

impl Policy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::DenyAndAlert => "deny-and-alert",
            Self::AllowFor => "allow-for",
        }
    }
}

/// Reads the body that `client` sent.
pub(super) fn parse(body: &[u8], client: &QualifiedName) -> Result<Asked, Problem> {
    let body: Body = read(body)?;
    if !is_name(&body.verifier) {
        return Err(Problem::invalid("/verifier", "1 to 64 of a-z, 0-9, `.` and `-`"));
    }
    if body.policy != Policy::AllowFor && body.allow_for != 0 {
        return Err(Problem::invalid("/allow_for", "0, except with the policy `allow-for`"));
    }
    let verifier = Verifier {
        client: client.to_string(),
        verifier: body.verifier,
        epoch: body.epoch.to_string(),
        seq: number("/seq", body.seq)?,
        moved_ms: 0,
        acked_ms: 0,
        as_of: number("/as_of", body.as_of)?,
        max_staleness: number("/max_staleness", body.max_staleness)?,
        max_offline: number("/max_offline", body.max_offline.unwrap_or(MAX_OFFLINE))?,
        policy: body.policy.as_str().to_owned(),
        allow_for: number("/allow_for", body.allow_for)?,
    };
    Ok(Asked { verifier, head: body.head, evidence: body.evidence })
}

/// Whether a verifier, or the ledger beside it, may be called so.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = (1..=MAX_NAME).contains(&text.len());
    fits && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
}

fn number(pointer: &str, value: u64) -> Result<i64, Problem> {
    if value < MAX_INTEGER {
        return Ok(value.cast_signed());
    }
    Err(Problem::invalid(pointer, "below 2^53"))
}
