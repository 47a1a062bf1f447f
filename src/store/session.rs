use super::column::floor;
use super::gate::Turn;
use super::{StoreError, installation};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};
use std::io;
use std::time::Duration;

/// Longest wait for Postgres to answer a statement. Postgres itself ends what takes longer than 10
/// s. A server that is silent beyond that is gone without a word (a primary that lost its power, a
/// dropped route), which the kernel would notice after a quarter of an hour.
const SILENCE: Duration = Duration::from_secs(11);

/// Whatever can be read through: a [`Reader`], or the [`Tx`] whose own writes shall be seen.
pub trait Session: Send {
    /// The connection underneath.
    fn conn(&mut self) -> Conn<'_>;
}

/// A connection to either database.
pub enum Conn<'c> {
    /// To the embedded one.
    Sqlite(&'c mut SqliteConnection),
    /// To a server.
    Postgres(&'c mut PgConnection),
}

/// Expands `$body` once for each database. The statement is one text: `$1`, `ON CONFLICT` and
/// `RETURNING` mean the same to both.
macro_rules! on {
    ($session:expr, |$conn:ident| $body:expr) => {
        match $crate::store::Session::conn($session) {
            $crate::store::Conn::Sqlite($conn) => $body,
            $crate::store::Conn::Postgres($conn) => {
                let answer = async { Ok::<_, $crate::store::StoreError>($body) };
                $crate::store::session::heard(answer).await?
            }
        }
    };
}

pub(super) use on;

/// The answer of Postgres, unless it stays silent.
pub(super) async fn heard<T, E>(answer: impl Future<Output = Result<T, E>>) -> Result<T, StoreError>
where
    StoreError: From<E>,
{
    match tokio::time::timeout(SILENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into()),
    }
}

/// A connection outside any transaction: each statement sees what is committed by then.
pub struct Reader(pub(super) Lent);

pub(super) enum Lent {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Session for Reader {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.0 {
            Lent::Sqlite(conn) => Conn::Sqlite(conn),
            Lent::Postgres(conn) => Conn::Postgres(conn),
        }
    }
}

/// A transaction. Dropped without [`Tx::commit`] it leaves nothing; drop it after a statement that
/// failed.
#[must_use]
pub struct Tx(pub(super) Begun);

pub(super) enum Begun {
    /// The turn stands second, so that it is dropped after the transaction, and only then is the
    /// next writer let in.
    Sqlite(Transaction<'static, Sqlite>, Turn),
    Postgres(Transaction<'static, Postgres>),
}

impl Session for Tx {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.0 {
            Begun::Sqlite(tx, _) => Conn::Sqlite(tx),
            Begun::Postgres(tx) => Conn::Postgres(tx),
        }
    }
}

impl Tx {
    /// Makes it durable.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it is not known whether it was, and, on Postgres, where a
    /// statement before it had failed.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Begun::Sqlite(tx, _turn) => tx.commit().await?,
            Begun::Postgres(mut tx) => {
                // After a statement that failed, COMMIT rolls back and reports success; this does not.
                heard(sqlx::query("SELECT 1").execute(&mut *tx)).await?;
                heard(tx.commit()).await?;
            }
        }
        Ok(())
    }

    /// [`installation::now_ms`] within the transaction, and so after the locks that it holds.
    ///
    /// # Errors
    /// As any statement.
    pub async fn now_ms(&mut self, clock_ms: i64) -> Result<i64, StoreError> {
        installation::now_ms(self, clock_ms).await
    }
}

/// Words for a row lock, for Postgres only: SQLite lets one write at a time, and has none.
pub(super) fn locking(tx: &mut Tx, words: &'static str) -> &'static str {
    match tx.conn() {
        Conn::Postgres(_) => words,
        Conn::Sqlite(_) => "",
    }
}

/// Runs `sql` on the rows from before `before` (`$1`), `limit` (`$2`) at most; says on how many.
pub(super) async fn slice(
    tx: &mut Tx,
    sql: &'static str,
    before: i64,
    limit: u32,
) -> Result<u64, StoreError> {
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(before)
        .bind(i64::from(limit))
        .execute(c)
        .await?
        .rows_affected()))
}

/// The same, where `$1` is the least UUIDv7 of `before` (seconds).
pub(super) async fn slice_of_ids(
    tx: &mut Tx,
    sql: &'static str,
    before: i64,
    limit: u32,
) -> Result<u64, StoreError> {
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(floor(before * 1000).to_vec())
        .bind(i64::from(limit))
        .execute(c)
        .await?
        .rows_affected()))
}
