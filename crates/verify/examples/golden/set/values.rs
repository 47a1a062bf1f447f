//! Check 5: claims with values that they must not have.

use super::claims::{JTI, PARENT, PRINT, quoted};

/// A claim, its rule, and what breaks it: the name of each form and its JSON text.
type Values = (&'static str, &'static str, Vec<(&'static str, String)>);

pub(super) fn all() -> Vec<Values> {
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
            "an integer below 2^53, later than `iat` (RFC 7519 section 4.1.4, RFC 8259 section 6)",
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
            "names of [a-z0-9:._/-]{1,64}, single spaces, none twice (narrows RFC 6749 section 3.3)",
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
            "one or more of `tokens`, `request_tokens`, `requests`, each an integer of 1 to 2^53 - 1",
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
            "exactly one of `jkt` and `x5t#S256`, a SHA-256 thumbprint, and nothing else (RFC 7800)",
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
