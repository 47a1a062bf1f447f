use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const BOUNDS: Bounds = Bounds { unused: 30 * DAY, places: 64 };

fn client(source: &str) -> Client {
    let client = Client::new(&"acme/a".parse().unwrap(), "acme/p", source, DAY, 0);
    Client { last_used: Some(0), ..client }
}

fn policy(rotate: &Value) -> Policy {
    let policy = json!({
        "name": "acme/p", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod", "rotate": rotate,
    });
    Policy::from_json(policy.to_string().as_bytes()).unwrap()
}

fn of_age(client: &Client, policy: &Policy, said: Option<i64>, now: i64) -> Vec<Warning> {
    let known = Known { past_due_since: said, places: 0 };
    let mut found = warnings(client, policy, known, BOUNDS, now);
    found.retain(|warning| Warning::OF_AGE.contains(warning));
    found
}

#[test]
fn a_secret_is_warned_of_then_past_due_then_refused() {
    let strict = policy(&json!({"after": 60, "grace": 7, "refuse": true}));
    let client = client("vault");
    let due = 60 * DAY;
    let at = |now| of_age(&client, &strict, Some(due), now);
    assert_eq!(at(due - NOTICE - 1), []);
    assert_eq!(at(due - NOTICE), [Warning::RotateSoon]);
    assert_eq!(at(due - 1), [Warning::RotateSoon]);
    assert_eq!(at(due), [Warning::PastDue]);
    assert_eq!(at(due + 7 * DAY - 1), [Warning::PastDue]);
    assert_eq!(at(due + 7 * DAY), [Warning::PastDue, Warning::Refused]);

    let lenient = policy(&json!({"after": 60, "grace": 0}));
    assert_eq!(of_age(&client, &lenient, Some(0), i64::MAX), [Warning::PastDue]);
    let disabled = Client { enabled: false, ..client };
    assert_eq!(of_age(&disabled, &strict, Some(0), i64::MAX), []);
}

#[test]
fn nobody_is_refused_who_was_not_warned_for_as_long_as_the_grace() {
    // A policy that begins to refuse today, for a secret of a year ago.
    let strict = policy(&json!({"after": 30, "grace": 7, "refuse": true}));
    let (client, today) = (client("vault"), 365 * DAY);
    assert_eq!(of_age(&client, &strict, None, today), [Warning::PastDue]);
    assert_eq!(of_age(&client, &strict, Some(today), today + 7 * DAY - 1), [Warning::PastDue]);
    let refused = of_age(&client, &strict, Some(today), today + 7 * DAY);
    assert_eq!(refused, [Warning::PastDue, Warning::Refused]);
}

#[test]
fn the_earlier_date_counts_and_a_rotation_moves_it() {
    let sixty = policy(&json!({"after": 60}));
    let mut client = client("embedded");
    assert_eq!(due(&client, None), None);
    assert_eq!(due(&client, Some(&sixty)), Some(60 * DAY));
    client.rotate_by = Some(90 * DAY);
    assert_eq!(due(&client, Some(&sixty)), Some(60 * DAY));
    assert_eq!(due(&client, None), Some(90 * DAY));
    client.rotate_by = Some(10 * DAY);
    assert_eq!(due(&client, Some(&sixty)), Some(10 * DAY));
    client.rotated = Some(50 * DAY);
    client.rotate_by = None;
    assert_eq!(due(&client, Some(&sixty)), Some(110 * DAY));
}

#[test]
fn what_is_replaced_by_itself_ends_when_it_is_due_and_is_not_warned_of_before() {
    let automatic = policy(&json!({"after": 60, "automatic": true}));
    let vault = client("vault");
    assert_eq!(replaced_from(&vault, &automatic), Some(59 * DAY));
    assert_eq!(of_age(&vault, &automatic, None, 59 * DAY), []);
    assert_eq!(of_age(&vault, &automatic, None, 60 * DAY), [Warning::PastDue], "it was not");
    assert_eq!(replaced_from(&client("embedded"), &automatic), None);
    assert_eq!(replaced_from(&Client { enabled: false, ..vault }, &automatic), None);
    let embedded = of_age(&client("embedded"), &automatic, None, 59 * DAY);
    assert_eq!(embedded, [Warning::RotateSoon]);
}

#[test]
fn whoever_revokes_or_follows_with_the_secret_itself_is_only_warned() {
    for (scope, spared) in [
        ("scrip:revoke", true),
        ("scrip:keys", true),
        ("scrip:feed", true),
        ("scrip:clients", false),
    ] {
        let mut terms = json!({
            "name": "acme/p", "audiences": ["self"], "scopes": [scope], "env": "scrip",
            "rotate": {"after": 30, "grace": 0, "refuse": true},
        });
        if scope == "scrip:feed" {
            terms["serves"] = json!(["gw"]);
        }
        let policy = Policy::from_json(terms.to_string().as_bytes()).unwrap();
        let refused = |source: &str| {
            of_age(&client(source), &policy, Some(0), 365 * DAY).contains(&Warning::Refused)
        };
        assert_eq!(refused("embedded"), !spared, "{scope}");
        assert!(refused("vault"), "{scope}: its secret is of no use there");
    }
}

#[test]
fn what_is_never_used_or_unused_or_shared_is_told() {
    let mild = policy(&json!({"after": 90}));
    let found = |last_used, places, now| {
        let client = Client { last_used, created: 5, ..client("vault") };
        warnings(&client, &mild, Known { past_due_since: None, places }, BOUNDS, now)
    };
    assert_eq!(found(None, 0, 5 + 30 * DAY), []);
    assert_eq!(found(None, 0, 6 + 30 * DAY), [Warning::NeverUsed]);
    assert_eq!(found(Some(DAY), 64, 31 * DAY), []);
    assert_eq!(found(Some(DAY), 65, 31 * DAY + 1), [Warning::Unused, Warning::Shared]);
}

proptest! {
    /// As time passes, nothing that was said of a secret's age is ever unsaid.
    #[test]
    fn age_only_grows(
        now in 0..200 * DAY,
        later in 0..200 * DAY,
        said in proptest::option::of(0..200 * DAY),
        own in proptest::option::of(0..200 * DAY),
        grace in 0..=30_u32,
        refuse in any::<bool>(),
    ) {
        let policy = policy(&json!({"after": 30, "grace": grace, "refuse": refuse}));
        let client = Client { rotate_by: own, ..client("vault") };
        let stage = |now| of_age(&client, &policy, said, now).last().map_or(0, |last| {
            Warning::OF_AGE.iter().position(|warning| warning == last).unwrap() + 1
        });
        prop_assert!(stage(now) <= stage(now + later));
        prop_assert!(stage(now) < 3 || refuse && said.is_some_and(|said| said + i64::from(grace) * DAY <= now));
    }
}
