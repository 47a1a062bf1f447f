//! Every comparison of times, to the second.

use scrip_verify::token::limits::{HORIZON, LEEWAY, MAX_LIFETIME};
use scrip_verify::{Information, Presented, Trust, Verifier};
use serde_json::{Value, json};

use crate::fixture::*;

fn at(verifier: &Verifier, claims: &Value, now: u64) -> &'static str {
    let token = EDDSA.token(claims);
    let presented = Presented { now, ..presented(token.as_bytes()) };
    let trust = Trust::one(&ISSUER, Information::Unfollowed);
    verifier.verify(&presented, &trust).map_or_else(|rejection| rejection.code(), |_| "ok")
}

#[test]
fn n21_n23_the_first_and_the_last_second() {
    for (now, expected) in [
        (0, "not-yet-valid"),
        (IAT - LEEWAY - 1, "not-yet-valid"),
        (IAT - LEEWAY, "ok"),
        (IAT - 1, "ok"),
        (IAT, "ok"),
        (EXP - 1, "ok"),
        (EXP, "ok"),
        (EXP + 1, "ok"),
        (EXP + LEEWAY - 1, "ok"),
        (EXP + LEEWAY, "expired"),
        (EXP + LEEWAY + 1, "expired"),
        (u64::MAX, "expired"),
    ] {
        assert_eq!(at(&verifier(), &claims(), now), expected, "{now}");
    }
}

#[test]
fn n23_every_second_of_a_life_has_one_verdict() {
    for life in [60, 300, MAX_LIFETIME, MAX_LIFETIME + 1] {
        let token = EDDSA.token(&with("exp", json!(IAT + life)));
        let trust = Trust::one(&ISSUER, Information::Unfollowed);
        for now in IAT - 10..IAT + life + 10 {
            let verdict = verifier().authenticate(token.as_bytes(), now, &trust);
            let expected = match () {
                () if now < IAT - 5 => "not-yet-valid",
                () if now > IAT + life + 4 => "expired",
                () if life > 900 => "lives-too-long",
                () => "ok",
            };
            let verdict = verdict.map_or_else(|rejection| rejection.code(), |_| "ok");
            assert_eq!(verdict, expected, "{life} {now}");
        }
    }
}

#[test]
fn n22_a_life_longer_than_allowed_is_refused_however_well_signed() {
    let living = |seconds: u64| with("exp", json!(IAT + seconds));
    let short = verifier().max_lifetime(120);
    let boastful = verifier().max_lifetime(u64::MAX);
    for (verifier, seconds, expected) in [
        (&verifier(), MAX_LIFETIME - 1, "ok"),
        (&verifier(), MAX_LIFETIME, "ok"),
        (&verifier(), MAX_LIFETIME + 1, "lives-too-long"),
        (&verifier(), 1 << 40, "lives-too-long"),
        (&short, 119, "ok"),
        (&short, 120, "ok"),
        (&short, 121, "lives-too-long"),
        (&boastful, MAX_LIFETIME, "ok"),
        (&boastful, MAX_LIFETIME + 1, "lives-too-long"),
    ] {
        assert_eq!(at(verifier, &living(seconds), NOW), expected, "{seconds}");
    }
}

#[test]
fn nothing_outlives_the_horizon_for_which_deny_entries_are_kept() {
    let longest = with("exp", json!(IAT + MAX_LIFETIME));
    assert_eq!(at(&verifier(), &longest, IAT + HORIZON - 1), "ok");
    assert_eq!(at(&verifier(), &longest, IAT + HORIZON), "expired");
}
