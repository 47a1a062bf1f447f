//! Revocations as they were asked for and answered.

use super::column::{Bytes, Flag};
use super::{Session, StoreError, Tx, on};
use uuid::Uuid;

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Revocation {
    /// A UUIDv7 of `at_ms`.
    #[sqlx(try_from = "Bytes")]
    pub id: Uuid,
    /// The epoch of its entry; `None` where none was needed.
    pub epoch: Option<String>,
    /// The last batch that carries it.
    pub seq: Option<i64>,
    /// JSON, as it was asked for.
    pub selector: String,
    /// The canonical text of what it denies, as in [`super::deny_entries::Entry`].
    pub subject: String,
    /// Seconds.
    pub before: Option<i64>,
    /// `leaked`, `rotated`, ..
    pub reason: String,
    /// Free text.
    pub note: String,
    /// The client that asked.
    pub by_whom: String,
    /// Milliseconds.
    pub at_ms: i64,
    /// Seconds; `None`: for ever, or not needed.
    pub until: Option<i64>,
    /// Whether what it names was on record.
    #[sqlx(try_from = "Flag")]
    pub known: bool,
}

/// Records a revocation.
///
/// # Errors
/// [`StoreError::Conflict`] where the id is taken.
pub async fn insert(tx: &mut Tx, revocation: &Revocation) -> Result<(), StoreError> {
    let sql = "INSERT INTO revocations (id, epoch, seq, selector, subject, before, reason, note, \
               by_whom, at_ms, until, known) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    on!(tx, |c| sqlx::query(sql)
        .bind(revocation.id.as_bytes().as_slice())
        .bind(&revocation.epoch)
        .bind(revocation.seq)
        .bind(&revocation.selector)
        .bind(&revocation.subject)
        .bind(revocation.before)
        .bind(&revocation.reason)
        .bind(&revocation.note)
        .bind(&revocation.by_whom)
        .bind(revocation.at_ms)
        .bind(revocation.until)
        .bind(i64::from(revocation.known))
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// One revocation.
///
/// # Errors
/// As any statement.
pub async fn by_id(from: &mut impl Session, id: Uuid) -> Result<Option<Revocation>, StoreError> {
    let sql = "SELECT * FROM revocations WHERE id = $1";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(id.as_bytes().as_slice()).fetch_optional(c).await?))
}

/// The latest of a subject.
///
/// # Errors
/// As any statement.
pub async fn by_subject(
    from: &mut impl Session,
    subject: &str,
) -> Result<Option<Revocation>, StoreError> {
    let sql = "SELECT * FROM revocations WHERE subject = $1 ORDER BY id DESC LIMIT 1";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(subject).fetch_optional(c).await?))
}

/// All, newest first, from behind the revocation `after` on.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Revocation>, StoreError> {
    // No id is greater than the one of all ones.
    let sql = "SELECT * FROM revocations WHERE id < $1 ORDER BY id DESC LIMIT $2";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(after.unwrap_or(Uuid::max()).as_bytes().as_slice())
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?))
}
