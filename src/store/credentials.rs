//! Versions of master credentials: what is known of each, and which have ended for ever.

use super::column::Bytes;
use super::{Session, StoreError, Tx, on, push_list};
use sqlx::QueryBuilder;

/// One version of a client's master credential.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Credential {
    /// Whose.
    pub client: String,
    /// `<source>:<version>.<created>`, the token's `cred`.
    pub version: String,
    /// Seconds.
    pub created: i64,
    /// The keyed digest of an embedded one.
    #[sqlx(try_from = "Bytes")]
    pub digest: Option<[u8; 32]>,
    /// Since when it authenticates nobody, in seconds.
    pub ended: Option<i64>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("client", &self.client)
            .field("version", &self.version)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Records a version; one that is there stays as it is, ended included.
///
/// # Errors
/// As any statement.
pub async fn insert(tx: &mut Tx, credential: &Credential) -> Result<(), StoreError> {
    let sql = "INSERT INTO credentials (client, version, created, digest, ended) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (client, version) DO NOTHING";
    on!(tx, |c| sqlx::query(sql)
        .bind(&credential.client)
        .bind(&credential.version)
        .bind(credential.created)
        .bind(credential.digest.as_ref().map(<[u8; 32]>::as_slice))
        .bind(credential.ended)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// A client's versions, newest first.
///
/// # Errors
/// As any statement.
pub async fn of_client(
    from: &mut impl Session,
    client: &str,
) -> Result<Vec<Credential>, StoreError> {
    let sql = "SELECT * FROM credentials WHERE client = $1 ORDER BY created DESC, version DESC";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(client).fetch_all(c).await?))
}

/// Ends a version that is on record, once; false where it is not, or had ended.
///
/// # Errors
/// As any statement.
pub async fn end(tx: &mut Tx, client: &str, version: &str, at: i64) -> Result<bool, StoreError> {
    let sql = "UPDATE credentials SET ended = $3 \
               WHERE client = $1 AND version = $2 AND ended IS NULL";
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(client)
        .bind(version)
        .bind(at)
        .execute(c)
        .await?
        .rows_affected()
        == 1))
}

/// Ends a version for good, once; false where it had ended. Of those in Vault there may be no row
/// yet: then one is made, so that it never authenticates.
///
/// # Errors
/// As any statement.
pub async fn end_for_good(
    tx: &mut Tx,
    client: &str,
    version: &str,
    at: i64,
) -> Result<bool, StoreError> {
    let created = version.rsplit_once('.').and_then(|(_, created)| created.parse().ok());
    let row = Credential {
        client: client.to_owned(),
        version: version.to_owned(),
        created: created.unwrap_or_default(),
        digest: None,
        ended: None,
    };
    insert(tx, &row).await?;
    end(tx, client, version, at).await
}

/// The versions of these clients, newest first.
///
/// # Errors
/// As any statement.
pub async fn of_clients(
    from: &mut impl Session,
    clients: &[&str],
) -> Result<Vec<Credential>, StoreError> {
    if clients.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM credentials WHERE client IN (");
        push_list!(query, clients);
        query.push(") ORDER BY created DESC, version DESC").build_query_as().fetch_all(c).await?
    }))
}
