//! What replicas have granted lately of clients' and tenants' rates.

use super::column::{Bytes, floor};
use super::{Session, StoreError, Tx, on};
use sqlx::QueryBuilder;
use uuid::Uuid;

/// What one replica granted to one key between two of its exchanges.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Grant {
    /// A UUIDv7 of when it was told.
    #[sqlx(try_from = "Bytes")]
    pub exchange: Uuid,
    /// Whose rate it is, and which.
    pub key: String,
    /// The time in which it is earned at the key's rate. Microseconds.
    pub cost_us: i64,
}

impl Grant {
    /// When it was told. Milliseconds.
    #[must_use]
    pub fn at_ms(&self) -> i64 {
        (self.exchange.as_u128() >> 80) as i64
    }
}

/// Records what was granted to different keys.
///
/// # Errors
/// As any statement.
pub async fn insert_many(
    tx: &mut Tx,
    exchange: Uuid,
    granted: &[(&str, i64)],
) -> Result<(), StoreError> {
    for granted in granted.chunks(1000) {
        on!(tx, |c| {
            let mut query = QueryBuilder::new("INSERT INTO rate_grants (exchange, key, cost_us) ");
            query.push_values(granted, |mut row, (key, cost_us)| {
                row.push_bind(exchange.as_bytes().as_slice()).push_bind(*key).push_bind(*cost_us);
            });
            query.build().execute(c).await.map(drop)?;
        });
    }
    Ok(())
}

/// What was told at `since_ms` or later, but for the exchanges that are `known`, oldest first.
///
/// # Errors
/// As any statement.
pub async fn since(
    from: &mut impl Session,
    since_ms: i64,
    known: &[Uuid],
) -> Result<Vec<Grant>, StoreError> {
    Ok(on!(from, |c| {
        let columns = "SELECT exchange, key, cost_us FROM rate_grants WHERE exchange >= ";
        let mut query = QueryBuilder::new(columns);
        query.push_bind(floor(since_ms).to_vec());
        if !known.is_empty() {
            query.push(" AND exchange NOT IN (");
            let mut known_ids = query.separated(", ");
            for id in known {
                known_ids.push_bind(id.as_bytes().to_vec());
            }
            query.push(")");
        }
        query.push(" ORDER BY exchange, key").build_query_as().fetch_all(c).await?
    }))
}

/// Forgets what was told before `before_ms`, `limit` rows at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
    Ok(on!(tx, |c| {
        let sql = "DELETE FROM rate_grants WHERE (exchange, key) IN \
                   (SELECT exchange, key FROM rate_grants WHERE exchange < $1 \
                   ORDER BY exchange LIMIT $2)";
        sqlx::query(sql)
            .bind(floor(before_ms).to_vec())
            .bind(i64::from(limit))
            .execute(c)
            .await?
            .rows_affected()
    }))
}
