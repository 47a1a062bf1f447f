//! The days of Postgres' `tokens`, a partition each: made ahead, dropped once nothing in them is to be
//! kept. SQLite has none.
//!
//! No mint depends on it: what finds no partition lies in the default one, where it is deleted row by
//! row. And no mint fails by it: nothing here waits, or keeps others waiting, for as long as a mint
//! waits for a lock.

use super::column::floor;
use super::session::heard;
use super::{Conn, Session, StoreError, Tx};
use chrono::{Days, NaiveDate};
use sqlx::{AssertSqlSafe, PgConnection};

/// So many days ahead there are partitions.
const AHEAD: u64 = 7;
/// Most tokens that are moved out of the default partition for the day that they belong to.
const MOST_MOVED: i64 = 2_000;
/// Most tokens in the default partition while another one is made: all of them are looked at.
const MOST_LEFT: i64 = 50_000;
/// The advisory lock of the one replica that does this: "parts" in ASCII.
const PARTITIONS: i64 = 0x70_61_72_74_73;

/// A partition of `tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// All tokens from before this day: those of the time when there were no others.
    Before(NaiveDate),
    /// Those of one day, in UTC.
    Of(NaiveDate),
}

/// Those that there are.
///
/// # Errors
/// As any statement.
pub async fn all(from: &mut impl Session) -> Result<Vec<Partition>, StoreError> {
    let Conn::Postgres(c) = from.conn() else { return Ok(Vec::new()) };
    let sql = "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
               WHERE inhparent = 'tokens'::regclass ORDER BY relname";
    let names: Vec<String> = heard(sqlx::query_scalar(sql).fetch_all(c)).await?;
    Ok(names.iter().filter_map(|name| Partition::named(name)).collect())
}

/// The partitions that are missing from the day of `now` (seconds) on.
#[must_use]
pub fn missing(known: &[Partition], now: i64) -> Vec<Partition> {
    let Some(today) = day(now) else { return Vec::new() };
    let days = (0..=AHEAD).filter_map(|days| today.checked_add_days(Days::new(days)));
    let is_missing = |day: &NaiveDate| {
        !known.iter().any(|partition| match partition {
            Partition::Before(first) => day < first,
            Partition::Of(other) => day == other,
        })
    };
    days.filter(is_missing).map(Partition::Of).collect()
}

/// The partitions in which there is nothing of `before` (seconds) or later.
#[must_use]
pub fn outdated(known: &[Partition], before: i64) -> Vec<Partition> {
    known.iter().copied().filter(|partition| partition.end() <= before).collect()
}

/// Makes one; says whether it did. Not while another replica is at it, and not where too much lies in
/// the default partition: it is looked through meanwhile, and nobody may write there.
///
/// # Errors
/// As any statement; where others are in the way for long, too.
pub async fn make(tx: &mut Tx, partition: Partition) -> Result<bool, StoreError> {
    let Conn::Postgres(c) = tx.conn() else { return Ok(false) };
    if !is_alone(c).await? || exists(c, partition).await? {
        return Ok(false);
    }
    let (name, from, to) = (partition.name(), hex(partition.start()), hex(partition.end()));
    let left =
        format!("SELECT count(*) FROM (SELECT 1 FROM tokens_default LIMIT {MOST_LEFT}) AS d");
    let misplaced = format!("tokens_default WHERE jti >= '{from}' AND jti < '{to}'");
    let few = MOST_MOVED + 1;
    let moving = format!("SELECT count(*) FROM (SELECT 1 FROM {misplaced} LIMIT {few}) AS d");
    if number(c, left).await? >= MOST_LEFT || number(c, moving.clone()).await? > MOST_MOVED {
        return Ok(false);
    }
    run(c, format!("CREATE TABLE {name} (LIKE tokens INCLUDING ALL)")).await?;
    if number(c, moving).await? > 0 {
        run(c, "LOCK TABLE tokens_default IN ACCESS EXCLUSIVE MODE".to_owned()).await?;
        let moved = format!("WITH moved AS (DELETE FROM {misplaced} RETURNING *)");
        run(c, format!("{moved} INSERT INTO {name} SELECT * FROM moved")).await?;
    }
    let range = format!("FOR VALUES FROM ('{from}') TO ('{to}')");
    run(c, format!("ALTER TABLE tokens ATTACH PARTITION {name} {range}")).await?;
    Ok(true)
}

/// Drops one with all that is in it; says whether it did.
///
/// # Errors
/// As [`make`].
pub async fn drop(tx: &mut Tx, partition: Partition) -> Result<bool, StoreError> {
    let Conn::Postgres(c) = tx.conn() else { return Ok(false) };
    if !is_alone(c).await? || !exists(c, partition).await? {
        return Ok(false);
    }
    run(c, format!("DROP TABLE {}", partition.name())).await?;
    Ok(true)
}

impl Partition {
    fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix("tokens_")?;
        let day = |text| NaiveDate::parse_from_str(text, "%Y%m%d").ok();
        match name.strip_prefix("before_") {
            Some(text) => day(text).map(Self::Before),
            None => day(name).map(Self::Of),
        }
    }

    /// Letters and digits only.
    fn name(self) -> String {
        match self {
            Self::Before(day) => format!("tokens_before_{}", day.format("%Y%m%d")),
            Self::Of(day) => format!("tokens_{}", day.format("%Y%m%d")),
        }
    }

    /// Seconds; nothing in it is older.
    fn start(self) -> i64 {
        match self {
            Self::Before(_) => 0,
            Self::Of(day) => seconds(day),
        }
    }

    /// Seconds; everything in it is older.
    fn end(self) -> i64 {
        match self {
            Self::Before(day) => seconds(day),
            Self::Of(day) => seconds(day) + 86_400,
        }
    }
}

fn day(now: i64) -> Option<NaiveDate> {
    chrono::DateTime::from_timestamp(now, 0).map(|at| at.date_naive())
}

fn seconds(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
}

/// The least `jti` of a second, as a literal.
fn hex(second: i64) -> String {
    let digits: String = floor(second * 1000).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

/// Takes the lock, unless another replica has it; from here on nothing waits for long.
async fn is_alone(c: &mut PgConnection) -> Result<bool, StoreError> {
    let sql = "SELECT set_config('lock_timeout', '200ms', true), \
               set_config('statement_timeout', '300ms', true), pg_try_advisory_xact_lock($1)";
    let answer = heard(sqlx::query_as(sql).bind(PARTITIONS).fetch_one(c)).await;
    answer.map(|(_, _, is_alone): (String, String, bool)| is_alone)
}

async fn exists(c: &mut PgConnection, partition: Partition) -> Result<bool, StoreError> {
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    heard(sqlx::query_scalar(sql).bind(partition.name()).fetch_one(c)).await
}

async fn number(c: &mut PgConnection, sql: String) -> Result<i64, StoreError> {
    heard(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(c)).await
}

/// `sql` is made of names and numbers of ours.
async fn run(c: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    heard(sqlx::query(AssertSqlSafe(sql)).execute(c)).await.map(|_| ())
}
