use super::{Fresh, HOSTILE, id};
use scrip::clock;
use scrip::rates::{Rates, tell_of_guessing};
use scrip::store::{Lock, outbox, rate_grants};

on_both![
    what_others_granted_is_read_once,
    grants_are_pruned_by_their_age,
    n41_somebody_is_told_of_guessing,
];

async fn tell(store: &Fresh, second: i64, n: u16, granted: &[(&str, i64)]) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    rate_grants::insert_many(&mut tx, id(second, n), granted).await.unwrap();
    tx.commit().await.unwrap();
}

async fn what_others_granted_is_read_once(store: &Fresh) {
    tell(store, 5, 2, &[("acme/b", 7), ("acme/a", 8)]).await;
    tell(store, 4, 1, &[("acme", 9)]).await;
    tell(store, 3, 1, &[("acme/old", 1)]).await;
    tell(store, 5, 3, &[]).await;
    let mut reader = store.read().await.unwrap();
    let all = rate_grants::since(&mut reader, 4000, &[]).await.unwrap();
    let seen = |grants: &[rate_grants::Grant]| -> Vec<_> {
        grants.iter().map(|grant| (grant.at_ms(), grant.key.clone(), grant.cost_us)).collect()
    };
    let expected = [(4000, "acme", 9), (5000, "acme/a", 8), (5000, "acme/b", 7)];
    assert_eq!(seen(&all), expected.map(|(at, key, cost)| (at, key.to_owned(), cost)));

    let known = [id(5, 2), id(9, 9)];
    let rest = rate_grants::since(&mut reader, 0, &known).await.unwrap();
    assert_eq!(rest.iter().map(|grant| grant.exchange).collect::<Vec<_>>(), [id(3, 1), id(4, 1)]);
    drop(reader);

    // More than one statement's worth, and nothing in them is SQL.
    let many: Vec<String> = (0..2500).map(|n| format!("acme/{n}")).collect();
    let keys = many.iter().map(String::as_str).chain(HOSTILE);
    let granted: Vec<_> = keys.map(|key| (key, i64::MAX)).collect();
    tell(store, 8, 1, &granted).await;
    let mut reader = store.read().await.unwrap();
    let read = rate_grants::since(&mut reader, 8000, &[]).await.unwrap();
    assert_eq!(read.len(), granted.len());
    assert!(HOSTILE.iter().all(|key| read.iter().any(|grant| grant.key == *key)));
}

async fn grants_are_pruned_by_their_age(store: &Fresh) {
    for second in 1..=3 {
        tell(store, second, 1, &[("acme/a", 1), ("acme/b", 1)]).await;
    }
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(rate_grants::prune(&mut tx, 3000, 3).await.unwrap(), 3);
    assert_eq!(rate_grants::prune(&mut tx, 3000, 3).await.unwrap(), 1);
    assert_eq!(rate_grants::prune(&mut tx, 3000, 3).await.unwrap(), 0);
    assert_eq!(rate_grants::since(&mut tx, 0, &[]).await.unwrap().len(), 2);
}

async fn n41_somebody_is_told_of_guessing(store: &Fresh) {
    let rates = Rates::new(None, false);
    let (now, here) = (clock::monotonic(), "192.0.2.1".parse().unwrap());
    for _ in 0..20 {
        rates.failures.note("acme/billing", here, now).unwrap();
    }
    for n in 0..300 {
        let name = format!("a-secret-in-the-wrong-place-{n}");
        rates.reserved_failures.note(&name, here, now).unwrap();
    }
    // A database that cannot take them is told later.
    store.sql("ALTER TABLE audit RENAME TO away").await;
    tell_of_guessing(store, &rates).await.unwrap_err();
    store.sql("ALTER TABLE away RENAME TO audit").await;
    for _ in 0..2 {
        tell_of_guessing(store, &rates).await.unwrap();
    }

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let told = outbox::claim(&mut tx, i64::MAX, i64::MAX, 9).await.unwrap();
    let mut told: Vec<_> = told
        .iter()
        .map(|told| {
            assert_eq!(told.event.action, "credential.guess");
            (told.event.target.as_deref(), told.event.tenant.as_deref(), &*told.event.detail)
        })
        .collect();
    told.sort_unstable();
    let reserved = r#"{"endpoints":"reserved","place":"192.0.2.1"}"#;
    let oauth = r#"{"endpoints":"oauth","place":"192.0.2.1"}"#;
    let expected = [(None, None, reserved), (Some("acme/billing"), Some("acme"), oauth)];
    assert_eq!(told, expected, "one of each, however many failures");
}
