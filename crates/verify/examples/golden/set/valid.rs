//! Tokens that are accepted: every form that the format allows.

use super::case::Case;
use super::claims::{Claims, OTHER_ISS, PARENT, PRINT, ROOT, quoted};
use super::keys::Keys;

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = headers(keys);
    cases.extend(claims(keys));
    cases.extend(issuers(keys));
    cases
}

fn headers(keys: &Keys) -> Vec<Case> {
    let Keys { es256, eddsa, rs256, .. } = keys;
    let new = Claims::new();
    let kid = eddsa.kid();
    let with_header =
        |name, why, header: &str| Case::accepted(name, why, eddsa.forge(header, new.text()));
    vec![
        Case::accepted("es256", "the default algorithm (RFC 7518 section 3.4)", es256.token(&new)),
        Case::accepted("eddsa", "the fast profile (RFC 8037 section 3.1)", eddsa.token(&new)),
        Case::accepted(
            "rs256",
            "for peers that know nothing else (RFC 7518 section 3.3)",
            rs256.token(&new),
        ),
        with_header(
            "alg-spelt-ed25519",
            "the spelling of RFC 9864 is read for an Ed25519 key; many libraries refuse it",
            &format!(r#"{{"alg":"Ed25519","typ":"at+jwt","kid":"{kid}"}}"#),
        ),
        with_header(
            "header-in-another-order",
            "members of an object have no order (RFC 8259 section 4)",
            &format!(r#"{{"kid":"{kid}","typ":"at+jwt","alg":"EdDSA"}}"#),
        ),
        with_header(
            "header-with-spaces",
            "white space between JSON tokens is allowed (RFC 8259 section 2)",
            &format!("{{\r\n\t\"alg\": \"EdDSA\", \"typ\": \"at+jwt\", \"kid\": \"{kid}\"\n}}\n"),
        ),
        with_header(
            "header-with-escapes",
            "an escaped name is the same name (RFC 8259 section 8.3); it is there once",
            &format!(r#"{{"\u0061lg":"EdDSA","typ":"at\u002bjwt","kid":"{kid}"}}"#),
        ),
    ]
}

fn claims(keys: &Keys) -> Vec<Case> {
    let accepted = |name, why, claims: Claims| Case::accepted(name, why, keys.eddsa.token(&claims));
    let nothing_known = r#"{"scope": "llm:chat", "model": null, "size": null}"#;
    let lineage = format!(r#"["{ROOT}","{PARENT}"]"#);
    vec![
        accepted(
            "required-claims-alone",
            "no `models`, no limits: fits a request that names no model, from nowhere, of any size",
            Claims::required(),
        )
        .given("address", "null")
        .given("asked", nothing_known),
        accepted(
            "every-claim",
            "all optional claims at once",
            Claims::new()
                .with("budget", r#"{"tokens":5000,"request_tokens":1000,"requests":10}"#)
                .with("lin", &*lineage)
                .with("act", r#"{"sub":"client:acme/agent"}"#)
                .with("cnf", format!(r#"{{"jkt":"{PRINT}"}}"#)),
        )
        .given("proof", format!(r#"{{"jkt": "{PRINT}"}}"#)),
        accepted(
            "bound-to-a-certificate",
            "the certificate's thumbprint was shown (RFC 8705 section 3.1)",
            Claims::new().with("cnf", format!(r##"{{"x5t#S256":"{PRINT}"}}"##)),
        )
        .given("proof", format!(r##"{{"x5t#S256": "{PRINT}"}}"##)),
    ]
}

fn issuers(keys: &Keys) -> Vec<Case> {
    let fresh = r#"{"information": {"as_of": 1795000100, "silence": 0}, "deny": []}"#;
    let both = format!(r#"{{"main": {fresh}, "other": {fresh}}}"#);
    let claims = Claims::new().with("iss", quoted(OTHER_ISS));
    vec![
        Case::accepted(
            "second-of-two-issuers",
            "each believed issuer's key counts for its own tokens",
            keys.other.token(&claims),
        )
        .given("trust", &both),
        Case::refused(
            "unknown-kid",
            "issuer-not-believed",
            "a key of an issuer that is not believed is unknown, however well it signs",
            keys.other.token(&claims),
        ),
        Case::refused(
            "revoked",
            "denied-jti",
            "an entry for this very token",
            keys.eddsa.token(&Claims::new()),
        )
        .given("trust", format!(r#"{{"main": {{"information": {{"as_of": 1795000100, "silence": 0}}, "deny": [{{"jti": "{}", "until": 1795000305}}]}}}}"#, super::claims::JTI)),
    ]
}
