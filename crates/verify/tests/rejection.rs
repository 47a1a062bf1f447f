//! Every reason: what it carries, what it is called, what a sender is told.

use std::sync::LazyLock;

use scrip_verify::token::claims::ClaimsError;
use scrip_verify::token::compact::{CompactError, HeaderError};
use scrip_verify::token::deny::Entry;
use scrip_verify::token::{Alg, Typ};
use scrip_verify::{
    Address, Denied, DenySet, Derived, Freshness, Information, Model, Outside, Presented, Proof,
    Rejection, Size, StalePolicy, Trust, Verifier,
};
use serde_json::{Value, json};

use Outside::{Forbidden, InsufficientScope, InvalidToken, OverBudget, Unavailable};
use Rejection as R;

use crate::fixture::*;

const PRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// What a request body may hold.
static LONG: LazyLock<String> = LazyLock::new(|| "m".repeat(1 << 20));

fn bare(token: &str) -> Rejection {
    judge(token).unwrap_err()
}

fn on(claims: &Value, change: impl FnOnce(&mut Presented<'_>)) -> Rejection {
    let token = EDDSA.token(claims);
    let mut presented = presented(token.as_bytes());
    change(&mut presented);
    verifier().verify(&presented, &Trust::one(&ISSUER, FRESH)).unwrap_err()
}

fn without_keys() -> Rejection {
    let issuer = issuer(&[], DenySet::default());
    let token = EDDSA.token(&claims());
    verifier().verify(&presented(token.as_bytes()), &Trust::one(&issuer, FRESH)).unwrap_err()
}

fn aged(age: u64, policy: StalePolicy) -> Rejection {
    let verifier = verifier().freshness(Freshness::new(60, 900, policy).unwrap());
    let trust = Trust::one(&ISSUER, Information::Followed { as_of: NOW, silence: age });
    let token = EDDSA.token(&claims());
    verifier.verify(&presented(token.as_bytes()), &trust).unwrap_err()
}

/// Each rejection as the verifier gives it, as it should be, and its outside.
pub(crate) fn all() -> Vec<(Rejection, Rejection, &'static str, Outside)> {
    let payload = claims().to_string();
    let forged = |alg: &str| EDDSA.forge(&header(&EDDSA).replace("EdDSA", alg), payload.as_bytes());
    let feed = EDDSA.key.sign(Typ::DenyBatch, payload.as_bytes()).unwrap();
    let kid = || EDDSA.kid().to_owned();
    let text = str::to_owned;
    let (bound, outside) = (with("cnf", json!({"jkt": PRINT})), ip("192.0.2.7"));
    let revoked = {
        let set = DenySet::default().with(&[Entry::Kid { kid: kid() }]);
        let (issuer, token) = (issuer(&[&EDDSA], set), EDDSA.token(&claims()));
        let trust = Trust::one(&issuer, FRESH);
        verifier().verify(&presented(token.as_bytes()), &trust).unwrap_err()
    };
    let expecting = |verifier: Verifier| {
        let token = EDDSA.token(&claims());
        verifier.verify(&presented(token.as_bytes()), &Trust::one(&ISSUER, FRESH)).unwrap_err()
    };

    vec![
        (bare("a.b"), R::Malformed(CompactError::Segments { count: 2 }), "malformed", InvalidToken),
        (
            bare(&feed),
            R::BadHeader(HeaderError::Typ { expected: "at+jwt" }),
            "bad-header",
            InvalidToken,
        ),
        (bare(&forged("none")), R::UnknownAlg { alg: text("none") }, "unknown-alg", InvalidToken),
        (without_keys(), R::NoKeys, "no-keys", InvalidToken),
        (
            bare(&STRANGER.token(&claims())),
            R::UnknownKid { kid: text(STRANGER.kid()) },
            "unknown-kid",
            InvalidToken,
        ),
        (
            bare(&forged("RS256")),
            R::WrongAlg { alg: text("RS256"), key: Alg::EdDSA },
            "wrong-alg",
            InvalidToken,
        ),
        (
            bare(&STRANGER.forge(&header(&EDDSA), payload.as_bytes())),
            R::BadSignature { kid: kid() },
            "bad-signature",
            InvalidToken,
        ),
        (
            on(&with("ver", json!(2)), |_| {}),
            R::BadClaims(ClaimsError::Version(2)),
            "bad-claims",
            InvalidToken,
        ),
        (
            on(&with("iss", json!("https://evil")), |_| {}),
            R::WrongIssuer { token: text("https://evil"), expected: text(ISS) },
            "wrong-issuer",
            InvalidToken,
        ),
        (
            expecting(Verifier::new("search", "prod")),
            R::WrongAudience { token: text("llm-gateway"), expected: text("search") },
            "wrong-audience",
            InvalidToken,
        ),
        (
            expecting(Verifier::new("llm-gateway", "staging")),
            R::WrongEnvironment { token: text("prod"), expected: text("staging") },
            "wrong-env",
            InvalidToken,
        ),
        (
            on(&claims(), |presented| presented.now = EXP + 5),
            R::Expired { exp: EXP, now: EXP + 5 },
            "expired",
            InvalidToken,
        ),
        (
            on(&claims(), |presented| presented.now = IAT - 6),
            R::NotYetValid { iat: IAT, now: IAT - 6 },
            "not-yet-valid",
            InvalidToken,
        ),
        (
            expecting(verifier().max_lifetime(299)),
            R::LivesTooLong { lifetime: 300, most: 299 },
            "lives-too-long",
            InvalidToken,
        ),
        (
            aged(61, StalePolicy::Deny),
            R::Stale { age: 61, most: 60, alert: false },
            "stale",
            InvalidToken,
        ),
        (
            aged(62, StalePolicy::DenyAndAlert),
            R::Stale { age: 62, most: 60, alert: true },
            "stale",
            InvalidToken,
        ),
        (
            aged(901, StalePolicy::DenyAndAlert),
            R::Offline { age: 901, most: 900, alert: true },
            "offline",
            Unavailable,
        ),
        (
            aged(5_000, StalePolicy::AllowFor(1_000)),
            R::Offline { age: 5_000, most: 1_060, alert: false },
            "offline",
            Unavailable,
        ),
        (revoked, R::Revoked(Denied::Kid), "revoked", InvalidToken),
        (on(&bound, |_| {}), R::ProofMissing, "proof-missing", InvalidToken),
        (
            on(&bound, |presented| presented.proof = Proof::Certificate(PRINT)),
            R::WrongProof { shown: text(PRINT) },
            "wrong-proof",
            InvalidToken,
        ),
        (
            on(&claims(), |presented| presented.address = Address::Unknown),
            R::AddressUnknown,
            "address-unknown",
            Forbidden,
        ),
        (
            on(&claims(), |presented| {
                presented.address = Address::Known(outside, Derived::Forwarded);
            }),
            R::WrongAddress { address: outside, derived: Derived::Forwarded },
            "wrong-address",
            Forbidden,
        ),
        (
            on(&claims(), |presented| presented.asked.scope = "tool:payments"),
            R::InsufficientScope { asked: text("tool:payments") },
            "insufficient-scope",
            InsufficientScope,
        ),
        (
            on(&claims(), |presented| presented.asked.model = Model::None),
            R::ModelUnnamed,
            "model-unnamed",
            Forbidden,
        ),
        (
            on(&claims(), |presented| presented.asked.model = Model::Named(&LONG)),
            R::WrongModel { asked: "m".repeat(128) },
            "wrong-model",
            Forbidden,
        ),
        (
            on(&claims(), |presented| presented.asked.size = Size::Unknown),
            R::SizeUnknown { most: 1000 },
            "size-unknown",
            OverBudget,
        ),
        (
            on(&claims(), |presented| presented.asked.size = Size::Known(1001)),
            R::TooLarge { asked: 1001, most: 1000 },
            "too-large",
            OverBudget,
        ),
    ]
}

/// Breaks the build when a reason is added, and the test when it does not stand in the table.
fn place(rejection: &Rejection) -> usize {
    match rejection {
        Rejection::Malformed(_) => 0,
        Rejection::BadHeader(_) => 1,
        Rejection::UnknownAlg { .. } => 2,
        Rejection::NoKeys => 3,
        Rejection::UnknownKid { .. } => 4,
        Rejection::WrongAlg { .. } => 5,
        Rejection::BadSignature { .. } => 6,
        Rejection::BadClaims(_) => 7,
        Rejection::WrongIssuer { .. } => 8,
        Rejection::WrongAudience { .. } => 9,
        Rejection::WrongEnvironment { .. } => 10,
        Rejection::Expired { .. } => 11,
        Rejection::NotYetValid { .. } => 12,
        Rejection::LivesTooLong { .. } => 13,
        Rejection::Stale { .. } => 14,
        Rejection::Offline { .. } => 15,
        Rejection::Revoked(_) => 16,
        Rejection::ProofMissing => 17,
        Rejection::WrongProof { .. } => 18,
        Rejection::AddressUnknown => 19,
        Rejection::WrongAddress { .. } => 20,
        Rejection::InsufficientScope { .. } => 21,
        Rejection::ModelUnnamed => 22,
        Rejection::WrongModel { .. } => 23,
        Rejection::SizeUnknown { .. } => 24,
        Rejection::TooLarge { .. } => 25,
    }
}

#[test]
fn every_reason_carries_what_disagreed_and_has_one_name() {
    let mut places = Vec::new();
    for (given, expected, code, outside) in all() {
        assert_eq!(given, expected);
        assert_eq!((given.code(), given.outside()), (code, outside), "{given}");
        places.push(place(&given));
    }
    places.dedup();
    assert_eq!(places, (0..26).collect::<Vec<_>>(), "the table has every reason, in order");
}

#[test]
fn no_reason_repeats_the_token() {
    let token = EDDSA.token(&claims());
    let signature = token.rsplit_once('.').unwrap().1;
    for (given, ..) in all() {
        for text in [given.to_string(), format!("{given:?}")] {
            assert!(!text.contains(signature) && !text.contains("eyJ"), "{text}");
            assert!(text.len() < 400 && !text.contains(char::is_control), "{text}");
        }
    }
}

#[test]
fn what_a_sender_chose_is_escaped() {
    let rejection = on(&claims(), |presented| presented.asked.model = Model::Named("a\n\u{202e}b"));
    assert_eq!(rejection.to_string(), r#"model "a\n\u{202e}b" is not granted"#);
}

#[test]
fn statuses_are_those_of_their_names() {
    for (outside, status) in [
        (Outside::InvalidToken, 401),
        (Outside::InsufficientScope, 403),
        (Outside::Forbidden, 403),
        (Outside::OverBudget, 429),
        (Outside::Unavailable, 503),
    ] {
        assert_eq!(outside.status(), status);
    }
}

#[test]
fn a_deny_list_that_was_never_received_has_no_age() {
    let aged = |age: u64| Rejection::Offline { age, most: 900, alert: false }.to_string();
    assert!(aged(901).contains("is 901 s old"), "{}", aged(901));
    assert!(aged(u64::MAX).contains("was never received"), "{}", aged(u64::MAX));
}
