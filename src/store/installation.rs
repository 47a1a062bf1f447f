//! The one row that says who issues, and up to where the deny list is numbered.

use super::column::{Bytes, floor};
use super::session::heard;
use super::{Conn, Reader, Session, StoreError, Tx, on};
use scrip_token::{Digest, Jti};

/// SQL of Postgres for one of its clocks, in milliseconds.
macro_rules! postgres_ms {
    ($clock:literal) => {
        concat!("floor(extract(epoch FROM ", $clock, ") * 1000)::bigint")
    };
}

/// SQL of Postgres for the least UUIDv7 of when the statement began.
macro_rules! postgres_floor {
    () => {
        "decode(lpad(to_hex(floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint), \
         12, '0') || repeat('00', 10), 'hex')"
    };
}

pub(super) use {postgres_floor, postgres_ms};

/// The numbering row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Installation {
    /// The issuer's URL.
    pub issuer: String,
    /// The deny list's epoch, a UUIDv7 in text.
    pub epoch: String,
    /// The last batch's number, 0 before the first.
    pub seq: i64,
    /// SHA-256 of the last batch's payload, of the epoch's text before the first.
    #[sqlx(try_from = "Bytes")]
    pub head: Digest,
    /// The last keys document's version, 0 before the first.
    pub keys_version: i64,
    /// Seconds.
    pub created: i64,
}

/// Makes the row; false where there is one already.
///
/// # Errors
/// As any statement.
pub async fn create(tx: &mut Tx, row: &Installation) -> Result<bool, StoreError> {
    let sql = "INSERT INTO installation \
               (one, issuer, epoch, seq, head, newest_ms, keys_version, created) \
               VALUES (1, $1, $2, $3, $4, $5, $6, $7) ON CONFLICT (one) DO NOTHING";
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(&row.issuer)
        .bind(&row.epoch)
        .bind(row.seq)
        .bind(row.head.as_bytes().as_slice())
        .bind(row.created * 1000)
        .bind(row.keys_version)
        .bind(row.created)
        .execute(c)
        .await?
        .rows_affected()
        == 1))
}

macro_rules! row {
    () => {
        "SELECT issuer, epoch, seq, head, keys_version, created FROM installation"
    };
}

/// The row as it is; `None` before bootstrap.
///
/// # Errors
/// As any statement.
pub async fn read(from: &mut impl Session) -> Result<Option<Installation>, StoreError> {
    Ok(on!(from, |c| sqlx::query_as(row!()).fetch_optional(c).await?))
}

/// The row, locked: nobody else numbers anything until the transaction ends.
///
/// # Errors
/// As any statement.
pub async fn lock(tx: &mut Tx) -> Result<Option<Installation>, StoreError> {
    let Conn::Postgres(c) = tx.conn() else { return read(tx).await };
    // Whoever has waited for the row gets it as it is by then.
    let sql = concat!(row!(), " FOR UPDATE");
    heard(sqlx::query_as(sql).fetch_optional(c)).await
}

/// Numbers a batch: `seq` becomes the last, `at_ms` the newest time on record. Once that is
/// committed, whoever listens ([`super::Store::listen`]) is told.
///
/// # Errors
/// [`StoreError::Conflict`] unless `seq` follows the last one.
pub async fn advance(tx: &mut Tx, seq: i64, head: &Digest, at_ms: i64) -> Result<(), StoreError> {
    macro_rules! advance {
        ($tell:literal) => {
            concat!(
                "UPDATE installation SET seq = $1, head = $2, \
                 newest_ms = CASE WHEN newest_ms < $3 THEN $3 ELSE newest_ms END \
                 WHERE seq = $1 - 1",
                $tell
            )
        };
    }
    let sql = match tx.conn() {
        Conn::Sqlite(_) => advance!(""),
        Conn::Postgres(_) => {
            advance!(" RETURNING pg_notify('scrip_deny', epoch || ':' || seq)")
        }
    };
    let advanced = on!(tx, |c| sqlx::query(sql)
        .bind(seq)
        .bind(head.as_bytes().as_slice())
        .bind(at_ms)
        .execute(c)
        .await?
        .rows_affected());
    if advanced == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Begins an epoch: `head` is that of the new one before its first batch, and keys documents are
/// numbered from above `keys_version` on, where that is more than they have got to.
///
/// # Errors
/// [`StoreError::Conflict`] unless `old` is the epoch, and `new` greater.
pub async fn begin_epoch(
    tx: &mut Tx,
    old: &str,
    new: &str,
    head: &Digest,
    keys_version: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE installation SET epoch = $2, seq = 0, head = $3, \
               keys_version = CASE WHEN keys_version < $4 THEN $4 ELSE keys_version END \
               WHERE epoch = $1 AND epoch < $2";
    let begun = on!(tx, |c| sqlx::query(sql)
        .bind(old)
        .bind(new)
        .bind(head.as_bytes().as_slice())
        .bind(keys_version)
        .execute(c)
        .await?
        .rows_affected());
    if begun == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Numbers a keys document.
///
/// # Errors
/// [`StoreError::Conflict`] unless `version` is greater than the last one.
pub async fn set_keys_version(tx: &mut Tx, version: i64) -> Result<(), StoreError> {
    let sql = "UPDATE installation SET keys_version = $1 WHERE keys_version < $1";
    let set = on!(tx, |c| sqlx::query(sql).bind(version).execute(c).await?.rows_affected());
    if set == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Database time in milliseconds: Postgres' own clock, read now; `clock_ms` on SQLite. Never behind
/// the newest time on record: that of the last batch or of the newest token, whose jti begins with
/// it. Mints do not write it here, because each would wait for this row. Only tokens newer than the
/// clock, and their partitions, are looked at.
///
/// # Errors
/// As any statement.
pub async fn now_ms(from: &mut impl Session, clock_ms: i64) -> Result<i64, StoreError> {
    #[derive(sqlx::FromRow)]
    struct Newest {
        clock: Option<i64>,
        batch: Option<i64>,
        #[sqlx(try_from = "Bytes")]
        token: Option<Jti>,
    }
    macro_rules! newest {
        ($clock:expr, $floor:expr) => {
            concat!(
                "SELECT ",
                $clock,
                " AS clock, (SELECT newest_ms FROM installation) AS batch, \
                 (SELECT jti FROM tokens WHERE jti >= ",
                $floor,
                " ORDER BY jti DESC LIMIT 1) AS token"
            )
        };
    }
    let newest: Newest = match from.conn() {
        Conn::Sqlite(c) => {
            let sql = newest!("NULL", "$1");
            sqlx::query_as(sql).bind(floor(clock_ms).to_vec()).fetch_one(c).await?
        }
        Conn::Postgres(c) => {
            let sql = newest!(postgres_ms!("clock_timestamp()"), postgres_floor!());
            heard(sqlx::query_as(sql).fetch_one(c)).await?
        }
    };
    let token = newest.token.map_or(0, |jti| jti.milliseconds() as i64);
    Ok(newest.clock.unwrap_or(clock_ms).max(newest.batch.unwrap_or(0)).max(token))
}

/// Returns once this database has proved that it had the last word until now, by a commit: a standby
/// refuses it, and a primary that waits for a standby cannot finish it after the standby has taken
/// over. Whoever then speaks of a time before this was called knows all that was acknowledged by that
/// time. SQLite has nobody who could take over.
///
/// # Errors
/// [`StoreError::Unsafe`] where it takes no writes: a standby, or a primary that was told so when it
/// was replaced; else as any statement.
pub async fn has_last_word(from: &mut Reader) -> Result<(), StoreError> {
    let Conn::Postgres(c) = from.conn() else { return Ok(()) };
    // A message in the write-ahead log, to nobody, is the least that has to be committed. Postgres
    // does not count it as a write, so being read-only has to be asked for.
    let sql = "SELECT pg_logical_emit_message(true, 'scrip', 'last word') \
               WHERE current_setting('transaction_read_only') = 'off'";
    match heard(sqlx::query(sql).fetch_optional(c)).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::Unsafe("it takes no writes".to_owned())),
    }
}
