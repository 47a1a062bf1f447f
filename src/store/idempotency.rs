//! What was answered to an `Idempotency-Key`, written in the transaction of what it did.

use super::column::Bytes;
use super::session::{heard, slice};
use super::{Conn, Session, StoreError, Tx};
use scrip_token::{Digest, Jti};
use sqlx::QueryBuilder;
use std::collections::HashSet;

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

impl Used {
    fn name(&self) -> (&str, &str, &str) {
        (&self.caller, &self.route, &self.key)
    }
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
    Ok(find_many(from, route, &[(caller, key)]).await?.pop())
}

/// What was answered before at `route` to those of `keys`, each with the client that sent it, that
/// were used: as often as they are asked for, in no order.
///
/// # Errors
/// As any statement.
pub async fn find_many(
    from: &mut impl Session,
    route: &str,
    keys: &[(&str, &str)],
) -> Result<Vec<Used>, StoreError> {
    let mut found = Vec::new();
    if keys.is_empty() {
        return Ok(found);
    }
    match from.conn() {
        Conn::Postgres(c) => {
            let (callers, keys): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
            let sql = "SELECT used.* FROM UNNEST($2::text[], $3::text[]) AS asked (caller, key) \
                       JOIN idempotency used USING (caller, key) WHERE route = $1";
            let rows = sqlx::query_as(sql).bind(route).bind(callers).bind(keys).fetch_all(c);
            found = heard(rows).await?;
        }
        // As many as fit into SQLite's 32,766 parameters in a round figure. For IN it would scan.
        Conn::Sqlite(c) => {
            for keys in keys.chunks(1000) {
                let mut query = QueryBuilder::new("WITH asked (caller, key) AS (");
                query.push_values(keys, |mut row, (caller, key)| {
                    row.push_bind(*caller).push_bind(*key);
                });
                query.push(
                    ") SELECT used.* FROM asked JOIN idempotency used USING (caller, key) \
                     WHERE route = ",
                );
                let rows: Vec<Used> =
                    query.push_bind(route).build_query_as().fetch_all(&mut *c).await?;
                found.extend(rows);
            }
        }
    }
    Ok(found)
}

/// Takes the key; false where somebody was first.
///
/// # Errors
/// As any statement.
pub async fn insert(tx: &mut Tx, used: &Used) -> Result<bool, StoreError> {
    Ok(insert_many(tx, std::slice::from_ref(used)).await? == [true])
}

/// Takes keys; says of each whether it was free. Of equal ones the first takes it. On Postgres it
/// waits for whoever is taking one of them just now, and nothing is undone: the rest of a group of
/// mints goes on.
///
/// # Errors
/// As any statement.
pub async fn insert_many(tx: &mut Tx, used: &[Used]) -> Result<Vec<bool>, StoreError> {
    if used.is_empty() {
        return Ok(Vec::new());
    }
    // Two groups that share keys take them in one order, and do not deadlock.
    let mut in_order: Vec<&Used> = used.iter().collect();
    in_order.sort_by(|a, b| a.name().cmp(&b.name()));
    let mut taken: Vec<(String, String, String)> = Vec::new();
    match tx.conn() {
        // A group of any size is one statement, planned once.
        Conn::Postgres(c) => {
            macro_rules! column {
                ($used:ident => $value:expr) => {
                    in_order.iter().map(|$used| $value).collect::<Vec<_>>()
                };
            }
            let sql = "INSERT INTO idempotency (caller, route, key, digest, at, jti, reply) \
                       SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::bytea[], \
                       $5::bigint[], $6::bytea[], $7::text[]) \
                       ON CONFLICT (caller, route, key) DO NOTHING RETURNING caller, route, key";
            let insert = sqlx::query_as(sql)
                .bind(column!(u => u.caller.as_str()))
                .bind(column!(u => u.route.as_str()))
                .bind(column!(u => u.key.as_str()))
                .bind(column!(u => u.digest.as_bytes().as_slice()))
                .bind(column!(u => u.at))
                .bind(column!(u => u.jti.as_ref().map(|jti| jti.as_bytes().as_slice())))
                .bind(column!(u => u.reply.as_deref()))
                .fetch_all(c);
            taken = heard(insert).await?;
        }
        // As many rows as fit into SQLite's 32,766 parameters in a round figure.
        Conn::Sqlite(c) => {
            for used in in_order.chunks(1000) {
                let mut query = QueryBuilder::new(
                    "INSERT INTO idempotency (caller, route, key, digest, at, jti, reply) ",
                );
                query.push_values(used, |mut row, u| {
                    row.push_bind(&u.caller)
                        .push_bind(&u.route)
                        .push_bind(&u.key)
                        .push_bind(u.digest.as_bytes().as_slice())
                        .push_bind(u.at)
                        .push_bind(u.jti.as_ref().map(|jti| jti.as_bytes().as_slice()))
                        .push_bind(&u.reply);
                });
                query.push(
                    " ON CONFLICT (caller, route, key) DO NOTHING RETURNING caller, route, key",
                );
                let rows: Vec<_> = query.build_query_as().fetch_all(&mut *c).await?;
                taken.extend(rows);
            }
        }
    }
    let mut taken: HashSet<_> =
        taken.iter().map(|(caller, route, key)| (&**caller, &**route, &**key)).collect();
    Ok(used.iter().map(|used| taken.remove(&used.name())).collect())
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
