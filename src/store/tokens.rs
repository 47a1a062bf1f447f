//! The inventory of issued tokens: a record each, never the token.

use super::column::{Bytes, floor};
use super::inserts::insert;
use super::session::heard;
use super::{Conn, Inserts, Session, StoreError, Tx, on, push_list};
use scrip_token::Jti;
use scrip_token::limits::HORIZON;
use sqlx::QueryBuilder;
use std::collections::BTreeMap;

/// The record of one token. Times are seconds.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Token {
    /// Its name, a UUIDv7 of `iat`'s second.
    #[sqlx(try_from = "Bytes")]
    pub jti: Jti,
    /// The claim of this name, as are the following.
    pub tenant: String,
    /// `client_id`.
    pub client: String,
    /// `sub`.
    pub sub: String,
    /// `aud`.
    pub aud: String,
    /// The key that signs it.
    pub kid: String,
    /// `cred`.
    pub cred: Option<String>,
    /// `iat`.
    pub iat: i64,
    /// `exp`.
    pub exp: i64,
    /// `lin`: from which tokens it was delegated.
    #[sqlx(try_from = "Bytes")]
    pub lin: Vec<Jti>,
    /// All its claims, JSON.
    pub claims: String,
}

/// Which tokens.
#[derive(Clone, Copy, Debug)]
pub enum Matching<'a> {
    /// This one.
    Jti(Jti),
    /// Those of a client.
    Client(&'a str),
    /// Those of a tenant.
    Tenant(&'a str),
    /// Those about a subject in a tenant.
    Sub {
        /// The tenant.
        tenant: &'a str,
        /// `sub`.
        id: &'a str,
    },
    /// Those traded for a version of a client's master credential.
    Cred {
        /// The client.
        client: &'a str,
        /// `cred`.
        version: &'a str,
    },
    /// Those signed by a key.
    Kid(&'a str),
    /// Every one.
    All,
    /// None at all.
    None,
}

/// When tokens were issued, in seconds; what is `None` does not restrict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Then or later.
    pub from: Option<i64>,
    /// Before then.
    pub until: Option<i64>,
}

/// Pushes the condition that a [`Matching`] stands for.
macro_rules! push_matching {
    ($query:ident, $which:expr) => {
        match $which {
            Matching::Jti(jti) => $query.push("jti = ").push_bind(jti.as_bytes().to_vec()),
            Matching::Client(id) => $query.push("client = ").push_bind(id),
            Matching::Tenant(tenant) => $query.push("tenant = ").push_bind(tenant),
            Matching::Sub { tenant, id } => {
                $query.push("tenant = ").push_bind(tenant).push(" AND sub = ").push_bind(id)
            }
            Matching::Cred { client, version } => {
                $query.push("client = ").push_bind(client).push(" AND cred = ").push_bind(version)
            }
            Matching::Kid(kid) => $query.push("kid = ").push_bind(kid),
            Matching::All => $query.push("1 = 1"),
            Matching::None => $query.push("1 = 0"),
        }
    };
}

/// Records a group of tokens.
pub fn push(inserts: &mut Inserts, tokens: &[Token]) {
    insert!(inserts, "tokens", tokens, |t| {
        jti: bytea = t.jti.as_bytes().as_slice(),
        tenant: text = t.tenant.as_str(),
        client: text = t.client.as_str(),
        sub: text = t.sub.as_str(),
        aud: text = t.aud.as_str(),
        kid: text = t.kid.as_str(),
        cred: text = t.cred.as_deref(),
        iat: bigint = t.iat,
        exp: bigint = t.exp,
        lin: bytea = lineage(t),
        claims: text = t.claims.as_str(),
    });
}

/// The record of a token.
///
/// # Errors
/// As any statement.
pub async fn by_jti(from: &mut impl Session, jti: Jti) -> Result<Option<Token>, StoreError> {
    Ok(by_jtis(from, &[jti]).await?.pop())
}

/// The records of those of `jtis` that there are, in no order.
///
/// # Errors
/// As any statement.
pub async fn by_jtis(from: &mut impl Session, jtis: &[Jti]) -> Result<Vec<Token>, StoreError> {
    if jtis.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&[u8]> = jtis.iter().map(|jti| jti.as_bytes().as_slice()).collect();
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM tokens WHERE jti IN (");
        push_list!(query, &ids);
        query.push(")").build_query_as().fetch_all(c).await?
    }))
}

/// The tokens that match and were issued within `span`, newest first, from behind the token `after`
/// on.
///
/// # Errors
/// As any statement.
pub async fn list(
    from: &mut impl Session,
    which: Matching<'_>,
    span: Span,
    after: Option<Jti>,
    limit: u32,
) -> Result<Vec<Token>, StoreError> {
    let moment = |seconds: i64| floor(seconds.saturating_mul(1000));
    // One bound, so that an index is entered where the page begins.
    let until =
        after.map(|after| *after.as_bytes()).into_iter().chain(span.until.map(moment)).min();
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM tokens WHERE ");
        push_matching!(query, which);
        if let Some(from) = span.from {
            query.push(" AND jti >= ").push_bind(moment(from).to_vec());
        }
        if let Some(until) = until {
            query.push(" AND jti < ").push_bind(until.to_vec());
        }
        query.push(" ORDER BY jti DESC LIMIT ").push_bind(i64::from(limit));
        query.build_query_as().fetch_all(c).await?
    }))
}

/// `iat` of the newest token of each, unless none could be live at `now` (seconds). One statement for
/// all of a kind.
///
/// # Errors
/// As any statement.
pub async fn newest_iats(
    from: &mut impl Session,
    which: &[Matching<'_>],
    now: i64,
) -> Result<Vec<Option<i64>>, StoreError> {
    let oldest = oldest_live(now).to_vec();
    let mut found = vec![None; which.len()];
    let mut by_kind: BTreeMap<&str, Vec<(usize, &str, &str)>> = BTreeMap::new();
    for (n, which) in which.iter().enumerate() {
        let (condition, a, b) = match which {
            Matching::Client(id) => ("client = a", *id, ""),
            Matching::Tenant(tenant) => ("tenant = a", *tenant, ""),
            Matching::Sub { tenant, id } => ("tenant = a AND sub = b", *tenant, *id),
            Matching::Cred { client, version } => ("client = a AND cred = b", *client, *version),
            Matching::Kid(kid) => ("kid = a", *kid, ""),
            Matching::All => ("1 = 1", "", ""),
            // Its id says it, without the database.
            Matching::Jti(_) | Matching::None => continue,
        };
        by_kind.entry(condition).or_default().push((n, a, b));
    }
    for (condition, asked) in by_kind {
        let newest = format!(") SELECT n, (SELECT iat FROM tokens WHERE {condition} AND jti >= ");
        let rest = " ORDER BY jti DESC LIMIT 1) FROM asked";
        let rows: Vec<(i64, Option<i64>)> = match from.conn() {
            // A group of any size is one statement, planned once.
            Conn::Postgres(c) => {
                let mut query = QueryBuilder::new("WITH asked (n, a, b) AS (SELECT * FROM UNNEST(");
                query.push_bind(asked.iter().map(|(n, ..)| *n as i64).collect::<Vec<_>>());
                query.push("::bigint[], ");
                query.push_bind(asked.iter().map(|(_, a, _)| *a).collect::<Vec<_>>());
                query.push("::text[], ");
                query.push_bind(asked.iter().map(|(.., b)| *b).collect::<Vec<_>>());
                query.push("::text[])").push(&newest).push_bind(&oldest).push(rest);
                heard(query.build_query_as().fetch_all(c)).await?
            }
            Conn::Sqlite(c) => {
                let mut query = QueryBuilder::new("WITH asked (n, a, b) AS (");
                query.push_values(&asked, |mut row, (n, a, b)| {
                    row.push_bind(*n as i64).push_bind(*a).push_bind(*b);
                });
                query.push(&newest).push_bind(&oldest).push(rest);
                query.build_query_as().fetch_all(c).await?
            }
        };
        for (n, iat) in rows {
            if let Some(place) = usize::try_from(n).ok().and_then(|n| found.get_mut(n)) {
                *place = iat;
            }
        }
    }
    Ok(found)
}

/// A page of those that match and are live at `now` (seconds), oldest first, from behind `after`.
///
/// # Errors
/// As any statement.
pub async fn live(
    from: &mut impl Session,
    which: Matching<'_>,
    after: Option<Jti>,
    now: i64,
    limit: u32,
) -> Result<Vec<Token>, StoreError> {
    let after = after.map_or(oldest_live(now), |after| *after.as_bytes());
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM tokens WHERE ");
        push_matching!(query, which);
        query.push(" AND jti > ").push_bind(after.to_vec());
        query.push(" AND exp > ").push_bind(now);
        query.push(" ORDER BY jti LIMIT ").push_bind(i64::from(limit));
        query.build_query_as().fetch_all(c).await?
    }))
}

/// The tokens that were delegated and are live at `now` (seconds).
///
/// # Errors
/// As any statement.
pub async fn delegated(from: &mut impl Session, now: i64) -> Result<Vec<Token>, StoreError> {
    let sql = "SELECT * FROM tokens WHERE lin IS NOT NULL AND jti >= $1 AND exp > $2 ORDER BY jti";
    Ok(on!(from, |c| sqlx::query_as(sql)
        .bind(oldest_live(now).to_vec())
        .bind(now)
        .fetch_all(c)
        .await?))
}

/// The clients that have a token live at `now` (seconds), by name, from behind `after` on.
///
/// # Errors
/// As any statement.
pub async fn clients_with_live(
    from: &mut impl Session,
    now: i64,
    after: &str,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT id FROM clients WHERE id > $3 AND EXISTS (SELECT 1 FROM tokens \
               WHERE client = clients.id AND jti >= $1 AND exp > $2) ORDER BY id LIMIT $4";
    Ok(on!(from, |c| sqlx::query_scalar(sql)
        .bind(oldest_live(now).to_vec())
        .bind(now)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?))
}

/// Forgets the oldest of those issued before `before` (seconds), `limit` at most; says how many. What
/// lies in a partition of its days goes with that ([`super::partitions`]).
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    macro_rules! oldest_of {
        ($table:literal) => {
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE jti IN (SELECT jti FROM ",
                $table,
                " WHERE jti < $1 ORDER BY jti LIMIT $2)"
            )
        };
    }
    let sql = match tx.conn() {
        Conn::Sqlite(_) => oldest_of!("tokens"),
        Conn::Postgres(_) => oldest_of!("tokens_default"),
    };
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(floor(before * 1000).to_vec())
        .bind(i64::from(limit))
        .execute(c)
        .await?
        .rows_affected()))
}

/// `lin` as it is stored: one id after the other, NULL for none.
fn lineage(token: &Token) -> Option<Vec<u8>> {
    let ids = token.lin.iter().flat_map(|jti| jti.as_bytes()).copied();
    (!token.lin.is_empty()).then(|| ids.collect())
}

/// Where to begin looking for what is live at `now`, so that the rest of the inventory, however
/// long, is not looked at.
fn oldest_live(now: i64) -> [u8; 16] {
    floor((now - HORIZON as i64) * 1000)
}
