//! Who reads the feed in the name of which verifier: it may never acknowledge.

use super::session::slice;
use super::verifiers::Name;
use super::{Session, StoreError, Tx, on};
use sqlx::QueryBuilder;

/// Notes that these were seen at `at` (seconds): 1,000 of them at most, none twice, in order of their
/// names, or two replicas could wait for each other.
///
/// # Errors
/// As any statement.
pub async fn note_many(tx: &mut Tx, readers: &[Name<'_>], at: i64) -> Result<(), StoreError> {
    if readers.is_empty() {
        return Ok(());
    }
    on!(tx, |c| {
        let mut query = QueryBuilder::new("INSERT INTO readers (client, verifier, at) ");
        query.push_values(readers, |mut row, (client, verifier)| {
            row.push_bind(*client).push_bind(*verifier).push_bind(at);
        });
        query.push(
            " ON CONFLICT (client, verifier) DO UPDATE SET at = excluded.at \
             WHERE readers.at < excluded.at",
        );
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}

/// The clients that read it in `most` names or more.
///
/// # Errors
/// As any statement.
pub async fn with_names(from: &mut impl Session, most: i64) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT client FROM readers GROUP BY client HAVING count(*) >= $1";
    Ok(on!(from, |c| sqlx::query_scalar(sql).bind(most).fetch_all(c).await?))
}

/// Whether anybody read it since `since` (seconds) in the name of a verifier that is not known.
///
/// # Errors
/// As any statement.
pub async fn any_silent(from: &mut impl Session, since: i64) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM readers r WHERE r.at >= $1 AND NOT EXISTS \
               (SELECT 1 FROM verifiers v WHERE v.client = r.client AND v.verifier = r.verifier)";
    let seen: i64 = on!(from, |c| sqlx::query_scalar(sql).bind(since).fetch_one(c).await?);
    Ok(seen > 0)
}

/// Forgets those who read it last before `before` (seconds), `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM readers WHERE (client, verifier) IN \
               (SELECT client, verifier FROM readers WHERE at < $1 ORDER BY at LIMIT $2)";
    slice(tx, sql, before, limit).await
}
