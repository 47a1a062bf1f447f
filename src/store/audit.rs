//! Who did what, when, from where, and what came of it.

use super::column::{Bytes, floor};
use super::session::heard;
use super::{Conn, Session, StoreError, Tenants, Tx, on, outbox, push_tenants};
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
    match tx.conn() {
        // A group of any size is one statement, planned once.
        Conn::Postgres(c) => {
            macro_rules! column {
                ($event:ident => $value:expr) => {
                    events.iter().map(|$event| $value).collect::<Vec<_>>()
                };
            }
            let sql = "INSERT INTO audit (id, at_ms, action, outcome, actor, tenant, target, \
                       jti, address, request_id, detail) \
                       SELECT * FROM UNNEST($1::bytea[], $2::bigint[], $3::text[], $4::text[], \
                       $5::text[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::text[], \
                       $11::text[])";
            let insert = sqlx::query(sql)
                .bind(column!(e => e.id.as_bytes().as_slice()))
                .bind(column!(e => e.at_ms))
                .bind(column!(e => e.action.as_str()))
                .bind(column!(e => e.outcome.as_str()))
                .bind(column!(e => e.actor.as_deref()))
                .bind(column!(e => e.tenant.as_deref()))
                .bind(column!(e => e.target.as_deref()))
                .bind(column!(e => e.jti.as_ref().map(|jti| jti.as_bytes().as_slice())))
                .bind(column!(e => e.address.as_deref()))
                .bind(column!(e => e.request_id.as_str()))
                .bind(column!(e => e.detail.as_str()))
                .execute(c);
            heard(insert).await?;
        }
        // As many rows as SQLite's 32,766 parameters allow for in a round figure. What fails half-way
        // leaves rows to a transaction that is given up; so SQLite need not be able to undo them.
        Conn::Sqlite(c) => {
            for events in events.chunks(1000) {
                let mut query = QueryBuilder::new(
                    "INSERT OR FAIL INTO audit (id, at_ms, action, outcome, actor, tenant, \
                     target, jti, address, request_id, detail) ",
                );
                query.push_values(events, |mut row, e| {
                    row.push_bind(e.id.as_bytes().as_slice())
                        .push_bind(e.at_ms)
                        .push_bind(&e.action)
                        .push_bind(&e.outcome)
                        .push_bind(&e.actor)
                        .push_bind(&e.tenant)
                        .push_bind(&e.target)
                        .push_bind(e.jti.as_ref().map(|jti| jti.as_bytes().as_slice()))
                        .push_bind(&e.address)
                        .push_bind(&e.request_id)
                        .push_bind(&e.detail);
                });
                query.build().execute(&mut *c).await?;
            }
        }
    }
    let alerts: Vec<&Event> = events.iter().filter(|event| event.outcome == ALERT).collect();
    outbox::insert_many(tx, &alerts).await
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
        for (condition, text) in
            [(" AND actor = ", filter.actor), (" AND action = ", filter.action)]
        {
            if let Some(text) = text {
                query.push(condition).push_bind(text);
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
