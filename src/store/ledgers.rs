//! Who counts what tokens use.

use super::session::{heard, locking, slice};
use super::{Conn, Session, StoreError, Tenants, Tx, on};
use sqlx::QueryBuilder;

/// A ledger. Times are seconds.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Ledger {
    /// The client that it authenticates as.
    pub client: String,
    /// Its name among that client's; the verifier beside it has the same.
    pub instance: String,
    /// Whose tokens it counts for.
    pub audience: String,
    /// When it was registered.
    pub registered: i64,
    /// Since when it does not count any more.
    pub retired: Option<i64>,
    /// Everything that it counted up to then has been reported.
    pub complete_until: i64,
    /// Since when it has been known that escrows waited for it in vain; `None` once it has caught up.
    pub silent: Option<i64>,
}

/// The ledger of a client's of this name; nobody else touches it until the transaction ends.
///
/// # Errors
/// As any statement.
pub async fn lock(tx: &mut Tx, client: &str, instance: &str) -> Result<Option<Ledger>, StoreError> {
    let sql = "SELECT * FROM ledgers WHERE client = $1 AND instance = $2";
    Ok(match tx.conn() {
        Conn::Sqlite(c) => {
            sqlx::query_as(sql).bind(client).bind(instance).fetch_optional(c).await?
        }
        Conn::Postgres(c) => {
            let sql = "SELECT * FROM ledgers WHERE client = $1 AND instance = $2 FOR UPDATE";
            heard(sqlx::query_as(sql).bind(client).bind(instance).fetch_optional(c)).await?
        }
    })
}

/// Writes a ledger as it is now.
///
/// # Errors
/// As any statement.
pub async fn put(tx: &mut Tx, ledger: &Ledger) -> Result<(), StoreError> {
    let sql = "INSERT INTO ledgers \
               (client, instance, audience, registered, retired, complete_until, silent) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (client, instance) DO UPDATE SET \
               audience = excluded.audience, registered = excluded.registered, \
               retired = excluded.retired, complete_until = excluded.complete_until, \
               silent = excluded.silent";
    on!(tx, |c| sqlx::query(sql)
        .bind(&ledger.client)
        .bind(&ledger.instance)
        .bind(&ledger.audience)
        .bind(ledger.registered)
        .bind(ledger.retired)
        .bind(ledger.complete_until)
        .bind(ledger.silent)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// Retires all of a client's at `at` (seconds).
///
/// # Errors
/// As any statement.
pub async fn retire_all(tx: &mut Tx, client: &str, at: i64) -> Result<(), StoreError> {
    let sql = "UPDATE ledgers SET retired = $2 WHERE client = $1 AND retired IS NULL";
    on!(tx, |c| sqlx::query(sql).bind(client).bind(at).execute(c).await.map(drop)?);
    Ok(())
}

/// Notes at `at` that escrows wait in vain for those ledgers of an audience which have not reported
/// beyond `complete_until`; yields those of which that is new. One that reports at this moment is
/// passed over. Seconds.
///
/// # Errors
/// As any statement.
pub async fn fall_silent(
    tx: &mut Tx,
    audience: &str,
    complete_until: i64,
    at: i64,
) -> Result<Vec<Ledger>, StoreError> {
    let locking = locking(tx, " FOR UPDATE SKIP LOCKED");
    Ok(on!(tx, |c| {
        let mut query = QueryBuilder::new("UPDATE ledgers SET silent = ");
        query.push_bind(at);
        query.push(" WHERE (client, instance) IN (SELECT client, instance FROM ledgers");
        query.push(" WHERE retired IS NULL AND silent IS NULL AND audience = ").push_bind(audience);
        query.push(" AND complete_until <= ").push_bind(complete_until).push(locking);
        query.push(") RETURNING *").build_query_as().fetch_all(c).await?
    }))
}

/// The ledgers that count for an audience, in order of their names.
///
/// # Errors
/// As any statement.
pub async fn of_audience(
    from: &mut impl Session,
    audience: &str,
) -> Result<Vec<Ledger>, StoreError> {
    let sql = "SELECT * FROM ledgers WHERE audience = $1 AND retired IS NULL \
               ORDER BY client, instance";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(audience).fetch_all(c).await?))
}

/// Which ledgers; what is `None` does not restrict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Of clients of these tenants.
    pub tenants: Tenants<'a>,
    /// Of this audience.
    pub audience: Option<&'a str>,
}

/// The ledgers that match, retired ones included, in order of their names, from behind the (client,
/// instance) `after` on.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    filter: Filter<'_>,
    after: Option<(&str, &str)>,
    limit: u32,
) -> Result<Vec<Ledger>, StoreError> {
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM ledgers WHERE 1 = 1");
        match filter.tenants {
            Tenants::All => {}
            Tenants::One(tenant) => {
                let tenant = format!("{tenant}/");
                query.push(" AND substr(client, 1, length(").push_bind(tenant.clone());
                query.push(")) = ").push_bind(tenant);
            }
            Tenants::Nobody => {
                query.push(" AND 1 = 0");
            }
        }
        if let Some(audience) = filter.audience {
            query.push(" AND audience = ").push_bind(audience);
        }
        if let Some((client, instance)) = after {
            query.push(" AND (client, instance) > (").push_bind(client);
            query.push(", ").push_bind(instance).push(")");
        }
        query.push(" ORDER BY client, instance LIMIT ").push_bind(i64::from(limit));
        query.build_query_as().fetch_all(c).await?
    }))
}

/// How many a client has, retired ones included.
///
/// # Errors
/// As any statement.
pub async fn count(from: &mut impl Session, client: &str) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM ledgers WHERE client = $1";
    Ok(on!(from, |c| sqlx::query_scalar(sql).bind(client).fetch_one(c).await?))
}

/// Forgets those that retired before `before` (seconds), `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM ledgers WHERE (client, instance) IN \
               (SELECT client, instance FROM ledgers WHERE retired < $1 LIMIT $2)";
    slice(tx, sql, before, limit).await
}
