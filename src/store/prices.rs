//! The list of prices, every version of it.

use super::{Session, StoreError, Tx, on};
use crate::prices::PriceList;

/// One version of the list.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Prices {
    /// From 1 up.
    pub version: i64,
    /// The client that set it.
    pub author: String,
    /// Seconds.
    pub at: i64,
    /// JSON.
    pub body: String,
}

impl Prices {
    /// What it says.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is no list.
    pub fn list(&self) -> Result<PriceList, StoreError> {
        PriceList::from_json(self.body.as_bytes())
            .map_err(|error| StoreError::Corrupt(format!("prices {}: {error}", self.version)))
    }
}

/// Adds the next version, and says which that is.
///
/// # Errors
/// [`StoreError::Conflict`] where somebody else adds one just now.
pub async fn insert(tx: &mut Tx, author: &str, at: i64, body: &str) -> Result<i64, StoreError> {
    let sql = "INSERT INTO prices (version, author, at, body) \
               SELECT coalesce(max(version), 0) + 1, $1, $2, $3 FROM prices RETURNING version";
    Ok(on!(tx, |c| sqlx::query_scalar(sql).bind(author).bind(at).bind(body).fetch_one(c).await?))
}

/// The version that counts.
///
/// # Errors
/// As any statement.
pub async fn latest(from: &mut impl Session) -> Result<Option<Prices>, StoreError> {
    let sql = "SELECT * FROM prices ORDER BY version DESC LIMIT 1";
    Ok(on!(from, |c| sqlx::query_as(sql).fetch_optional(c).await?))
}

/// One version.
///
/// # Errors
/// As any statement.
pub async fn version(from: &mut impl Session, version: i64) -> Result<Option<Prices>, StoreError> {
    let sql = "SELECT * FROM prices WHERE version = $1";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(version).fetch_optional(c).await?))
}

/// Every version, newest first, from behind the version `after` on.
///
/// # Errors
/// As any statement.
pub async fn versions(
    from: &mut impl Session,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<Prices>, StoreError> {
    let sql = "SELECT * FROM prices WHERE version < $1 ORDER BY version DESC LIMIT $2";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(after.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?))
}

/// What the version that counts says.
///
/// # Errors
/// As any statement; [`StoreError::Corrupt`] where it is no list.
pub async fn current(from: &mut impl Session) -> Result<Option<PriceList>, StoreError> {
    latest(from).await?.map(|row| row.list()).transpose()
}
