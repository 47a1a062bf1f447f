//! How old the deny list may be, to the second.

use scrip_verify::token::limits::{LEEWAY, MAX_INTEGER};
use scrip_verify::{Freshness, FreshnessError, Information, Presented, StalePolicy, Trust};

use crate::fixture::*;

/// The verdict at `now` on the first token, when the deny list is as old as `information` says.
fn under(freshness: Freshness, information: Information, now: u64) -> &'static str {
    let token = EDDSA.token(&claims());
    verifier()
        .freshness(freshness)
        .verify(
            &Presented { now, ..presented(token.as_bytes()) },
            &Trust::one(&ISSUER, information),
        )
        .map_or_else(|rejection| rejection.code(), |_| "ok")
}

fn followed(as_of: u64, silence: u64) -> Information {
    Information::Followed { as_of, silence }
}

fn freshness(policy: StalePolicy) -> Freshness {
    Freshness::new(60, 900, policy).unwrap()
}

#[test]
fn the_default_is_a_minute_and_a_quarter_of_an_hour() {
    assert_eq!(freshness(StalePolicy::Deny), Freshness::default());
}

#[test]
fn n23_age_is_the_greater_of_both_clocks() {
    for (as_of, silence, age) in [
        (NOW, 0, 0),
        (NOW - 7, 0, 7),
        (NOW, 9, 9),
        (NOW - 7, 9, 9),
        (NOW + 1, 0, 0),
        (NOW + LEEWAY - 1, 0, 0),
        (NOW + LEEWAY, 0, 0),
        (NOW + LEEWAY, 9, 9),
        (NOW + LEEWAY + 1, 0, u64::MAX),
        (u64::MAX, 0, u64::MAX),
        (NOW, u64::MAX, u64::MAX),
        (0, 0, NOW),
    ] {
        assert_eq!(followed(as_of, silence).age(NOW), Some(age), "{as_of} {silence}");
    }
    assert_eq!(Information::Unfollowed.age(NOW), None);
}

#[test]
fn a_verdict_says_how_old_the_deny_list_was() {
    let token = EDDSA.token(&claims());
    for (information, age) in [(followed(NOW - 7, 9), Some(9)), (Information::Unfollowed, None)] {
        let trust = Trust::one(&ISSUER, information);
        let verified = verifier().verify(&presented(token.as_bytes()), &trust).unwrap();
        assert_eq!(verified.information_age(), age);
        let authentic = verifier().authenticate(token.as_bytes(), NOW, &trust).unwrap();
        assert_eq!(authentic.information_age(), age);
    }
}

#[test]
fn n23_an_old_token_needs_a_deny_list_of_at_most_max_staleness() {
    let now = IAT + 200;
    for (age, expected) in [
        (0, "ok"),
        (59, "ok"),
        (60, "ok"),
        (61, "stale"),
        (899, "stale"),
        (900, "stale"),
        (901, "offline"),
    ] {
        for information in [followed(now - age, 0), followed(now, age)] {
            assert_eq!(under(Freshness::default(), information, now), expected, "{age}");
        }
    }
    assert_eq!(under(Freshness::default(), Information::Unfollowed, now), "ok");
    for (ahead, expected) in [(LEEWAY - 1, "ok"), (LEEWAY, "ok"), (LEEWAY + 1, "offline")] {
        let ahead = followed(now + ahead, 0);
        assert_eq!(under(Freshness::default(), ahead, now), expected);
    }
}

#[test]
fn n23_a_token_just_minted_is_fresh_proof_until_max_offline() {
    for (token_age, age, expected) in [
        (59, 900, "ok"),
        (60, 61, "ok"),
        (60, 899, "ok"),
        (60, 900, "ok"),
        (60, 901, "offline"),
        (61, 61, "stale"),
        (61, 60, "ok"),
        (0, 900, "ok"),
        (0, 901, "offline"),
    ] {
        let now = IAT + token_age;
        assert_eq!(under(Freshness::default(), followed(now, age), now), expected, "{token_age}");
    }
    // Dated ahead within the leeway, it is as new as can be.
    assert_eq!(under(Freshness::default(), followed(IAT - LEEWAY, 900), IAT - LEEWAY), "ok");
}

#[test]
fn allow_for_is_added_to_max_staleness() {
    let now = IAT + 200;
    let thirty = freshness(StalePolicy::AllowFor(30));
    assert_eq!((thirty.max_staleness(), thirty.max_offline(), thirty.allow_for()), (60, 900, 30));
    for (age, expected) in
        [(89, "ok"), (90, "ok"), (91, "stale"), (899, "stale"), (900, "stale"), (901, "offline")]
    {
        assert_eq!(under(thirty, followed(now, age), now), expected, "{age}");
    }
    for (token_age, expected) in [(89, "ok"), (90, "ok"), (91, "stale")] {
        let now = IAT + token_age;
        assert_eq!(under(thirty, followed(now, 900), now), expected, "{token_age}");
    }
    let hour = freshness(StalePolicy::AllowFor(3_600));
    for (age, expected) in [(901, "ok"), (3_659, "ok"), (3_660, "ok"), (3_661, "offline")] {
        assert_eq!(under(hour, followed(now, age), now), expected, "{age}");
    }
    let most = freshness(StalePolicy::AllowFor(MAX_INTEGER - 1));
    assert_eq!(under(most, followed(now + LEEWAY + 1, 0), now), "offline");
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    assert!(Freshness::new(60, 61, StalePolicy::Deny).is_ok());
    assert!(Freshness::new(60, 60, StalePolicy::Deny).is_ok());
    let most = StalePolicy::AllowFor(MAX_INTEGER - 1);
    assert!(Freshness::new(MAX_INTEGER - 1, MAX_INTEGER - 1, most).is_ok());
    assert_eq!(
        Freshness::new(61, 60, StalePolicy::Deny),
        Err(FreshnessError::OfflineBelowStaleness { max_staleness: 61, max_offline: 60 })
    );
    for (max_staleness, max_offline, allow_for) in
        [(MAX_INTEGER, u64::MAX, 0), (60, MAX_INTEGER, 0), (60, 900, MAX_INTEGER)]
    {
        let policy = StalePolicy::AllowFor(allow_for);
        let error = Freshness::new(max_staleness, max_offline, policy).unwrap_err();
        assert_eq!(error, FreshnessError::OutOfRange { seconds: MAX_INTEGER });
    }
}
