//! What has become of each client's quota, window by window.

use super::inserts::insert;
use super::session::{heard, slice};
use super::{Conn, Inserts, Session, StoreError, Tenants, Tx, on, push_tenants};
use crate::escrow::{Allowance, Balance, Unit, Window};
use sqlx::{ColumnIndex, Decode, FromRow, QueryBuilder, Row, Type};
use std::collections::BTreeSet;

/// A client's quotas in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The client.
    pub client: String,
    /// How long the window is.
    pub window: Window,
    /// When it begins, in seconds.
    pub starts: i64,
    /// The client's tenant.
    pub tenant: String,
    /// That of LLM tokens.
    pub tokens: Allowance,
    /// That of money, in millionths.
    pub money: Allowance,
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
            tokens: Allowance::default(),
            money: Allowance::default(),
        }
    }

    /// That of one unit.
    #[must_use]
    pub fn of(&self, unit: Unit) -> &Allowance {
        match unit {
            Unit::Tokens => &self.tokens,
            Unit::Money => &self.money,
        }
    }

    /// That of one unit, to be changed.
    pub fn of_mut(&mut self, unit: Unit) -> &mut Allowance {
        match unit {
            Unit::Tokens => &mut self.tokens,
            Unit::Money => &mut self.money,
        }
    }
}

/// The columns of an account's amounts.
const AMOUNTS: [&str; 16] = [
    "quota",
    "alerted",
    "granted",
    "reserved",
    "spent",
    "refunded",
    "overrun",
    "carried",
    "money_quota",
    "money_alerted",
    "money_granted",
    "money_reserved",
    "money_spent",
    "money_refunded",
    "money_overrun",
    "money_carried",
];

impl<'r, R: Row> FromRow<'r, R> for Account
where
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let mut amounts = [0_u64; 16];
        for (amount, column) in amounts.iter_mut().zip(AMOUNTS) {
            let found: i64 = row.try_get(column)?;
            *amount = u64::try_from(found).map_err(|error| sqlx::Error::Decode(error.into()))?;
        }
        let of = |amounts: &[u64]| Allowance {
            quota: amounts[0],
            alerted: amounts[1],
            balance: Balance {
                granted: amounts[2],
                reserved: amounts[3],
                spent: amounts[4],
                refunded: amounts[5],
                overrun: amounts[6],
                carried: amounts[7],
            },
        };
        let window: String = row.try_get("period")?;
        Ok(Self {
            client: row.try_get("client")?,
            window: window.try_into().map_err(|error: &str| sqlx::Error::Decode(error.into()))?,
            starts: row.try_get("starts")?,
            tenant: row.try_get("tenant")?,
            tokens: of(&amounts[..8]),
            money: of(&amounts[8..]),
        })
    }
}

/// These accounts, in order of their keys, made where there are none. Locked until the transaction
/// ends; 2,000 at most.
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
    tx.insert(|inserts| add(inserts, &new, "DO NOTHING")).await?;
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
    tx.insert(|inserts| push(inserts, accounts)).await
}

/// The same, with others.
pub fn push(inserts: &mut Inserts, accounts: &[Account]) {
    let updates = AMOUNTS.map(|column| format!("{column} = excluded.{column}"));
    add(inserts, accounts, &format!("DO UPDATE SET {}", updates.join(", ")));
}

fn add(inserts: &mut Inserts, accounts: &[Account], on_conflict: &str) {
    let on_conflict = format!(" ON CONFLICT (client, period, starts) {on_conflict}");
    insert!(inserts, "quotas", accounts, |a| {
        client: text = a.client.as_str(),
        period: text = a.window.as_str(),
        starts: bigint = a.starts,
        tenant: text = a.tenant.as_str(),
        quota: bigint = a.tokens.quota.cast_signed(),
        alerted: bigint = a.tokens.alerted.cast_signed(),
        granted: bigint = a.tokens.balance.granted.cast_signed(),
        reserved: bigint = a.tokens.balance.reserved.cast_signed(),
        spent: bigint = a.tokens.balance.spent.cast_signed(),
        refunded: bigint = a.tokens.balance.refunded.cast_signed(),
        overrun: bigint = a.tokens.balance.overrun.cast_signed(),
        carried: bigint = a.tokens.balance.carried.cast_signed(),
        money_quota: bigint = a.money.quota.cast_signed(),
        money_alerted: bigint = a.money.alerted.cast_signed(),
        money_granted: bigint = a.money.balance.granted.cast_signed(),
        money_reserved: bigint = a.money.balance.reserved.cast_signed(),
        money_spent: bigint = a.money.balance.spent.cast_signed(),
        money_refunded: bigint = a.money.balance.refunded.cast_signed(),
        money_overrun: bigint = a.money.balance.overrun.cast_signed(),
        money_carried: bigint = a.money.balance.carried.cast_signed(),
    }, &on_conflict);
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

/// An account in a list.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Listed {
    /// Itself, or the sums of a tenant's.
    #[sqlx(flatten)]
    pub account: Account,
    #[sqlx(try_from = "i64")]
    tokens_left: u64,
    #[sqlx(try_from = "i64")]
    money_left: u64,
}

impl Listed {
    /// What is left of the quota, or the sum of what is left of each; `None` where nothing is limited.
    #[must_use]
    pub fn left(&self, unit: Unit) -> Option<u64> {
        let left = match unit {
            Unit::Tokens => self.tokens_left,
            Unit::Money => self.money_left,
        };
        (self.account.of(unit).quota > 0).then_some(left)
    }
}

/// The accounts, each with what is left of it. No integer holds what could be out of one.
const LEFT: &str = "SELECT *, \
     CAST(CASE WHEN quota > 0.0 + carried + reserved + spent \
     THEN quota - carried - reserved - spent ELSE 0 END AS BIGINT) AS tokens_left, \
     CAST(CASE WHEN money_quota > 0.0 + money_carried + money_reserved + money_spent \
     THEN money_quota - money_carried - money_reserved - money_spent ELSE 0 END AS BIGINT) \
     AS money_left FROM quotas WHERE 1 = 1";

/// Pushes the conditions that a [`Filter`] stands for.
macro_rules! push_filter {
    ($query:ident, $filter:expr) => {
        if let Some(client) = $filter.client {
            $query.push(" AND client = ").push_bind(client);
        }
        push_tenants!($query, $filter.tenants);
        if let Some(window) = $filter.window {
            $query.push(" AND period = ").push_bind(window.as_str());
        }
    };
}

/// Pushes the condition of being behind `$after`, by the column `$of`.
macro_rules! push_after {
    ($query:ident, $after:expr, $of:literal) => {
        if let Some((starts, name, window)) = $after {
            $query.push(concat!(" AND (starts, ", $of, ", period) < (")).push_bind(starts);
            $query.push(", ").push_bind(name).push(", ").push_bind(window.as_str()).push(")");
        }
    };
}

/// The accounts that match, of the newest windows first, from behind the (start, client, window)
/// `after` on. A sum that no integer holds is the largest that there is.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    by: By,
    filter: Filter<'_>,
    after: Option<(i64, &str, Window)>,
    limit: u32,
) -> Result<Vec<Listed>, StoreError> {
    if by == By::Tenant {
        return sums(from, filter, after, limit).await;
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new(LEFT);
        push_filter!(query, filter);
        push_after!(query, after, "client");
        query.push(" ORDER BY starts DESC, client DESC, period DESC LIMIT ");
        query.push_bind(i64::from(limit)).build_query_as().fetch_all(c).await?
    }))
}

async fn sums(
    from: &mut impl Session,
    filter: Filter<'_>,
    after: Option<(i64, &str, Window)>,
    limit: u32,
) -> Result<Vec<Listed>, StoreError> {
    // First how far the page goes, or the sums of all that there ever was would be made for it.
    let Some(oldest) = oldest_of_page(from, filter, after, limit).await? else {
        return Ok(Vec::new());
    };
    let [least, sum] = match from.conn() {
        Conn::Postgres(_) => ["least", "sum"],
        // Its `sum` fails beyond an integer; `total` is exact up to 2^53.
        Conn::Sqlite(_) => ["min", "total"],
    };
    let sums = AMOUNTS.iter().chain(&["tokens_left", "money_left"]).map(|column| match *column {
        "alerted" | "money_alerted" => format!("max({column}) AS {column}"),
        _ => format!("CAST({least}({sum}({column}), {}) AS BIGINT) AS {column}", i64::MAX),
    });
    let sums = sums.collect::<Vec<_>>().join(", ");
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT tenant AS client, period, starts, tenant, ");
        query.push(&sums).push(" FROM (").push(LEFT);
        push_filter!(query, filter);
        push_after!(query, after, "tenant");
        query.push(" AND starts >= ").push_bind(oldest);
        query.push(
            ") AS each_one GROUP BY tenant, period, starts \
             ORDER BY starts DESC, tenant DESC, period DESC LIMIT ",
        );
        query.push_bind(i64::from(limit)).build_query_as().fetch_all(c).await?
    }))
}

/// The start that a page of sums ends with: from each to the one before, until there are enough.
async fn oldest_of_page(
    from: &mut impl Session,
    filter: Filter<'_>,
    after: Option<(i64, &str, Window)>,
    limit: u32,
) -> Result<Option<i64>, StoreError> {
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new(
            "WITH RECURSIVE page (newest, sums) AS \
             (SELECT max(starts), CAST(0 AS BIGINT) FROM quotas WHERE 1 = 1",
        );
        push_filter!(query, filter);
        push_after!(query, after, "tenant");
        query.push(" UNION ALL SELECT (SELECT max(starts) FROM quotas WHERE starts < newest");
        push_filter!(query, filter);
        query.push("), sums + (SELECT count(DISTINCT tenant || '/' || period) FROM quotas");
        query.push(" WHERE starts = newest");
        push_filter!(query, filter);
        push_after!(query, after, "tenant");
        query.push(") FROM page WHERE newest IS NOT NULL AND sums < ");
        query.push_bind(i64::from(limit));
        query.push(") SELECT min(newest) FROM page WHERE sums < ");
        query.push_bind(i64::from(limit)).build_query_scalar().fetch_one(c).await?
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
