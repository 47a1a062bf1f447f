//! Check 5: claims that every parser reads alike, of the right types, within their bounds. All well signed.

use super::case::Case;
use super::claims::{Claims, JTI, PARENT, PRINT, quoted};
use super::keys::Keys;

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = texts(keys);
    cases.extend(duplicates(keys));
    cases.extend(bounds(keys));
    for (claim, why, values) in values() {
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

type Values = (&'static str, &'static str, Vec<(&'static str, String)>);

/// Claims with values that they must not have.
fn values() -> Vec<Values> {
    let upper = quoted(&JTI.to_uppercase());
    let version_4 = quoted(&JTI.replace("-7909-", "-4909-"));
    let other_variant = quoted(&JTI.replace("-8909-", "-c909-"));
    let bare = quoted(&JTI.replace('-', ""));
    let braced = format!("\"{{{JTI}}}\"");
    let next_second = quoted(&JTI.replace("5e7b", "6263"));
    let jkt = |print: &str| format!(r#"{{"jkt":"{print}"}}"#);
    vec![
        (
            "exp",
            "an integer of seconds below 2^53, later than `iat` (RFC 7519 section 4.1.4, RFC 8259 section 6)",
            values_of(&[
                ("float", "1795000300.0"),
                ("fraction", "1795000300.5"),
                ("exponent", "17950003e2"),
                ("text", r#""1795000300""#),
                ("of-2-to-the-53", "9007199254740992"),
                ("of-2-to-the-63", "9223372036854775808"),
                ("of-2-to-the-64", "18446744073709551616"),
                ("endless", "1e400"),
                ("negative", "-1795000300"),
                ("minus-one", "-1"),
                ("zero", "0"),
                ("leading-zero", "01795000300"),
                ("leading-plus", "+1795000300"),
                ("null", "null"),
                ("true", "true"),
                ("array", "[1795000300]"),
                ("object", "{}"),
                ("at-iat", "1795000000"),
                ("before-iat", "1794999999"),
            ]),
        ),
        (
            "iat",
            "an integer of seconds below 2^53 (RFC 7519 section 4.1.6)",
            values_of(&[
                ("float", "1795000000.0"),
                ("text", r#""1795000000""#),
                ("null", "null"),
                ("negative", "-1"),
                ("of-2-to-the-53", "9007199254740992"),
                ("a-second-after-jti", "1795000001"),
            ]),
        ),
        (
            "nbf",
            "equal to `iat`",
            values_of(&[
                ("a-second-after-iat", "1795000001"),
                ("a-second-before-iat", "1794999999"),
                ("float", "1795000000.0"),
                ("text", r#""1795000000""#),
                ("null", "null"),
            ]),
        ),
        (
            "jti",
            "a UUIDv7, lower case and hyphenated, of the second of `iat` (RFC 9562 section 5.7)",
            vec![
                ("of-the-next-second", next_second),
                ("in-upper-case", upper),
                ("of-version-4", version_4),
                ("of-another-variant", other_variant),
                ("without-hyphens", bare),
                ("in-braces", braced),
                ("empty", quoted("")),
                ("number", "7".to_owned()),
                ("null", "null".to_owned()),
            ],
        ),
        (
            "aud",
            "one text: a token is for exactly one gateway group (RFC 7519 section 4.1.3, narrowed)",
            values_of(&[
                ("null", "null"),
                ("number", "1"),
                ("object", "{}"),
                ("array-of-none", "[]"),
                ("array-of-ours", r#"["llm-gateway"]"#),
                ("array-of-two", r#"["llm-gateway","search"]"#),
                ("empty", r#""""#),
                ("with-nul", r#""llm-gateway\u0000""#),
            ]),
        ),
        (
            "iss",
            "one text (RFC 7519 section 4.1.1)",
            values_of(&[
                ("array-of-ours", r#"["https://sts.example"]"#),
                ("number", "1"),
                ("null", "null"),
                ("empty", r#""""#),
                ("with-a-look-alike", r#""https://sts.ex\u0430mple""#),
            ]),
        ),
        (
            "sub",
            "1 to 160 printable ASCII characters",
            values_of(&[
                ("empty", r#""""#),
                ("number", "1"),
                ("null", "null"),
                ("with-a-space", r#""client:acme/ billing""#),
                ("beyond-ascii", r#""client:acme/b\u00eflling""#),
            ]),
        ),
        (
            "client_id",
            "`<tenant>/<name>`, each [a-z0-9][a-z0-9-]{0,62}",
            values_of(&[
                ("without-tenant", r#""billing""#),
                ("in-upper-case", r#""acme/Billing""#),
                ("of-three-parts", r#""acme/billing/eu""#),
                ("with-dots", r#""acme/..""#),
                ("null", "null"),
            ]),
        ),
        (
            "ver",
            "a version that is not known may hold a constraint that is not known",
            values_of(&[
                ("of-2", "2"),
                ("of-0", "0"),
                ("float", "1.0"),
                ("text", r#""1""#),
                ("null", "null"),
            ]),
        ),
        (
            "scope",
            "names of [a-z0-9:._/-]{1,64}, single spaces between them, none twice (RFC 6749 section 3.3, narrowed)",
            values_of(&[
                ("empty", r#""""#),
                ("array", r#"["llm:chat"]"#),
                ("null", "null"),
                ("with-space-before", r#"" llm:chat""#),
                ("with-space-after", r#""llm:chat ""#),
                ("with-two-spaces", r#""llm:chat  llm:embed""#),
                ("with-tab", r#""llm:chat\tllm:embed""#),
                ("with-line-feed", r#""llm:chat\nllm:embed""#),
                ("with-no-break-space", r#""llm:chat\u00a0llm:embed""#),
                ("with-zero-width-space", r#""llm:chat\u200b""#),
                ("in-upper-case", r#""LLM:chat""#),
                ("wildcard", r#""*""#),
                ("named-twice", r#""llm:chat llm:chat""#),
            ]),
        ),
        (
            "models",
            "an array of names, `prefix*` or `*`, of [A-Za-z0-9._:/@+-]",
            values_of(&[
                ("null", "null"),
                ("text", r#""gpt-4""#),
                ("object", r#"{"0":"gpt-4"}"#),
                ("nested", r#"[["gpt-4"]]"#),
                ("number", "[4]"),
                ("empty-name", r#"["gpt-4",""]"#),
                ("star-within", r#"["gpt-*-mini","gpt-4"]"#),
                ("two-stars", r#"["gpt-**"]"#),
                ("star-before", r#"["*gpt-4"]"#),
                ("with-zero-width-space", r#"["gpt-4","gpt-4\u200b"]"#),
                ("with-space", r#"["gpt-4 "]"#),
                ("percent-encoded", r#"["gpt%2d4"]"#),
            ]),
        ),
        (
            "budget",
            "an object of `tokens`, `request_tokens`, `requests`, at least one; each an integer of 1 to 2^53 - 1",
            values_of(&[
                ("empty", "{}"),
                ("null", "null"),
                ("array", "[]"),
                ("number", "1000"),
                ("member-unknown", r#"{"request_tokens":1000,"token":1}"#),
                ("member-zero", r#"{"request_tokens":0}"#),
                ("member-negative", r#"{"request_tokens":-1}"#),
                ("member-fraction", r#"{"request_tokens":1000.5}"#),
                ("member-float", r#"{"request_tokens":1000.0}"#),
                ("member-text", r#"{"request_tokens":"1000"}"#),
                ("member-null", r#"{"request_tokens":null}"#),
                ("member-of-2-to-the-53", r#"{"request_tokens":9007199254740992}"#),
                ("member-of-2-to-the-63", r#"{"tokens":9223372036854775808}"#),
            ]),
        ),
        (
            "cidrs",
            "an array of networks, each in its one canonical spelling (RFC 4632, RFC 5952)",
            values_of(&[
                ("null", "null"),
                ("text", r#""10.0.0.0/8""#),
                ("with-host-bits", r#"["10.0.0.1/8"]"#),
                ("with-leading-zero", r#"["010.0.0.0/8"]"#),
                ("prefix-with-leading-zero", r#"["10.0.0.0/08"]"#),
                ("prefix-of-33", r#"["10.0.0.0/33"]"#),
                ("without-prefix", r#"["10.1.2.3"]"#),
                ("prefix-empty", r#"["10.0.0.0/"]"#),
                ("prefix-signed", r#"["10.0.0.0/+8"]"#),
                ("as-a-mask", r#"["10.0.0.0/255.0.0.0"]"#),
                ("short", r#"["10/8"]"#),
                ("in-hexadecimal", r#"["0x0a.0.0.0/8"]"#),
                ("with-space", r#"["10.0.0.0/8 "]"#),
                ("v4-mapped", r#"["::ffff:10.0.0.0/104"]"#),
                ("v6-in-upper-case", r#"["2001:DB8::/32"]"#),
                ("v6-not-compressed", r#"["2001:db8:0:0:0:0:0:0/32"]"#),
                ("v6-with-leading-zero", r#"["2001:0db8::/32"]"#),
                ("v6-with-zone", r#"["fe80::%eth0/64"]"#),
                ("v6-prefix-of-129", r#"["2001:db8::/129"]"#),
                ("one-bad-among-good", r#"["10.0.0.0/8","192.0.2.1/24"]"#),
            ]),
        ),
        (
            "tenant",
            "[a-z0-9][a-z0-9-]{0,62}",
            values_of(&[("empty", r#""""#), ("in-upper-case", r#""Acme""#), ("null", "null")]),
        ),
        (
            "env",
            "[a-z0-9][a-z0-9-]{0,62}",
            values_of(&[
                ("empty", r#""""#),
                ("in-upper-case", r#""PROD""#),
                ("array", r#"["prod"]"#),
            ]),
        ),
        (
            "lin",
            "an array of token ids",
            values_of(&[
                ("text", &quoted(PARENT)),
                ("null", "null"),
                ("of-another-form", r#"["root"]"#),
            ]),
        ),
        (
            "act",
            "an object with `sub` (RFC 8693 section 4.1)",
            values_of(&[
                ("null", "null"),
                ("text", r#""client:acme/agent""#),
                ("without-sub", "{}"),
                ("with-empty-sub", r#"{"sub":""}"#),
                ("within-null", r#"{"sub":"client:acme/agent","act":null}"#),
            ]),
        ),
        (
            "cnf",
            "exactly one of `jkt` and `x5t#S256`, a SHA-256 thumbprint; anything else might be a constraint that is not known (RFC 7800)",
            vec![
                ("null", "null".to_owned()),
                ("empty", "{}".to_owned()),
                ("text", quoted(PRINT)),
                ("of-two", format!(r##"{{"jkt":"{PRINT}","x5t#S256":"{PRINT}"}}"##)),
                ("member-unknown", format!(r#"{{"jwk":"{PRINT}"}}"#)),
                ("member-more", format!(r#"{{"jkt":"{PRINT}","kid":"x"}}"#)),
                ("thumbprint-empty", jkt("")),
                ("thumbprint-short", jkt(&PRINT[1..])),
                ("thumbprint-of-another-alphabet", jkt(&PRINT.replace('-', "+"))),
                ("thumbprint-null", r#"{"jkt":null}"#.to_owned()),
            ],
        ),
        (
            "cred",
            "1 to 128 printable ASCII characters",
            values_of(&[("null", "null"), ("empty", r#""""#), ("number", "3")]),
        ),
    ]
}

fn values_of(values: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    values.iter().map(|(form, value)| (*form, (*value).to_owned())).collect()
}
