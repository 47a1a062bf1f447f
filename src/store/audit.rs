//! Who did what, when, from where, and what came of it.

use super::column::{Bytes, floor};
use super::inserts::insert;
use super::{Inserts, Session, StoreError, Tenants, Tx, on, outbox, push_tenants};
use scrip_token::Jti;
use sqlx::QueryBuilder;
use uuid::Uuid;

/// The outcome of an event that somebody is to be told of.
pub const ALERT: &str = "alert";

/// One event. Nothing in it is a secret or a token.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Event {
    /// A UUIDv7 of `at_ms`.
    #[sqlx(try_from = "Bytes")]
    pub id: Uuid,
    /// Milliseconds.
    pub at_ms: i64,
    /// What was asked for.
    pub action: String,
    /// What came of it.
    pub outcome: String,
    /// The client that asked, once it had proved who it is.
    pub actor: Option<String>,
    /// The tenant it concerns.
    pub tenant: Option<String>,
    /// What it was done to.
    pub target: Option<String>,
    /// The token it concerns.
    #[sqlx(try_from = "Bytes")]
    pub jti: Option<Jti>,
    /// Where the request came from.
    pub address: Option<String>,
    /// The reply's `X-Request-Id`.
    pub request_id: String,
    /// What was asked and granted, JSON.
    pub detail: String,
}

/// Which events; what is `None` does not restrict.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    /// Of this client.
    pub actor: Option<&'a str>,
    /// Of this kind.
    pub action: Option<&'a str>,
    /// Concerning this token.
    pub jti: Option<Jti>,
    /// At this time, in milliseconds, or later.
    pub since_ms: Option<i64>,
}

/// Records events, and puts the alerts among them into the outbox.
///
/// # Errors
/// As any statement.
pub async fn insert_many(tx: &mut Tx, events: &[Event]) -> Result<(), StoreError> {
    tx.insert(|inserts| push(inserts, events)).await?;
    let alerts: Vec<&Event> = events.iter().filter(|event| event.outcome == ALERT).collect();
    outbox::insert_many(tx, &alerts).await
}

/// The same for events of which none is an alert.
pub fn push(inserts: &mut Inserts, events: &[Event]) {
    insert!(inserts, "audit", events, |e| {
        id: bytea = e.id.as_bytes().as_slice(),
        at_ms: bigint = e.at_ms,
        action: text = e.action.as_str(),
        outcome: text = e.outcome.as_str(),
        actor: text = e.actor.as_deref(),
        tenant: text = e.tenant.as_deref(),
        target: text = e.target.as_deref(),
        jti: bytea = e.jti.as_ref().map(|jti| jti.as_bytes().as_slice()),
        address: text = e.address.as_deref(),
        request_id: text = e.request_id.as_str(),
        detail: text = e.detail.as_str(),
    });
}

/// Those concerning these tenants that the filter lets through, newest first, from behind the event `after` on.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    tenants: Tenants<'_>,
    filter: &Filter<'_>,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let columns = "SELECT id, at_ms, action, outcome, actor, tenant, target, jti, address, \
                   request_id, detail FROM audit WHERE 1 = 1";
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new(columns);
        push_tenants!(query, tenants);
        if let Some(actor) = filter.actor {
            query.push(" AND actor = ").push_bind(actor);
        }
        if let Some(action) = filter.action {
            query.push(" AND action = ").push_bind(action);
            // In so many words, or the index of everything but mints is not used.
            if action != "mint" {
                query.push(" AND action <> 'mint'");
            }
        }
        if let Some(jti) = filter.jti {
            query.push(" AND jti = ").push_bind(jti.as_bytes().to_vec());
        }
        if let Some(since_ms) = filter.since_ms {
            query.push(" AND id >= ").push_bind(floor(since_ms).to_vec());
        }
        if let Some(after) = after {
            query.push(" AND id < ").push_bind(after.as_bytes().to_vec());
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        query.build_query_as().fetch_all(c).await?
    }))
}

/// Requests for tokens by the clients that have `policy`, of `tenant`, now; newest first. At most
/// `looked_at` events of the tenant are looked at.
///
/// # Errors
/// As any statement.
pub async fn mints_under(
    from: &mut impl Session,
    tenant: &str,
    policy: &str,
    looked_at: u32,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let sql = "SELECT * FROM \
               (SELECT * FROM audit WHERE tenant = $1 ORDER BY id DESC LIMIT $2) AS newest \
               WHERE action = 'mint' AND outcome <> 'repeated' \
               AND actor IN (SELECT id FROM clients WHERE tenant = $1 AND policy = $3) \
               ORDER BY id DESC LIMIT $4";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(tenant)
        .bind(i64::from(looked_at))
        .bind(policy)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?))
}
