//! Whose key may sign whose tokens.

use scrip_verify::token::Alg;
use scrip_verify::{DenySet, Information, Issuer, Keys, Rejection, Trust, TrustError};
use serde_json::{Value, json};

use crate::fixture::*;

fn under(trust: &Trust<'_>, token: &str) -> &'static str {
    verifier()
        .verify(&presented(token.as_bytes()), trust)
        .map_or_else(|rejection| rejection.code(), |_| "ok")
}

#[test]
fn an_unknown_kid_is_an_outcome_of_its_own() {
    let rejection = judge(STRANGER.token(&claims())).unwrap_err();
    assert_eq!(rejection, Rejection::UnknownKid { kid: STRANGER.kid().to_owned() });
}

#[test]
fn n36_to_know_no_key_at_all_is_another() {
    let empty = Issuer::new(ISS, Keys::default(), DenySet::default());
    let other = Issuer::new("https://other.example", Keys::default(), DenySet::default());
    let token = EDDSA.token(&claims());
    assert_eq!(under(&Trust::one(&empty, FRESH), &token), "no-keys");
    let sources = [(&empty, FRESH), (&other, FRESH)];
    assert_eq!(under(&Trust::several(&sources).unwrap(), &token), "no-keys");
    let full = Issuer::new("https://full.example", keys(&[ES256.jwk()]), DenySet::default());
    let sources = [(&empty, FRESH), (&full, FRESH)];
    assert_eq!(under(&Trust::several(&sources).unwrap(), &token), "unknown-kid");
}

#[test]
fn n13_n7_an_odd_key_is_no_key_and_spoils_no_other() {
    let with = |member: &str, value: Value| {
        let mut jwk = EDDSA.jwk();
        jwk[member] = value;
        jwk
    };
    let verdicts = |jwk: Value| {
        let issuer = Issuer::new(ISS, keys(&[jwk, ES256.jwk()]), DenySet::default());
        let trust = Trust::one(&issuer, FRESH);
        (under(&trust, &EDDSA.token(&claims())), under(&trust, &ES256.token(&claims())))
    };
    assert_eq!(verdicts(EDDSA.jwk()), ("ok", "ok"));
    for odd in [
        with("use", json!("enc")),
        with("key_ops", json!(["encrypt"])),
        with("crv", json!("P-256")),
        with("crv", json!("X25519")),
        with("alg", json!("ES256")),
        with("kty", json!("oct")),
        with("x", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        with("d", json!("AAAA")),
    ] {
        assert_eq!(verdicts(odd.clone()), ("unknown-kid", "ok"), "{odd}");
    }
}

#[test]
fn n34_what_counts_is_what_is_published_for_signing_tokens() {
    let (feed, retired, next) =
        (Signer::generate(Alg::EdDSA), Signer::generate(Alg::EdDSA), Signer::generate(Alg::ES256));
    let before = issuer(&[&EDDSA, &retired], DenySet::default());
    let after = issuer(&[&EDDSA, &next], DenySet::default());
    let (before, after) = (Trust::one(&before, FRESH), Trust::one(&after, FRESH));
    for (signer, then, now) in [
        (&feed, "unknown-kid", "unknown-kid"),
        (&retired, "ok", "unknown-kid"),
        (&next, "unknown-kid", "ok"),
        (&EDDSA, "ok", "ok"),
    ] {
        let token = signer.token(&claims());
        assert_eq!((under(&before, &token), under(&after, &token)), (then, now));
    }
}

#[test]
fn issuers_vouch_for_their_own_tokens_only() {
    let other_iss = "https://other.example";
    let ours = issuer(&[&EDDSA], DenySet::default());
    let other = Issuer::new(other_iss, keys(&[STRANGER.jwk()]), DenySet::default());
    let sources = [(&ours, FRESH), (&other, Information::Followed { as_of: 0, silence: 0 })];
    let trust = Trust::several(&sources).unwrap();

    assert_eq!(under(&trust, &EDDSA.token(&claims())), "ok");
    assert_eq!(under(&trust, &STRANGER.token(&claims())), "wrong-issuer");
    assert_eq!(under(&trust, &EDDSA.token(&with("iss", json!(other_iss)))), "wrong-issuer");
    // The freshness of one does not make up for the silence of the other.
    assert_eq!(under(&trust, &STRANGER.token(&with("iss", json!(other_iss)))), "offline");
    let sources = [(&ours, FRESH), (&other, FRESH)];
    let trust = Trust::several(&sources).unwrap();
    assert_eq!(under(&trust, &STRANGER.token(&with("iss", json!(other_iss)))), "ok");
}

#[test]
fn one_key_or_one_name_under_two_issuers_is_refused() {
    let ours = issuer(&[&EDDSA, &ES256], DenySet::default());
    let thief = Issuer::new("https://other.example", keys(&[ES256.jwk()]), DenySet::default());
    let error = Trust::several(&[(&ours, FRESH), (&thief, FRESH)]).unwrap_err();
    assert_eq!(error, TrustError::SharedKey { kid: ES256.kid().to_owned() });
    let twin = issuer(&[&RS256], DenySet::default());
    let error = Trust::several(&[(&ours, FRESH), (&twin, FRESH)]).unwrap_err();
    assert_eq!(error, TrustError::RepeatedIssuer { iss: ISS.to_owned() });
    assert_eq!(under(&Trust::several(&[]).unwrap(), &EDDSA.token(&claims())), "no-keys");
}

#[test]
fn an_issuer_shows_the_keys_that_it_was_given() {
    assert!(ISSUER.keys().by_kid(EDDSA.kid()).is_some());
    assert!(ISSUER.keys().by_kid(STRANGER.kid()).is_none());
}
