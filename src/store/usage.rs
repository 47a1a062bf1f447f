//! What ledgers have counted for each token.

use super::column::Bytes;
use super::session::slice_of_ids;
use super::{Session, StoreError, Tx, on};
use scrip_token::Jti;
use sqlx::QueryBuilder;
use std::collections::BTreeMap;

/// What one ledger has counted for one token, in all.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Usage {
    /// The token.
    #[sqlx(try_from = "Bytes")]
    pub jti: Jti,
    /// The ledger's client.
    pub client: String,
    /// The ledger's name.
    pub instance: String,
    /// LLM tokens.
    #[sqlx(try_from = "i64")]
    pub tokens: u64,
    /// Requests.
    #[sqlx(try_from = "i64")]
    pub requests: u64,
    /// The same by models, JSON.
    pub by_model: String,
    /// When it was reported. Seconds.
    pub at: i64,
}

/// Sets what a ledger has counted, for 1,000 tokens at most and none twice. What it counted for a token
/// never decreases: a smaller count is an old one.
///
/// # Errors
/// As any statement.
pub async fn put_many(tx: &mut Tx, usage: &[Usage]) -> Result<(), StoreError> {
    if usage.is_empty() {
        return Ok(());
    }
    on!(tx, |c| {
        let mut query = QueryBuilder::new(
            "INSERT INTO usage (jti, client, instance, tokens, requests, by_model, at) ",
        );
        query.push_values(usage, |mut row, u| {
            row.push_bind(u.jti.as_bytes().as_slice())
                .push_bind(&u.client)
                .push_bind(&u.instance)
                .push_bind(u.tokens.cast_signed())
                .push_bind(u.requests.cast_signed())
                .push_bind(&u.by_model)
                .push_bind(u.at);
        });
        query.push(
            " ON CONFLICT (jti, client, instance) DO UPDATE SET tokens = excluded.tokens, \
             requests = excluded.requests, by_model = excluded.by_model, at = excluded.at \
             WHERE (excluded.tokens, excluded.requests) > (usage.tokens, usage.requests)",
        );
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}

/// What all ledgers together have counted for one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// LLM tokens.
    pub tokens: u64,
    /// Requests.
    pub requests: u64,
}

/// What all ledgers together have counted for each of these tokens, 1,000 at most, that any has
/// counted something for.
///
/// # Errors
/// As any statement.
pub async fn sums(from: &mut impl Session, jtis: &[Jti]) -> Result<BTreeMap<Jti, Sum>, StoreError> {
    let mut sums = BTreeMap::new();
    for one in of_tokens(from, jtis).await? {
        let sum: &mut Sum = sums.entry(one.jti).or_default();
        sum.tokens = sum.tokens.saturating_add(one.tokens);
        sum.requests = sum.requests.saturating_add(one.requests);
    }
    Ok(sums)
}

/// Every ledger's count for these tokens, 1,000 at most.
///
/// # Errors
/// As any statement.
pub async fn of_tokens(from: &mut impl Session, jtis: &[Jti]) -> Result<Vec<Usage>, StoreError> {
    if jtis.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM usage WHERE jti IN (");
        let mut list = query.separated(", ");
        for jti in jtis {
            list.push_bind(jti.as_bytes().to_vec());
        }
        query.push(") ORDER BY jti, client, instance").build_query_as().fetch_all(c).await?
    }))
}

/// Forgets what was counted for tokens issued before `before` (seconds), `limit` rows at most; says how
/// many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM usage WHERE (jti, client, instance) IN \
               (SELECT jti, client, instance FROM usage WHERE jti < $1 ORDER BY jti LIMIT $2)";
    slice_of_ids(tx, sql, before, limit).await
}
