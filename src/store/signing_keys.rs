//! Public halves and times of every key there ever was.

use super::{Session, StoreError, Tx, on};

/// A key. Its state follows from its times, in seconds, so that replicas agree.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SigningKey {
    /// The RFC 7638 thumbprint.
    pub kid: String,
    /// `ES256`, `EdDSA` or `RS256`.
    pub alg: String,
    /// What it signs: `token`, `feed` or `root`.
    #[sqlx(rename = "use")]
    pub purpose: String,
    /// The public JWK.
    pub jwk: String,
    /// Since when verifiers can know it.
    pub published: i64,
    /// Since when it signs.
    pub active_from: Option<i64>,
    /// When nothing it signed is good any more.
    pub retire_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// Times to set on a key; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Seconds.
    pub active_from: Option<i64>,
    /// Seconds.
    pub retire_at: Option<i64>,
    /// Seconds; a key that is revoked stays so.
    pub revoked_at: Option<i64>,
}

/// Records a new key.
///
/// # Errors
/// [`StoreError::Conflict`] where the key is there already.
pub async fn insert(tx: &mut Tx, key: &SigningKey) -> Result<(), StoreError> {
    let sql = "INSERT INTO signing_keys \
               (kid, alg, use, jwk, published, active_from, retire_at, revoked_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    on!(tx, |c| sqlx::query(sql)
        .bind(&key.kid)
        .bind(&key.alg)
        .bind(&key.purpose)
        .bind(&key.jwk)
        .bind(key.published)
        .bind(key.active_from)
        .bind(key.retire_at)
        .bind(key.revoked_at)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// All, in the order of their publication.
///
/// # Errors
/// As any statement.
pub async fn all(from: &mut impl Session) -> Result<Vec<SigningKey>, StoreError> {
    let sql = "SELECT * FROM signing_keys ORDER BY published, kid";
    Ok(on!(from, |c| sqlx::query_as(sql).fetch_all(c).await?))
}

/// The key with its times set; `None` where there is none.
///
/// # Errors
/// As any statement.
pub async fn set_times(
    tx: &mut Tx,
    kid: &str,
    times: Times,
) -> Result<Option<SigningKey>, StoreError> {
    let sql = "UPDATE signing_keys SET active_from = coalesce($2, active_from), \
               retire_at = coalesce($3, retire_at), revoked_at = coalesce(revoked_at, $4) \
               WHERE kid = $1 RETURNING *";
    Ok(on!(tx, |c| sqlx::query_as(sql)
        .bind(kid)
        .bind(times.active_from)
        .bind(times.retire_at)
        .bind(times.revoked_at)
        .fetch_optional(c)
        .await?))
}
