//! Checks 9 to 12: what is asked for, from where, by whom.

use scrip_verify::{Address, Asked, Derived, Model, Presented, Proof, Size, Trust};
use serde_json::{Value, json};

use crate::fixture::*;

/// The verdict on a request that differs from the good one.
fn asked(claims: &Value, change: impl FnOnce(&mut Presented<'_>)) -> &'static str {
    let token = EDDSA.token(claims);
    let mut presented = presented(token.as_bytes());
    change(&mut presented);
    verifier()
        .verify(&presented, &Trust::one(&ISSUER, FRESH))
        .map_or_else(|rejection| rejection.code(), |_| "ok")
}

fn model(claims: &Value, model: Model<'static>) -> &'static str {
    asked(claims, |presented| presented.asked.model = model)
}

fn address(claims: &Value, address: Address) -> &'static str {
    asked(claims, |presented| presented.address = address)
}

#[test]
fn a_bound_token_needs_the_proof_of_its_own_kind_and_key() {
    const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    const OTHER: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";
    let dpop = with("cnf", json!({"jkt": KEY}));
    let mtls = with("cnf", json!({"x5t#S256": KEY}));
    for (claims, proof, expected) in [
        (&claims(), Proof::None, "ok"),
        (&claims(), Proof::DpopKey(OTHER), "ok"),
        (&dpop, Proof::DpopKey(KEY), "ok"),
        (&mtls, Proof::Certificate(KEY), "ok"),
        (&dpop, Proof::None, "proof-missing"),
        (&mtls, Proof::None, "proof-missing"),
        (&dpop, Proof::DpopKey(OTHER), "wrong-proof"),
        (&mtls, Proof::Certificate(OTHER), "wrong-proof"),
        (&dpop, Proof::Certificate(KEY), "wrong-proof"),
        (&mtls, Proof::DpopKey(KEY), "wrong-proof"),
        (&dpop, Proof::DpopKey(""), "wrong-proof"),
        (&dpop, Proof::DpopKey(&KEY[..42]), "wrong-proof"),
    ] {
        assert_eq!(asked(claims, |presented| presented.proof = proof), expected, "{proof:?}");
    }
}

#[test]
fn n30_n138_the_address_lies_within_the_networks_or_the_token_is_refused() {
    for (text, expected) in [
        ("10.0.0.0", "ok"),
        ("10.255.255.255", "ok"),
        ("::ffff:10.0.0.1", "ok"),
        ("2001:db8::1", "ok"),
        ("9.255.255.255", "wrong-address"),
        ("11.0.0.0", "wrong-address"),
        ("::10.0.0.1", "wrong-address"),
        ("64:ff9b::a00:1", "wrong-address"),
        ("::ffff:11.0.0.1", "wrong-address"),
        ("2001:db9::1", "wrong-address"),
    ] {
        for derived in [Derived::Peer, Derived::Forwarded] {
            let known = Address::Known(ip(text), derived);
            assert_eq!(address(&claims(), known), expected, "{text}");
            assert_eq!(address(&with("cidrs", json!([])), known), "wrong-address");
            assert_eq!(address(&without("cidrs"), known), "ok");
        }
    }
    assert_eq!(address(&claims(), Address::Unknown), "address-unknown");
    assert_eq!(address(&with("cidrs", json!(["0.0.0.0/0"])), Address::Unknown), "address-unknown");
    assert_eq!(address(&without("cidrs"), Address::Unknown), "ok");
    let v6 = Address::Known(ip("2001:db8::1"), Derived::Peer);
    assert_eq!(address(&with("cidrs", json!(["0.0.0.0/0"])), v6), "wrong-address");
    let v4 = Address::Known(ip("10.0.0.1"), Derived::Peer);
    assert_eq!(address(&with("cidrs", json!(["::/0"])), v4), "wrong-address");
}

#[test]
fn n27_a_scope_is_granted_by_its_exact_name() {
    for (scope, expected) in [
        ("llm:chat", "ok"),
        ("llm:embed", "ok"),
        ("llm", "insufficient-scope"),
        ("LLM:chat", "insufficient-scope"),
        ("llm:chat ", "insufficient-scope"),
        ("llm:chat llm:embed", "insufficient-scope"),
        ("llm:chat\u{200b}", "insufficient-scope"),
        ("*", "insufficient-scope"),
        ("", "insufficient-scope"),
    ] {
        let verdict = asked(&claims(), |presented| presented.asked.scope = scope);
        assert_eq!(verdict, expected, "{scope:?}");
    }
}

#[test]
fn n28_a_model_is_granted_to_the_byte() {
    for (name, expected) in [
        ("gpt-4", "ok"),
        ("claude-haiku-", "ok"),
        ("claude-haiku-4", "ok"),
        ("gpt-4-32k", "wrong-model"),
        ("GPT-4", "wrong-model"),
        ("gpt-4\u{200b}", "wrong-model"),
        ("gpt%2d4", "wrong-model"),
        ("claude-haiku", "wrong-model"),
        ("claude-opus-4", "wrong-model"),
        ("claude-haiku-*", "wrong-model"),
        ("claude-haiku-4\u{200b}", "wrong-model"),
        ("claude-haiku-4\r\nx", "wrong-model"),
        ("*", "wrong-model"),
        ("..", "wrong-model"),
        ("", "wrong-model"),
    ] {
        assert_eq!(model(&claims(), Model::Named(name)), expected, "{name:?}");
    }
    assert_eq!(model(&with("models", json!(["*"])), Model::Named("anything")), "ok");
    assert_eq!(model(&with("models", json!(["*"])), Model::Named("*")), "wrong-model");
}

#[test]
fn n28_no_models_is_none_of_them_and_no_name_is_no_way_around() {
    for none in [with("models", json!([])), without("models")] {
        assert_eq!(model(&none, Model::Named("gpt-4")), "wrong-model");
        assert_eq!(model(&none, Model::None), "ok");
    }
    assert_eq!(model(&claims(), Model::None), "model-unnamed");
}

#[test]
fn n29_a_request_is_no_larger_than_the_token_allows() {
    let sized = |claims: &Value, size: Size| asked(claims, |presented| presented.asked.size = size);
    for (size, expected) in [
        (Size::Known(0), "ok"),
        (Size::Known(1000), "ok"),
        (Size::Known(1001), "too-large"),
        (Size::Known(u64::MAX), "too-large"),
        (Size::Unknown, "size-unknown"),
    ] {
        assert_eq!(sized(&claims(), size), expected, "{size:?}");
        assert_eq!(sized(&without("budget"), size), "ok");
        assert_eq!(sized(&with("budget", json!({"tokens": 5, "requests": 1})), size), "ok");
    }
}

#[test]
fn checks_are_made_in_order() {
    let nothing = |presented: &mut Presented<'_>| {
        presented.address = Address::Unknown;
        presented.asked = Asked { scope: "other", model: Model::None, size: Size::Unknown };
    };
    let bound = with("cnf", json!({"jkt": "A".repeat(43)}));
    assert_eq!(asked(&bound, nothing), "proof-missing");
    assert_eq!(asked(&claims(), nothing), "address-unknown");
    assert_eq!(asked(&without("cidrs"), nothing), "insufficient-scope");
    let scoped = |presented: &mut Presented<'_>| {
        nothing(presented);
        presented.asked.scope = "llm:chat";
    };
    assert_eq!(asked(&without("cidrs"), scoped), "model-unnamed");
}
