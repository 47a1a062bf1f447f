//! Snapshots of the deny list: a signed manifest and the blob it names.

use super::column::Bytes;
use super::{Session, StoreError, Tx, on};
use scrip_token::Digest;

/// A snapshot without its blob.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Snapshot {
    /// SHA-256 of the blob.
    #[sqlx(try_from = "Bytes")]
    pub sha256: Digest,
    /// A UUIDv7 in text.
    pub epoch: String,
    /// The last batch in it.
    pub seq: i64,
    /// Seconds.
    pub at: i64,
    /// The signed manifest.
    pub manifest: String,
}

/// Gives a blob that is there already, because nothing in it has changed, its newer manifest; false
/// where there is no such blob.
///
/// # Errors
/// As any statement.
pub async fn renew(tx: &mut Tx, snapshot: &Snapshot) -> Result<bool, StoreError> {
    let sql = "UPDATE deny_snapshots SET epoch = $2, seq = $3, at = $4, manifest = $5 \
               WHERE sha256 = $1";
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(snapshot.sha256.as_bytes().as_slice())
        .bind(&snapshot.epoch)
        .bind(snapshot.seq)
        .bind(snapshot.at)
        .bind(&snapshot.manifest)
        .execute(c)
        .await?
        .rows_affected()
        == 1))
}

/// Records a snapshot. Where another replica was faster with the same blob, the later manifest
/// counts.
///
/// # Errors
/// As any statement.
pub async fn insert(tx: &mut Tx, snapshot: &Snapshot, blob: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT INTO deny_snapshots (sha256, epoch, seq, at, manifest, blob) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (sha256) DO UPDATE SET \
               epoch = excluded.epoch, seq = excluded.seq, at = excluded.at, \
               manifest = excluded.manifest";
    on!(tx, |c| sqlx::query(sql)
        .bind(snapshot.sha256.as_bytes().as_slice())
        .bind(&snapshot.epoch)
        .bind(snapshot.seq)
        .bind(snapshot.at)
        .bind(&snapshot.manifest)
        .bind(blob)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// The newest.
///
/// # Errors
/// As any statement.
pub async fn latest(from: &mut impl Session) -> Result<Option<Snapshot>, StoreError> {
    let sql = "SELECT sha256, epoch, seq, at, manifest FROM deny_snapshots \
               ORDER BY epoch DESC, seq DESC, at DESC LIMIT 1";
    Ok(on!(from, |c| sqlx::query_as(sql).fetch_optional(c).await?))
}

/// The blob with this digest.
///
/// # Errors
/// As any statement.
pub async fn blob(from: &mut impl Session, sha256: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT blob FROM deny_snapshots WHERE sha256 = $1";
    Ok(on!(from, |c| sqlx::query_scalar(sql)
        .bind(sha256.as_bytes().as_slice())
        .fetch_optional(c)
        .await?))
}

/// Forgets all but the newest two: a follower may be fetching the one before the last.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx) -> Result<u64, StoreError> {
    let sql = "DELETE FROM deny_snapshots WHERE sha256 NOT IN (SELECT sha256 FROM \
               deny_snapshots ORDER BY epoch DESC, seq DESC, at DESC LIMIT 2)";
    Ok(on!(tx, |c| sqlx::query(sql).execute(c).await?.rows_affected()))
}
