//! Every acknowledgement that moved a verifier further.

use super::session::slice;
use super::verifiers::{Name, Verifier};
use super::{Session, StoreError, Tx, on};
use sqlx::QueryBuilder;

/// When a verifier got to the place in question.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Arrival {
    /// Its client.
    pub client: String,
    /// Its name.
    pub verifier: String,
    /// Milliseconds.
    pub at_ms: i64,
}

/// Records where verifiers have moved to and when, 1,000 of them at most.
///
/// # Errors
/// As any statement.
pub async fn insert_many(tx: &mut Tx, moved: &[Verifier]) -> Result<(), StoreError> {
    if moved.is_empty() {
        return Ok(());
    }
    on!(tx, |c| {
        let mut query =
            QueryBuilder::new("INSERT INTO acks (client, verifier, epoch, seq, at_ms) ");
        query.push_values(moved, |mut row, v| {
            row.push_bind(&v.client)
                .push_bind(&v.verifier)
                .push_bind(&v.epoch)
                .push_bind(v.seq)
                .push_bind(v.moved_ms);
        });
        // Another replica may have been told the same.
        query.push(" ON CONFLICT (client, verifier, epoch, seq) DO NOTHING");
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}

/// When each verifier first acknowledged the batch `seq` of `epoch` or a later one, for those that
/// have and as far as that is remembered.
///
/// # Errors
/// As any statement.
pub async fn arrivals(
    from: &mut impl Session,
    epoch: &str,
    seq: i64,
) -> Result<Vec<Arrival>, StoreError> {
    // The first row is found in the index, however many there are.
    let sql = "SELECT client, verifier, at_ms FROM (SELECT v.client, v.verifier, \
               (SELECT a.at_ms FROM acks a WHERE a.client = v.client AND a.verifier = v.verifier \
               AND (a.epoch, a.seq) >= ($1, $2) ORDER BY a.epoch, a.seq LIMIT 1) AS at_ms \
               FROM verifiers v) AS first WHERE at_ms IS NOT NULL ORDER BY client, verifier";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(epoch).bind(seq).fetch_all(c).await?))
}

/// The last place, (epoch, number), that a verifier acknowledged before `before_ms`, as far as that is
/// remembered.
///
/// # Errors
/// As any statement.
pub async fn reached(
    from: &mut impl Session,
    (client, verifier): Name<'_>,
    before_ms: i64,
) -> Result<Option<(String, i64)>, StoreError> {
    let sql = "SELECT epoch, seq FROM acks WHERE client = $1 AND verifier = $2 AND at_ms < $3 \
               ORDER BY epoch DESC, seq DESC LIMIT 1";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(client)
        .bind(verifier)
        .bind(before_ms)
        .fetch_optional(c)
        .await?))
}

/// Forgets those of before `before_ms`, `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM acks WHERE (client, verifier, epoch, seq) IN \
               (SELECT client, verifier, epoch, seq FROM acks WHERE at_ms < $1 \
               ORDER BY at_ms LIMIT $2)";
    slice(tx, sql, before_ms, limit).await
}
