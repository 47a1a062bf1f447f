//! A token, what its verifier expects, and what ours says.

use scrip_token::limits::LEEWAY;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Case {
    /// What happened to the token.
    pub(super) name: String,
    pub(super) token: String,
    pub(super) jwks: Arc<str>,
    pub(super) iss: String,
    pub(super) aud: String,
    /// In seconds since the epoch.
    pub(super) now: u64,
    /// The code of our rejection.
    pub(super) refused: Option<String>,
    /// Why we refuse what others may accept.
    pub(super) rule: Option<String>,
}

impl Case {
    /// What a library is told, to be judged with the same leeway as ours.
    pub(super) fn question(&self) -> Value {
        let Self { token, jwks, iss, aud, now, .. } = self;
        json!({"token": token, "jwks": jwks, "iss": iss, "aud": aud, "now": now, "leeway": LEEWAY})
    }
}
