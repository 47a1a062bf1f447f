//! The signed batches of the deny list, byte for byte as they are published.

use super::column::Bytes;
use super::session::slice;
use super::{Session, StoreError, Tx, on};
use scrip_token::Digest;
use sqlx::QueryBuilder;

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Batch {
    /// A UUIDv7 in text.
    pub epoch: String,
    /// From 1 up within the epoch.
    pub seq: i64,
    /// Seconds.
    pub at: i64,
    /// SHA-256 of its payload.
    #[sqlx(try_from = "Bytes")]
    pub head: Digest,
    /// The signed batch; `None` once only its head is kept.
    pub jws: Option<String>,
}

/// The part of a batch that is kept longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Head {
    /// Its number within its epoch.
    pub seq: i64,
    /// SHA-256 of its payload.
    #[sqlx(try_from = "Bytes")]
    pub head: Digest,
}

/// Records the batch that follows.
///
/// # Errors
/// [`StoreError::Conflict`] where the number is taken.
pub async fn insert(tx: &mut Tx, batch: &Batch) -> Result<(), StoreError> {
    let sql = "INSERT INTO deny_batches (epoch, seq, at, head, jws) VALUES ($1, $2, $3, $4, $5)";
    on!(tx, |c| sqlx::query(sql)
        .bind(&batch.epoch)
        .bind(batch.seq)
        .bind(batch.at)
        .bind(batch.head.as_bytes().as_slice())
        .bind(&batch.jws)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// The batches that follow `seq`, in order, heads alone included: `limit` at most, and none beyond
/// the first MiB.
///
/// # Errors
/// As any statement.
pub async fn after(
    from: &mut impl Session,
    epoch: &str,
    seq: i64,
    limit: u32,
) -> Result<Vec<Batch>, StoreError> {
    let sql = "SELECT epoch, seq, at, head, jws FROM (SELECT page.*, \
               sum(length(jws)) OVER (ORDER BY seq) - length(jws) AS before_it FROM \
               (SELECT * FROM deny_batches WHERE epoch = $1 AND seq > $2 ORDER BY seq LIMIT $3) \
               AS page) AS sized WHERE coalesce(before_it, 0) < 1048576 ORDER BY seq";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(epoch)
        .bind(seq)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?))
}

/// One batch.
///
/// # Errors
/// As any statement.
pub async fn one(
    from: &mut impl Session,
    epoch: &str,
    seq: i64,
) -> Result<Option<Batch>, StoreError> {
    let sql = "SELECT * FROM deny_batches WHERE epoch = $1 AND seq = $2";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(epoch).bind(seq).fetch_optional(c).await?))
}

/// The heads of the batches among `seqs` that are kept, in no order.
///
/// # Errors
/// As any statement.
pub async fn heads(
    from: &mut impl Session,
    epoch: &str,
    seqs: &[i64],
) -> Result<Vec<Head>, StoreError> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT seq, head FROM deny_batches WHERE epoch = ");
        query.push_bind(epoch).push(" AND seq IN (");
        let mut list = query.separated(", ");
        for seq in seqs {
            list.push_bind(*seq);
        }
        query.push(")").build_query_as().fetch_all(c).await?
    }))
}

/// Keeps only the head of batches made before `before` (seconds), `limit` at most; says of how
/// many.
///
/// # Errors
/// As any statement.
pub async fn prune_to_heads(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "UPDATE deny_batches SET jws = NULL WHERE (epoch, seq) IN \
               (SELECT epoch, seq FROM deny_batches WHERE at < $1 AND jws IS NOT NULL \
               ORDER BY at LIMIT $2)";
    slice(tx, sql, before, limit).await
}

/// Forgets batches, heads and all, that were made before `before` (seconds), as was whatever
/// followed them; `limit` at most; says how many. The last one of the installation stays: until it
/// is followed, nobody knows a later one.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM deny_batches WHERE (epoch, seq) IN \
               (SELECT b.epoch, b.seq FROM deny_batches b WHERE b.at < $1 AND NOT EXISTS \
               (SELECT 1 FROM installation i WHERE i.epoch = b.epoch AND i.seq = b.seq) \
               AND NOT EXISTS (SELECT 1 FROM deny_batches n WHERE n.epoch = b.epoch \
               AND n.seq = b.seq + 1 AND n.at >= $1) ORDER BY b.at LIMIT $2)";
    slice(tx, sql, before, limit).await
}
