//! What each claim of a token means.

use comfy_table::{Table, presets};
use scrip_token::Claims;
use serde_json::Value;

use super::moment::Moment;
use super::print::{cell, flush_left};

/// Each claim, its meaning, and what its absence means. Required claims are never absent.
const CLAIMS: &[(&str, &str, &str)] = &[
    ("iss", "who issued it", ""),
    ("sub", "on whose behalf", ""),
    ("client_id", "who asked for it", ""),
    ("act", "who acts for the subject", "the subject itself"),
    ("aud", "the gateways it is for", ""),
    ("tenant", "the tenant it belongs to", ""),
    ("env", "the environment it is for", ""),
    ("iat", "issued", ""),
    ("nbf", "not valid before", ""),
    ("exp", "expires", ""),
    ("jti", "its id, for logs and for revoking it", ""),
    ("lin", "the tokens it was delegated from", "none"),
    ("ver", "version of the claims", ""),
    ("scope", "what it may do", ""),
    ("models", "the models it may use", "none"),
    ("budget", "LLM tokens and requests it may spend", "not limited by this token"),
    ("cidrs", "the networks it works from", "any address"),
    ("cnf", "the key its sender must prove to hold", "no proof needed"),
    ("cred", "the credential it was traded for", "not said"),
];

/// Explains every claim.
pub(super) fn table(claims: &Claims, now: u64) -> String {
    let claims = serde_json::to_value(claims).unwrap_or_default();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (claim, meaning, absent) in CLAIMS {
        let value = match (*claim, claims.get(claim)) {
            (_, None) => (*absent).to_owned(),
            ("iat" | "nbf" | "exp", Some(time)) => moment(time, now),
            ("cidrs", Some(Value::Array(cidrs))) if cidrs.is_empty() => "no address".to_owned(),
            (_, Some(value)) => cell(Some(value)),
        };
        table.add_row([(*claim).to_owned(), value, (*meaning).to_owned()]);
    }
    flush_left(table)
}

fn moment(time: &Value, now: u64) -> String {
    let Some((seconds, moment)) = time.as_u64().and_then(|at| Some((at, Moment::at(at)?))) else {
        return cell(Some(time));
    };
    match seconds.checked_sub(now) {
        Some(ahead) => format!("{moment} (in {ahead} s)"),
        None => format!("{moment} ({} s ago)", now - seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scrip_token::Jti;
    use serde_json::json;

    #[test]
    fn every_claim_has_its_line_and_absence_its_meaning() {
        let mut claims = json!({
            "iss": "https://sts.example", "sub": "client:acme/billing", "aud": "llm-gateway",
            "client_id": "acme/billing", "iat": 1_795_000_000, "nbf": 1_795_000_000,
            "exp": 1_795_000_300, "jti": Jti::new(1_795_000_000_000, [9; 10]).to_string(),
            "ver": 1, "scope": "llm:chat", "tenant": "acme", "env": "prod",
        });
        let shown = |claims: &Value, now: u64| {
            let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
            let lines = table(&claims, now);
            lines.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let line = |lines: &[String], claim: &str| {
            let start = format!("{claim} ");
            lines.iter().find(|line| line.starts_with(&start)).cloned().unwrap_or_default()
        };
        let bare = shown(&claims, 1_795_000_100);
        assert_eq!(bare.len(), CLAIMS.len());
        assert!(line(&bare, "exp").contains("2026-11-18T11:11:40Z (in 200 s)"));
        assert!(line(&bare, "iat").contains("2026-11-18T11:06:40Z (100 s ago)"));
        assert!(line(&bare, "models").contains("none"));
        assert!(line(&bare, "cidrs").contains("any address"));
        claims["cidrs"] = json!([]);
        claims["models"] = json!(["gpt-4o-mini", "claude-*"]);
        let narrowed = shown(&claims, 1_795_000_400);
        assert!(line(&narrowed, "cidrs").contains("no address"));
        assert!(line(&narrowed, "models").contains("gpt-4o-mini claude-*"));
        assert!(line(&narrowed, "exp").contains("(100 s ago)"));
    }
}
