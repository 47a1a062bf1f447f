//! Check 5: claims that every parser reads alike, of the right types, within their bounds. All
//! well signed.

use super::case::Case;
use super::claims::{Claims, PARENT, quoted};
use super::keys::Keys;
use super::values;

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = texts(keys);
    cases.extend(duplicates(keys));
    cases.extend(bounds(keys));
    for (claim, why, values) in values::all() {
        cases.extend(values.into_iter().map(|(form, value)| {
            let name = format!("{}-{form}", claim.replace('_', "-"));
            let token = keys.eddsa.token(&Claims::new().with(claim, value));
            Case::refused("bad-claims", &name, why, token)
        }));
    }
    for claim in REQUIRED {
        let name = format!("{}-missing", claim.replace('_', "-"));
        let token = keys.eddsa.token(&Claims::new().without(claim));
        cases.push(Case::refused("bad-claims", &name, "a required claim", token));
    }
    cases
}

const REQUIRED: [&str; 12] =
    ["iss", "sub", "aud", "client_id", "iat", "nbf", "exp", "jti", "ver", "scope", "tenant", "env"];

/// What is no JSON object, or no JSON.
fn texts(keys: &Keys) -> Vec<Case> {
    const WHY: &str =
        "the claims are one JSON object in UTF-8 and nothing else (RFC 7519 section 7.2, RFC 8259)";
    let good = Claims::new().text();
    let not_utf8 = {
        let mut bytes = Claims::new().with("x", r#""?""#).text().into_bytes();
        let place = bytes.iter().position(|b| *b == b'?').expect("the claim has it");
        bytes[place] = 0xff;
        bytes
    };
    let of = |claims: Claims| claims.text().into_bytes();
    [
        ("claims-array", format!("[{good}]").into_bytes()),
        ("claims-null", b"null".to_vec()),
        ("claims-text", br#""x""#.to_vec()),
        ("claims-empty-object", b"{}".to_vec()),
        ("claims-cut", good.as_bytes()[..good.len() - 1].to_vec()),
        ("claims-with-more-behind-them", format!("{good}{{}}").into_bytes()),
        ("claims-with-nul-behind-them", format!("{good}\0").into_bytes()),
        ("claims-with-byte-order-mark", format!("\u{feff}{good}").into_bytes()),
        ("claims-with-trailing-comma", good.replace(r#"0"}"#, r#"0",}"#).into_bytes()),
        ("claims-with-comment", good.replacen('{', "{/**/", 1).into_bytes()),
        ("claims-in-single-quotes", good.replace('"', "'").into_bytes()),
        ("claims-not-utf-8", not_utf8),
        ("claims-with-lone-surrogate", of(Claims::new().with("x", r#""\ud800""#))),
        ("claims-with-bare-line-feed", of(Claims::new().with("x", "\"\n\""))),
        ("claims-with-nan", of(Claims::new().with("x", "NaN"))),
    ]
    .map(|(name, payload)| {
        Case::refused("bad-claims", name, WHY, keys.eddsa.forge(&keys.eddsa.header(), payload))
    })
    .into()
}

fn duplicates(keys: &Keys) -> Vec<Case> {
    const WHY: &str =
        "a member stands once at every depth, however it is escaped (RFC 7519 section 4)";
    let new = Claims::new;
    [
        ("exp-twice", new().and("exp", "1795000900")),
        ("exp-twice-alike", new().and("exp", "1795000300")),
        ("exp-twice-by-escape", new().and(r"\u0065xp", "1795000900")),
        ("aud-twice", new().and("aud", r#""search""#)),
        ("scope-twice", new().and("scope", r#""llm:chat tool:payments""#)),
        ("models-twice", new().and("models", r#"["*"]"#)),
        ("cidrs-twice", new().and("cidrs", r#"["0.0.0.0/0"]"#)),
        ("unknown-twice", new().and("x", "1").and("x", "1")),
        (
            "budget-member-twice",
            new().with("budget", r#"{"request_tokens":1000,"request_tokens":9000}"#),
        ),
        (
            "budget-member-twice-by-escape",
            new().with("budget", r#"{"request_tokens":1000,"request_token\u0073":9000}"#),
        ),
        ("twice-within-an-unknown-claim", new().with("x", r#"[{"y":{"z":1,"z":2}}]"#)),
    ]
    .map(|(name, claims)| Case::refused("bad-claims", name, WHY, keys.eddsa.token(&claims)))
    .into()
}

/// Bounds at which one more is too many, and the last that is not.
fn bounds(keys: &Keys) -> Vec<Case> {
    let list = |count: usize, item: &dyn Fn(usize) -> String| {
        let items: Vec<String> = (1..count).map(item).collect();
        items.join(",")
    };
    let new = Claims::new;
    let models =
        |n| new().with("models", format!(r#"["gpt-4",{}]"#, list(n, &|i| format!("\"m{i}\""))));
    let cidrs = |n| {
        new().with(
            "cidrs",
            format!(r#"["10.0.0.0/8",{}]"#, list(n, &|i| format!("\"192.0.2.{i}/32\""))),
        )
    };
    let scopes = |n| {
        let more = list(n, &|i| format!("tool:t{i}")).replace(',', " ");
        new().with("scope", format!("\"llm:chat {more}\""))
    };
    let lineage = |n: usize| new().with("lin", format!("[{}]", vec![quoted(PARENT); n].join(",")));
    let actors = |n: usize| {
        let deepest = r#"{"sub":"client:acme/agent"}"#.to_owned();
        let wrap = |inner, _| format!(r#"{{"sub":"client:acme/agent","act":{inner}}}"#);
        new().with("act", (1..n).fold(deepest, wrap))
    };
    let subject = |n: usize| new().with("sub", quoted(&"s".repeat(n)));
    let model = |n: usize| new().with("models", format!(r#"["gpt-4","{}"]"#, "m".repeat(n)));
    let scope = |n: usize| new().with("scope", format!("\"llm:chat {}\"", "s".repeat(n)));
    let members = |n: usize| (16..n).fold(new(), |claims, i| claims.and(&format!("x{i}"), "0"));
    let depth = |n: usize| new().with("x", format!("{}{}", "[".repeat(n - 1), "]".repeat(n - 1)));
    [
        ("models", "64-models", models(64), "65-models", models(65)),
        (
            "model pattern's bytes",
            "model-of-128-bytes",
            model(128),
            "model-of-129-bytes",
            model(129),
        ),
        ("networks", "32-cidrs", cidrs(32), "33-cidrs", cidrs(33)),
        ("scopes", "64-scopes", scopes(64), "65-scopes", scopes(65)),
        ("scope's bytes", "scope-of-64-bytes", scope(64), "scope-of-65-bytes", scope(65)),
        ("ancestors", "4-ancestors", lineage(4), "5-ancestors", lineage(5)),
        ("actors", "4-actors", actors(4), "5-actors", actors(5)),
        (
            "subject's bytes",
            "subject-of-160-bytes",
            subject(160),
            "subject-of-161-bytes",
            subject(161),
        ),
        ("members of one object", "64-members", members(64), "65-members", members(65)),
        ("levels of nesting", "8-levels", depth(8), "9-levels", depth(9)),
    ]
    .into_iter()
    .flat_map(|(what, most, at_most, more, too_many)| {
        [
            Case::accepted(most, &format!("the most {what}"), keys.eddsa.token(&at_most)),
            Case::refused(
                "bad-claims",
                more,
                &format!("one more than the most {what}"),
                keys.eddsa.token(&too_many),
            ),
        ]
    })
    .collect()
}
