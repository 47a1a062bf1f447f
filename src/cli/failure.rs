//! Why a command did not do what it was asked, and the exit code that says so.

use std::fmt;
use std::io;

use serde::Deserialize;

use super::print::plain;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The service understood and said no.
    #[error("{0}")]
    Refused(Refusal),
    /// It was judged here, and does not pass.
    #[error("{0}")]
    Rejected(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(String),
    /// No answer, or none that the service would give while it is well.
    #[error("{0}")]
    Unreachable(String),
    /// The command that was run ended with this code, and has said itself what there is to say.
    #[error("the command ended with {0}")]
    Ended(u8),
    /// The result could not be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Rejected(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Ended(code) => *code,
        }
    }
}

/// A refusal in the service's own words.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The OAuth error.
    code: Option<String>,
    reason: String,
    request_id: Option<String>,
}

impl Refusal {
    /// Reads an OAuth error (RFC 6749 section 5.2) or a problem document (RFC 9457); whatever else
    /// answered is quoted by its status alone.
    pub(super) fn read(status: u16, request_id: Option<String>, body: &[u8]) -> Self {
        let text: Text = serde_json::from_slice(body).unwrap_or_default();
        let code = text.error.clone();
        let reason = match (text.error.or(text.title), text.error_description.or(text.detail)) {
            (Some(what), Some(why)) => format!("{what}: {why}"),
            (Some(what), None) => what,
            (None, Some(why)) => why,
            (None, None) => format!("HTTP status {status}"),
        };
        let reason = match text.pointer {
            Some(pointer) => format!("{reason} (at {pointer})"),
            None => reason,
        };
        let request_id = request_id.or(text.request_id);
        Self { status, code, reason: plain(&reason), request_id: request_id.map(|id| plain(&id)) }
    }

    /// Says what was asked for, where that was a token whose scopes or audience the policy does not
    /// grant: whoever runs a command did not ask for any.
    pub(super) fn of_token_for(mut self, scopes: &str) -> Self {
        if matches!(self.code.as_deref(), Some("invalid_scope" | "invalid_target")) {
            let needed =
                format!("this needs a policy that grants `{scopes}` for the audience `self`");
            self.reason = format!("{needed}: {}", self.reason);
        }
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match &self.request_id {
            Some(id) => write!(f, " [request {id}]"),
            None => Ok(()),
        }
    }
}

#[derive(Default, Deserialize)]
struct Text {
    error: Option<String>,
    error_description: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    pointer: Option<String>,
    request_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(body: &str) -> String {
        Refusal::read(400, None, body.as_bytes()).to_string()
    }

    #[test]
    fn both_dialects_say_what_was_refused_and_the_request() {
        assert_eq!(
            refusal(
                r#"{"error":"invalid_scope","error_description":"llm:embed is not granted","request_id":"r1"}"#
            ),
            "invalid_scope: llm:embed is not granted [request r1]"
        );
        assert_eq!(
            refusal(
                r#"{"type":"urn:scrip:problem:unknown-selector","title":"Unknown selector","status":400,"detail":"jit","pointer":"/selector/jit","request_id":"r2"}"#
            ),
            "Unknown selector: jit (at /selector/jit) [request r2]"
        );
    }

    #[test]
    fn what_a_command_needs_is_said_where_it_is_not_granted() {
        let said = |code: &str| {
            let body = json!({"error": code, "error_description": "scope `b` is not granted"});
            Refusal::read(400, None, body.to_string().as_bytes()).of_token_for("a b").to_string()
        };
        let needed = "this needs a policy that grants `a b` for the audience `self`";
        for code in ["invalid_scope", "invalid_target"] {
            assert_eq!(said(code), format!("{needed}: {code}: scope `b` is not granted"));
        }
        assert_eq!(said("invalid_client"), "invalid_client: scope `b` is not granted");
    }

    #[test]
    fn the_header_names_the_request_before_the_body_does() {
        let refusal = Refusal::read(503, Some("r3".to_owned()), br#"{"request_id":"r4"}"#);
        assert_eq!(refusal.to_string(), "HTTP status 503 [request r3]");
    }

    #[test]
    fn n74_a_hostile_answer_cannot_drive_the_terminal() {
        let said = refusal(r#"{"title":"\u001b[2J\r\nscrip: done","request_id":"\u202e"}"#);
        assert_eq!(said, "\\u{1b}[2J\\r\\nscrip: done [request \\u{202e}]");
        assert_eq!(refusal("<html>\u{1b}[2J"), "HTTP status 400");
    }
}
