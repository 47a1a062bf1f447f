//! Policies, every version of each.

use super::{Session, StoreError, Tenants, Tx, on, push_list};
use crate::policy;
use sqlx::QueryBuilder;

/// One version of a policy.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Policy {
    /// `tenant/name`.
    pub name: String,
    /// From 1 up.
    pub version: i64,
    /// The client that applied it.
    pub author: String,
    /// Seconds.
    pub at: i64,
    /// JSON.
    pub body: String,
}

impl Policy {
    /// What it says.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is no policy.
    pub fn terms(&self) -> Result<policy::Policy, StoreError> {
        policy::Policy::from_json(self.body.as_bytes()).map_err(|error| {
            StoreError::Corrupt(format!("{}, version {}: {error}", self.name, self.version))
        })
    }
}

/// Adds the next version, and says which that is.
///
/// # Errors
/// [`StoreError::Conflict`] where somebody else adds one to the same policy just now.
pub async fn insert(
    tx: &mut Tx,
    name: &str,
    author: &str,
    at: i64,
    body: &str,
) -> Result<i64, StoreError> {
    let sql = "INSERT INTO policies (name, version, author, at, body) \
               SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4 \
               FROM policies WHERE name = $1 RETURNING version";
    Ok(on!(tx, |c| sqlx::query_scalar(sql)
        .bind(name)
        .bind(author)
        .bind(at)
        .bind(body)
        .fetch_one(c)
        .await?))
}

/// The version that counts.
///
/// # Errors
/// As any statement.
pub async fn latest(from: &mut impl Session, name: &str) -> Result<Option<Policy>, StoreError> {
    let sql = "SELECT * FROM policies WHERE name = $1 ORDER BY version DESC LIMIT 1";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(name).fetch_optional(c).await?))
}

/// The version that counts of the policy that an enabled client has.
///
/// # Errors
/// As any statement.
pub async fn of_client(from: &mut impl Session, id: &str) -> Result<Option<Policy>, StoreError> {
    let sql = "SELECT policies.* FROM clients JOIN policies ON policies.name = clients.policy \
               WHERE clients.id = $1 AND clients.enabled = 1 AND clients.deleted IS NULL \
               ORDER BY policies.version DESC LIMIT 1";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await?))
}

/// The versions of these policies that count, in no order.
///
/// # Errors
/// As any statement.
pub async fn latest_of(from: &mut impl Session, names: &[&str]) -> Result<Vec<Policy>, StoreError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new(
            "SELECT * FROM policies p WHERE version = \
             (SELECT max(version) FROM policies WHERE name = p.name) AND name IN (",
        );
        push_list!(query, names);
        query.push(")").build_query_as().fetch_all(c).await?
    }))
}

/// One version.
///
/// # Errors
/// As any statement.
pub async fn version(
    from: &mut impl Session,
    name: &str,
    version: i64,
) -> Result<Option<Policy>, StoreError> {
    let sql = "SELECT * FROM policies WHERE name = $1 AND version = $2";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(name).bind(version).fetch_optional(c).await?))
}

/// The versions of one, newest first, from behind the version `after` on.
///
/// # Errors
/// As any statement.
pub async fn versions(
    from: &mut impl Session,
    name: &str,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<Policy>, StoreError> {
    let sql = "SELECT * FROM policies WHERE name = $1 AND version < $2 \
               ORDER BY version DESC LIMIT $3";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(name)
        .bind(after.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?))
}

/// The latest version of each, newest first, from behind the (time, name) `after` on. The part of
/// the name before the slash says whose it is.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    tenants: Tenants<'_>,
    after: Option<(i64, &str)>,
    limit: u32,
) -> Result<Vec<Policy>, StoreError> {
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new(
            "SELECT * FROM policies p WHERE version = \
             (SELECT max(version) FROM policies WHERE name = p.name)",
        );
        match tenants {
            Tenants::All => {}
            Tenants::One(tenant) => {
                let tenant = format!("{tenant}/");
                query.push(" AND substr(name, 1, length(").push_bind(tenant.clone());
                query.push(")) = ").push_bind(tenant);
            }
            Tenants::Nobody => {
                query.push(" AND 1 = 0");
            }
        }
        if let Some((at, name)) = after {
            query.push(" AND (at, name) < (").push_bind(at).push(", ").push_bind(name).push(")");
        }
        query.push(" ORDER BY at DESC, name DESC LIMIT ").push_bind(i64::from(limit));
        query.build_query_as().fetch_all(c).await?
    }))
}
