//! Made-up histories: what must not happen is noticed, and what may happen is not.

use super::judge::{Broken, Promise, Shown};
use super::*;
use scrip_token::Jti;
use serde_json::json;
use std::ops::Range;

const PROMISE: Promise = Promise { max_staleness: 3, max_offline: 6, skew: 0 };
/// The second in which most tokens are dated.
const SECOND: u64 = 1_800_000_000;

/// Token 0 is revoked by its id, acknowledged at 10 s; token 1 is not.
fn history(verdicts: impl IntoIterator<Item = Verdict>) -> History {
    let mut history = tokens(&["acme/billing", "acme/billing"]);
    let jti = history.tokens[0].claims.jti;
    revoke(&mut history, Target::Jti(jti), None);
    history.verdicts = verdicts.into_iter().collect();
    history
}

/// A token of each of these clients.
fn tokens(clients: &[&str]) -> History {
    let mut history = History::default();
    for client in clients {
        let number = history.tokens.len();
        history.put(token(client, number, SECOND, &[]));
    }
    history
}

/// Asked for at 990 ms and answered at 1 s. The fourth is signed by another key, and traded for another
/// version of the credential.
fn token(client: &str, number: usize, iat: u64, lin: &[Jti]) -> Token {
    let mut random = [0; 10];
    random[9] = u8::try_from(number).unwrap();
    let lin: Vec<_> = lin.iter().map(Jti::to_string).collect();
    let claims = json!({
        "iss": "https://scrip", "sub": format!("client:{client}"), "aud": "llm-gateway",
        "client_id": client, "iat": iat, "nbf": iat, "exp": iat + 600,
        "jti": Jti::new(iat * 1000, random), "ver": 1, "scope": "llm:chat",
        "tenant": client.split_once('/').unwrap().0, "env": "prod", "lin": lin,
        "cred": format!("embedded:{}.1790000000", 1 + number / 3),
    });
    Token {
        text: "".into(),
        claims: serde_json::from_value(claims).unwrap(),
        kid: ["key", "other"][number / 3].to_owned(),
        maker: Maker::Service,
        asked: at(990),
        minted: at(1000),
    }
}

/// Sent at 9.9 s, acknowledged at 10 s.
fn revoke(history: &mut History, target: Target, cut: Option<u64>) -> usize {
    let number = history.send(target.into(), at(9_900));
    acknowledge(history, number, cut);
    number
}

fn acknowledge(history: &mut History, number: usize, cut: Option<u64>) {
    let epoch = "epoch".to_owned();
    history.acknowledge(number, Acknowledgement { at: at(10_000), epoch, seq: 1, cut });
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

const CLIENTS: [&str; 4] = ["acme/billing", "acme/support", "beta/billing", "acme/billing"];

/// Selectors that name the first of these clients' tokens, with the cut of those that have one, and
/// which of the four they name.
fn selectors(history: &History) -> [(Target, Option<u64>, [bool; 4]); 7] {
    let owned = str::to_owned;
    let sub = Target::Sub { tenant: owned("acme"), id: owned("client:acme/billing") };
    let version = owned("embedded:1.1790000000");
    let cred = Target::Cred { client: owned("acme/billing"), version };
    [
        (Target::Jti(history.tokens[0].claims.jti), None, [true, false, false, false]),
        (Target::Client(owned("acme/billing")), Some(SECOND), [true, false, false, true]),
        (sub, Some(SECOND), [true, false, false, true]),
        (Target::Tenant(owned("acme")), Some(SECOND), [true, true, false, true]),
        (cred, None, [true, false, false, false]),
        (Target::Kid(owned("key")), None, [true, true, true, false]),
        (Target::All, Some(SECOND), [true; 4]),
    ]
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
    let shown = Shown {
        acknowledged: [1, 0, 0, 0, 0, 0, 0],
        covered: 1,
        verdicts: 6,
        worst: at(4_000),
        allowed: at(4_000),
    };
    assert_eq!(history.check(PROMISE), Ok(shown));
}

#[test]
fn an_acceptance_after_the_bound_is_noticed() {
    let late = history([verdict(0, 14_001, Said::Accepted)]);
    let after = at(4_001);
    assert_eq!(broken(&late), [Broken::Late { gateway: 0, token: 0, by: "jti", after }]);
    let generous = Promise { skew: 5, ..PROMISE };
    assert!(late.check(generous).is_ok());
}

#[test]
fn every_token_that_a_selector_names_is_held_to_the_bound_and_no_other() {
    for (target, cut, named) in selectors(&tokens(&CLIENTS)) {
        let kind = target.kind();
        let mut history = tokens(&CLIENTS);
        revoke(&mut history, target, cut);
        for (token, is_named) in named.into_iter().enumerate() {
            history.verdicts = vec![verdict(token, 14_001, Said::Accepted)];
            assert_eq!(history.check(PROMISE).is_err(), is_named, "{kind} {token}: late");
            history.verdicts = vec![verdict(token, 12_000, Said::Revoked)];
            assert_eq!(history.check(PROMISE).is_ok(), is_named, "{kind} {token}: invented");
        }
        history.verdicts = Vec::new();
        let covered = history.check(PROMISE).unwrap().covered;
        assert_eq!(covered, named.into_iter().filter(|is_named| *is_named).count(), "{kind}");
        let doomed = named.into_iter().enumerate().filter(|(_, is_named)| *is_named);
        let doomed: Vec<_> = doomed.map(|(token, _)| token).collect();
        history.doomed.sort_unstable();
        history.doomed.dedup();
        assert_eq!(history.doomed, doomed, "{kind}");
    }
}

#[test]
fn what_is_dated_after_the_cut_must_not_be_refused_and_what_is_dated_at_it_must() {
    for (target, cut, _) in selectors(&tokens(&CLIENTS)) {
        let Some(cut) = cut else { continue };
        let kind = target.kind();
        // Whether the service is told where to cut, or says it.
        for before in [Some(cut), None] {
            let mut history = tokens(&["acme/billing"]);
            let number = history.send(Selector { target: target.clone(), before }, at(9_900));
            history.put(token("acme/billing", 1, cut + 1, &[]));
            acknowledge(&mut history, number, Some(cut));
            history.verdicts = vec![verdict(1, 12_000, Said::Revoked)];
            assert_eq!(broken(&history), [Broken::Invented { gateway: 0, token: 1 }], "{kind}");
            history.verdicts = vec![verdict(1, 60_000, Said::Accepted)];
            assert!(history.check(PROMISE).is_ok(), "{kind}");
            history.verdicts = vec![verdict(0, 60_000, Said::Accepted)];
            assert_eq!(broken(&history).len(), 1, "{kind}");
            assert!(history.doomed.iter().all(|token| *token == 0), "{kind}");
        }
    }
}

#[test]
fn what_was_delegated_is_held_to_the_bound_with_its_ancestor_and_not_the_other_way_round() {
    for (target, cut, _) in selectors(&tokens(&CLIENTS)) {
        let kind = target.kind();
        let mut history = tokens(&["acme/billing"]);
        let root = history.tokens[0].claims.jti;
        // Somebody else's, later, under another key: no selector names it.
        let child = token("beta/tool", 3, SECOND + 1, &[root]);
        let jti = child.claims.jti;
        history.put(Token { maker: Maker::Delegate, ..child });
        let grandchild = token("gamma/tool", 4, SECOND + 2, &[root, jti]);
        history.put(Token { maker: Maker::Delegate, ..grandchild });
        revoke(&mut history, target, cut);
        history.verdicts =
            [1, 2].into_iter().map(|token| verdict(token, 14_001, Said::Accepted)).collect();
        assert_eq!(broken(&history).len(), 2, "{kind}");
        history.verdicts =
            vec![verdict(1, 12_000, Said::Revoked), verdict(2, 12_000, Said::Revoked)];
        assert!(history.check(PROMISE).is_ok(), "{kind}");
    }

    let mut history = tokens(&["acme/billing"]);
    let root = history.tokens[0].claims.jti;
    let child = token("beta/tool", 1, SECOND, &[root]);
    let jti = child.claims.jti;
    history.put(child);
    revoke(&mut history, Target::Jti(jti), None);
    history.verdicts = vec![verdict(0, 60_000, Said::Accepted), verdict(1, 12_000, Said::Revoked)];
    assert!(history.check(PROMISE).is_ok());
    history.verdicts.push(verdict(0, 61_000, Said::Revoked));
    assert_eq!(broken(&history), [Broken::Invented { gateway: 0, token: 0 }]);
}

#[test]
fn a_token_that_was_asked_for_when_it_was_revoked_already_is_noticed() {
    for (target, cut, _) in selectors(&tokens(&CLIENTS)) {
        let kind = target.kind();
        let mut history = tokens(&CLIENTS[..1]);
        revoke(&mut history, target, cut);
        history.tokens[0].asked = at(10_000);
        assert!(history.check(PROMISE).is_ok(), "{kind}: on its way");
        history.tokens[0].asked = at(10_001);
        let stillborn = || [Broken::Stillborn { token: 0, by: kind }];
        assert_eq!(broken(&history), stillborn(), "{kind}");
        history.tokens[0].maker = Maker::Thief;
        assert!(history.check(PROMISE).is_ok(), "{kind}: a thief asks nobody");

        history.tokens[0] = Token { minted: at(10_020), ..token(CLIENTS[0], 0, SECOND, &[]) };
        history.tokens[0].asked = at(10_001);
        history.purged = Some(at(10_020));
        history.faults = vec![Fault { gateway: Some(0), ..fault(9_000..20_000) }];
        assert_eq!(broken(&history), stillborn(), "{kind}: nothing was wrong with the service");
        history.faults = vec![fault(9_000..20_000)];
        assert!(history.check(PROMISE).is_ok(), "{kind}: the database had lost the revocation");
        history.purged = Some(at(10_019));
        assert_eq!(broken(&history), stillborn(), "{kind}: it outlives the epoch");
    }
}

#[test]
fn a_token_that_is_written_down_after_its_revocation_is_known_to_be_doomed() {
    let mut history = History::default();
    revoke(&mut history, Target::Client("acme/billing".to_owned()), Some(SECOND));
    history.put(token("acme/billing", 0, SECOND, &[]));
    history.put(token("acme/billing", 1, SECOND + 1, &[]));
    assert_eq!(history.doomed, [0]);
}

#[test]
fn where_a_cut_was_asked_for_nothing_younger_is_doomed_meanwhile() {
    let mut history = tokens(&["acme/billing"]);
    history.put(token("acme/billing", 1, SECOND + 1, &[]));
    let target = Target::Client("acme/billing".to_owned());
    history.send(Selector { target: target.clone(), before: Some(SECOND) }, at(9_900));
    assert_eq!(history.doomed, [0]);
    let number = history.send(target.into(), at(9_900));
    history.put(token("acme/billing", 2, SECOND + 2, &[]));
    assert_eq!(history.doomed, [0, 0, 1]);
    acknowledge(&mut history, number, Some(SECOND + 2));
    assert_eq!(history.doomed, [0, 0, 1, 0, 1, 2]);
}

#[test]
fn a_thief_has_until_the_gateway_has_been_offline_for_too_long() {
    let stolen = |asked| {
        let mut history = tokens(&["acme/billing", "acme/billing"]);
        history.tokens[0].maker = Maker::Thief;
        revoke(&mut history, Target::Kid("key".to_owned()), None);
        history.verdicts = vec![verdict(0, asked, Said::Accepted)];
        history
    };
    assert_eq!(stolen(17_000).check(PROMISE).unwrap().allowed, at(7_000));
    let after = at(7_001);
    let late = Broken::Late { gateway: 0, token: 0, by: "kid", after };
    assert_eq!(broken(&stolen(17_001)), [late]);
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
    let after = at(2_500);
    let dishonest = Broken::Dishonest { gateway: 0, token: 0, by: "jti", after, age: 1 };
    assert_eq!(broken(&aged(1)), [dishonest]);
}

#[test]
fn an_acceptance_of_any_token_after_the_receipt_of_this_gateway_is_noticed() {
    let mut history = tokens(&CLIENTS);
    let revocation = revoke(&mut history, Target::Tenant("acme".to_owned()), Some(SECOND));
    let accepted = verdict(1, 10_600, Said::Accepted);
    let (elsewhere, other) =
        (accepted.clone(), Verdict { gateway: 1, token: 2, ..accepted.clone() });
    history.verdicts = vec![elsewhere, other, Verdict { gateway: 1, ..accepted }];
    let by = Some(at(20_000));
    let receipt = |at| Receipt { revocation, at, enforcing: vec![1], all: false, by };
    history.receipts = vec![receipt(at(10_600))];
    assert!(history.check(PROMISE).is_ok());
    history.receipts = vec![receipt(at(10_599)), receipt(at(20_000))];
    assert_eq!(broken(&history), [Broken::Untrue { gateway: 1, token: 1, by: "tenant" }]);
}

#[test]
fn an_acceptance_of_any_token_after_nobody_was_to_accept_it_any_more_is_noticed() {
    let mut history = tokens(&CLIENTS);
    let revocation = revoke(&mut history, Target::Tenant("acme".to_owned()), Some(SECOND));
    history.verdicts = vec![verdict(1, 13_001, Said::Accepted)];
    let receipt = |by| Receipt { revocation, at: at(10_100), enforcing: vec![], all: false, by };
    history.receipts = vec![receipt(Some(at(12_001))), receipt(None)];
    assert!(history.check(PROMISE).is_ok());
    // Asked again, it may say an earlier time.
    history.receipts = vec![receipt(Some(at(30_000))), receipt(Some(at(12_000)))];
    let after = at(1_001);
    assert_eq!(broken(&history), [Broken::Rosy { gateway: 0, token: 1, by: "tenant", after }]);
}

#[test]
fn an_acceptance_after_all_has_settled_is_a_loss() {
    let mut lost = history([verdict(0, 11_000, Said::Accepted)]);
    assert!(lost.check(PROMISE).is_ok());
    lost.settled = Some(at(10_500));
    assert_eq!(broken(&lost), [Broken::Lost { gateway: 0, token: 0, by: "jti" }]);
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
    history.revocations[0].acknowledged = None;
    let shown = history.check(PROMISE).unwrap();
    assert_eq!((shown.acknowledged, shown.covered, shown.worst), ([0; 7], 0, Duration::ZERO));
}
