//! What statements go through must not grow with what they do not want.

use super::{Fresh, id};
use scrip::escrow::{Allowance, Balance, Window};
use scrip::store::quotas::{self, Account, By, Filter};
use scrip::store::revocations::{self, Revocation};
use scrip::store::{Conn, Lock, Session, Tenants, Tx, audit, deny_batches, idempotency};
use scrip_token::Digest;
use sqlx::PgConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

on_both![
    n124_sums_of_tenants_are_made_of_the_page_only,
    n124_one_action_is_found_in_a_long_log,
    n124_batches_shrink_to_heads_however_many_heads_there_are,
    n124_the_latest_revocation_is_found_in_a_long_history,
    n124_keys_that_were_used_are_found_among_many,
];

/// More than that is a scan of any of the tables here.
const FEW: u64 = 10_000;

/// What is gone through: rows, and entries of indexes, on Postgres; steps of the machine on SQLite.
async fn effort<T>(store: &Fresh, work: impl AsyncFnOnce(&mut Tx) -> T) -> (T, u64) {
    if store.is_postgres() {
        store.sql("ANALYZE").await;
    }
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let steps = Arc::new(AtomicU64::new(0));
    let before = match tx.conn() {
        Conn::Postgres(c) => gone_through(c).await,
        Conn::Sqlite(c) => {
            let steps = steps.clone();
            c.lock_handle().await.unwrap().set_progress_handler(1, move || {
                steps.fetch_add(1, Ordering::Relaxed);
                true
            });
            0
        }
    };
    let done = work(&mut tx).await;
    let effort = match tx.conn() {
        Conn::Postgres(c) => gone_through(c).await - before,
        Conn::Sqlite(c) => {
            c.lock_handle().await.unwrap().remove_progress_handler();
            steps.load(Ordering::Relaxed)
        }
    };
    (done, effort)
}

async fn gone_through(c: &mut PgConnection) -> u64 {
    let sql = "SELECT sum(pg_stat_get_xact_tuples_returned(oid) + \
               pg_stat_get_xact_tuples_fetched(oid))::bigint \
               FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    sqlx::query_scalar::<_, i64>(sql).fetch_one(c).await.unwrap().unsigned_abs()
}

async fn n124_sums_of_tenants_are_made_of_the_page_only(store: &Fresh) {
    let mut accounts = Vec::new();
    for starts in (0..500).map(|n| n * 3600) {
        for n in 0..20 {
            let balance = Balance { spent: 1, ..Balance::default() };
            accounts.push(Account {
                client: format!("t{}/{n}", n % 4),
                window: if n == 19 { Window::Lifetime } else { Window::Hour },
                starts: if n == 19 { -starts } else { starts },
                tenant: format!("t{}", n % 4),
                tokens: Allowance { quota: 10, balance, ..Allowance::default() },
                money: Allowance::default(),
            });
        }
    }
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for accounts in accounts.chunks(1000) {
        quotas::put_many(&mut tx, accounts).await.unwrap();
    }
    tx.commit().await.unwrap();

    let all = Filter::default();
    let one = Filter { tenants: Tenants::One("t1"), ..all };
    let hours = Filter { window: Some(Window::Hour), ..all };
    let lifetimes = Filter { window: Some(Window::Lifetime), ..all };
    let middle = Some((100 * 3600, "t2", Window::Hour));
    let (newest, next) = (499 * 3600, 498 * 3600);
    for (filter, after, expected) in [
        (
            all,
            None,
            vec![
                (newest, "t3", 4),
                (newest, "t2", 5),
                (newest, "t1", 5),
                (newest, "t0", 5),
                (next, "t3", 4),
            ],
        ),
        (
            hours,
            None,
            vec![
                (newest, "t3", 4),
                (newest, "t2", 5),
                (newest, "t1", 5),
                (newest, "t0", 5),
                (next, "t3", 4),
            ],
        ),
        (
            one,
            None,
            vec![
                (newest, "t1", 5),
                (next, "t1", 5),
                (497 * 3600, "t1", 5),
                (496 * 3600, "t1", 5),
                (495 * 3600, "t1", 5),
            ],
        ),
        (
            all,
            middle,
            vec![
                (100 * 3600, "t1", 5),
                (100 * 3600, "t0", 5),
                (99 * 3600, "t3", 4),
                (99 * 3600, "t2", 5),
                (99 * 3600, "t1", 5),
            ],
        ),
        (
            lifetimes,
            middle,
            vec![
                (0, "t3", 1),
                (-3600, "t3", 1),
                (-7200, "t3", 1),
                (-10800, "t3", 1),
                (-14400, "t3", 1),
            ],
        ),
    ] {
        let (rows, effort) =
            effort(store, async |tx| quotas::list(tx, By::Tenant, filter, after, 5).await.unwrap())
                .await;
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                (row.account.starts, row.account.tenant.as_str(), row.account.tokens.balance.spent)
            })
            .collect();
        assert_eq!(found, expected, "{filter:?}");
        assert!(effort < FEW, "{effort} for {filter:?} behind {after:?}");
    }
}

async fn n124_one_action_is_found_in_a_long_log(store: &Fresh) {
    let event = |n: u16| audit::Event {
        id: id(1, n),
        at_ms: 1000,
        action: if n == 7 { "epoch.begin" } else { "mint" }.to_owned(),
        outcome: "done".to_owned(),
        actor: Some("acme/a".to_owned()),
        tenant: Some("acme".to_owned()),
        target: None,
        jti: None,
        address: None,
        request_id: String::new(),
        detail: "{}".to_owned(),
    };
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    audit::insert_many(&mut tx, &(0..20_000).map(event).collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
    for (action, expected) in [("epoch.begin", vec![id(1, 7)]), ("none", vec![])] {
        let (found, effort) = effort(store, async |tx| {
            let filter = audit::Filter { action: Some(action), ..audit::Filter::default() };
            audit::list(tx, Tenants::All, &filter, None, 100).await.unwrap()
        })
        .await;
        assert_eq!(found.iter().map(|event| event.id).collect::<Vec<_>>(), expected);
        assert!(effort < FEW, "{effort}");
    }
    let (found, _) = effort(store, async |tx| {
        let filter = audit::Filter { action: Some("mint"), ..audit::Filter::default() };
        audit::list(tx, Tenants::All, &filter, None, 100).await.unwrap()
    })
    .await;
    assert_eq!(found.len(), 100, "mints are found too");
}

async fn n124_batches_shrink_to_heads_however_many_heads_there_are(store: &Fresh) {
    let head = if store.is_postgres() { r"'\x00'::bytea" } else { "x'00'" };
    store
        .sql(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
             INSERT INTO deny_batches (epoch, seq, at, head, jws) SELECT 'e', i, i, {head}, \
             CASE WHEN i > 19990 THEN 'jws' END FROM n"
        ))
        .await;
    let (pruned, effort) =
        effort(store, async |tx| deny_batches::prune_to_heads(tx, 19_995, 1000).await.unwrap())
            .await;
    assert_eq!(pruned, 4);
    assert!(effort < FEW, "{effort}");
}

async fn n124_the_latest_revocation_is_found_in_a_long_history(store: &Fresh) {
    let revocation = |n: u16| Revocation {
        id: id(1, n),
        epoch: None,
        seq: None,
        selector: "{}".to_owned(),
        subject: format!("tenant:t{}", n % 2),
        tenant: None,
        before: None,
        reason: "other".to_owned(),
        note: String::new(),
        by_whom: "acme/a".to_owned(),
        at_ms: 1000,
        until: None,
        known: true,
    };
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    let history: Vec<_> = (0..20_000).map(revocation).collect();
    revocations::insert_many(&mut tx, &history).await.unwrap();
    tx.commit().await.unwrap();
    let (mut found, effort) = effort(store, async |tx| {
        let subjects = ["tenant:t0", "tenant:t1", "tenant:t2"];
        revocations::latest(tx, &subjects).await.unwrap()
    })
    .await;
    found.sort_by_key(|revocation| revocation.id);
    assert_eq!(found, [revocation(19_998), revocation(19_999)]);
    assert!(effort < FEW, "{effort}");
}

async fn n124_keys_that_were_used_are_found_among_many(store: &Fresh) {
    let route = "POST /oauth2/token";
    let used = |n: u16| idempotency::Used {
        caller: format!("acme/{}", n % 10),
        route: route.to_owned(),
        key: n.to_string(),
        digest: Digest::from_bytes([1; 32]),
        at: 1,
        jti: None,
        reply: None,
    };
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let all: Vec<_> = (0..20_000).map(used).collect();
    idempotency::insert_many(&mut tx, &all).await.unwrap();
    tx.commit().await.unwrap();
    let (mut found, effort) = effort(store, async |tx| {
        let keys = [("acme/1", "1"), ("acme/5", "15"), ("acme/5", "16")];
        idempotency::find_many(tx, route, &keys).await.unwrap()
    })
    .await;
    found.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(found, [used(1), used(15)]);
    assert!(effort < FEW, "{effort}");
}
