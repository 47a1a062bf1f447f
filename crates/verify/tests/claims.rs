//! Claims, all well signed: what they say is wrong.

use scrip_verify::token::Jti;
use serde_json::{Value, json};

use crate::fixture::*;

/// Signs a payload as it stands.
fn signed(payload: impl AsRef<[u8]>) -> &'static str {
    verdict(EDDSA.forge(&header(&EDDSA), payload.as_ref()))
}

fn prefixed(member: &str) -> String {
    claims().to_string().replacen('{', &format!("{{{member},"), 1)
}

#[test]
fn n19_duplicate_members_are_refused_at_every_depth() {
    for member in [
        r#""exp":1795000300"#,
        r#""\u0065xp":1795000300"#,
        r#""aud":"llm-gateway""#,
        r#""scope":"llm:chat""#,
        r#""models":["*"]"#,
        r#""cidrs":["0.0.0.0/0"]"#,
        r#""later":{"a":1,"a":1}"#,
        r#""later":[{"b":{"c":1,"\u0063":1}}]"#,
    ] {
        assert_eq!(signed(prefixed(member)), "bad-claims", "{member}");
    }
    let nested = claims()
        .to_string()
        .replace(r#""request_tokens":1000"#, r#""request_tokens":1000,"request_tokens":9999"#);
    assert_eq!(signed(nested), "bad-claims");
    assert_eq!(signed(prefixed(r#""later":{"a":1,"b":1}"#)), "ok");
}

#[test]
fn n20_n21_dates_are_integers_below_2_53() {
    for claim in ["exp", "nbf", "iat"] {
        for odd in [
            json!(EXP.to_string()),
            json!(1.5),
            json!(1e19),
            json!(-1),
            json!(0),
            Value::Null,
            json!(true),
            json!([]),
            json!({}),
            json!(1_u64 << 53),
            json!(1_u64 << 63),
            json!(u64::MAX),
        ] {
            assert_eq!(verdict_on(&with(claim, odd.clone())), "bad-claims", "{claim} {odd}");
        }
        for odd in ["1e400", "NaN", "18446744073709551616"] {
            let value = claims()[claim].to_string();
            let text = claims()
                .to_string()
                .replace(&format!("\"{claim}\":{value}"), &format!("\"{claim}\":{odd}"));
            assert_eq!(signed(text), "bad-claims", "{claim} {odd}");
        }
        assert_eq!(verdict_on(&without(claim)), "bad-claims");
    }
    assert_eq!(verdict_on(&with("nbf", json!(IAT + 1))), "bad-claims");
    assert_eq!(verdict_on(&with("exp", json!(IAT))), "bad-claims");
}

#[test]
fn n24_the_audience_is_ours_to_the_byte() {
    for odd in [Value::Null, json!(7), json!({}), json!([]), json!(["evil", 1]), json!("")] {
        assert_eq!(verdict_on(&with("aud", odd.clone())), "bad-claims", "{odd}");
    }
    for odd in [json!(["llm-gateway", "evil"]), json!(["llm-gateway"])] {
        assert_eq!(verdict_on(&with("aud", odd.clone())), "bad-claims", "{odd}");
    }
    for other in ["llm-gateway2", "LLM-gateway", "llm-gateway/", "llm", "evil"] {
        assert_eq!(verdict_on(&with("aud", json!(other))), "wrong-audience", "{other}");
    }
    assert_eq!(verdict_on(&without("aud")), "bad-claims");
}

#[test]
fn n25_the_issuer_is_the_keys_to_the_byte() {
    for odd in [Value::Null, json!(7), json!([ISS]), json!("https://sts.ex\u{e4}mple")] {
        assert_eq!(verdict_on(&with("iss", odd.clone())), "bad-claims", "{odd}");
    }
    for other in [
        "https://sts.example/",
        "http://sts.example",
        "https://sts.example.evil",
        "https://STS.example",
        "https://sts.exampl",
        "https://xn--sts-example",
    ] {
        assert_eq!(verdict_on(&with("iss", json!(other))), "wrong-issuer", "{other}");
    }
    assert_eq!(verdict_on(&without("iss")), "bad-claims");
}

#[test]
fn n26_names_and_ids_have_their_form() {
    for claim in ["sub", "jti", "client_id", "tenant"] {
        for odd in [Value::Null, json!(7), json!(""), json!([]), json!("s".repeat(161))] {
            assert_eq!(verdict_on(&with(claim, odd.clone())), "bad-claims", "{claim} {odd}");
        }
        assert_eq!(verdict_on(&without(claim)), "bad-claims", "{claim}");
    }
    assert_eq!(verdict_on(&with("sub", json!("s".repeat(160)))), "ok");
    let good = jti(9).to_string();
    for odd in [
        Jti::new((IAT + 1) * 1000, [9; 10]).to_string(),
        Jti::new(IAT * 1000 - 1, [9; 10]).to_string(),
        good.to_uppercase(),
        good.replace('-', ""),
        format!("{}4{}", &good[..14], &good[15..]),
    ] {
        assert_eq!(verdict_on(&with("jti", json!(odd))), "bad-claims", "{odd}");
    }
}

#[test]
fn n27_scopes_are_ascii_names_with_single_spaces() {
    let many: Vec<String> = (0..500).map(|n| format!("s{n}")).collect();
    for odd in [
        "llm:chat\u{200b}",
        "\u{feff}llm:chat",
        "llm:chat\u{a0}llm:embed",
        "llm:chat\tllm:embed",
        "llm:chat\n",
        "llm:ch\u{430}t",
        "LLM:chat",
        "*",
        "llm:*",
        "",
        " llm:chat",
        "llm:chat ",
        "llm:chat  llm:embed",
        "llm:chat llm:chat",
        &many.join(" "),
    ] {
        assert_eq!(verdict_on(&with("scope", json!(odd))), "bad-claims", "{odd:?}");
    }
    assert_eq!(verdict_on(&with("scope", json!(["llm:chat"]))), "bad-claims");
}

#[test]
fn n28_model_patterns_have_their_grammar_and_number() {
    for odd in [
        json!("gpt-4"),
        Value::Null,
        json!([""]),
        json!(["gpt-4\u{200b}"]),
        json!(["a*b"]),
        json!(["%67pt-4"]),
    ] {
        assert_eq!(verdict_on(&with("models", odd.clone())), "bad-claims", "{odd}");
    }
    let patterns = |count: usize| with("models", json!(vec!["gpt-4"; count]));
    assert_eq!(verdict_on(&patterns(64)), "ok");
    assert_eq!(verdict_on(&patterns(65)), "bad-claims");
}

#[test]
fn n29_budgets_are_positive_integers_with_known_names() {
    for odd in [
        json!({}),
        Value::Null,
        json!({"request_tokens": -1}),
        json!({"request_tokens": 0}),
        json!({"request_tokens": 1_u64 << 63}),
        json!({"request_tokens": 1.5}),
        json!({"request_tokens": "100"}),
        json!({"request_tokens": null}),
        json!({"request_tokens": 5, "dollars": 1}),
    ] {
        assert_eq!(verdict_on(&with("budget", odd.clone())), "bad-claims", "{odd}");
    }
    assert_eq!(verdict_on(&without("budget")), "ok");
}

#[test]
fn n30_networks_are_canonical() {
    for odd in [
        "010.0.0.0/8",
        "10.0.0.1/8",
        "10.0.0.0/08",
        "::ffff:10.0.0.0/104",
        "10.0.0.0/33",
        "/8",
        "fe80::%eth0/64",
        "10.0.0.0",
    ] {
        assert_eq!(verdict_on(&with("cidrs", json!([odd]))), "bad-claims", "{odd}");
    }
    assert_eq!(verdict_on(&with("cidrs", Value::Null)), "bad-claims");
    assert_eq!(verdict_on(&with("cidrs", json!(vec!["10.0.0.0/8"; 33]))), "bad-claims");
    for any in ["0.0.0.0/0", "10.1.2.3/32"] {
        assert_eq!(verdict_on(&with("cidrs", json!([any]))), "ok", "{any}");
    }
}

#[test]
fn n31_a_payload_that_is_no_plain_object_is_refused() {
    let nested = format!("{}{}", "[".repeat(2_500), "]".repeat(2_500));
    let wide: Vec<String> = (0..500).map(|n| format!("\"{n}\":0")).collect();
    let wide = format!("{{{}}}", wide.join(","));
    for odd in ["[1]", "null", "\"x\"", "{", "{} {}", r#"{"a":"\ud800"}"#, &nested, &wide] {
        assert_eq!(signed(odd), "bad-claims", "{odd}");
    }
    assert_eq!(signed(b"{\"a\":\"\xff\"}"), "bad-claims");
    assert_eq!(signed(format!("\u{feff}{}", claims())), "bad-claims");
    assert_eq!(signed(format!("{} x", claims())), "bad-claims");
    assert_eq!(signed(prefixed(&format!("\"later\":{nested}"))), "bad-claims");
}

#[test]
fn n35_a_token_of_another_environment_is_refused_under_the_same_key() {
    assert_eq!(verdict_on(&with("env", json!("staging"))), "wrong-env");
    for odd in [json!("Prod"), json!(""), Value::Null] {
        assert_eq!(verdict_on(&with("env", odd)), "bad-claims");
    }
    assert_eq!(verdict_on(&without("env")), "bad-claims");
}

#[test]
fn an_unknown_version_is_refused_and_an_unknown_claim_ignored() {
    assert_eq!(verdict_on(&with("ver", json!(2))), "bad-claims");
    assert_eq!(verdict_on(&without("ver")), "bad-claims");
    assert_eq!(verdict_on(&with("later", json!({"any": ["thing"]}))), "ok");
}
