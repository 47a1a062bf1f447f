//! Tokens that are accepted: the forms that the format allows. Boundaries stand beside what lies
//! beyond them.

use super::case::Case;
use super::claims::{Claims, JTI, PARENT, PRINT, ROOT, quoted};
use super::keys::Keys;

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = headers(keys);
    cases.extend(claims(keys));
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
            "header-with-blanks",
            "white space between JSON tokens is allowed (RFC 8259 section 2)",
            &format!("{{\r\n\t\"alg\": \"EdDSA\", \"typ\": \"at+jwt\", \"kid\": \"{kid}\"\n}}\n"),
        ),
        with_header(
            "header-with-escapes",
            "an escaped name is the same name (RFC 8259 section 8.3); it is there once",
            &format!(r#"{{"\u0061lg":"EdDSA","typ":"at\u002bjwt","kid":"{kid}"}}"#),
        ),
        with_header(
            "header-of-1024-bytes",
            "the longest header that is looked at",
            &format!("{:1024}", eddsa.header()),
        ),
    ]
}

fn claims(keys: &Keys) -> Vec<Case> {
    const UNKNOWN: &str =
        "an unknown claim is ignored: a new constraint comes with a new `ver` (RFC 7519 section 4)";
    let accepted = |name, why, claims: Claims| Case::accepted(name, why, keys.eddsa.token(&claims));
    let new = Claims::new;
    let nothing_known = r#"{"scope": "llm:chat", "model": null, "size": null}"#;
    let optional = ["models", "budget", "cidrs", "cred"];
    let payload = new().text().replace(',', " ,\n\t");
    vec![
        accepted(
            "required-claims-alone",
            "no `models`, no limits: a request that names no model, from nowhere, of any size",
            optional.into_iter().fold(new(), Claims::without),
        )
        .given("address", "null")
        .given("asked", nothing_known),
        accepted(
            "every-claim",
            "all optional claims at once",
            new()
                .with("budget", r#"{"tokens":5000,"request_tokens":1000,"requests":10}"#)
                .with("lin", format!(r#"["{ROOT}","{PARENT}"]"#))
                .with("act", r#"{"sub":"client:acme/agent","act":{"sub":"client:acme/scheduler"}}"#)
                .with("cnf", format!(r#"{{"jkt":"{PRINT}"}}"#)),
        )
        .given("proof", format!(r#"{{"jkt": "{PRINT}"}}"#)),
        accepted(
            "sub-of-a-federated-workload",
            "a principal of another system",
            new().with("sub", r#""spiffe://acme.example/ns/ml/sa/batch""#),
        ),
        accepted("unknown-claim", UNKNOWN, new().with("x", r#"{"deep":[1.5e3,null,true]}"#)),
        accepted("unknown-claim-null", UNKNOWN, new().with("x", "null")),
        accepted("registered-claim-unknown-here", UNKNOWN, new().with("auth_time", "\"soon\"")),
        accepted("empty-lineage", "no ancestors", new().with("lin", "[]")),
        accepted(
            "jti-of-the-last-millisecond",
            "the time of `jti` is `iat`'s second, whatever the millisecond",
            new().with("jti", quoted(&JTI.replace("5e7b", "61e7"))),
        ),
        accepted(
            "claim-named-by-escape",
            "an escaped name is the same name (RFC 8259 section 8.3); it is there once",
            new().without("exp").with(r"\u0065xp", "1795000300"),
        ),
        Case::accepted(
            "claims-with-blanks",
            "white space between JSON tokens is allowed (RFC 8259 section 2)",
            keys.eddsa.forge(&keys.eddsa.header(), payload),
        ),
    ]
}
