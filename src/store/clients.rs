//! Those who may ask for tokens.

use super::column::Flag;
use super::installation::postgres_ms;
use super::session::heard;
use super::{Conn, Session, StoreError, Tenants, Tx, on, push_list, push_tenants};
use scrip_token::QualifiedName;
use sqlx::QueryBuilder;

/// A client. Times are seconds.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Client {
    /// `tenant/name`.
    pub id: String,
    /// The part before the slash.
    pub tenant: String,
    /// The name of its policy.
    pub policy: String,
    /// Who keeps its secret: `vault` or `embedded`.
    pub source: String,
    /// Whether it may ask at all.
    #[sqlx(try_from = "Flag")]
    pub enabled: bool,
    /// For how many seconds the version before the newest is still good.
    pub overlap: i64,
    /// By when its secret is to be rotated.
    pub rotate_by: Option<i64>,
    /// When it was made.
    pub created: i64,
    /// When its secret was last rotated.
    pub rotated: Option<i64>,
    /// When its secret was last used: to mint, or within the hour to do without a token.
    pub last_used: Option<i64>,
    /// The address from which that was.
    pub last_address: Option<String>,
    /// How many tokens it ever got.
    pub mints: i64,
    /// When it was deleted; its history is kept.
    pub deleted: Option<i64>,
    /// Since when its secret is refused because it is past due.
    pub refused: Option<i64>,
    /// The newest version in Vault that is on record.
    pub version: Option<String>,
}

impl Client {
    /// One that may ask, and has not asked yet. `overlap` and `created` are seconds.
    #[must_use]
    pub fn new(id: &QualifiedName, policy: &str, source: &str, overlap: i64, created: i64) -> Self {
        Self {
            id: id.to_string(),
            tenant: id.tenant().to_owned(),
            policy: policy.to_owned(),
            source: source.to_owned(),
            enabled: true,
            overlap,
            rotate_by: None,
            created,
            rotated: None,
            last_used: None,
            last_address: None,
            mints: 0,
            deleted: None,
            refused: None,
            version: None,
        }
    }
}

/// A client, and what grants it something.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Governed {
    /// The client.
    #[sqlx(flatten)]
    pub client: Client,
    /// The newest version of its policy; `None` where there is no such policy.
    pub policy_version: Option<i64>,
    /// When this was read, by the clock of Postgres, in milliseconds; `None` on SQLite.
    pub clock_ms: Option<i64>,
}

/// What to change in a client; `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct Change<'a> {
    /// Another policy's name.
    pub policy: Option<&'a str>,
    /// Whether it may ask.
    pub enabled: Option<bool>,
    /// Seconds.
    pub overlap: Option<i64>,
    /// Seconds; `Some(None)` takes the date away.
    pub rotate_by: Option<Option<i64>>,
    /// Seconds.
    pub rotated: Option<i64>,
    /// Seconds; a deleted client stays deleted.
    pub deleted: Option<i64>,
    /// Seconds; `Some(None)` accepts the secret again.
    pub refused: Option<Option<i64>>,
    /// The newest version in Vault.
    pub version: Option<&'a str>,
}

/// Which clients; what is `None` does not restrict.
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    /// Clients of these tenants.
    pub tenants: Tenants<'a>,
    /// Clients that somebody should look at.
    pub stale: Option<Stale<'a>>,
}

/// What makes a client stale, each by itself. A disabled one never is.
#[derive(Clone, Debug)]
pub struct Stale<'a> {
    /// It was made before this, in seconds, and never minted.
    pub never_used_since: Option<i64>,
    /// It last minted before this, in seconds.
    pub unused_since: Option<i64>,
    /// It is warned of one of these.
    pub warned_of: &'a [&'a str],
}

/// What a group of mints used of one client.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    /// The client.
    pub id: &'a str,
    /// How many tokens.
    pub mints: i64,
    /// Seconds.
    pub at: i64,
    /// The address that asked last.
    pub address: Option<&'a str>,
}

/// Records a new client.
///
/// # Errors
/// [`StoreError::Conflict`] where the name is, or was, taken.
pub async fn insert(tx: &mut Tx, client: &Client) -> Result<(), StoreError> {
    let sql = "INSERT INTO clients (id, tenant, policy, source, enabled, overlap, rotate_by, \
               created, rotated, last_used, last_address, mints, deleted, refused, \
               version) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    on!(tx, |c| sqlx::query(sql)
        .bind(&client.id)
        .bind(&client.tenant)
        .bind(&client.policy)
        .bind(&client.source)
        .bind(i64::from(client.enabled))
        .bind(client.overlap)
        .bind(client.rotate_by)
        .bind(client.created)
        .bind(client.rotated)
        .bind(client.last_used)
        .bind(&client.last_address)
        .bind(client.mints)
        .bind(client.deleted)
        .bind(client.refused)
        .bind(&client.version)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// The client, deleted or not.
///
/// # Errors
/// As any statement.
pub async fn by_id(from: &mut impl Session, id: &str) -> Result<Option<Client>, StoreError> {
    let sql = "SELECT * FROM clients WHERE id = $1";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await?))
}

/// Those of `tenants` that have a client, deleted or not, in no order.
///
/// # Errors
/// As any statement.
pub async fn tenants(from: &mut impl Session, tenants: &[&str]) -> Result<Vec<String>, StoreError> {
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("WITH asked (tenant) AS (VALUES (");
        push_list!(query, tenants, "), (");
        query.push(
            ")) SELECT DISTINCT tenant FROM asked WHERE EXISTS \
             (SELECT 1 FROM clients WHERE clients.tenant = asked.tenant)",
        );
        query.build_query_scalar().fetch_all(c).await?
    }))
}

/// The clients among `ids` that there are, in no order.
///
/// # Errors
/// As any statement.
pub async fn by_ids(from: &mut impl Session, ids: &[&str]) -> Result<Vec<Client>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM clients WHERE id IN (");
        push_list!(query, ids);
        query.push(")").build_query_as().fetch_all(c).await?
    }))
}

/// The same, each with the version of its policy that counts.
///
/// # Errors
/// As any statement.
pub async fn by_ids_with_policies(
    from: &mut impl Session,
    ids: &[&str],
) -> Result<Vec<Governed>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let clock = match from.conn() {
        Conn::Sqlite(_) => "NULL",
        Conn::Postgres(_) => postgres_ms!("clock_timestamp()"),
    };
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new(
            "SELECT *, (SELECT max(version) FROM policies WHERE name = clients.policy) \
             AS policy_version, ",
        );
        query.push(clock).push(" AS clock_ms FROM clients WHERE id IN (");
        push_list!(query, ids);
        query.push(")").build_query_as().fetch_all(c).await?
    }))
}

/// The clients of these tenants that are not deleted, newest first, from behind the client `after`
/// on.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    filter: &Filter<'_>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Client>, StoreError> {
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM clients WHERE deleted IS NULL");
        push_tenants!(query, filter.tenants);
        if let Some(stale) = &filter.stale {
            query.push(" AND enabled = 1 AND (1 = 0");
            if let Some(since) = stale.never_used_since {
                query.push(" OR last_used IS NULL AND created < ").push_bind(since);
            }
            if let Some(since) = stale.unused_since {
                query.push(" OR last_used < ").push_bind(since);
            }
            for kind in stale.warned_of {
                query
                    .push(" OR EXISTS (SELECT 1 FROM client_warnings w WHERE w.client = clients.id")
                    .push(" AND w.kind = ")
                    .push_bind(*kind)
                    .push(")");
            }
            query.push(")");
        }
        if let Some(after) = after {
            query
                .push(" AND (created, id) < (SELECT created, id FROM clients WHERE id = ")
                .push_bind(after);
            // Where the list goes on says nothing of a client that is not in it.
            push_tenants!(query, filter.tenants);
            query.push(")");
        }
        query.push(" ORDER BY created DESC, id DESC LIMIT ").push_bind(i64::from(limit));
        query.build_query_as().fetch_all(c).await?
    }))
}

/// The clients that are not deleted, by name, from behind `after` on.
///
/// # Errors
/// As any statement.
pub async fn by_name(
    from: &mut impl Session,
    after: &str,
    limit: u32,
) -> Result<Vec<Client>, StoreError> {
    let sql = "SELECT * FROM clients WHERE id > $1 AND deleted IS NULL ORDER BY id LIMIT $2";
    Ok(on!(from, |c| sqlx::query_as(sql).bind(after).bind(i64::from(limit)).fetch_all(c).await?))
}

/// The client as changed; `None` where there is none.
///
/// # Errors
/// As any statement.
pub async fn update(
    tx: &mut Tx,
    id: &str,
    change: &Change<'_>,
) -> Result<Option<Client>, StoreError> {
    let sql = "UPDATE clients SET policy = coalesce($2, policy), enabled = coalesce($3, enabled), \
               overlap = coalesce($4, overlap), \
               rotate_by = CASE WHEN $5 = 1 THEN $6 ELSE rotate_by END, \
               rotated = coalesce($7, rotated), deleted = coalesce(deleted, $8), \
               refused = CASE WHEN $9 = 1 THEN $10 ELSE refused END, \
               version = coalesce($11, version) \
               WHERE id = $1 RETURNING *";
    Ok(on!(tx, |c| sqlx::query_as(sql)
        .bind(id)
        .bind(change.policy)
        .bind(change.enabled.map(i64::from))
        .bind(change.overlap)
        .bind(i64::from(change.rotate_by.is_some()))
        .bind(change.rotate_by.flatten())
        .bind(change.rotated)
        .bind(change.deleted)
        .bind(i64::from(change.refused.is_some()))
        .bind(change.refused.flatten())
        .bind(change.version)
        .fetch_optional(c)
        .await?))
}

/// Notes that a client used its secret at `at` (seconds), without a mint.
///
/// # Errors
/// As any statement.
pub async fn mark_seen(tx: &mut Tx, id: &str, at: i64) -> Result<(), StoreError> {
    let sql = "UPDATE clients SET last_used = $2 \
               WHERE id = $1 AND (last_used IS NULL OR last_used < $2)";
    on!(tx, |c| sqlx::query(sql).bind(id).bind(at).execute(c).await.map(drop)?);
    Ok(())
}

/// Adds up what a group of mints used, one [`Use`] for each client. Which was last is told by their
/// times: another replica may have written a later one.
///
/// # Errors
/// As any statement.
pub async fn mark_used(tx: &mut Tx, uses: &[Use<'_>]) -> Result<(), StoreError> {
    if uses.is_empty() {
        return Ok(());
    }
    // Locked first and in one order, because two groups may share clients.
    if let Conn::Postgres(c) = tx.conn() {
        let ids: Vec<&str> = uses.iter().map(|u| u.id).collect();
        let sql = "SELECT 1 FROM clients WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
        heard(sqlx::query(sql).bind(ids).execute(c)).await?;
    }
    on!(tx, |c| {
        let mut query = QueryBuilder::new("WITH used (id, mints, at, address) AS (");
        query.push_values(uses, |mut row, u| {
            row.push_bind(u.id).push_bind(u.mints).push_bind(u.at).push_bind(u.address);
        });
        query.push(
            ") UPDATE clients SET mints = clients.mints + used.mints, \
             last_used = CASE WHEN last_used > used.at THEN last_used ELSE used.at END, \
             last_address = CASE WHEN last_used > used.at THEN last_address ELSE used.address END \
             FROM used WHERE clients.id = used.id",
        );
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}
