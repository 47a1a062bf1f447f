//! Headers that are well signed and not ours.

use super::json;
use super::mutation::Mutation;
use serde_json::json;

pub(super) const ALL: &[Mutation] = &[
    Mutation::harmless("header: order of members", |rng, draft| {
        draft.headed(json::reordered(rng, &draft.header))
    }),
    Mutation::harmless("header: white space", |rng, draft| {
        draft.headed(json::spaced(rng, &draft.header))
    }),
    Mutation::harmless("header: escapes", |rng, draft| {
        draft.headed(json::escaped(rng, &draft.header))
    }),
    Mutation::refused_by_us(
        "header: member twice",
        &["bad-header"],
        "members are there once",
        |rng, draft| draft.headed(json::doubled(rng, &draft.header)),
    ),
    Mutation::refused_by_us(
        "header: nearly JSON",
        &["bad-header"],
        "one JSON text to the letter (RFC 8259)",
        |rng, draft| draft.headed(json::nearly(rng, &draft.header)),
    ),
    Mutation::refused_by_all("header: no object", &["bad-header"], |rng, draft| {
        draft.headed(json::no_object(rng, &draft.header))
    }),
    Mutation::refused_by_us(
        "header: not UTF-8",
        &["bad-header"],
        "text is UTF-8 (RFC 8259 section 8.1)",
        |rng, draft| {
            let text = draft.header.clone().and("cty", "\"?\"", rng).text();
            let bytes: Vec<u8> = text.bytes().map(|b| if b == b'?' { 0xff } else { b }).collect();
            draft.headed(bytes)
        },
    ),
    Mutation::refused_by_us(
        "header: member missing",
        &["bad-header"],
        "`alg`, `typ` and `kid` are required",
        |rng, draft| {
            let name = rng.word("alg typ kid");
            draft.headed(draft.header.clone().without(name).text())
        },
    ),
    Mutation::refused_by_us(
        "header: member of another type",
        &["bad-header", "unknown-alg"],
        "`alg`, `typ` and `kid` are strings, and mean something",
        |rng, draft| {
            let name = rng.word("alg typ kid");
            let value = draft.header.value(name);
            let list = format!("[{value}]");
            let object = format!("{{\"{name}\":{value}}}");
            let value = *rng.pick(&["null", "true", "0", "\"\"", "[]", &list, &object]);
            draft.headed(draft.header.clone().with(name, value).text())
        },
    ),
    Mutation::refused_by_us(
        "header: typ",
        &["bad-header"],
        "`typ` is `at+jwt`, in this spelling",
        |rng, draft| {
            let typ = rng.word(
                r#"
                JWT jwt AT+JWT At+jwt at+JWT application/at+jwt at+jwt\u0020 \u0020at+jwt at+jwt;v=1
                at+jwt\u0000 id+jwt scrip-keys+jwt dpop+jwt at\u0020jwt at%2Bjwt JOSE
                "#,
            );
            draft.headed(draft.header.clone().with("typ", format!("\"{typ}\"")).text())
        },
    ),
    Mutation::refused_by_all(
        "header: alg of others",
        &["unknown-alg", "wrong-alg"],
        |rng, draft| loop {
            let alg = rng.word(
                r#"
                none None NONE HS256 HS512 ES384 ES512 ES256K PS256 RS384 RS512 Ed448 es256 rs256
                eddsa ES256\u0020 ECDSA RSA ES256 EdDSA RS256 ML-DSA-44 dir RSA-OAEP
                "#,
            );
            let alg = format!("\"{alg}\"");
            if draft.header.value("alg") != alg {
                break draft.headed(draft.header.clone().with("alg", alg).text());
            }
        },
    ),
    Mutation::refused_by_all("header: alg Ed25519", &["wrong-alg"], |_, draft| {
        draft.headed(draft.header.clone().with("alg", "\"Ed25519\"").text())
    }),
    Mutation::refused_by_all("header: kid", &["bad-header", "unknown-kid"], |rng, draft| {
        let kid = &draft.signer.kid;
        let kid = match rng.below(9) {
            0 => kid.to_lowercase(),
            1 => format!("{kid}="),
            2 => format!(" {kid}"),
            3 => kid[..42].to_owned(),
            4 => format!("{kid}\0"),
            5 => "../../dev/null".to_owned(),
            6 => "' OR 1=1 --".to_owned(),
            7 => kid.chars().rev().collect(),
            _ => format!("-{}", &kid[1..]),
        };
        draft.headed(draft.header.clone().with("kid", json!(kid)).text())
    }),
    Mutation::refused_by_us(
        "header: crit",
        &["bad-header"],
        "`alg`, `typ`, `kid` and no other: nothing can be critical",
        |rng, draft| {
            let crit = rng.word(
                r#"
                [] ["exp"] ["typ"] ["b64"] ["x"] ["crit"] "exp" null {} false [1] ["alg","alg"]
                "#,
            );
            let header = draft.header.clone().and("crit", crit, rng);
            let header = match rng.below(3) {
                0 => header.and("x", "true", rng),
                1 => header.and("b64", "true", rng),
                _ => header,
            };
            draft.headed(header.text())
        },
    ),
    Mutation::refused_by_us(
        "header: key of its own",
        &["bad-header"],
        "`alg`, `typ`, `kid` and no other: keys come from the issuer's set",
        |rng, draft| {
            let (name, value) = rng.member(
                r#"
                jwk={"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
                jku="https://sts.example/jwks.json" x5u="https://sts.example/certificate"
                x5c=["MIIB"] x5t="AAAAAAAAAAAAAAAAAAAAAAAAAAA"
                x5t#S256="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "#,
            );
            draft.headed(draft.header.clone().and(name, value, rng).text())
        },
    ),
    Mutation::refused_by_us(
        "header: another member",
        &["bad-header"],
        "`alg`, `typ`, `kid` and no other",
        |rng, draft| {
            let (name, value) = rng.member(
                r#"
                cty="JWT" cty="json" b64=true b64=false zip="DEF" enc="A128GCM" nonce="n" x=1 =null
                iss="https://sts.example" ALG="none" Kid="k" __proto__={} exp=1
                "#,
            );
            draft.headed(draft.header.clone().and(name, value, rng).text())
        },
    ),
    Mutation::refused_by_us("header: too long", &["bad-header"], "at most 1 KiB", |rng, draft| {
        let blanks = " ".repeat(1025 + rng.below(1000));
        draft.headed(format!("{}{blanks}", draft.header.text()))
    }),
];
