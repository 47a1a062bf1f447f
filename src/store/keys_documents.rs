//! Signed keys documents, every version, so that an old pin can walk to a new root.

use super::{Session, StoreError, Tx, on};

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct KeysDocument {
    /// From 1 up.
    pub version: i64,
    /// Seconds.
    pub at: i64,
    /// The signed document, never signed again.
    pub jws: String,
}

/// Records the next version.
///
/// # Errors
/// [`StoreError::Conflict`] where the version is taken.
pub async fn insert(tx: &mut Tx, document: &KeysDocument) -> Result<(), StoreError> {
    let sql = "INSERT INTO keys_documents (version, at, jws) VALUES ($1, $2, $3)";
    on!(tx, |c| sqlx::query(sql)
        .bind(document.version)
        .bind(document.at)
        .bind(&document.jws)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// The newest version.
///
/// # Errors
/// As any statement.
pub async fn latest(from: &mut impl Session) -> Result<Option<KeysDocument>, StoreError> {
    let sql = "SELECT * FROM keys_documents ORDER BY version DESC LIMIT 1";
    Ok(on!(from, |c| sqlx::query_as(sql).fetch_optional(c).await?))
}

/// One version.
///
/// # Errors
/// As any statement.
pub async fn version(
    from: &mut impl Session,
    version: i64,
) -> Result<Option<KeysDocument>, StoreError> {
    let sql = "SELECT * FROM keys_documents WHERE version = $1";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(version).fetch_optional(c).await?))
}
