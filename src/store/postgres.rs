use super::installation::postgres_ms;
use super::session::{Begun, heard};
use super::{Lane, Lock, StoreError, Tx};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{Connection, PgConnection, PgPool};
use std::time::Duration;

/// Four pools: whatever holds the one of operators up, ledgers and upkeep have their own, minting has,
/// and so have revocation and the feed.
pub(super) struct Postgres {
    pub(super) general: PgPool,
    administration: PgPool,
    minting: PgPool,
    reserved: PgPool,
}

/// Longest wait for a connection, and for a sign of life of one that is given back.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection gives a sign of life when it is given back, and is trusted for so long after that:
/// no server ends and serves again as fast.
const FRESH: Duration = Duration::from_millis(50);

/// The advisory lock, shared by mints and exclusive to revocations: "scrip" in ASCII.
const MINTS_AND_REVOCATIONS: i64 = 0x73_63_72_69_70;

/// Since when somebody revokes, if that is before `at_ms`: a transaction is dated under the lock, and so
/// after its beginning. What is committed is seen before its locks are let go. Whoever may not be
/// looked at, or ends at this moment, is waited for; nobody else is, or signs of life would stand in
/// line behind mints.
pub(super) async fn settled_ms(
    connection: &mut PgConnection,
    at_ms: i64,
) -> Result<i64, StoreError> {
    let holder = concat!(
        "SELECT ",
        postgres_ms!("a.xact_start"),
        " FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted \
         AND l.classid = ($1 >> 32)::oid AND l.objid = ($1 & 4294967295)::oid AND l.objsubid = 1 \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    let holder = sqlx::query_scalar(holder).bind(MINTS_AND_REVOCATIONS);
    match heard(holder.fetch_optional(&mut *connection)).await? {
        None => {}
        Some(Some(since_ms)) => return Ok(at_ms.min(since_ms)),
        Some(None) => {
            let take = "SELECT pg_advisory_xact_lock_shared($1)";
            heard(sqlx::query(take).bind(MINTS_AND_REVOCATIONS).execute(connection)).await?;
        }
    }
    Ok(at_ms)
}

impl Postgres {
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        // The parser's error may quote the URL.
        let options: PgConnectOptions =
            url.parse().map_err(|_| StoreError::Url("it is no postgres: URL"))?;
        // A replica that hangs in a transaction loses it while others still wait for its lock.
        let options = options.application_name("scrip").options([
            ("statement_timeout", "10s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "2s"),
            // Plans are kept: one that was made while a table was empty, as each day's partition is
            // at first, would go on reading it row by row. All that counts has an index. What has
            // none looks so dear by this setting that Postgres would compile it each time, hence the
            // next one.
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ]);
        let pool = |size| {
            let pool = PoolOptions::new().max_connections(size).acquire_timeout(PATIENCE);
            // That would be a round trip for which everybody waits who waits for the connection.
            let pool = pool.test_before_acquire(false).before_acquire(
                |connection: &mut PgConnection, known| {
                    Box::pin(async move {
                        if known.idle_for > FRESH {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                },
            );
            // Otherwise a connection that was given up in the middle of a statement, its server
            // being silent, would keep its place in the pool until the kernel gives up.
            pool.after_release(|connection: &mut PgConnection, _| {
                Box::pin(async {
                    let silent = |_| sqlx::Error::PoolTimedOut;
                    tokio::time::timeout(PATIENCE, connection.ping()).await.map_err(silent)??;
                    Ok(true)
                })
            })
        };
        let general = match pool(8).connect_with(options.clone()).await {
            Err(sqlx::Error::PoolTimedOut) => return Err(why(&options).await.into()),
            general => general?,
        };
        Ok(Self {
            general,
            administration: pool(4).connect_lazy_with(options.clone()),
            minting: pool(8).connect_lazy_with(options.clone()),
            reserved: pool(8).connect_lazy_with(options),
        })
    }

    pub(super) fn pool(&self, lane: Lane) -> &PgPool {
        match lane {
            Lane::General => &self.general,
            Lane::Administration => &self.administration,
            Lane::Minting => &self.minting,
            Lane::Reserved => &self.reserved,
        }
    }

    /// A connection that listens, in none of the pools.
    pub(super) async fn listener(&self) -> sqlx::Result<PgListener> {
        let options = PgConnectOptions::clone(&self.reserved.connect_options());
        let pool = PoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
        let mut listener = PgListener::connect_with(&pool.connect_lazy_with(options)).await?;
        // So that whoever listens learns that nothing was heard for a while.
        listener.eager_reconnect(false);
        Ok(listener)
    }

    pub(super) async fn begin(&self, lock: Lock) -> Result<Tx, StoreError> {
        let pool = match lock {
            Lock::Revoke | Lock::Feed => &self.reserved,
            Lock::Mint => &self.minting,
            Lock::Admin => &self.general,
            Lock::Operator | Lock::Withdraw => &self.administration,
        };
        // The lock is not part of this statement: dropped while it waits, sqlx would not roll back.
        let mut tx = heard(pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED")).await?;
        // What runs under these locks looks up keys, always the same way; left to itself Postgres plans
        // each statement on a table in partitions anew.
        let take = match lock {
            Lock::Mint => {
                "SELECT set_config('lock_timeout', '500ms', true), \
                 set_config('statement_timeout', '500ms', true), \
                 set_config('idle_in_transaction_session_timeout', '500ms', true), \
                 set_config('plan_cache_mode', 'force_generic_plan', true), \
                 pg_advisory_xact_lock_shared($1)"
            }
            Lock::Revoke | Lock::Withdraw => {
                "SELECT set_config('plan_cache_mode', 'force_generic_plan', true), \
                 pg_advisory_xact_lock($1)"
            }
            Lock::Admin | Lock::Operator | Lock::Feed => return Ok(Tx(Begun::Postgres(tx))),
        };
        heard(sqlx::query(take).bind(MINTS_AND_REVOCATIONS).execute(&mut *tx)).await?;
        Ok(Tx(Begun::Postgres(tx)))
    }

    pub(super) async fn close(&self) {
        self.general.close().await;
        self.administration.close().await;
        self.minting.close().await;
        self.reserved.close().await;
    }
}

/// Why there is no connection: a pool tries again until its time is over, and then says only that.
async fn why(options: &PgConnectOptions) -> sqlx::Error {
    match tokio::time::timeout(PATIENCE, PgConnection::connect_with(options)).await {
        Ok(Err(error)) => error,
        _ => sqlx::Error::PoolTimedOut,
    }
}
