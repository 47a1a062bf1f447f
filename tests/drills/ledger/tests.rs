//! Made-up histories: what must not happen is noticed, and what may happen is not.

use super::*;

const PROMISE: Promise = Promise { max_staleness: 3, skew: 0 };

/// Token 0 is revoked, acknowledged at 10 s; token 1 is not.
fn history(verdicts: impl IntoIterator<Item = Verdict>) -> History {
    let token =
        |jti: &str, kept| Token { jti: jti.into(), text: jti.into(), minted: at(1000), kept };
    let acknowledged = Acknowledgement { at: at(10_000), epoch: "epoch".into(), seq: 1 };
    let revocation = Revocation { sent: at(9_900), acknowledged: Some(acknowledged) };
    History {
        tokens: vec![token("revoked", false), token("live", true)],
        revocations: BTreeMap::from([(0, revocation)]),
        verdicts: verdicts.into_iter().collect(),
        ..History::default()
    }
}

fn at(ms: u64) -> Time {
    Duration::from_millis(ms)
}

/// A verdict of gateway 0, asked for at `asked` and given 10 ms later.
fn verdict(token: usize, asked: u64, said: Said) -> Verdict {
    let (asked, answered) = (at(asked), at(asked + 10));
    Verdict { gateway: 0, token, asked, answered, said, age: None }
}

fn fault(during: Range<u64>) -> Fault {
    Fault { gateway: None, during: at(during.start)..at(during.end) }
}

fn stale() -> Said {
    Said::Refused("stale".into())
}

fn broken(history: &History) -> Vec<Broken> {
    history.check(PROMISE).expect_err("the promise is broken")
}

#[test]
fn a_revocation_may_take_as_long_as_was_promised() {
    let history = history([
        verdict(0, 9_000, Said::Accepted),
        verdict(0, 9_950, Said::Revoked),
        Verdict { gateway: 1, ..verdict(0, 14_000, Said::Accepted) },
        Verdict { gateway: 1, ..verdict(0, 14_001, stale()) },
        Verdict { gateway: 1, ..verdict(0, 15_000, Said::Revoked) },
        verdict(1, 20_000, Said::Accepted),
    ]);
    let shown = Shown { acknowledged: 1, verdicts: 6, worst: at(4_000) };
    assert_eq!(history.check(PROMISE), Ok(shown));
}

#[test]
fn an_acceptance_after_the_bound_is_noticed() {
    let late = history([verdict(0, 14_001, Said::Accepted)]);
    assert_eq!(broken(&late), [Broken::Late { gateway: 0, token: 0, after: at(4_001) }]);
    let generous = Promise { skew: 5, ..PROMISE };
    assert!(late.check(generous).is_ok());
}

#[test]
fn an_acceptance_that_was_asked_for_in_time_and_answered_late_is_none() {
    let waited = Verdict { answered: at(60_000), ..verdict(0, 9_999, Said::Accepted) };
    assert!(history([waited]).check(PROMISE).is_ok());
}

#[test]
fn an_acceptance_by_information_that_knew_better_is_noticed() {
    let aged = |age| history([Verdict { age: Some(age), ..verdict(0, 12_500, Said::Accepted) }]);
    assert!(aged(2).check(PROMISE).is_ok());
    let dishonest = Broken::Dishonest { gateway: 0, token: 0, after: at(2_500), age: 1 };
    assert_eq!(broken(&aged(1)), [dishonest]);
}

#[test]
fn an_acceptance_after_the_receipt_of_this_gateway_is_noticed() {
    let accepted = verdict(0, 10_600, Said::Accepted);
    let mut history = history([accepted.clone(), Verdict { gateway: 1, ..accepted }]);
    let by = at(20_000);
    let receipt = |at| Receipt { token: 0, at, enforcing: vec![1], all: false, by };
    history.receipts = vec![receipt(at(10_600))];
    assert!(history.check(PROMISE).is_ok());
    history.receipts = vec![receipt(at(10_599)), receipt(at(20_000))];
    assert_eq!(broken(&history), [Broken::Untrue { gateway: 1, token: 0 }]);
}

#[test]
fn an_acceptance_after_nobody_was_to_accept_it_any_more_is_noticed() {
    let mut history = history([verdict(0, 13_001, Said::Accepted)]);
    let receipt = |by| Receipt { token: 0, at: at(10_100), enforcing: vec![], all: false, by };
    history.receipts = vec![receipt(at(12_001))];
    assert!(history.check(PROMISE).is_ok());
    // Asked again, it may say an earlier time.
    history.receipts = vec![receipt(at(12_000)), receipt(at(30_000))];
    assert_eq!(broken(&history), [Broken::Rosy { gateway: 0, token: 0, after: at(1_001) }]);
}

#[test]
fn an_acceptance_after_all_has_settled_is_a_loss() {
    let mut lost = history([verdict(0, 11_000, Said::Accepted)]);
    assert!(lost.check(PROMISE).is_ok());
    lost.settled = Some(at(10_500));
    assert_eq!(broken(&lost), [Broken::Lost { gateway: 0, token: 0 }]);
}

#[test]
fn who_has_refused_a_revoked_token_must_not_accept_it_again() {
    let mut history = history([
        verdict(0, 9_950, Said::Revoked),
        verdict(0, 9_955, Said::Accepted),
        Verdict { gateway: 1, ..verdict(0, 9_970, Said::Accepted) },
    ]);
    assert!(history.check(PROMISE).is_ok(), "asked for before the refusal, or of another");
    history.verdicts.push(verdict(0, 9_980, Said::Accepted));
    assert_eq!(broken(&history), [Broken::Forgotten { gateway: 0, token: 0 }]);
}

#[test]
fn a_refusal_as_revoked_that_nobody_asked_for_is_noticed() {
    let mut invented = history([verdict(1, 12_000, Said::Revoked)]);
    invented.faults = vec![fault(0..60_000)];
    assert_eq!(broken(&invented), [Broken::Invented { gateway: 0, token: 1 }]);
    let early = history([verdict(0, 9_800, Said::Revoked)]);
    assert_eq!(broken(&early), [Broken::Invented { gateway: 0, token: 0 }]);
}

#[test]
fn a_new_epoch_excuses_the_refusal_of_what_was_minted_before_it() {
    let mut purged = history([verdict(1, 12_000, Said::Revoked)]);
    purged.purged = Some(at(1_000));
    assert!(purged.check(PROMISE).is_ok());
    purged.purged = Some(at(999));
    assert_eq!(broken(&purged), [Broken::Invented { gateway: 0, token: 1 }]);
}

#[test]
fn a_refusal_of_a_live_token_needs_a_fault_at_that_time() {
    let mut refused = history([verdict(1, 12_000, stale())]);
    let why = "stale".to_owned();
    let expected = Broken::Refused { gateway: 0, token: 1, at: at(12_000), why };
    refused.faults = vec![
        fault(0..12_000),
        fault(12_011..20_000),
        Fault { gateway: Some(1), ..fault(0..20_000) },
    ];
    assert_eq!(broken(&refused), [expected]);
    refused.faults = vec![fault(12_010..20_000)];
    assert!(refused.check(PROMISE).is_ok());
    refused.faults = vec![Fault { gateway: Some(0), ..fault(0..12_001) }];
    assert!(refused.check(PROMISE).is_ok());
}

#[test]
fn what_was_not_acknowledged_is_not_promised() {
    let mut history = history([verdict(0, 60_000, Said::Accepted)]);
    history.settled = Some(at(50_000));
    history.revocations.get_mut(&0).unwrap().acknowledged = None;
    let shown = Shown { acknowledged: 0, verdicts: 1, worst: Duration::ZERO };
    assert_eq!(history.check(PROMISE), Ok(shown));
}
