use super::{Fresh, connect, id};
use crate::harness::until::until;
use futures_util::future::join_all;
use scrip::store::{Lane, Lock, Store, StoreError, Tenants, audit, installation};
use sqlx::{Connection, PgConnection};
use std::sync::Mutex;
use std::time::Duration;

on_both![what_is_not_committed_was_never_there, n116_a_refused_insert_leaves_nothing,];

fn event(n: u16) -> audit::Event {
    audit::Event {
        id: id(1, n),
        at_ms: 1000,
        action: "test".to_owned(),
        outcome: "ok".to_owned(),
        actor: None,
        tenant: None,
        target: None,
        jti: None,
        address: None,
        request_id: "r".to_owned(),
        detail: "{}".to_owned(),
    }
}

async fn events(store: &Store) -> usize {
    let mut reader = store.read().await.unwrap();
    audit::list(&mut reader, Tenants::All, &audit::Filter::default(), None, 99).await.unwrap().len()
}

async fn what_is_not_committed_was_never_there(store: &Fresh) {
    for lock in [Lock::Mint, Lock::Revoke, Lock::Admin, Lock::Feed] {
        let mut tx = store.begin(lock).await.unwrap();
        audit::insert_many(&mut tx, &[event(1)]).await.unwrap();
        assert_eq!(events(store).await, 0, "{lock:?}: seen before the commit");
        drop(tx);
        assert_eq!(events(store).await, 0, "{lock:?}: seen after the rollback");
    }
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    audit::insert_many(&mut tx, &[event(1)]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(events(store).await, 1);
}

async fn n116_a_refused_insert_leaves_nothing(store: &Fresh) {
    if store.is_postgres() {
        store
            .sql(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN RAISE EXCEPTION ''no''; END'; \
                 CREATE TRIGGER refuse BEFORE INSERT ON audit FOR EACH ROW \
                 WHEN (NEW.request_id = 'no') EXECUTE FUNCTION refuse()",
            )
            .await;
    } else {
        store
            .sql(
                "CREATE TRIGGER refuse BEFORE INSERT ON audit WHEN NEW.request_id = 'no' \
                 BEGIN SELECT RAISE(ABORT, 'no'); END",
            )
            .await;
    }
    let no = audit::Event { request_id: "no".to_owned(), ..event(2) };
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    let refused = audit::insert_many(&mut tx, &[event(1), no]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    drop(tx);
    assert_eq!(events(store).await, 0);

    let mut tx = store.begin(Lock::Mint).await.unwrap();
    audit::insert_many(&mut tx, &[event(3)]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(events(store).await, 1);
}

/// A revocation does not begin, but says so in time.
async fn gives_up(store: &Store) {
    let waited = tokio::time::timeout(Duration::from_secs(9), store.begin(Lock::Revoke)).await;
    let refused = waited.expect("the wait is bounded").map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn on_sqlite_a_revocation_waits_for_a_bounded_time() {
    let store = Fresh::sqlite().await;
    let held = store.begin(Lock::Mint).await.unwrap();
    gives_up(&store).await;
    drop(held);
    drop(store.begin(Lock::Revoke).await.unwrap());
}

#[tokio::test]
async fn on_postgres_a_revocation_waits_for_a_bounded_time() {
    let store = Fresh::postgres().await;
    // Outside any transaction, so that nothing ends it.
    let mut held = PgConnection::connect(&store.url).await.unwrap();
    let lock = "SELECT pg_advisory_lock(x'7363726970'::bigint)";
    sqlx::query(lock).execute(&mut held).await.unwrap();
    gives_up(&store).await;
    held.close().await.unwrap();
    drop(store.begin(Lock::Revoke).await.unwrap());
}

#[tokio::test]
async fn on_postgres_a_revocation_that_pauses_is_ended() {
    let store = Fresh::postgres().await;
    let paused = store.begin(Lock::Revoke).await.unwrap();
    drop(store.begin(Lock::Revoke).await.unwrap());
    let refused = paused.commit().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

/// Notes its turn in `order`.
async fn enter(store: &Fresh, lock: Lock, order: &Mutex<Vec<Lock>>) {
    let tx = store.begin(lock).await.unwrap();
    order.lock().unwrap().push(lock);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn on_sqlite_a_revocation_goes_before_the_mints_that_wait() {
    let store = Fresh::sqlite().await;
    let inside = store.begin(Lock::Mint).await.unwrap();
    let order = Mutex::new(Vec::new());
    let enter = |lock| enter(&store, lock, &order);
    tokio::join!(
        biased;
        enter(Lock::Mint),
        enter(Lock::Admin),
        enter(Lock::Revoke),
        // By the time this is polled, the others wait.
        async { inside.commit().await.unwrap() },
    );
    assert_eq!(*order.lock().unwrap(), [Lock::Revoke, Lock::Mint, Lock::Admin]);
}

#[tokio::test]
async fn n114_on_sqlite_operators_who_wait_leave_the_others_their_turn() {
    let store = Fresh::sqlite().await;
    let inside = store.begin(Lock::Mint).await.unwrap();
    let order = Mutex::new(Vec::new());
    let enter = |lock| enter(&store, lock, &order);
    tokio::join!(
        biased;
        join_all((0..6).map(|_| enter(Lock::Operator))),
        enter(Lock::Admin),
        async { inside.commit().await.unwrap() },
    );
    let order = order.into_inner().unwrap();
    let turn = order.iter().position(|lock| *lock == Lock::Admin);
    assert_eq!(turn, Some(4), "{order:?}");
}

/// Until as many sessions as `count` says wait for an advisory lock in this database.
async fn until_waiting(store: &Fresh, count: i64) {
    let mut conn = PgConnection::connect(&store.url).await.unwrap();
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(format!("{count} sessions that wait"), Duration::from_secs(60), async || {
        let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        (waiting == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn on_postgres_mints_share_and_a_revocation_is_alone() {
    let store = Fresh::postgres().await;
    let one = store.begin(Lock::Mint).await.unwrap();
    let two = store.begin(Lock::Mint).await.unwrap();
    drop(two);

    let revoking = {
        let store = store.store.clone();
        tokio::spawn(async move { store.begin(Lock::Revoke).await })
    };
    until_waiting(&store, 1).await;
    assert!(!revoking.is_finished());
    one.commit().await.unwrap();
    let revocation = revoking.await.unwrap().unwrap();

    let refused = store.begin(Lock::Mint).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    drop(store.begin(Lock::Admin).await.unwrap());
    revocation.commit().await.unwrap();
    drop(store.begin(Lock::Mint).await.unwrap());
}

#[tokio::test]
async fn on_postgres_what_is_being_revoked_is_not_settled() {
    let store = Fresh::postgres().await;
    let mut session = store.read_reserved().await.unwrap();
    let now = installation::now_ms(&mut session, 0).await.unwrap();
    let mint = store.begin(Lock::Mint).await.unwrap();
    assert_eq!(store.settled_ms(&mut session, now).await.unwrap(), now);
    drop(mint);
    let mut revocation = store.begin(Lock::Revoke).await.unwrap();
    let at = revocation.now_ms(0).await.unwrap();
    let settled = store.settled_ms(&mut session, at + 9000).await.unwrap();
    assert!((now..=at).contains(&settled), "{settled} is not before {at}");
    assert_eq!(store.settled_ms(&mut session, now - 9).await.unwrap(), now - 9);
    revocation.commit().await.unwrap();
    assert_eq!(store.settled_ms(&mut session, at + 9000).await.unwrap(), at + 9000);
}

#[tokio::test]
async fn on_postgres_a_revocation_of_somebody_who_cannot_be_looked_at_is_waited_for() {
    let store = Fresh::postgres().await;
    let mut session = store.read_reserved().await.unwrap();
    // Outside any transaction, and so without a beginning.
    let mut held = PgConnection::connect(&store.url).await.unwrap();
    let lock = "SELECT pg_advisory_lock(x'7363726970'::bigint)";
    sqlx::query(lock).execute(&mut held).await.unwrap();
    let (settled, ()) = tokio::join!(store.settled_ms(&mut session, 7), async {
        until_waiting(&store, 1).await;
        held.close().await.unwrap();
    });
    assert_eq!(settled.unwrap(), 7);
}

#[tokio::test]
async fn on_postgres_whoever_stops_waiting_holds_nothing() {
    let store = Fresh::postgres().await;
    let revocation = store.begin(Lock::Revoke).await.unwrap();
    tokio::select! {
        biased;
        _ = store.begin(Lock::Revoke) => panic!("two revocations at once"),
        () = until_waiting(&store, 1) => {}
    }
    revocation.commit().await.unwrap();
    until_waiting(&store, 0).await;
    for _ in 0..8 {
        store.begin(Lock::Revoke).await.unwrap().commit().await.unwrap();
        store.begin(Lock::Mint).await.unwrap().commit().await.unwrap();
    }
}

#[tokio::test]
async fn on_postgres_a_mint_that_pauses_is_ended() {
    let store = Fresh::postgres().await;
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    audit::insert_many(&mut tx, &[event(1)]).await.unwrap();
    // It says nothing for longer than 500 ms: a revocation gets through all the same.
    drop(store.begin(Lock::Revoke).await.unwrap());
    let refused = tx.commit().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(events(&store).await, 0);
}

#[tokio::test]
async fn on_postgres_what_failed_cannot_be_committed() {
    let store = Fresh::postgres().await;
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    audit::insert_many(&mut tx, &[event(1)]).await.unwrap();
    let refused = audit::insert_many(&mut tx, &[event(1)]).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    let refused = tx.commit().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(events(&store).await, 0);
}

#[tokio::test]
async fn n112_connections_that_died_are_replaced() {
    let store = Fresh::postgres().await;
    drop(store.begin(Lock::Revoke).await.unwrap());
    drop(store.read().await.unwrap());
    store
        .sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    for lock in [Lock::Mint, Lock::Revoke, Lock::Admin, Lock::Feed] {
        store.begin(lock).await.unwrap().commit().await.unwrap();
    }
}

#[tokio::test]
async fn n114_whoever_is_slow_holds_up_their_own_kind() {
    let store = Fresh::postgres().await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(store.begin(Lock::Operator).await.unwrap());
    }
    for lock in [Lock::Operator, Lock::Withdraw] {
        let refused = store.begin(lock).await.map(drop);
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    for _ in 0..8 {
        slow.push(store.begin(Lock::Admin).await.unwrap());
    }
    let refused = store.begin(Lock::Admin).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    drop(store.read_in(Lane::Minting).await.unwrap());
    store.begin(Lock::Mint).await.unwrap().commit().await.unwrap();
    drop(store.read_reserved().await.unwrap());
    store.begin(Lock::Feed).await.unwrap().commit().await.unwrap();
    store.begin(Lock::Revoke).await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn n113_a_server_that_is_not_there_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://nobody:hunter2@127.0.0.1:{port}/none");
    let refused = tokio::time::timeout(Duration::from_secs(9), connect(&url)).await;
    let error = refused.expect("the wait is bounded").map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}
