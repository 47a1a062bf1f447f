//! From where clients minted lately.

use super::session::slice;
use super::{Session, StoreError, Tx, on};
use sqlx::QueryBuilder;

/// Most addresses that are kept of one client; a few more where they come at once.
pub const MOST: i64 = 256;

/// Notes that clients minted from these addresses at `at` (seconds).
///
/// # Errors
/// As any statement.
pub async fn note(tx: &mut Tx, seen: &[(String, String)], at: i64) -> Result<(), StoreError> {
    if seen.is_empty() {
        return Ok(());
    }
    on!(tx, |c| {
        let mut query = QueryBuilder::new("WITH seen (client, address, at) AS (");
        query.push_values(seen, |mut row, (client, address)| {
            row.push_bind(client).push_bind(address).push_bind(at);
        });
        query
            .push(
                ") INSERT INTO client_addresses (client, address, at) \
                 SELECT client, address, at FROM seen WHERE (SELECT count(*) \
                 FROM client_addresses a WHERE a.client = seen.client) < ",
            )
            .push_bind(MOST)
            .push(
                " ON CONFLICT (client, address) DO UPDATE SET at = excluded.at \
                 WHERE client_addresses.at < excluded.at",
            );
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}

/// From how many addresses each of these clients minted since `since` (seconds); those that did not
/// are left out.
///
/// # Errors
/// As any statement.
pub async fn count(
    from: &mut impl Session,
    clients: &[&str],
    since: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    if clients.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query =
            QueryBuilder::new("SELECT client, count(*) FROM client_addresses WHERE at >= ");
        query.push_bind(since).push(" AND client IN (");
        let mut list = query.separated(", ");
        for client in clients {
            list.push_bind(*client);
        }
        query.push(") GROUP BY client").build_query_as().fetch_all(c).await?
    }))
}

/// Forgets what was before `before` (seconds), `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM client_addresses WHERE (client, address) IN \
               (SELECT client, address FROM client_addresses WHERE at < $1 ORDER BY at LIMIT $2)";
    slice(tx, sql, before, limit).await
}
