//! Who was seen to verify, or to follow, whether or not it acknowledges.

use super::session::slice;
use super::{Session, StoreError, Tx, on};

/// Notes that somebody was seen at `at` (seconds): `kind` is `keys`, for the JWKS, which nobody is
/// asked for a name to read, or `feed` with the client's.
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

/// Whether anybody was seen since `since` (seconds) who acknowledges nothing: a reader of the JWKS,
/// or a client that reads the feed and has no verifier.
///
/// # Errors
/// As any statement.
pub async fn any_silent(from: &mut impl Session, since: i64) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM sightings s WHERE s.at >= $1 AND (s.kind = 'keys' \
               OR NOT EXISTS (SELECT 1 FROM verifiers v WHERE v.client = s.client))";
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
