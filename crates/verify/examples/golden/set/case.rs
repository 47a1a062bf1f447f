//! One token and what is to become of it.

use std::fmt::Display;

use serde_json::json;

use super::claims::NOW;

/// Check and status of each reason, by hand from the rules.
const REASONS: [(&str, u8, u16); 26] = [
    ("malformed", 1, 401),
    ("bad-header", 2, 401),
    ("unknown-alg", 2, 401),
    ("no-keys", 3, 401),
    ("unknown-kid", 3, 401),
    ("wrong-alg", 3, 401),
    ("bad-signature", 4, 401),
    ("bad-claims", 5, 401),
    ("wrong-issuer", 6, 401),
    ("wrong-audience", 6, 401),
    ("wrong-env", 6, 401),
    ("expired", 7, 401),
    ("not-yet-valid", 7, 401),
    ("lives-too-long", 7, 401),
    ("stale", 8, 401),
    ("offline", 8, 503),
    ("revoked", 8, 401),
    ("proof-missing", 9, 401),
    ("wrong-proof", 9, 401),
    ("address-unknown", 10, 403),
    ("wrong-address", 10, 403),
    ("insufficient-scope", 11, 403),
    ("model-unnamed", 11, 403),
    ("wrong-model", 11, 403),
    ("size-unknown", 12, 429),
    ("too-large", 12, 429),
];

pub(super) struct Case {
    name: String,
    why: String,
    token: String,
    /// Members other than the defaults, as JSON text.
    given: Vec<(&'static str, String)>,
    verdict: &'static str,
}

impl Case {
    pub(super) fn accepted(name: &str, why: &str, token: String) -> Self {
        Self::new("accepted", name, why, token)
    }

    /// `reason` is one of the table above.
    pub(super) fn refused(reason: &'static str, name: &str, why: &str, token: String) -> Self {
        Self::new(reason, name, why, token)
    }

    /// With this instead of the default; `value` is JSON text.
    pub(super) fn given(mut self, member: &'static str, value: impl Display) -> Self {
        self.given.push((member, value.to_string()));
        self
    }

    /// At another time, at which the feed has just been heard.
    pub(super) fn at(self, now: u64) -> Self {
        self.given("now", now).heard(now, 0)
    }

    /// With this information about an issuer that has denied nothing.
    pub(super) fn heard(self, as_of: u64, silence: u64) -> Self {
        self.given("trust", trust("main", as_of, silence, ""))
    }

    /// With these deny entries.
    pub(super) fn denying(self, entries: &str) -> Self {
        self.given("trust", trust("main", NOW, 0, entries))
    }

    pub(super) fn text(&self) -> String {
        let Self { name, why, token, verdict, .. } = self;
        let reason = REASONS.iter().find(|(reason, ..)| reason == verdict);
        let (check, status) = match reason {
            Some((_, check, status)) => (json!(check), *status),
            None => (json!(null), 200),
        };
        let mut lines = vec![
            format!("\"name\": {}", json!(name)),
            format!("\"why\": {}", json!(why)),
            format!("\"token\": {}", json!(token)),
        ];
        lines.extend(self.given.iter().map(|(member, value)| format!("\"{member}\": {value}")));
        lines.push(format!("\"verdict\": \"{verdict}\", \"check\": {check}, \"status\": {status}"));
        format!("{{\n  {}\n}}", lines.join(",\n  "))
    }

    fn new(verdict: &'static str, name: &str, why: &str, token: String) -> Self {
        Self { name: name.to_owned(), why: why.to_owned(), token, given: Vec::new(), verdict }
    }
}

/// One believed issuer.
pub(super) fn trust(name: &str, as_of: u64, silence: u64, entries: &str) -> String {
    format!("{{{}}}", believed(name, as_of, silence, entries))
}

/// One of several.
pub(super) fn believed(name: &str, as_of: u64, silence: u64, entries: &str) -> String {
    let information = format!(r#"{{"as_of": {as_of}, "silence": {silence}}}"#);
    format!(r#""{name}": {{"information": {information}, "deny": [{entries}]}}"#)
}
