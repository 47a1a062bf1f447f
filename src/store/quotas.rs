//! What has become of each client's quota, window by window.

use super::session::{heard, slice};
use super::{Conn, Session, StoreError, Tenants, Tx, on, push_tenants};
use crate::escrow::{Balance, Window};
use sqlx::QueryBuilder;
use std::collections::BTreeSet;

/// A client's quota in one window. Amounts are LLM tokens.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    /// The client.
    pub client: String,
    /// How long the window is.
    #[sqlx(rename = "period", try_from = "String")]
    pub window: Window,
    /// When it begins, in seconds.
    pub starts: i64,
    /// The client's tenant.
    pub tenant: String,
    /// The quota, as the last mint had it; 0 before the first.
    #[sqlx(try_from = "i64")]
    pub quota: u64,
    /// The highest percentage that an alert was raised for.
    #[sqlx(try_from = "i64")]
    pub alerted: u64,
    /// What has become of it.
    #[sqlx(flatten)]
    pub balance: Balance,
}

/// Which account: the client, the window, and when that begins.
pub type Key = (String, Window, i64);

impl Account {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.client.clone(), self.window, self.starts)
    }

    fn new((client, window, starts): &Key) -> Self {
        let tenant = client.split_once('/').map_or(client.as_str(), |(tenant, _)| tenant);
        Self {
            client: client.clone(),
            window: *window,
            starts: *starts,
            tenant: tenant.to_owned(),
            quota: 0,
            alerted: 0,
            balance: Balance::default(),
        }
    }
}

/// These accounts, in order of their keys, made where there are none. Nobody else touches them until
/// the transaction ends; 2,000 at most.
///
/// # Errors
/// As any statement.
pub async fn lock(tx: &mut Tx, keys: &BTreeSet<Key>) -> Result<Vec<Account>, StoreError> {
    let found = lock_those_there_are(tx, keys).await?;
    if found.len() == keys.len() {
        return Ok(found);
    }
    let known: BTreeSet<Key> = found.iter().map(Account::key).collect();
    let new: Vec<Account> = keys.difference(&known).map(Account::new).collect();
    // Another replica may make the same meanwhile.
    write(tx, &new, "DO NOTHING").await?;
    lock_those_there_are(tx, keys).await
}

async fn lock_those_there_are(
    tx: &mut Tx,
    keys: &BTreeSet<Key>,
) -> Result<Vec<Account>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    Ok(match tx.conn() {
        Conn::Postgres(c) => {
            let sql = "SELECT q.* FROM quotas q \
                       JOIN UNNEST($1::text[], $2::text[], $3::bigint[]) \
                       AS k (client, period, starts) USING (client, period, starts) \
                       ORDER BY client, period, starts FOR UPDATE OF q";
            let select = sqlx::query_as(sql)
                .bind(keys.iter().map(|(client, ..)| client.as_str()).collect::<Vec<_>>())
                .bind(keys.iter().map(|(_, window, _)| window.as_str()).collect::<Vec<_>>())
                .bind(keys.iter().map(|(.., starts)| *starts).collect::<Vec<_>>())
                .fetch_all(c);
            heard(select).await?
        }
        Conn::Sqlite(c) => {
            let mut query =
                QueryBuilder::new("SELECT * FROM quotas WHERE (client, period, starts) IN (");
            query.push_values(keys, |mut row, (client, window, starts)| {
                row.push_bind(client).push_bind(window.as_str()).push_bind(starts);
            });
            query.push(") ORDER BY client, period, starts").build_query_as().fetch_all(c).await?
        }
    })
}

/// Writes accounts as they are now, which [`lock`] has given.
///
/// # Errors
/// As any statement.
pub async fn put_many(tx: &mut Tx, accounts: &[Account]) -> Result<(), StoreError> {
    let update = "DO UPDATE SET quota = excluded.quota, alerted = excluded.alerted, \
                  granted = excluded.granted, reserved = excluded.reserved, \
                  spent = excluded.spent, refunded = excluded.refunded, \
                  overrun = excluded.overrun, carried = excluded.carried";
    write(tx, accounts, update).await
}

async fn write(
    tx: &mut Tx,
    accounts: &[Account],
    on_conflict: &'static str,
) -> Result<(), StoreError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO quotas (client, period, starts, tenant, quota, alerted, granted, \
                  reserved, spent, refunded, overrun, carried) ";
    let conflict = " ON CONFLICT (client, period, starts) ";
    match tx.conn() {
        // A statement of any size is one text, planned once.
        Conn::Postgres(c) => {
            let texts = |of: fn(&Account) -> &str| accounts.iter().map(of).collect::<Vec<_>>();
            let numbers = |of: fn(&Account) -> u64| {
                accounts.iter().map(|account| of(account).cast_signed()).collect::<Vec<_>>()
            };
            let mut query = QueryBuilder::new(insert);
            query.push("SELECT * FROM UNNEST(").push_bind(texts(|a| &a.client));
            query.push("::text[], ").push_bind(texts(|a| a.window.as_str()));
            query
                .push("::text[], ")
                .push_bind(accounts.iter().map(|a| a.starts).collect::<Vec<_>>());
            query.push("::bigint[], ").push_bind(texts(|a| &a.tenant));
            query.push("::text[]");
            let amounts: [fn(&Account) -> u64; 8] = [
                |a| a.quota,
                |a| a.alerted,
                |a| a.balance.granted,
                |a| a.balance.reserved,
                |a| a.balance.spent,
                |a| a.balance.refunded,
                |a| a.balance.overrun,
                |a| a.balance.carried,
            ];
            for amount in amounts {
                query.push(", ").push_bind(numbers(amount)).push("::bigint[]");
            }
            query.push(")").push(conflict).push(on_conflict);
            heard(query.build().execute(c)).await?;
        }
        Conn::Sqlite(c) => {
            let mut query = QueryBuilder::new(insert);
            query.push_values(accounts, |mut row, a| {
                row.push_bind(&a.client)
                    .push_bind(a.window.as_str())
                    .push_bind(a.starts)
                    .push_bind(&a.tenant);
                let Balance { granted, reserved, spent, refunded, overrun, carried } = a.balance;
                let amounts =
                    [a.quota, a.alerted, granted, reserved, spent, refunded, overrun, carried];
                for amount in amounts {
                    row.push_bind(amount.cast_signed());
                }
            });
            query.push(conflict).push(on_conflict).build().execute(c).await?;
        }
    }
    Ok(())
}

/// Which accounts; what is `None` does not restrict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Of this client.
    pub client: Option<&'a str>,
    /// Of these tenants.
    pub tenants: Tenants<'a>,
    /// Of windows of this kind.
    pub window: Option<Window>,
}

/// Whose sums a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Each client's.
    Client,
    /// Each tenant's; `client` is the tenant then.
    Tenant,
}

/// Those that match, of the newest windows first, from behind the (start, client, window) `after` on.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    by: By,
    filter: Filter<'_>,
    after: Option<(i64, &str, Window)>,
    limit: u32,
) -> Result<Vec<Account>, StoreError> {
    let source = match by {
        By::Client => "quotas",
        By::Tenant => {
            "(SELECT tenant AS client, period, starts, tenant, \
             CAST(sum(quota) AS BIGINT) AS quota, max(alerted) AS alerted, \
             CAST(sum(granted) AS BIGINT) AS granted, CAST(sum(reserved) AS BIGINT) AS reserved, \
             CAST(sum(spent) AS BIGINT) AS spent, CAST(sum(refunded) AS BIGINT) AS refunded, \
             CAST(sum(overrun) AS BIGINT) AS overrun, CAST(sum(carried) AS BIGINT) AS carried \
             FROM quotas GROUP BY tenant, period, starts)"
        }
    };
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM ");
        query.push(source).push(" AS accounts WHERE 1 = 1");
        if let Some(client) = filter.client {
            query.push(" AND client = ").push_bind(client);
        }
        push_tenants!(query, filter.tenants);
        if let Some(window) = filter.window {
            query.push(" AND period = ").push_bind(window.as_str());
        }
        if let Some((starts, client, window)) = after {
            query.push(" AND (starts, client, period) < (").push_bind(starts);
            query.push(", ").push_bind(client);
            query.push(", ").push_bind(window.as_str()).push(")");
        }
        query.push(" ORDER BY starts DESC, client DESC, period DESC LIMIT ");
        query.push_bind(i64::from(limit)).build_query_as().fetch_all(c).await?
    }))
}

/// Forgets windows that began before `before` (seconds), `limit` at most; says how many. A lifetime
/// is never forgotten.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM quotas WHERE (client, period, starts) IN \
               (SELECT client, period, starts FROM quotas WHERE starts < $1 \
               AND period <> 'lifetime' ORDER BY starts LIMIT $2)";
    slice(tx, sql, before, limit).await
}
