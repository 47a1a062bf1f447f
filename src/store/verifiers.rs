//! What each verifier acknowledged last, and the terms on which it goes on when it hears nothing.

use super::session::slice;
use super::{Session, StoreError, Tx, on};
use sqlx::QueryBuilder;

/// A verifier.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Verifier {
    /// The client that it authenticates as.
    pub client: String,
    /// Its name among that client's verifiers.
    pub verifier: String,
    /// The epoch it follows, a UUIDv7 in text.
    pub epoch: String,
    /// The last batch that it enforces.
    pub seq: i64,
    /// When it first acknowledged that batch. Milliseconds.
    pub moved_ms: i64,
    /// When it acknowledged last. Milliseconds.
    pub acked_ms: i64,
    /// The time up to which it knows what is revoked. Seconds.
    pub as_of: i64,
    /// How old its information may be. Seconds.
    pub max_staleness: i64,
    /// How old it may be for tokens that were just minted. Seconds.
    pub max_offline: i64,
    /// `deny`, `deny-and-alert` or `allow-for`.
    pub policy: String,
    /// What `allow-for` adds to `max_staleness`. Seconds.
    pub allow_for: i64,
}

/// The name of a verifier: its client's, and its own.
pub type Name<'n> = (&'n str, &'n str);

impl Verifier {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name<'_> {
        (&self.client, &self.verifier)
    }

    /// Its place in the feed. Epochs are UUIDv7s, and so in order of time.
    #[must_use]
    pub fn position(&self) -> (&str, i64) {
        (&self.epoch, self.seq)
    }
}

/// How many verifiers a client has.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Count {
    /// The client.
    pub client: String,
    /// At least one.
    pub verifiers: i64,
}

/// The verifiers among `names` that there are, in no order.
///
/// # Errors
/// As any statement.
pub async fn by_names(
    from: &mut impl Session,
    names: &[Name<'_>],
) -> Result<Vec<Verifier>, StoreError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM verifiers WHERE (client, verifier) IN (");
        query.push_values(names, |mut row, (client, verifier)| {
            row.push_bind(*client).push_bind(*verifier);
        });
        query.push(")").build_query_as().fetch_all(c).await?
    }))
}

/// How many verifiers each client has that has any.
///
/// # Errors
/// As any statement.
pub async fn count(from: &mut impl Session) -> Result<Vec<Count>, StoreError> {
    let sql = "SELECT client, count(*) AS verifiers FROM verifiers GROUP BY client";
    Ok(on!(from, |c| sqlx::query_as(sql).fetch_all(c).await?))
}

/// Records what verifiers acknowledged, 1,000 of them at most and none twice. Nobody moves back,
/// whoever else writes meanwhile: where the row is further already, it stays as it is. To be given
/// in order of their names, or two replicas could wait for each other.
///
/// # Errors
/// As any statement.
pub async fn put_many(tx: &mut Tx, verifiers: &[Verifier]) -> Result<(), StoreError> {
    if verifiers.is_empty() {
        return Ok(());
    }
    on!(tx, |c| {
        let mut query = QueryBuilder::new(
            "INSERT INTO verifiers (client, verifier, epoch, seq, moved_ms, acked_ms, as_of, \
             max_staleness, max_offline, policy, allow_for) ",
        );
        query.push_values(verifiers, |mut row, v| {
            row.push_bind(&v.client)
                .push_bind(&v.verifier)
                .push_bind(&v.epoch)
                .push_bind(v.seq)
                .push_bind(v.moved_ms)
                .push_bind(v.acked_ms)
                .push_bind(v.as_of)
                .push_bind(v.max_staleness)
                .push_bind(v.max_offline)
                .push_bind(&v.policy)
                .push_bind(v.allow_for);
        });
        query.push(
            " ON CONFLICT (client, verifier) DO UPDATE SET \
             moved_ms = CASE WHEN verifiers.epoch = excluded.epoch \
             AND verifiers.seq = excluded.seq \
             THEN verifiers.moved_ms ELSE excluded.moved_ms END, \
             acked_ms = CASE WHEN verifiers.acked_ms < excluded.acked_ms \
             THEN excluded.acked_ms ELSE verifiers.acked_ms END, \
             as_of = CASE WHEN verifiers.as_of < excluded.as_of \
             THEN excluded.as_of ELSE verifiers.as_of END, \
             epoch = excluded.epoch, seq = excluded.seq, \
             max_staleness = excluded.max_staleness, max_offline = excluded.max_offline, \
             policy = excluded.policy, allow_for = excluded.allow_for \
             WHERE (excluded.epoch, excluded.seq) >= (verifiers.epoch, verifiers.seq)",
        );
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}

/// All verifiers, in order of their names.
///
/// # Errors
/// As any statement.
pub async fn all(from: &mut impl Session) -> Result<Vec<Verifier>, StoreError> {
    let sql = "SELECT * FROM verifiers ORDER BY client, verifier";
    Ok(on!(from, |c| sqlx::query_as(sql).fetch_all(c).await?))
}

/// Forgets those that acknowledged nothing since `before_ms`, `limit` at most; says how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM verifiers WHERE (client, verifier) IN \
               (SELECT client, verifier FROM verifiers WHERE acked_ms < $1 \
               ORDER BY acked_ms LIMIT $2)";
    slice(tx, sql, before_ms, limit).await
}
