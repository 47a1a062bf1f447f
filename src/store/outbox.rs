//! Alerts that the webhook has not been told of.

use super::audit::Event;
use super::column::floor;
use super::{Conn, Session, StoreError, Tx, on};
use sqlx::QueryBuilder;
use uuid::Uuid;

/// An alert that was claimed.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Message {
    /// What happened.
    #[sqlx(flatten)]
    pub event: Event,
    /// How often it was claimed, this time included.
    pub tries: i64,
}

/// Puts alerts in, to be sent at once. Called where they are put into the audit log, and nowhere
/// else.
pub(super) async fn insert_many(tx: &mut Tx, alerts: &[&Event]) -> Result<(), StoreError> {
    for alerts in alerts.chunks(1000) {
        on!(tx, |c| {
            let mut query = QueryBuilder::new("INSERT INTO outbox (id, due_ms, tries) ");
            query.push_values(alerts, |mut row, alert| {
                row.push_bind(alert.id.as_bytes().as_slice()).push_bind(alert.at_ms).push("0");
            });
            query.build().execute(c).await.map(drop)?;
        });
    }
    Ok(())
}

/// Whether anything is to be sent at `now_ms`.
///
/// # Errors
/// As any statement.
pub async fn is_due(from: &mut impl Session, now_ms: i64) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM outbox WHERE due_ms <= $1)";
    Ok(on!(from, |c| sqlx::query_scalar(sql).bind(now_ms).fetch_one(c).await?))
}

/// Claims what is to be sent at `now_ms`, `limit` at most, in order of its time. Until `until_ms`
/// nobody else can claim them; then they are due again unless they were deleted.
///
/// # Errors
/// As any statement.
pub async fn claim(
    tx: &mut Tx,
    now_ms: i64,
    until_ms: i64,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    // On Postgres two replicas that look at once skip each other's rows instead of waiting.
    let sql = match tx.conn() {
        Conn::Postgres(_) => {
            "UPDATE outbox SET due_ms = $2, tries = tries + 1 WHERE id IN (SELECT id FROM outbox \
             WHERE due_ms <= $1 ORDER BY due_ms, id LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id"
        }
        Conn::Sqlite(_) => {
            "UPDATE outbox SET due_ms = $2, tries = tries + 1 WHERE id IN (SELECT id FROM outbox \
             WHERE due_ms <= $1 ORDER BY due_ms, id LIMIT $3) RETURNING id"
        }
    };
    let claimed: Vec<Vec<u8>> = on!(tx, |c| sqlx::query_scalar(sql)
        .bind(now_ms)
        .bind(until_ms)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?);
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(tx, |c| {
        let mut query = QueryBuilder::new(
            "SELECT audit.*, outbox.tries FROM outbox JOIN audit ON audit.id = outbox.id \
             WHERE outbox.id IN (",
        );
        let mut ids = query.separated(", ");
        for id in &claimed {
            ids.push_bind(id.as_slice());
        }
        query.push(") ORDER BY outbox.id").build_query_as().fetch_all(c).await?
    }))
}

/// Puts the next attempt off.
///
/// # Errors
/// As any statement.
pub async fn postpone(tx: &mut Tx, id: Uuid, due_ms: i64) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET due_ms = $2 WHERE id = $1";
    on!(tx, |c| {
        sqlx::query(sql).bind(id.as_bytes().as_slice()).bind(due_ms).execute(c).await.map(drop)?;
    });
    Ok(())
}

/// Takes out what was sent, or given up.
///
/// # Errors
/// As any statement.
pub async fn delete(tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
    let sql = "DELETE FROM outbox WHERE id = $1";
    on!(tx, |c| {
        sqlx::query(sql).bind(id.as_bytes().as_slice()).execute(c).await.map(drop)?;
    });
    Ok(())
}

/// Forgets alerts of before `before_ms`, `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM outbox WHERE id IN \
               (SELECT id FROM outbox WHERE id < $1 ORDER BY id LIMIT $2)";
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(floor(before_ms).to_vec())
        .bind(i64::from(limit))
        .execute(c)
        .await?
        .rows_affected()))
}
