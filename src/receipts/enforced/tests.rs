use super::*;
use crate::policy::Policy;

const OLD: &str = "01a1e000-0000-7abc-9def-0123456789ab";
const EPOCH: &str = "01a1e001-0000-7abc-9def-0123456789ab";

/// A verifier in the epoch, with the usual terms and information of second 1,000.
fn at(seq: i64) -> Verifier {
    Verifier {
        client: "acme/gateway".to_owned(),
        verifier: "gw-1".to_owned(),
        epoch: EPOCH.to_owned(),
        seq,
        moved_ms: 1_000_000,
        acked_ms: 1_000_000,
        as_of: 1000,
        max_staleness: 60,
        max_offline: 900,
        policy: "deny".to_owned(),
        allow_for: 0,
    }
}

/// Batch 7, of the second before 1,010.
fn case(until: Option<i64>) -> Case<'static> {
    Case { position: (EPOCH, 7), at_ms: 1_009_500, until }
}

fn of_one(case: &Case<'_>, verifier: &Verifier, since_ms: Option<i64>) -> Enforced {
    judge(case, &[Standing { verifier, since_ms }], false)
}

#[test]
fn who_has_it_refuses_since_then() {
    let enforced = of_one(&case(Some(1300)), &at(7), Some(1_010_250));
    assert!(enforced.all);
    assert_eq!(enforced.by_ms, Some(1_010_250));
    let receipt = &enforced.verifiers[0];
    assert_eq!((receipt.since_ms, receipt.behind), (Some(1_010_250), 0));
    assert_eq!(receipt.refuses_by_ms, 1_010_250);
    // Whoever hears of it after the token's life was over has refused it since its end.
    assert_eq!(of_one(&case(Some(1300)), &at(9), Some(9_000_000)).by_ms, Some(1_300_000));
}

#[test]
fn who_has_not_refuses_by_the_freshness_contract() {
    let terms = |max_staleness, max_offline, policy: &str, allow_for| Verifier {
        max_staleness,
        max_offline,
        policy: policy.to_owned(),
        allow_for,
        ..at(5)
    };
    let usual = terms(60, 900, "deny", 0);
    for (what, until, verifier, by) in [
        ("its bound", Some(9000), usual.clone(), Some(1010 + 60 + 6)),
        ("the end of the token", Some(1050), usual.clone(), Some(1050)),
        ("an alert changes nothing", Some(9000), terms(60, 900, "deny-and-alert", 0), Some(1076)),
        ("other terms", Some(9000), terms(10, 900, "deny", 0), Some(1026)),
        ("AllowFor is no bound", Some(9000), terms(60, 900, "allow-for", 30), Some(9000)),
        ("a key: offline", None, usual.clone(), Some(1010 + 900 + 6)),
        ("a key: AllowFor", None, terms(60, 900, "allow-for", 30), Some(1916)),
        ("a key: a long AllowFor", None, terms(60, 900, "allow-for", 5000), Some(1010 + 5066)),
        ("what it said of itself", Some(9000), Verifier { as_of: 1500, ..usual }, Some(1566)),
    ] {
        let enforced = of_one(&case(until), &verifier, None);
        assert_eq!(enforced.by_ms, by.map(|by: i64| by * 1000), "{what}");
        assert_eq!(enforced.verifiers[0].since_ms, None, "{what}");
        assert!(!enforced.all, "{what}");
    }
}

#[test]
fn behind_counts_batches_up_to_the_revocation() {
    let behind =
        |verifier: &Verifier| of_one(&case(Some(1300)), verifier, None).verifiers[0].behind;
    assert_eq!(behind(&at(5)), 2);
    assert_eq!(behind(&at(0)), 7);
    assert_eq!(behind(&Verifier { epoch: OLD.to_owned(), ..at(90) }), 7, "another epoch: all");
}

#[test]
fn the_last_to_refuse_decides() {
    let (here, gone) = (at(7), Verifier { verifier: "gw-2".to_owned(), ..at(3) });
    let standings = [
        Standing { verifier: &here, since_ms: Some(1_010_250) },
        Standing { verifier: &gone, since_ms: None },
    ];
    let enforced = judge(&case(Some(1300)), &standings, false);
    assert_eq!((enforced.all, enforced.by_ms), (false, Some(1_076_000)));
    let names: Vec<&str> = enforced.verifiers.iter().map(|one| one.verifier.as_str()).collect();
    assert_eq!(names, ["gw-1", "gw-2"]);
}

#[test]
fn whoever_does_not_acknowledge_is_stopped_by_the_end_of_the_token_only() {
    let enforced = |until, known: &[Standing<'_>], strangers| {
        let enforced = judge(&case(until), known, strangers);
        (enforced.all, enforced.strangers, enforced.by_ms)
    };
    let verifier = at(7);
    let known = [Standing { verifier: &verifier, since_ms: Some(1_010_250) }];
    assert_eq!(enforced(Some(1300), &known, false), (true, false, Some(1_010_250)));
    assert_eq!(enforced(Some(1300), &known, true), (true, true, Some(1_300_000)));
    assert_eq!(enforced(None, &known, true), (true, true, None));
    assert_eq!(enforced(Some(1300), &[], false), (false, true, Some(1_300_000)), "nobody is known");
    assert_eq!(enforced(None, &[], false), (false, true, None));
}

#[test]
fn absurd_terms_are_later_than_everything() {
    let absurd = |policy: &str| Verifier {
        max_staleness: (1 << 53) - 1,
        max_offline: (1 << 53) - 1,
        allow_for: (1 << 53) - 1,
        as_of: (1 << 53) - 1,
        policy: policy.to_owned(),
        ..at(0)
    };
    assert_eq!(of_one(&case(Some(1300)), &absurd("deny"), None).by_ms, Some(1_300_000));
    let key = of_one(&case(None), &absurd("allow-for"), None).to_json(&Reach::EVERYWHERE);
    assert_eq!(key["by"], "9999-12-31T23:59:59Z");
}

#[test]
fn times_have_a_fraction_where_they_have_one() {
    let enforced = of_one(&case(Some(1300)), &at(7), Some(1_010_250)).to_json(&Reach::EVERYWHERE);
    assert_eq!(
        enforced,
        json!({"all": true, "strangers": false, "by": "1970-01-01T00:16:50.250Z", "verifiers": [{
            "client": "acme/gateway", "verifier": "gw-1", "since": "1970-01-01T00:16:50.250Z",
            "behind": 0, "refuses_by": "1970-01-01T00:16:50.250Z",
        }]})
    );
    assert_eq!(shown(1_076_000), "1970-01-01T00:17:56Z");
}

#[test]
fn who_is_confined_is_told_what_is_so_and_of_its_own_by_name() {
    let told = |client: &str| {
        let verifier = Verifier { client: client.to_owned(), ..at(6) };
        let policy = json!({
            "name": "acme/x", "audiences": ["self"], "scopes": ["scrip:revoke"], "env": "scrip",
            "admin_tenant": "acme",
        });
        let policy = Policy::from_json(policy.to_string().as_bytes()).unwrap();
        of_one(&case(Some(1300)), &verifier, None).to_json(&Reach::of(&policy))
    };
    let (own, foreign) = (told("acme/gateway"), told("beta/gateway"));
    assert_eq!(own["verifiers"].as_array().unwrap().len(), 1);
    assert_eq!(foreign["verifiers"], json!([]));
    assert_eq!((&foreign["all"], &foreign["by"]), (&json!(false), &own["by"]));
}
