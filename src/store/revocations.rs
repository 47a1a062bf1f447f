//! Revocations as they were asked for and answered.

use super::column::{Bytes, Flag};
use super::inserts::insert;
use super::{Session, StoreError, Tenants, Tx, on, push_list, push_tenants};
use sqlx::QueryBuilder;
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
    /// Whose tokens it kills; `None` where that is not known, or everybody's.
    pub tenant: Option<String>,
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

/// Records revocations, all or none.
///
/// # Errors
/// [`StoreError::Conflict`] where an id is taken.
pub async fn insert_many(tx: &mut Tx, revocations: &[Revocation]) -> Result<(), StoreError> {
    tx.insert(|inserts| {
        insert!(inserts, "revocations", revocations, |r| {
            id: bytea = r.id.as_bytes().as_slice(),
            epoch: text = r.epoch.as_deref(),
            seq: bigint = r.seq,
            selector: text = r.selector.as_str(),
            subject: text = r.subject.as_str(),
            tenant: text = r.tenant.as_deref(),
            before: bigint = r.before,
            reason: text = r.reason.as_str(),
            note: text = r.note.as_str(),
            by_whom: text = r.by_whom.as_str(),
            at_ms: bigint = r.at_ms,
            until: bigint = r.until,
            known: bigint = i64::from(r.known),
        });
    })
    .await
}

/// One revocation.
///
/// # Errors
/// As any statement.
pub async fn by_id(from: &mut impl Session, id: Uuid) -> Result<Option<Revocation>, StoreError> {
    Ok(by_ids(from, &[id]).await?.pop())
}

/// Those of `ids` that there are, in no order.
///
/// # Errors
/// As any statement.
pub async fn by_ids(from: &mut impl Session, ids: &[Uuid]) -> Result<Vec<Revocation>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM revocations WHERE id IN (");
        push_list!(query, &ids);
        query.push(")").build_query_as().fetch_all(c).await?
    }))
}

/// The latest of each of these subjects that has one, in no order.
///
/// # Errors
/// As any statement.
pub async fn latest(
    from: &mut impl Session,
    subjects: &[&str],
) -> Result<Vec<Revocation>, StoreError> {
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        // One step back in the index from behind the last of each, because the history of a subject is
        // never forgotten. Where it has none, that leads to the last of another one.
        let mut query = QueryBuilder::new("WITH asked (subject) AS (VALUES (");
        push_list!(query, subjects, "), (");
        query.push(
            ")) SELECT * FROM revocations WHERE subject IN (SELECT subject FROM asked) \
             AND id IN (SELECT (SELECT id FROM revocations r WHERE (r.subject, r.id) <= (asked.subject, ",
        );
        query.push_bind(Uuid::max().as_bytes().to_vec());
        query.push(") ORDER BY r.subject DESC, r.id DESC LIMIT 1) FROM asked)");
        query.build_query_as().fetch_all(c).await?
    }))
}

/// The revocations of these tenants' tokens, newest first, from behind the revocation `after` on.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    tenants: Tenants<'_>,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Revocation>, StoreError> {
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM revocations WHERE id < ");
        // No id is greater than the one of all ones.
        query.push_bind(after.unwrap_or(Uuid::max()).as_bytes().to_vec());
        push_tenants!(query, tenants);
        query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        query.build_query_as().fetch_all(c).await?
    }))
}
