//! Claims that are well signed and not ours, and ours in other words.

use super::forge::NOW;
use super::json;
use super::mutation::Mutation;
use serde_json::json;

const REQUIRED: &str = "iss sub aud client_id iat nbf exp jti ver scope tenant env";

pub(super) const ALL: &[Mutation] = &[
    Mutation::harmless("claims: order of members", |rng, draft| {
        draft.claiming(json::reordered(rng, &draft.claims))
    }),
    Mutation::harmless("claims: white space", |rng, draft| {
        draft.claiming(json::spaced(rng, &draft.claims))
    }),
    Mutation::harmless("claims: escapes", |rng, draft| {
        draft.claiming(json::escaped(rng, &draft.claims))
    }),
    Mutation::harmless("claims: one that nobody knows", |rng, draft| {
        let name = rng.word(r#"x EXP Iss roles \u0000 \u00e9 é __proto__ constructor a/b"#);
        let value = rng.word(
            r#"
                null true 0 -0 1.5 1e9 -1E-9 9007199254740993 18446744073709551616
                0.1000000000000000055511151231257827 "" "😀" "\ud83d\ude00" "\u0000"
                "\/\b\f\n\r\t\\\"" [] {} [[[[[[[]]]]]]] {"exp":1,"iss":{"exp":2}}
                [1,"a",null,{"b":[]}] [1,2.0,3e0] {"":{"":""}}
                "#,
        );
        draft.claiming(draft.claims.clone().and(name, value, rng).text())
    }),
    Mutation::refused_by_us(
        "claims: one twice",
        &["bad-claims"],
        "members are there once",
        |rng, draft| draft.claiming(json::doubled(rng, &draft.claims)),
    ),
    Mutation::refused_by_us(
        "claims: one twice, deep inside",
        &["bad-claims"],
        "members are there once, at every depth",
        |rng, draft| {
            let twice = rng.word(
                r#"
                {"a":1,"a":1} {"a":1,"\u0061":2} [[{"b":{"c":[],"c":[]}}]]
                {"tokens":1,"tokens":2} {"x":{"exp":1,"e\u0078p":2}}
                "#,
            );
            let name = rng.word("x budget act");
            draft.claiming(draft.claims.clone().with(name, twice).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: nearly JSON",
        &["bad-claims"],
        "one JSON text to the letter (RFC 8259)",
        |rng, draft| draft.claiming(json::nearly(rng, &draft.claims)),
    ),
    Mutation::refused_by_all("claims: no object", &["bad-claims"], |rng, draft| {
        draft.claiming(json::no_object(rng, &draft.claims))
    }),
    Mutation::refused_by_us(
        "claims: no text",
        &["bad-claims"],
        "text is UTF-8 without lone surrogates (RFC 8259 sections 7 and 8)",
        |rng, draft| {
            const ODD: &[&[u8]] = &[
                b"\xff",
                b"\xc0\xaf",
                b"\xed\xa0\x80",
                b"\xf4\x90\x80\x80",
                b"\0",
                b"\n",
                b"\\ud800",
                b"\\udc00\\ud800",
                b"\\x41",
                b"\\u12",
                b"\\'",
            ];
            let text = draft.claims.clone().and("x", "\"?\"", rng).text();
            let (before, after) = text.split_once('?').expect("just added");
            draft.claiming([before.as_bytes(), *rng.pick(ODD), after.as_bytes()].concat())
        },
    ),
    Mutation::refused_by_us(
        "claims: what is no number",
        &["bad-claims"],
        "numbers are those of RFC 8259 section 6, and finite",
        |rng, draft| {
            let value =
                rng.word("NaN Infinity -Infinity 01 +1 1. .5 0x10 1_000 1e --1 1e400 -1e999");
            draft.claiming(draft.claims.clone().and("x", value, rng).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: too deep or too many",
        &["bad-claims"],
        "at most 8 deep, at most 64 members",
        |rng, draft| {
            let depth = *rng.pick(&[8, 9, 20, 100, 1000]);
            let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let many: Vec<_> = (0..64 + rng.below(50)).map(|n| format!("\"{n}\":0")).collect();
            let many = format!("{{{},\"x\":0}}", many.join(","));
            let value = rng.pick(&[deep, many]).clone();
            draft.claiming(draft.claims.clone().and("x", value, rng).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: too long",
        &["malformed"],
        "at most 8 KiB, judged before anything is read",
        |rng, draft| {
            let long = "x".repeat(8000 + rng.below(20_000));
            draft.claiming(draft.claims.clone().and("x", json!(long), rng).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: required one missing",
        &["bad-claims"],
        "what is required is there",
        |rng, draft| {
            let name = rng.word(REQUIRED);
            draft.claiming(draft.claims.clone().without(name).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: of another type",
        &["bad-claims"],
        "each claim has its type",
        |rng, draft| {
            let name = rng.word(REQUIRED);
            let value = draft.claims.value(name);
            let list = format!("[{value}]");
            let object = format!("{{\"{name}\":{value}}}");
            let value =
                *rng.pick(&["null", "true", "false", "\"\"", "[]", "{}", &list, &object, "0.5"]);
            draft.claiming(draft.claims.clone().with(name, value).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: date in another form",
        &["bad-claims"],
        "dates are written as integers",
        |rng, draft| {
            let name = rng.word("iat nbf exp");
            let date = draft.claims.value(name);
            let value = match rng.below(8) {
                0 => format!("{date}.0"),
                1 => format!("{date}e0"),
                2 => format!("{}.{}E9", &date[..1], &date[1..]),
                3 => format!("\"{date}\""),
                4 => format!("{date}.5"),
                5 => format!("0{date}"),
                6 => format!("{date}000000000000000000000"),
                _ => format!("-{date}"),
            };
            draft.claiming(draft.claims.clone().with(name, value).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: huge date",
        &["bad-claims", "lives-too-long"],
        "dates are below 2^53, lives below 900 s",
        |rng, draft| {
            let value = rng.word(
                "9007199254740992 9223372036854775807 9223372036854775808 18446744073709551615
                18446744073709551616 1e19 1e300 253402300800000",
            );
            let name = rng.word("iat nbf exp");
            draft.claiming(draft.claims.clone().with(name, value).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: around the moment of expiry",
        &["expired"],
        "`now < exp + 5`, not `<=`",
        |rng, draft| {
            let exp = NOW - 7 + rng.below(5) as u64;
            draft.clone().at(NOW - 100, exp, rng).signed()
        },
    ),
    Mutation::refused_by_all(
        "claims: around the first moment",
        &["not-yet-valid"],
        |rng, draft| {
            let iat = NOW + 3 + rng.below(5) as u64;
            draft.clone().at(iat, iat + 300, rng).signed()
        },
    ),
    Mutation::refused_by_all(
        "claims: long past or far ahead",
        &["expired", "not-yet-valid"],
        |rng, draft| {
            let iat = *rng.pick(&[1_000_000_000, NOW - 86_400, NOW + 86_400, 4_000_000_000]);
            draft.clone().at(iat, iat + 300, rng).signed()
        },
    ),
    Mutation::refused_by_us(
        "claims: long life",
        &["lives-too-long"],
        "at most 900 s from `iat` to `exp`",
        |rng, draft| {
            let seconds = *rng.pick(&[899, 900, 901, 3600, 86_400, 1_000_000_000]);
            draft.clone().at(NOW - 100, NOW - 100 + seconds, rng).signed()
        },
    ),
    Mutation::refused_by_us(
        "claims: dates that contradict each other",
        &["bad-claims"],
        "`nbf` is `iat`, `exp` is later, the time of `jti` is `iat`",
        |rng, draft| {
            const DATES: &[(&str, u64)] = &[
                ("nbf", NOW - 99),
                ("nbf", NOW - 101),
                ("nbf", 0),
                ("iat", NOW - 99),
                ("iat", 0),
                ("exp", NOW - 100),
            ];
            let (name, date) = *rng.pick(DATES);
            draft.claiming(draft.claims.clone().with(name, date).text())
        },
    ),
    Mutation::refused_by_all("claims: issuer", &["wrong-issuer", "bad-claims"], |rng, draft| {
        let iss = rng.word(
            r#"
                https://sts.example/ https://STS.example HTTPS://sts.example http://sts.example
                https://sts.example:443 https://sts.example. sts.example https://sts.example\u0020
                https://sts.other.example https://sts.example\u0000 https://sts.ex\u0430mple
                "#,
        );
        draft.claiming(draft.claims.clone().with("iss", format!("\"{iss}\"")).text())
    }),
    Mutation::refused_by_all(
        "claims: audience",
        &["wrong-audience", "bad-claims"],
        |rng, draft| {
            let aud = rng.word(
                r#"
                other-gateway LLM-gateway llm-gateway\u0020 llm-gateway,other llm-gateway\u0020other
                llm * llm-gateway\n llm-gateway\u0000
                "#,
            );
            draft.claiming(draft.claims.clone().with("aud", format!("\"{aud}\"")).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: audiences in a list",
        &["bad-claims"],
        "exactly one audience, a string",
        |rng, draft| {
            let aud = rng.word(
                r#"
                ["llm-gateway"] ["llm-gateway","other"] ["other","llm-gateway"] ["other"] []
                ["llm-gateway",1] ["llm-gateway",null] [["llm-gateway"]] {"llm-gateway":1}
                "#,
            );
            draft.claiming(draft.claims.clone().with("aud", aud).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: environment",
        &["wrong-env", "bad-claims"],
        "made for this environment",
        |rng, draft| {
            let env = *rng.pick(&["staging", "PROD", "prod ", "", "prod2"]);
            draft.claiming(draft.claims.clone().with("env", json!(env)).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: version",
        &["bad-claims"],
        "version 1, the integer",
        |rng, draft| {
            let ver = rng.word(r#"0 2 1.0 1e0 "1" -1 [1] true 18446744073709551616"#);
            draft.claiming(draft.claims.clone().with("ver", ver).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: jti",
        &["bad-claims"],
        "a UUIDv7 in its canonical form, of the time of `iat`",
        |rng, draft| {
            let jti = draft.claims.value("jti").trim_matches('"');
            let version = format!("{}4{}", &jti[..14], &jti[15..]);
            let late = draft.clone().at(NOW - 50, NOW, rng);
            let late = late.claims.value("jti").trim_matches('"').to_owned();
            let jti = match rng.below(7) {
                0 => jti.to_uppercase(),
                1 => jti.replace('-', ""),
                2 => format!("{{{jti}}}"),
                3 => format!("urn:uuid:{jti}"),
                4 => version,
                5 => late,
                _ => "1".to_owned(),
            };
            draft.claiming(draft.claims.clone().with("jti", json!(jti)).text())
        },
    ),
    Mutation::refused_by_us(
        "claims: limits that limit nothing, or cannot be read",
        &["bad-claims"],
        "limits can be read and mean something; `null` is not absent",
        |rng, draft| {
            let (name, value) = rng.member(
                r#"
                budget={} budget=null budget=[] budget={"tokens":0} budget={"tokens":1.0}
                budget={"tokens":"1"} budget={"dollars":1} budget={"tokens":1e3} budget={"tokens":null}
                models=null models="*" models=[null] models=["*a"] models={} cidrs=null
                cidrs="10.0.0.0/8" cidrs=["10.0.0.1/8"] cidrs=["010.0.0.0/8"] cidrs=["10.0.0.0"]
                cidrs=["::ffff:10.0.0.0/104"] cnf=null cnf={} cnf={"jwk":{}} cnf={"jkt":"short"}
                act=null act="client:a/b" lin=null lin=["x"] cred=null cred=7 scope=["llm:chat"]
                scope="llm:*" scope="llm:chat\u0020\u0020x" tenant="Acme" client_id="billing"
                sub="a\u0020b"
                "#,
            );
            draft.claiming(draft.claims.clone().with(name, value).text())
        },
    ),
];
