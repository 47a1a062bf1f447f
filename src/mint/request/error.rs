//! Why a form body is not a mint request.

use scrip_token::json::JsonError;

/// What is wrong with the parameters. Its text is an `error_description` (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No `grant_type`.
    #[error("grant_type is required")]
    NoGrantType,
    /// A `grant_type` that is not served.
    #[error("grant_type is not client_credentials")]
    GrantType,
    /// More parameters than any request has.
    #[error("more than {most} parameters")]
    TooManyParameters {
        /// The limit.
        most: usize,
    },
    /// A parameter more than once (RFC 6749 section 3.2).
    #[error("parameter{} is repeated", echo(.parameter))]
    Repeated {
        /// Its name, as received.
        parameter: String,
    },
    /// A restriction without a value.
    #[error("{parameter} is empty; leave it out or give it a value")]
    Empty {
        /// Its name.
        parameter: &'static str,
    },
    /// A name that looks like a restriction and is none.
    #[error("parameter{} is not known, and looks like one that narrows the token", echo(.parameter))]
    Misspelt {
        /// Its name, as received.
        parameter: String,
    },
    /// A restriction as a parameter and in `authorization_details`.
    #[error("{parameter} is given both as a parameter and in authorization_details")]
    Twice {
        /// The parameter's name.
        parameter: &'static str,
    },
    /// A value outside its grammar, a value repeated in a list, or a list that is too long.
    #[error("{parameter} is not well-formed")]
    Malformed {
        /// The parameter's name.
        parameter: &'static str,
    },
    /// `scope` is outside its grammar, repeats a scope, or has too many.
    #[error("scope is not a list of different scopes, each [a-z0-9:._/-]{{1,64}}")]
    Scope,
    /// More than one of `audience` and `resource`: a token is for one audience.
    #[error("more than one audience or resource")]
    SeveralAudiences,
    /// `audience` is outside its grammar.
    #[error("audience is not 1 to 256 printable ASCII characters")]
    Audience,
    /// `resource` is not what RFC 8707 section 2 allows, or carries a user name or password.
    #[error("resource is not an absolute URI without fragment and user information")]
    Resource,
    /// `authorization_details` is not the JSON that it should be.
    #[error("authorization_details{}", reason(.0))]
    Details(JsonError),
    /// A member of `authorization_details` breaks a rule.
    #[error("authorization_details: {rule}")]
    Detail {
        /// The rule.
        rule: &'static str,
    },
}

impl RequestError {
    /// The `error` of the reply: RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 9396 section 5.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::GrantType => "unsupported_grant_type",
            Self::Scope => "invalid_scope",
            Self::SeveralAudiences | Self::Audience | Self::Resource => "invalid_target",
            Self::Details(_) | Self::Detail { .. } => "invalid_authorization_details",
            Self::NoGrantType
            | Self::TooManyParameters { .. }
            | Self::Repeated { .. }
            | Self::Empty { .. }
            | Self::Misspelt { .. }
            | Self::Twice { .. }
            | Self::Malformed { .. } => "invalid_request",
        }
    }
}

/// A received text for an `error_description`, quoted and with a space before it; nothing where it
/// has other characters than names and URIs do. What is echoed ends up in logs and terminals.
pub(crate) fn echo(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+-".contains(&b);
    if matches!(text.len(), 1..=128) && text.bytes().all(plain) {
        format!(" `{text}`")
    } else {
        String::new()
    }
}

/// The reason of a JSON error. It may quote a received value, and is left out with any that is not
/// plain.
fn reason(error: &JsonError) -> String {
    let reason = error.to_string().replace('"', "'");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" ._:/@+-`',()[]".contains(&b);
    if reason.bytes().all(plain) { format!(": {reason}") } else { " is not well-formed".to_owned() }
}
