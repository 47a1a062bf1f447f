//! A token that was verified before is judged like one that was not.

use std::thread;

use scrip_verify::token::Alg;
use scrip_verify::token::deny::Entry;
use scrip_verify::{
    Address, DenySet, Derived, Information, Issuer, Model, Presented, Proof, Rejection, Size,
    Trust, Verified, Verifier,
};
use serde_json::{Value, json};

use crate::fixture::*;

/// The verdict of a verifier that has just accepted the token, once it is another moment; and that
/// of a verifier that has never seen it.
fn then(
    claims: &Value,
    issuer: &Issuer,
    information: Information,
    change: impl Fn(&mut Presented<'_>),
) -> [Option<Rejection>; 2] {
    let token = EDDSA.token(claims);
    let known = verifier();
    let mut presented = presented(token.as_bytes());
    if claims["cnf"].is_object() {
        presented.proof = Proof::DpopKey(PRINT);
    }
    known.verify(&presented, &Trust::one(&ISSUER, FRESH)).unwrap();
    change(&mut presented);
    [known, verifier().cache(0, 0)]
        .map(|verifier| verifier.verify(&presented, &Trust::one(issuer, information)).err())
}

const PRINT: &str = "0123456789012345678901234567890123456789012";

#[test]
fn n37_whatever_may_change_is_judged_again() {
    let unchanged = |_: &mut Presented<'_>| ();
    let same =
        |claims: &Value, change: &dyn Fn(&mut Presented<'_>)| then(claims, &ISSUER, FRESH, change);
    let under = |issuer: &Issuer| then(&claims(), issuer, FRESH, unchanged);
    let denied = |entry| issuer(&[&EDDSA], DenySet::default().with(&[entry]));
    let stale = Information::Followed { as_of: NOW - 500, silence: 500 };
    let bound = with("cnf", json!({"jkt": PRINT}));

    for (code, verdicts) in [
        ("ok", same(&claims(), &unchanged)),
        ("expired", same(&claims(), &|presented| presented.now = EXP + 5)),
        ("not-yet-valid", same(&claims(), &|presented| presented.now = IAT - 6)),
        ("stale", then(&claims(), &ISSUER, stale, |presented| presented.now = IAT + 200)),
        ("offline", then(&claims(), &ISSUER, FRESH, |presented| presented.now = NOW - 6)),
        ("revoked", under(&denied(Entry::Jti { jti: jti(9), until: EXP + 5 }))),
        ("revoked", under(&denied(Entry::Kid { kid: EDDSA.kid().to_owned() }))),
        ("unknown-kid", under(&issuer(&[&ES256], DenySet::default()))),
        ("no-keys", under(&issuer(&[], DenySet::default()))),
        (
            "wrong-issuer",
            under(&Issuer::new("https://b.example", keys(&[EDDSA.jwk()]), DenySet::default())),
        ),
        ("proof-missing", same(&bound, &|presented| presented.proof = Proof::None)),
        (
            "wrong-address",
            same(&claims(), &|presented| {
                presented.address = Address::Known(ip("192.0.2.7"), Derived::Peer);
            }),
        ),
        ("insufficient-scope", same(&claims(), &|presented| presented.asked.scope = "llm:images")),
        (
            "wrong-model",
            same(&claims(), &|presented| {
                presented.asked.model = Model::Named("gpt-4o");
            }),
        ),
        ("too-large", same(&claims(), &|presented| presented.asked.size = Size::Known(1001))),
    ] {
        let [known, new] = verdicts;
        assert_eq!(known.as_ref().map_or("ok", Rejection::code), code);
        assert_eq!(known, new);
    }
}

#[test]
fn n37_a_token_that_is_nearly_the_same_is_another() {
    let token = EDDSA.token(&claims());
    let verifier = verifier();
    let code = |token: &str| {
        let verdict = verifier.verify(&presented(token.as_bytes()), &Trust::one(&ISSUER, FRESH));
        verdict.map_or_else(|rejection| rejection.code(), |_| "ok")
    };
    assert_eq!(code(&token), "ok");
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (head, _) = input.split_once('.').unwrap();
    let other = EDDSA.token(&with("scope", json!("tool:payments")));
    let (other_input, other_signature) = other.rsplit_once('.').unwrap();
    assert_eq!(code(&format!("{other_input}.{signature}")), "bad-signature");
    assert_eq!(code(&format!("{input}.{other_signature}")), "bad-signature");
    assert_eq!(code(&format!("{head}.e30.{signature}")), "bad-signature");
    assert_eq!(code(&token[..token.len() - 1]), "malformed");
    assert_eq!(code(&format!("{token} ")), "malformed");
    for position in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        assert_ne!(code(str::from_utf8(&bytes).unwrap()), "ok", "{position}");
    }
    assert_eq!(code(&token), "ok");
}

#[test]
fn threads_that_displace_each_others_tokens_never_mix_them() {
    let tokens: Vec<_> =
        (0..64).map(|n| (jti(n), EDDSA.token(&with("jti", json!(jti(n)))))).collect();
    let verifier = verifier().cache(16, 1 << 20);
    let trust = Trust::one(&ISSUER, FRESH);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (tokens, verifier, trust) = (&tokens, &verifier, &trust);
            scope.spawn(move || {
                for n in 0..2000 {
                    let (jti, token) = &tokens[(n * (2 * thread + 1) + n / 64) % tokens.len()];
                    let verified = verifier.verify(&presented(token.as_bytes()), trust).unwrap();
                    assert_eq!(verified.claims().jti, *jti);
                }
            });
        }
    });
}

#[test]
fn a_verdict_outlives_its_place_in_the_cache_and_the_verifier() {
    let verifier = verifier().cache(1, 1 << 20);
    let trust = Trust::one(&ISSUER, FRESH);
    let permit = |n: u8| {
        let token = EDDSA.token(&with("jti", json!(jti(n))));
        verifier.verify(&presented(token.as_bytes()), &trust).unwrap();
        verifier.verify(&presented(token.as_bytes()), &trust).unwrap()
    };
    let first = permit(1);
    (2..20).for_each(|n| drop(permit(n)));
    drop(verifier);
    let kept = thread::spawn(move || first).join().unwrap();
    assert_eq!((kept.claims().jti, kept.kid()), (jti(1), EDDSA.kid()));
}

#[test]
fn a_verifier_tells_how_much_it_remembers() {
    assert!(format!("{:?}", verifier()).contains("32768 entries of at most 4096 bytes"));
    let small = verifier().cache(16, 1 << 20);
    assert!(format!("{small:?}").contains("16 entries of at most 65536 bytes"));
}

#[test]
fn verifiers_and_verdicts_go_from_thread_to_thread() {
    fn travels<T: Send + Sync + 'static>() {}
    travels::<Verifier>();
    travels::<Verified>();
}

#[test]
fn n134_what_is_kept_is_not_shown() {
    let verifier = verifier();
    let token = EDDSA.token(&claims());
    let trust = Trust::one(&ISSUER, FRESH);
    let verified = verifier.verify(&presented(token.as_bytes()), &trust).unwrap();
    let signature = token.rsplit_once('.').unwrap().1;
    assert!(format!("{verified:?}").contains(EDDSA.kid()));
    for shown in [format!("{verifier:?}"), format!("{verified:?}")] {
        assert!(!shown.contains(signature) && !shown.contains("eyJ"), "{shown}");
        // Nor as a list of its bytes.
        assert!(!shown.contains(&format!("{:?}", &token.as_bytes()[..20])[1..60]), "{shown}");
    }
}

#[test]
fn a_known_token_of_each_algorithm_is_accepted_again() {
    let verifier = verifier();
    for signer in [&ES256, &EDDSA, &RS256] {
        let token = signer.token(&claims());
        for _ in 0..3 {
            verifier.verify(&presented(token.as_bytes()), &Trust::one(&ISSUER, FRESH)).unwrap();
        }
    }
    assert_eq!(RS256.key.alg(), Alg::RS256);
}
