//! The days of Postgres' `tokens`. SQLite has none, and is asked once.

use super::tokens::{store_all, token};
use super::{Fresh, jti};
use crate::harness::until::until;
use chrono::Days;
use scrip::clock;
use scrip::store::partitions::{self, Partition};
use scrip::store::tokens::{self, Matching, Span, Token};
use scrip::store::{Conn, Lock, Session, StoreError, Tx};
use std::slice;
use std::time::Duration;

const DAY: i64 = 86_400;
const PATIENCE: Duration = Duration::from_secs(30);

async fn known(store: &Fresh) -> Vec<Partition> {
    partitions::all(&mut store.read().await.unwrap()).await.unwrap()
}

fn missing(known: &[Partition], now: i64) -> Vec<Partition> {
    partitions::missing(known, now, 1)
}

async fn make(store: &Fresh, partition: Partition) -> Result<bool, StoreError> {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let made = partitions::make(&mut tx, partition).await?;
    tx.commit().await.unwrap();
    Ok(made)
}

async fn drop(store: &Fresh, partition: Partition) -> bool {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let dropped = partitions::drop(&mut tx, partition).await.unwrap();
    tx.commit().await.unwrap();
    dropped
}

/// The same, however busy the machine is.
async fn made(store: &Fresh, partition: Partition) -> bool {
    until("it is made or left", PATIENCE, async || match make(store, partition).await {
        Err(StoreError::Unavailable(_)) => None,
        other => Some(other.unwrap()),
    })
    .await
}

/// A mint, however busy the machine is; of one that waits for somebody else each try fails.
async fn mint(store: &Fresh, token: Token) {
    until("the mint is on record", PATIENCE, async || {
        let mut tx = store.begin(Lock::Mint).await.ok()?;
        match tx.insert(|all| tokens::push(all, slice::from_ref(&token))).await {
            Err(StoreError::Unavailable(_)) => None,
            stored => {
                stored.unwrap();
                tx.commit().await.unwrap();
                Some(())
            }
        }
    })
    .await;
}

/// It is not thrown out for a pause that only a busy machine makes.
async fn stays_open(tx: &mut Tx) {
    let Conn::Postgres(connection) = tx.conn() else { panic!("these tests are Postgres'") };
    let sql = "SET LOCAL idle_in_transaction_session_timeout = '60s'; \
               SET LOCAL statement_timeout = '60s'";
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// Makes all that are missing at `now`; says how many.
async fn make_all(store: &Fresh, now: i64) -> usize {
    let missing = missing(&known(store).await, now);
    for partition in &missing {
        assert!(made(store, *partition).await, "{partition:?}");
    }
    missing.len()
}

async fn in_default(store: &Fresh) -> i64 {
    store.number("SELECT count(*) FROM ONLY tokens_default").await
}

async fn issued(store: &Fresh) -> Vec<i64> {
    let mut reader = store.read().await.unwrap();
    let found = tokens::list(&mut reader, Matching::All, Span::default(), None, 9999).await;
    found.unwrap().iter().map(|token| token.iat).collect()
}

/// The start of the day after today.
fn tomorrow() -> i64 {
    let now = clock::now_seconds().cast_signed();
    now - now.rem_euclid(DAY) + DAY
}

#[tokio::test]
async fn sqlite_has_no_partitions() {
    let store = Fresh::sqlite().await;
    assert_eq!(known(&store).await, []);
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let one = missing(&[], tomorrow())[0];
    assert!(!partitions::make(&mut tx, one).await.unwrap());
    assert!(!partitions::drop(&mut tx, one).await.unwrap());
}

#[tokio::test]
async fn each_day_has_a_partition_ahead_and_old_ones_go_whole() {
    let store = Fresh::postgres().await;
    let (before, tomorrow) = (known(&store).await, tomorrow());
    assert!(matches!(before[..], [Partition { from: None, .. }]), "{before:?}");
    assert_eq!(make_all(&store, tomorrow - 1).await, 7, "today is in the one of before");
    assert_eq!(make_all(&store, tomorrow - 1).await, 0);
    assert_eq!(make_all(&store, tomorrow).await, 1);

    let group: Vec<_> = (0..4).map(|n| token(tomorrow + i64::from(n) * DAY, n, "acme/a")).collect();
    store_all(&store, &[token(tomorrow - 1, 9, "acme/a")]).await;
    store_all(&store, &group).await;
    assert_eq!(in_default(&store).await, 0);
    assert_eq!(issued(&store).await.len(), 5);
    let again = store.begin(Lock::Mint).await;
    let conflict = again.unwrap().insert(|all| tokens::push(all, &group[1..2])).await;
    assert!(matches!(conflict, Err(StoreError::Conflict)), "{conflict:?}");

    let known = known(&store).await;
    assert_eq!(partitions::outdated(&known, tomorrow - 1), []);
    let old = partitions::outdated(&known, tomorrow + 2 * DAY);
    assert_eq!(old.len(), 3);
    for partition in old {
        assert!(drop(&store, partition).await);
        assert!(!drop(&store, partition).await, "it is gone");
    }
    assert_eq!(issued(&store).await, [tomorrow + 3 * DAY, tomorrow + 2 * DAY]);
    // A token of a day that has no partition any more, or none yet, has its place all the same.
    store_all(&store, &[token(tomorrow, 7, "acme/a"), token(tomorrow + 99 * DAY, 8, "acme/a")])
        .await;
    assert_eq!(in_default(&store).await, 2);
}

#[tokio::test]
async fn what_came_before_its_partition_is_moved_there_unless_it_is_much() {
    let store = Fresh::postgres().await;
    let tomorrow = tomorrow();
    let late = [token(tomorrow, 1, "acme/a"), token(tomorrow + DAY - 1, 2, "acme/a")];
    store_all(&store, &late).await;
    let much: Vec<_> = (0..2001).map(|n| token(tomorrow + DAY, n, "acme/a")).collect();
    store_all(&store, &much).await;
    assert_eq!(in_default(&store).await, 2003);

    let missing = missing(&known(&store).await, tomorrow);
    assert!(made(&store, missing[0]).await);
    assert_eq!(in_default(&store).await, 2001, "two are where they belong");
    assert!(!made(&store, missing[1]).await, "so many stay where they are");
    assert_eq!(in_default(&store).await, 2001);
    assert!(made(&store, missing[2]).await, "which is in nobody's way");
    let mut reader = store.read().await.unwrap();
    for token in late.iter().chain(&much[..1]) {
        assert_eq!(tokens::by_jti(&mut reader, token.jti).await.unwrap().as_ref(), Some(token));
    }
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let deleted = tokens::prune(&mut tx, tomorrow + 2 * DAY, 9999).await.unwrap();
    assert_eq!(deleted, 2001, "the others go with their day");
}

#[tokio::test]
async fn two_replicas_and_a_mint_are_in_nobodys_way() {
    let store = Fresh::postgres().await;
    let tomorrow = tomorrow();
    let missing = missing(&known(&store).await, tomorrow);

    // The other one is at it.
    let mut other = until("it is made", PATIENCE, async || {
        let mut tx = store.begin(Lock::Admin).await.unwrap();
        match partitions::make(&mut tx, missing[0]).await {
            Err(StoreError::Unavailable(_)) => None,
            made => made.unwrap().then_some(tx),
        }
    })
    .await;
    stays_open(&mut other).await;
    assert!(!made(&store, missing[1]).await);
    assert!(!made(&store, missing[0]).await);
    // Mints go on meanwhile, and one for that very day waits for no longer than this takes.
    mint(&store, token(tomorrow - 1, 1, "acme/a")).await;
    other.commit().await.unwrap();
    assert!(!made(&store, missing[0]).await, "there it is");
    mint(&store, token(tomorrow, 2, "acme/a")).await;

    // A mint that is under way holds up neither for long; the next look makes it.
    let mut under_way = store.begin(Lock::Mint).await.unwrap();
    stays_open(&mut under_way).await;
    under_way.insert(|all| tokens::push(all, &[token(tomorrow + DAY, 3, "acme/a")])).await.unwrap();
    let refused = make(&store, missing[1]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    under_way.commit().await.unwrap();
    assert!(made(&store, missing[1]).await);

    let both = async || {
        let makes = missing[2..].iter().map(|partition| make(&store, *partition));
        futures_util::future::join_all(makes.chain(missing[2..].iter().map(|p| make(&store, *p))))
            .await
    };
    until("all are made", 2 * PATIENCE, async || {
        for made in both().await {
            assert!(matches!(made, Ok(_) | Err(StoreError::Unavailable(_))), "{made:?}");
        }
        self::missing(&known(&store).await, tomorrow).is_empty().then_some(())
    })
    .await;
    assert_eq!(partitions::missing(&known(&store).await, tomorrow, 1), []);
    assert_eq!(in_default(&store).await, 0);
    assert_eq!(issued(&store).await.len(), 3);
    let jti = jti(tomorrow, 2);
    assert!(tokens::by_jti(&mut store.read().await.unwrap(), jti).await.unwrap().is_some());
}

#[test]
fn the_longer_tokens_are_kept_the_more_days_a_partition_has() {
    let now = tomorrow();
    let days = |known: &[Partition], days| -> Vec<(i64, i64)> {
        let today = chrono::DateTime::from_timestamp(now, 0).unwrap().date_naive();
        let from_today = |day: chrono::NaiveDate| (day - today).num_days();
        let missing = partitions::missing(known, now, days);
        missing.iter().map(|p| (from_today(p.from.unwrap()), from_today(p.until))).collect()
    };
    assert_eq!(days(&[], 1), (0..8).map(|day| (day, day + 1)).collect::<Vec<_>>());
    assert_eq!(days(&[], 5), [(0, 5), (5, 10)]);
    assert_eq!(days(&[], 0).len(), 8);
    // The setting has changed since: nothing overlaps, and no day is left out.
    let known = partitions::missing(&[], now + 2 * DAY, 3);
    let first = known[0].from.unwrap();
    let before = Partition { from: None, until: first - Days::new(1) };
    assert_eq!(days(&known[..1], 4), [(0, 2), (5, 9)]);
    assert_eq!(days(&[before, known[0]], 1), [(1, 2), (5, 6), (6, 7), (7, 8)]);
    assert_eq!(days(&[Partition { from: None, until: first + Days::new(90) }], 1), []);
}
