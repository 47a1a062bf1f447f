//! What was answered to an `Idempotency-Key`, written in the transaction of what it did.

use super::column::Bytes;
use super::session::slice;
use super::{Session, StoreError, Tx, on};
use scrip_token::{Digest, Jti};

/// A key that was used.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Used {
    /// The client that sent it.
    pub caller: String,
    /// Where it was sent.
    pub route: String,
    /// The key.
    pub key: String,
    /// SHA-256 of the request.
    #[sqlx(try_from = "Bytes")]
    pub digest: Digest,
    /// Seconds.
    pub at: i64,
    /// The token that was minted.
    #[sqlx(try_from = "Bytes")]
    pub jti: Option<Jti>,
    /// The answer without its secret, where there is no token.
    pub reply: Option<String>,
}

/// What was answered before.
///
/// # Errors
/// As any statement.
pub async fn find(
    from: &mut impl Session,
    caller: &str,
    route: &str,
    key: &str,
) -> Result<Option<Used>, StoreError> {
    let sql = "SELECT * FROM idempotency WHERE caller = $1 AND route = $2 AND key = $3";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(caller)
        .bind(route)
        .bind(key)
        .fetch_optional(c)
        .await?))
}

/// Takes the key; false where somebody was first. On Postgres it waits for whoever is taking the
/// same key just now, and nothing is undone: the rest of a group of mints goes on.
///
/// # Errors
/// As any statement.
pub async fn insert(tx: &mut Tx, used: &Used) -> Result<bool, StoreError> {
    let sql = "INSERT INTO idempotency (caller, route, key, digest, at, jti, reply) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (caller, route, key) DO NOTHING";
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(&used.caller)
        .bind(&used.route)
        .bind(&used.key)
        .bind(used.digest.as_bytes().as_slice())
        .bind(used.at)
        .bind(used.jti.as_ref().map(|jti| jti.as_bytes().as_slice()))
        .bind(&used.reply)
        .execute(c)
        .await?
        .rows_affected()
        == 1))
}

/// Forgets keys used before `before` (seconds), `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM idempotency WHERE (caller, route, key) IN \
               (SELECT caller, route, key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2)";
    slice(tx, sql, before, limit).await
}
