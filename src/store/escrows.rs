//! What is escrowed for each token: moved from a quota at its mint, settled after its end.

use super::column::Bytes;
use super::inserts::insert;
use super::session::{locking, slice_of_ids};
use super::{Inserts, Session, StoreError, Tx, on, quotas};
use crate::escrow::{Unit, Unreported, Window};
use scrip_token::Jti;
use sqlx::QueryBuilder;

/// The escrow of one token. Times are seconds, amounts LLM tokens where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Escrow {
    /// The token.
    #[sqlx(try_from = "Bytes")]
    pub jti: Jti,
    /// Whose it is.
    pub client: String,
    /// The window that it came from.
    #[sqlx(rename = "period", try_from = "String")]
    pub window: Window,
    /// When that began.
    pub starts: i64,
    /// The token's audience, whose ledgers count.
    pub aud: String,
    /// When the token expires.
    pub exp: i64,
    /// How much it is.
    #[sqlx(try_from = "i64")]
    pub tokens: u64,
    /// What becomes of it where the audience has no ledger.
    #[sqlx(try_from = "String")]
    pub unreported: Unreported,
    /// The epoch of the batch that ends the token early.
    pub denied_epoch: Option<String>,
    /// The number of that batch.
    pub denied_seq: Option<i64>,
    /// What it was settled at.
    pub spent: Option<i64>,
    /// When it was settled.
    pub settled: Option<i64>,
    /// What was used beyond it, and has been charged.
    #[sqlx(try_from = "i64")]
    pub overrun: u64,
    /// The same in money.
    #[sqlx(flatten)]
    pub cost: Cost,
}

/// What an escrow is in money; all of it 0 where the quota is not. Amounts are millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Cost {
    /// The version of the list of prices that it was taken by, and that reports are held against.
    pub prices: i64,
    /// The dearest price of a million LLM tokens that the token permits.
    #[sqlx(try_from = "i64")]
    pub rate: u64,
    /// How much it is.
    #[sqlx(rename = "cost", try_from = "i64")]
    pub held: u64,
    /// What it was settled at; 0 until it is.
    #[sqlx(rename = "cost_spent", try_from = "i64")]
    pub spent: u64,
    /// What was used beyond it, and has been charged.
    #[sqlx(rename = "cost_overrun", try_from = "i64")]
    pub overrun: u64,
}

impl Escrow {
    /// How much of a unit it is.
    #[must_use]
    pub fn held(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.cost.held,
        }
    }

    /// What it was settled at, once it is.
    #[must_use]
    pub fn settled_at(&self, unit: Unit) -> Option<u64> {
        let spent = self.spent?;
        Some(match unit {
            Unit::Tokens => spent.cast_unsigned(),
            Unit::Money => self.cost.spent,
        })
    }

    /// What was used beyond it, and has been charged.
    pub fn overrun_mut(&mut self, unit: Unit) -> &mut u64 {
        match unit {
            Unit::Tokens => &mut self.overrun,
            Unit::Money => &mut self.cost.overrun,
        }
    }

    /// The account that it came from.
    #[must_use]
    pub fn account(&self) -> quotas::Key {
        (self.client.clone(), self.window, self.starts)
    }
}

/// Holds them.
pub fn push(inserts: &mut Inserts, escrows: &[Escrow]) {
    insert!(inserts, "escrows", escrows, |e| {
        jti: bytea = e.jti.as_bytes().as_slice(),
        client: text = e.client.as_str(),
        period: text = e.window.as_str(),
        starts: bigint = e.starts,
        aud: text = e.aud.as_str(),
        exp: bigint = e.exp,
        tokens: bigint = e.tokens.cast_signed(),
        unreported: text = e.unreported.as_str(),
        prices: bigint = e.cost.prices,
        rate: bigint = e.cost.rate.cast_signed(),
        cost: bigint = e.cost.held.cast_signed(),
        overrun: bigint = e.overrun.cast_signed(),
    });
}

/// The escrows of these tokens, 1,000 at most, in order of their ids; not every token has one.
/// Locked until the transaction ends.
///
/// # Errors
/// As any statement.
pub async fn lock(tx: &mut Tx, jtis: &[Jti]) -> Result<Vec<Escrow>, StoreError> {
    if jtis.is_empty() {
        return Ok(Vec::new());
    }
    let locking = locking(tx, " FOR UPDATE");
    Ok(on!(tx, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM escrows WHERE jti IN (");
        let mut list = query.separated(", ");
        for jti in jtis {
            list.push_bind(jti.as_bytes().to_vec());
        }
        query.push(") ORDER BY jti").push(locking).build_query_as().fetch_all(c).await?
    }))
}

/// Which escrows of an audience are to be settled.
#[derive(Clone, Copy, Debug)]
pub enum Due<'a> {
    /// Those of tokens that expired before this second.
    Expired(i64),
    /// Those of tokens that a batch up to this one, (epoch, number), ends.
    Denied(&'a str, i64),
}

/// Takes escrows of an audience that are out and due, `limit` at most, for this transaction alone:
/// those that another one has at the moment are passed over.
///
/// # Errors
/// As any statement.
pub async fn take(
    tx: &mut Tx,
    aud: &str,
    due: Due<'_>,
    limit: u32,
) -> Result<Vec<Escrow>, StoreError> {
    let locking = locking(tx, " FOR UPDATE SKIP LOCKED");
    Ok(on!(tx, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM escrows WHERE settled IS NULL AND aud = ");
        query.push_bind(aud);
        match due {
            Due::Expired(before) => {
                query.push(" AND exp < ").push_bind(before).push(" ORDER BY exp LIMIT ")
            }
            Due::Denied(epoch, seq) => {
                query.push(" AND denied_seq IS NOT NULL AND (denied_epoch, denied_seq) <= (");
                query.push_bind(epoch).push(", ").push_bind(seq);
                query.push(") ORDER BY denied_epoch, denied_seq LIMIT ")
            }
        };
        query.push_bind(i64::from(limit)).push(locking).build_query_as().fetch_all(c).await?
    }))
}

/// Writes what escrows were settled at, when, and what was used beyond them; 1,000 at most, which
/// [`lock`] or [`take`] has given.
///
/// # Errors
/// As any statement.
pub async fn put_many(tx: &mut Tx, escrows: &[Escrow]) -> Result<(), StoreError> {
    if escrows.is_empty() {
        return Ok(());
    }
    on!(tx, |c| {
        let mut query = QueryBuilder::new(
            "WITH done (jti, spent, settled, overrun, cost_spent, cost_overrun) AS (",
        );
        query.push_values(escrows, |mut row, e| {
            row.push_bind(e.jti.as_bytes().as_slice())
                .push_bind(e.spent)
                .push_bind(e.settled)
                .push_bind(e.overrun.cast_signed())
                .push_bind(e.cost.spent.cast_signed())
                .push_bind(e.cost.overrun.cast_signed());
        });
        query.push(
            ") UPDATE escrows SET spent = done.spent, settled = done.settled, \
             overrun = done.overrun, cost_spent = done.cost_spent, \
             cost_overrun = done.cost_overrun FROM done WHERE escrows.jti = done.jti",
        );
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}

/// Notes for those of these tokens whose escrow is out that a batch ends them; where that is known
/// already, it stands. Takes them in order of their ids, as [`lock`] does: Postgres would update them
/// in that of their pages.
///
/// # Errors
/// As any statement.
pub async fn deny(tx: &mut Tx, jtis: &[Jti], epoch: &str, seq: i64) -> Result<(), StoreError> {
    if jtis.is_empty() {
        return Ok(());
    }
    let locking = locking(tx, " FOR UPDATE");
    on!(tx, |c| {
        let mut query = QueryBuilder::new("UPDATE escrows SET denied_epoch = ");
        query.push_bind(epoch).push(", denied_seq = ").push_bind(seq);
        query.push(" WHERE jti IN (SELECT jti FROM escrows WHERE settled IS NULL ");
        query.push("AND denied_seq IS NULL AND jti IN (");
        let mut list = query.separated(", ");
        for jti in jtis {
            list.push_bind(jti.as_bytes().to_vec());
        }
        query.push(") ORDER BY jti").push(locking).push(")");
        query.build().execute(c).await.map(drop)?;
    });
    Ok(())
}

/// The first audience behind `after`, in order of their names, for which something is out.
///
/// # Errors
/// As any statement.
pub async fn next_audience(
    from: &mut impl Session,
    after: &str,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT aud FROM escrows WHERE settled IS NULL AND aud > $1 ORDER BY aud LIMIT 1";
    Ok(on!(from, |c| sqlx::query_scalar(sql).bind(after).fetch_optional(c).await?))
}

/// Forgets those of tokens issued before `before` (seconds) that are settled, `limit` at most; says
/// how many.
///
/// # Errors
/// As any statement.
pub async fn prune(tx: &mut Tx, before: i64, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM escrows WHERE jti IN \
               (SELECT jti FROM escrows WHERE jti < $1 AND settled IS NOT NULL \
               ORDER BY jti LIMIT $2)";
    slice_of_ids(tx, sql, before, limit).await
}
