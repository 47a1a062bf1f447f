use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use clap::Parser;
use scrip_token::{Alg, SigningKey, Typ};
use serde_json::{Value, json};

use super::super::Cli;
use super::*;

const NOW: u64 = 1_795_000_100;

fn key() -> SigningKey {
    let pkcs8 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let pkcs8 = pkcs8.to_pkcs8v1().unwrap();
    SigningKey::from_pkcs8(Alg::ES256, pkcs8.as_ref()).unwrap()
}

fn token(key: &SigningKey, iat: u64, changes: &Value) -> String {
    let mut claims = json!({
        "iss": "https://sts.example", "sub": "client:acme/billing", "aud": "llm-gateway",
        "client_id": "acme/billing", "iat": iat, "nbf": iat, "exp": iat + 300,
        "jti": Jti::new(iat * 1000, [9; 10]), "ver": 1, "scope": "llm:chat",
        "models": ["claude-*"], "tenant": "acme", "env": "prod", "cidrs": ["10.20.0.0/16"],
    });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    key.sign(Typ::AccessToken, claims.to_string().as_bytes()).unwrap()
}

/// The code of the rejection, `None` where the token passes.
fn judged(flags: &str, token: &str, key: &SigningKey, now: u64) -> Option<&'static str> {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        expected: Expected,
    }
    let flags = Flags::parse_from(["x"].into_iter().chain(flags.split_whitespace()));
    let jwks = json!({"keys": [key.public()]}).to_string();
    let keys = Keys::from(KeySet::parse(jwks.as_bytes()).unwrap());
    let issuer = Issuer::new("https://sts.example", keys, DenySet::default());
    let trust = Trust::one(&issuer, Information::Unfollowed);
    let claims = unproved(token.as_bytes());
    let outcome = flags.expected.judge(
        token.as_bytes(),
        claims.as_ref(),
        (Freshness::default(), now),
        &trust,
    );
    outcome.err().map(|rejection| rejection.code())
}

#[test]
fn what_was_not_named_is_not_compared_and_what_was_is() {
    let key = key();
    let token = token(&key, NOW, &json!({}));
    for (flags, expected) in [
        ("", None),
        ("--audience llm-gateway --env prod", None),
        ("--audience other", Some("wrong-audience")),
        ("--env staging", Some("wrong-env")),
        ("--scope llm:chat --model claude-haiku-4 --address 10.20.1.1", None),
        (
            "--scope llm:embed --model claude-haiku-4 --address 10.20.1.1",
            Some("insufficient-scope"),
        ),
        ("--scope llm:chat --model gpt-4o --address 10.20.1.1", Some("wrong-model")),
        ("--scope llm:chat --address 10.20.1.1", Some("model-unnamed")),
        ("--scope llm:chat --model claude-haiku-4 --address 10.21.1.1", Some("wrong-address")),
        ("--scope llm:chat --model claude-haiku-4", Some("address-unknown")),
    ] {
        assert_eq!(judged(flags, &token, &key, NOW), expected, "{flags}");
    }
    assert_eq!(judged("", &token, &key, NOW + 305), Some("expired"));
    assert_eq!(judged("", &token, &self::key(), NOW), Some("unknown-kid"));
    assert_eq!(judged("", "not a token", &key, NOW), Some("malformed"));
}

#[test]
fn a_request_of_unknown_size_is_not_waved_through() {
    let key = key();
    let token = token(&key, NOW, &json!({"budget": {"request_tokens": 100}}));
    let flags = "--scope llm:chat --model claude-haiku-4 --address 10.20.1.1";
    assert_eq!(judged(flags, &token, &key, NOW), Some("size-unknown"));
    assert_eq!(judged(&format!("{flags} --request-tokens 100"), &token, &key, NOW), None);
    assert_eq!(
        judged(&format!("{flags} --request-tokens 101"), &token, &key, NOW),
        Some("too-large")
    );
}

#[test]
fn verdicts_are_one_object_with_what_applies() {
    let jti = Jti::new(NOW * 1000, [9; 10]);
    let accepted = Verdict::new(Some(jti), Ok(()), Some(NOW), Some(2));
    let text = jti.to_string();
    assert_eq!(
        serde_json::to_value(&accepted).unwrap(),
        json!({"jti": text, "accepted": true, "as_of": NOW, "age": 2})
    );
    let expired = Rejection::Expired { exp: NOW, now: NOW + 9 };
    let refused = serde_json::to_value(Verdict::new(None, Err(expired), None, None)).unwrap();
    let detail = format!("expired at {NOW}, it is {}", NOW + 9);
    assert_eq!(refused, json!({"accepted": false, "reason": "expired", "detail": detail}));
}

#[tokio::test]
async fn a_token_is_checked_with_nothing_but_files() {
    let key = key();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let jwks = file("jwks.json", &json!({"keys": [key.public()]}).to_string());
    let now = clock::now_seconds();
    let good = file("good", &format!("{}\n", token(&key, now, &json!({}))));
    let old = file("old", &token(&key, now - 1000, &json!({})));
    let other = file("other", &token(&key, now, &json!({"iss": "https://evil.example"})));
    let long = file("long", &"a".repeat(MAX_TOKEN_BYTES + 3));
    for (token, expected) in [
        (&good, Ok(())),
        (&old, Err((1, "expired"))),
        (&other, Err((1, "wrong-issuer"))),
        (&long, Err((2, "longer"))),
    ] {
        let line = format!(
            "scrip token verify --issuer https://sts.example --jwks {jwks} --token-file {token}"
        );
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        match (cli.command.run().await, expected) {
            (Ok(()), Ok(())) => {}
            (Err(failure), Err((code, text))) => {
                assert_eq!(failure.exit_code(), code, "{failure}");
                assert!(failure.to_string().contains(text), "{failure}");
            }
            (outcome, expected) => panic!("{token}: {outcome:?} instead of {expected:?}"),
        }
    }
}
