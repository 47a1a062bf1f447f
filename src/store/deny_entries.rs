//! The deny list's entries, one row each: what a mint must not pass, and what a snapshot is
//! made of.

use super::column::Bytes;
use super::inserts::insert;
use super::session::slice;
use super::{Session, StoreError, Tx, on, push_list};
use scrip_token::Jti;
use sqlx::QueryBuilder;

/// An entry of a batch. Times are seconds.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Entry {
    /// Its batch's epoch.
    pub epoch: String,
    /// Its batch's number.
    pub seq: i64,
    /// Its place in the batch, from 0 up.
    pub ord: i64,
    /// `jti`, `client`, `sub`, `tenant`, `cred`, `kid` or `all`.
    pub kind: String,
    /// The canonical text of what it denies, such as `client:acme/billing`.
    pub subject: String,
    /// The token, where it denies one.
    #[sqlx(try_from = "Bytes")]
    pub jti: Option<Jti>,
    /// It denies tokens issued then or earlier; `None`: whenever issued.
    pub before: Option<i64>,
    /// From when on it has nothing left to deny; `None`: never.
    pub until: Option<i64>,
    /// JSON, as in its batch.
    pub entry: String,
}

/// What stands against a subject.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Cut {
    /// As in [`Entry`].
    pub subject: String,
    /// The latest of its entries' `before`; `None` where an entry asks for none.
    pub before: Option<i64>,
}

/// Records the entries of a batch, 1,024 at most.
///
/// # Errors
/// [`StoreError::Conflict`] where a place is taken.
pub async fn insert_many(tx: &mut Tx, entries: &[Entry]) -> Result<(), StoreError> {
    tx.insert(|inserts| {
        insert!(inserts, "deny_entries", entries, |e| {
            epoch: text = e.epoch.as_str(),
            seq: bigint = e.seq,
            ord: bigint = e.ord,
            kind: text = e.kind.as_str(),
            subject: text = e.subject.as_str(),
            jti: bytea = e.jti.as_ref().map(|jti| jti.as_bytes().as_slice()),
            before: bigint = e.before,
            until: bigint = e.until,
            entry: text = e.entry.as_str(),
        });
    })
    .await
}

/// What stands at `now` against any of these subjects, in whatever epoch it was said.
///
/// # Errors
/// As any statement.
pub async fn cuts(
    from: &mut impl Session,
    subjects: &[&str],
    now: i64,
) -> Result<Vec<Cut>, StoreError> {
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new(
            "SELECT subject, CASE WHEN count(before) = count(*) THEN max(before) END AS before \
             FROM deny_entries WHERE subject IN (",
        );
        push_list!(query, subjects);
        query.push(") AND (until IS NULL OR until > ").push_bind(now);
        query.push(") GROUP BY subject ORDER BY subject");
        query.build_query_as().fetch_all(c).await?
    }))
}

/// The latest cut that still kills something at `now`, whatever its kind and epoch.
///
/// # Errors
/// As any statement.
pub async fn latest_cut(from: &mut impl Session, now: i64) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT max(before) FROM deny_entries WHERE until > $1";
    Ok(on!(from, |c| sqlx::query_scalar(sql).bind(now).fetch_one(c).await?))
}

/// A page of the epoch's entries up to the batch `through` that are not over at `now`, in the
/// order they were made, from behind the (seq, ord) `after` on.
///
/// # Errors
/// As any statement.
pub async fn live(
    from: &mut impl Session,
    epoch: &str,
    through: i64,
    now: i64,
    after: (i64, i64),
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT * FROM deny_entries WHERE epoch = $1 AND seq <= $2 \
               AND (until IS NULL OR until > $3) AND (seq, ord) > ($4, $5) \
               ORDER BY seq, ord LIMIT $6";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(epoch)
        .bind(through)
        .bind(now)
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?))
}

/// Forgets entries that were over before `over` (seconds), `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, over: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM deny_entries WHERE (epoch, seq, ord) IN \
               (SELECT epoch, seq, ord FROM deny_entries WHERE until < $1 \
               ORDER BY until LIMIT $2)";
    slice(tx, sql, over, limit).await
}
