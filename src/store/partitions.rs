//! The partitions of Postgres' `tokens`, of a day or some days each: made ahead, dropped once nothing in
//! them is to be kept. SQLite has none.
//!
//! No mint depends on this: a token without a partition lies in the default one, and is deleted row
//! by row. No mint fails by it either: nothing here waits, or keeps others waiting, for as long as a
//! mint waits for a lock.
//!
//! A day has a partition of its own; of a longer retention it is a thirty-second, so that there are some
//! forty at most. Whichever replica comes first makes them.

use super::column::floor;
use super::session::heard;
use super::{Conn, Session, StoreError, Tx};
use chrono::{DateTime, Days, NaiveDate, NaiveTime};
use sqlx::{AssertSqlSafe, PgConnection};

/// How many days ahead partitions are made.
const AHEAD: u64 = 7;
/// Most tokens that are moved out of the default partition for the day that they belong to.
const MOST_MOVED: i64 = 2_000;
/// Most tokens in the default partition while another one is made: all of them are looked at.
const MOST_LEFT: i64 = 50_000;
/// The advisory lock of the one replica that does this: "parts" in ASCII.
const PARTITIONS: i64 = 0x70_61_72_74_73;

/// A partition of `tokens`: those issued on some days, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The first day; `None`: from the beginning, when there were no others.
    pub from: Option<NaiveDate>,
    /// The first day after it.
    pub until: NaiveDate,
}

/// The partitions that there are.
///
/// # Errors
/// As any statement.
pub async fn all(from: &mut impl Session) -> Result<Vec<Partition>, StoreError> {
    match from.conn() {
        Conn::Sqlite(_) => Ok(Vec::new()),
        Conn::Postgres(c) => known(c).await,
    }
}

/// The partitions, of so many days each, that are missing from the day of `now` (seconds) on.
#[must_use]
pub fn missing(known: &[Partition], now: i64, days: u64) -> Vec<Partition> {
    let later = |day: NaiveDate, days| day.checked_add_days(Days::new(days)).unwrap_or(day);
    let mut day = DateTime::from_timestamp(now, 0).unwrap_or_default().date_naive();
    let last = later(day, AHEAD);
    let mut missing = Vec::new();
    while day <= last {
        if let Some(known) = known.iter().find(|partition| partition.covers(day)) {
            day = known.until;
            continue;
        }
        let next = known.iter().filter_map(|partition| partition.from).filter(|from| *from > day);
        let until = next.chain([later(day, days.max(1))]).min();
        let Some(until) = until.filter(|until| *until > day) else { break };
        missing.push(Partition { from: Some(day), until });
        day = until;
    }
    missing
}

/// The partitions in which there is nothing of `before` (seconds) or later.
#[must_use]
pub fn outdated(known: &[Partition], before: i64) -> Vec<Partition> {
    known.iter().copied().filter(|partition| seconds(partition.until) <= before).collect()
}

/// Makes one; says whether it did. It does not while another replica is at it, nor where too much
/// lies in the default partition, which is searched meanwhile and locked.
///
/// # Errors
/// As any statement; where others are in the way for long, too.
pub async fn make(tx: &mut Tx, partition: Partition) -> Result<bool, StoreError> {
    let (Conn::Postgres(c), Some(from)) = (tx.conn(), partition.from) else { return Ok(false) };
    if !is_alone(c).await? || known(c).await?.iter().any(|other| other.overlaps(&partition)) {
        return Ok(false);
    }
    let (name, from, until) = (partition.name(), hex(from), hex(partition.until));
    let left =
        format!("SELECT count(*) FROM (SELECT 1 FROM tokens_default LIMIT {MOST_LEFT}) AS d");
    let misplaced = format!("tokens_default WHERE jti >= '{from}' AND jti < '{until}'");
    let few = MOST_MOVED + 1;
    let moving = format!("SELECT count(*) FROM (SELECT 1 FROM {misplaced} LIMIT {few}) AS d");
    if number(c, left).await? >= MOST_LEFT || number(c, moving.clone()).await? > MOST_MOVED {
        return Ok(false);
    }
    run(c, format!("CREATE TABLE {name} (LIKE tokens INCLUDING ALL)")).await?;
    // From here on others wait, and a mint gives up after half a second.
    run(c, "SET LOCAL statement_timeout = '300ms'".to_owned()).await?;
    if number(c, moving).await? > 0 {
        run(c, "LOCK TABLE tokens_default IN ACCESS EXCLUSIVE MODE".to_owned()).await?;
        let moved = format!("WITH moved AS (DELETE FROM {misplaced} RETURNING *)");
        run(c, format!("{moved} INSERT INTO {name} SELECT * FROM moved")).await?;
    }
    let range = format!("FOR VALUES FROM ('{from}') TO ('{until}')");
    run(c, format!("ALTER TABLE tokens ATTACH PARTITION {name} {range}")).await?;
    Ok(true)
}

/// Drops one with all that is in it; says whether it did.
///
/// # Errors
/// As [`make`].
pub async fn drop(tx: &mut Tx, partition: Partition) -> Result<bool, StoreError> {
    let Conn::Postgres(c) = tx.conn() else { return Ok(false) };
    if !is_alone(c).await? || !known(c).await?.contains(&partition) {
        return Ok(false);
    }
    run(c, format!("DROP TABLE {}", partition.name())).await?;
    Ok(true)
}

impl Partition {
    fn covers(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= day) && day < self.until
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.from.is_none_or(|from| from < other.until)
            && other.from.is_none_or(|from| from < self.until)
    }

    fn named(name: &str) -> Option<Self> {
        let day = |text| NaiveDate::parse_from_str(text, "%Y%m%d").ok();
        let (from, until) = name.strip_prefix("tokens_")?.split_once('_')?;
        let from = if from == "before" { None } else { Some(day(from)?) };
        Some(Self { from, until: day(until)? })
    }

    /// Letters, digits and `_` only.
    fn name(&self) -> String {
        let from = self.from.map_or("before".to_owned(), |from| from.format("%Y%m%d").to_string());
        format!("tokens_{from}_{}", self.until.format("%Y%m%d"))
    }
}

fn seconds(day: NaiveDate) -> i64 {
    day.and_time(NaiveTime::MIN).and_utc().timestamp()
}

/// The least `jti` of a day, as a literal.
fn hex(day: NaiveDate) -> String {
    let least = floor(seconds(day) * 1000);
    let digits: String = least.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

async fn known(c: &mut PgConnection) -> Result<Vec<Partition>, StoreError> {
    let sql = "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
               WHERE inhparent = 'tokens'::regclass ORDER BY relname";
    let names: Vec<String> = heard(sqlx::query_scalar(sql).fetch_all(c)).await?;
    Ok(names.iter().filter_map(|name| Partition::named(name)).collect())
}

/// Takes the lock, unless another replica has it; from here on nothing waits for others for long.
async fn is_alone(c: &mut PgConnection) -> Result<bool, StoreError> {
    let sql = "SELECT set_config('lock_timeout', '200ms', true), pg_try_advisory_xact_lock($1)";
    let answer = heard(sqlx::query_as(sql).bind(PARTITIONS).fetch_one(c)).await;
    answer.map(|(_, is_alone): (String, bool)| is_alone)
}

async fn number(c: &mut PgConnection, sql: String) -> Result<i64, StoreError> {
    heard(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(c)).await
}

/// `sql` is made of names and numbers of ours.
async fn run(c: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    heard(sqlx::query(AssertSqlSafe(sql)).execute(c)).await.map(|_| ())
}
