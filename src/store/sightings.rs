//! Who was seen to verify, or to follow, and acknowledges nothing.

use super::session::slice;
use super::{Session, StoreError, Tx, on};

/// Notes that somebody was seen at `at` (seconds). `kind` is `keys` for the JWKS, which is read
/// without giving a name, or `feed` with the name of a client that reads the feed in no verifier's
/// name.
///
/// # Errors
/// As any statement.
pub async fn note(tx: &mut Tx, kind: &str, client: &str, at: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO sightings (kind, client, at) VALUES ($1, $2, $3) \
               ON CONFLICT (kind, client) DO UPDATE SET at = excluded.at \
               WHERE sightings.at < excluded.at";
    on!(tx, |c| sqlx::query(sql).bind(kind).bind(client).bind(at).execute(c).await.map(drop)?);
    Ok(())
}

/// Whether anybody was seen since `since` (seconds).
///
/// # Errors
/// As any statement.
pub async fn any(from: &mut impl Session, since: i64) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM sightings WHERE at >= $1";
    let seen: i64 = on!(from, |c| sqlx::query_scalar(sql).bind(since).fetch_one(c).await?);
    Ok(seen > 0)
}

/// Forgets sightings of before `before` (seconds), `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM sightings WHERE (kind, client) IN \
               (SELECT kind, client FROM sightings WHERE at < $1 ORDER BY at LIMIT $2)";
    slice(tx, sql, before, limit).await
}
