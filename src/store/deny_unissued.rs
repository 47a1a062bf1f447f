//! How many entries of the deny list are about tokens that nobody has issued, by when they are over.

use super::session::slice;
use super::{Session, StoreError, Tx, on};
use sqlx::QueryBuilder;

/// How many are not over at `now` (seconds).
///
/// # Errors
/// As any statement.
pub async fn live(from: &mut impl Session, now: i64) -> Result<i64, StoreError> {
    let sql = "SELECT CAST(coalesce(sum(entries), 0) AS BIGINT) FROM deny_unissued \
               WHERE until > $1";
    Ok(on!(from, |c| sqlx::query_scalar(sql).bind(now).fetch_one(c).await?))
}

/// Counts further ones: `(until, entries)`, each `until` (seconds) once.
///
/// # Errors
/// As any statement.
pub async fn add(tx: &mut Tx, entries: &[(i64, i64)]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    on!(tx, |c| {
        let mut query = QueryBuilder::new("INSERT INTO deny_unissued (until, entries) ");
        query.push_values(entries, |mut row, (until, entries)| {
            row.push_bind(*until).push_bind(*entries);
        });
        query.push(
            " ON CONFLICT (until) DO UPDATE SET entries = deny_unissued.entries + excluded.entries",
        );
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}

/// Forgets what was over before `over` (seconds), `limit` rows at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, over: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM deny_unissued WHERE until IN \
               (SELECT until FROM deny_unissued WHERE until < $1 ORDER BY until LIMIT $2)";
    slice(tx, sql, over, limit).await
}
