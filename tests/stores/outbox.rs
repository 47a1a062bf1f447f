use super::{Fresh, id};
use scrip::store::audit::Event;
use scrip::store::{Lock, audit, outbox};

on_both![
    alerts_go_into_the_outbox_with_the_audit_log,
    what_is_claimed_is_nobody_elses_until_the_claim_runs_out,
    an_alert_that_was_rolled_back_was_never_there,
    alerts_are_pruned_by_their_age,
];

fn event(second: i64, n: u16, outcome: &str) -> Event {
    Event {
        id: id(second, n),
        at_ms: second * 1000,
        action: "quota".to_owned(),
        outcome: outcome.to_owned(),
        actor: Some("acme/a".to_owned()),
        tenant: Some("acme".to_owned()),
        target: Some("acme/b".to_owned()),
        jti: None,
        address: None,
        request_id: String::new(),
        detail: "{\"percent\":80}".to_owned(),
    }
}

async fn record(store: &Fresh, events: &[Event]) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    audit::insert_many(&mut tx, events).await.unwrap();
    tx.commit().await.unwrap();
}

async fn claim(store: &Fresh, now_ms: i64, until_ms: i64, limit: u32) -> Vec<outbox::Message> {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let claimed = outbox::claim(&mut tx, now_ms, until_ms, limit).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

async fn is_due(store: &Fresh, now_ms: i64) -> bool {
    outbox::is_due(&mut store.read().await.unwrap(), now_ms).await.unwrap()
}

async fn alerts_go_into_the_outbox_with_the_audit_log(store: &Fresh) {
    assert!(!is_due(store, i64::MAX).await);
    let events = [event(1, 1, "done"), event(1, 2, "alert"), event(2, 1, "granted")];
    record(store, &events).await;
    assert!(!is_due(store, 999).await);
    assert!(is_due(store, 1000).await);
    let claimed = claim(store, 1000, 9000, 99).await;
    assert_eq!(claimed, [outbox::Message { event: events[1].clone(), tries: 1 }]);
    // A whole group of them.
    let many: Vec<_> = (0..1500).map(|n| event(5, n, "alert")).collect();
    record(store, &many).await;
    assert_eq!(claim(store, 5000, 9000, 2000).await.len(), 1500);
}

async fn what_is_claimed_is_nobody_elses_until_the_claim_runs_out(store: &Fresh) {
    record(store, &[event(3, 1, "alert"), event(1, 1, "alert"), event(2, 1, "alert")]).await;
    let ids = |claimed: &[outbox::Message]| -> Vec<_> {
        claimed.iter().map(|message| (message.event.at_ms, message.tries)).collect()
    };
    assert_eq!(ids(&claim(store, 9000, 20_000, 2).await), [(1000, 1), (2000, 1)]);
    assert_eq!(ids(&claim(store, 9000, 20_000, 2).await), [(3000, 1)]);
    assert!(claim(store, 19_999, 30_000, 9).await.is_empty());

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    outbox::delete(&mut tx, id(1, 1)).await.unwrap();
    outbox::postpone(&mut tx, id(2, 1), 50_000).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ids(&claim(store, 20_000, 60_000, 9).await), [(3000, 2)]);
    assert_eq!(ids(&claim(store, 50_000, 60_000, 9).await), [(2000, 2)]);
    assert_eq!(ids(&claim(store, 60_000, 70_000, 9).await), [(2000, 3), (3000, 3)]);

    // Two that look at once do not wait for each other, and are not given the same.
    if store.is_postgres() {
        let mut one = store.begin(Lock::Admin).await.unwrap();
        let mut two = store.begin(Lock::Admin).await.unwrap();
        let first = outbox::claim(&mut one, 70_000, 80_000, 1).await.unwrap();
        let second = outbox::claim(&mut two, 70_000, 80_000, 9).await.unwrap();
        assert_eq!((ids(&first), ids(&second)), (vec![(2000, 4)], vec![(3000, 4)]));
    }
}

async fn an_alert_that_was_rolled_back_was_never_there(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    audit::insert_many(&mut tx, &[event(1, 1, "alert")]).await.unwrap();
    drop(tx);
    assert!(!is_due(store, i64::MAX).await);
}

async fn alerts_are_pruned_by_their_age(store: &Fresh) {
    let events: Vec<_> = (1..=3).map(|second| event(second, 1, "alert")).collect();
    record(store, &events).await;
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(outbox::prune(&mut tx, 3000, 1).await.unwrap(), 1);
    assert_eq!(outbox::prune(&mut tx, 3000, 9).await.unwrap(), 1);
    assert_eq!(outbox::prune(&mut tx, 3000, 9).await.unwrap(), 0);
    let left = outbox::claim(&mut tx, i64::MAX, 0, 9).await.unwrap();
    assert_eq!(left.iter().map(|message| message.event.id).collect::<Vec<_>>(), [id(3, 1)]);
}
