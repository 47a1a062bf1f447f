//! Claims as text, so that every hostile form can be written and members keep their order.

pub(super) const ISS: &str = "https://sts.example";
pub(super) const OTHER_ISS: &str = "https://sts.other.example";
pub(super) const ODD_ISS: &str = "https://sts.odd.example";
pub(super) const EMPTY_ISS: &str = "https://sts.empty.example";
pub(super) const IAT: u64 = 1_795_000_000;
pub(super) const EXP: u64 = IAT + 300;
pub(super) const NOW: u64 = IAT + 100;

/// Ids whose time is 123 ms after `IAT`; the first is every token's own.
pub(super) const JTI: &str = "01a1ee56-5e7b-7909-8909-090909090909";
pub(super) const ROOT: &str = "01a1ee56-5e7b-7001-8001-010101010101";
pub(super) const PARENT: &str = "01a1ee56-5e7b-7002-8002-020202020202";

/// A SHA-256 thumbprint of nobody's key.
pub(super) const PRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// Members as JSON text: names without their quotes, values as they will stand.
#[derive(Clone)]
pub(super) struct Claims(Vec<(String, String)>);

impl Claims {
    /// What the mint of the issuer `main` writes for a client whose policy limits everything but
    /// the sender.
    pub(super) fn new() -> Self {
        Self(Vec::new())
            .with("iss", quoted(ISS))
            .with("sub", r#""client:acme/billing""#)
            .with("aud", r#""llm-gateway""#)
            .with("client_id", r#""acme/billing""#)
            .with("iat", IAT.to_string())
            .with("nbf", IAT.to_string())
            .with("exp", EXP.to_string())
            .with("jti", quoted(JTI))
            .with("ver", "1")
            .with("scope", r#""llm:chat llm:embed""#)
            .with("models", r#"["gpt-4","claude-haiku-*"]"#)
            .with("budget", r#"{"request_tokens":1000}"#)
            .with("cidrs", r#"["10.0.0.0/8","2001:db8::/32"]"#)
            .with("tenant", r#""acme""#)
            .with("env", r#""prod""#)
            .with("cred", r#""vault:3.1795000000""#)
    }

    /// With this value instead of its own, or at the end.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, kept)) => *kept = value.into(),
            None => self.0.push((name.to_owned(), value.into())),
        }
        self
    }

    /// With one more member at the end, whether or not the name is there already.
    pub(super) fn and(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    pub(super) fn text(&self) -> String {
        let members: Vec<String> =
            self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
