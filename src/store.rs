//! What must outlive the process, in SQLite (embedded, one process) or Postgres (two replicas or
//! more). One file per table, in free functions: a write takes the [`Tx`] it belongs to, a read
//! takes whatever [`Session`] is at hand. Times are arguments; nothing here reads a clock.
//!
//! The order of locks, for whoever takes more than one: [`Lock`], then [`installation::lock`], then
//! rows by id.

mod column;
mod error;
mod gate;
mod inserts;
mod listener;
mod postgres;
mod schema;
mod session;
mod sqlite;

pub mod acks;
pub mod audit;
pub mod client_addresses;
pub mod client_warnings;
pub mod clients;
pub mod credentials;
pub mod deny_batches;
pub mod deny_entries;
pub mod deny_snapshots;
pub mod deny_unissued;
pub mod escrows;
pub mod idempotency;
pub mod installation;
pub mod keys_documents;
pub mod ledgers;
pub mod outbox;
pub mod partitions;
pub mod policies;
pub mod prices;
pub mod quotas;
pub mod rate_grants;
pub mod readers;
pub mod revocations;
pub mod sightings;
pub mod signing_keys;
pub mod standing;
pub mod tokens;
pub mod usage;
pub mod verifiers;

pub use error::StoreError;
pub use inserts::Inserts;
pub use installation::now_ms;
pub use listener::{Listener, Numbered};
pub use session::{Conn, Reader, Session, Tx};

use secrecy::{ExposeSecret, SecretString};
use session::{Lent, on};
use std::sync::Arc;

/// The database. A clone is another handle to the same pools.
#[derive(Clone)]
pub struct Store(Arc<Database>);

enum Database {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

/// What a transaction excludes from the moment it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Issues tokens: runs beside other mints, never beside a revocation. On Postgres it has
    /// connections of its own, and each statement, and each pause between two, ends after 500 ms.
    Mint,
    /// Revokes: alone. Has connections of its own and, on SQLite, goes before all who wait.
    Revoke,
    /// Changes only what mints and revocations read under a lock of its row.
    Admin,
    /// The same, for an operator who waits for it: however many there are, ledgers and upkeep have
    /// their connections and, on SQLite, their turn.
    Operator,
    /// Revokes with an operator's change: alone, as [`Lock::Revoke`], over the connections of operators.
    Withdraw,
    /// Takes receipts, stores what the feed serves, and excludes nobody. On Postgres it has the
    /// connections of revocation: whoever waits for receipts does not wait behind mints.
    Feed,
}

/// Over which connections something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Those of ledgers and upkeep.
    General,
    /// Those of operators, who hold up nobody else.
    Administration,
    /// Those that are kept for minting.
    Minting,
    /// Those that are kept for revocation and the feed.
    Reserved,
}

/// Whose rows a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tenants<'a> {
    /// Everybody's, and what is no single tenant's.
    #[default]
    All,
    /// This one's.
    One(&'a str),
    /// None at all: asked for by somebody who does not reach them.
    Nobody,
}

/// Pushes the condition on the column `tenant` that [`Tenants`] stand for.
macro_rules! push_tenants {
    ($query:ident, $tenants:expr) => {
        match $tenants {
            $crate::store::Tenants::All => {}
            $crate::store::Tenants::One(tenant) => {
                $query.push(" AND tenant = ").push_bind(tenant);
            }
            $crate::store::Tenants::Nobody => {
                $query.push(" AND 1 = 0");
            }
        }
    };
}

use push_tenants;

/// Pushes texts or bytes as a list, repeating the last one until their number is a power of two: so there are
/// few different statements for groups of any size, and all of them stay prepared. An empty list is NULL,
/// which equals nothing.
macro_rules! push_list {
    ($query:ident, $items:expr) => {
        $crate::store::push_list!($query, $items, ", ")
    };
    ($query:ident, $items:expr, $between:literal) => {
        let items: &[_] = $items;
        let mut list = $query.separated($between);
        let padded = items.iter().chain(items.last().into_iter().cycle());
        for item in padded.take(items.len().next_power_of_two()) {
            list.push_bind(*item);
        }
        if items.is_empty() {
            list.push("NULL");
        }
    };
}

use push_list;

impl Store {
    /// Opens `sqlite:PATH` (made with mode 0600 where absent) or `postgres://..`.
    ///
    /// # Errors
    /// [`StoreError::Url`] for anything else, [`StoreError::Unsafe`] where another process has
    /// the SQLite file or it lies on a network file system, [`StoreError::Unavailable`] where
    /// the database does not answer.
    pub async fn connect(url: &SecretString) -> Result<Self, StoreError> {
        let url = url.expose_secret();
        let database = match url.split_once(':') {
            Some(("sqlite", path)) => Database::Sqlite(sqlite::Sqlite::open(path).await?),
            Some(("postgres" | "postgresql", _)) => {
                Database::Postgres(postgres::Postgres::open(url).await?)
            }
            _ => return Err(StoreError::Url("it begins with neither sqlite: nor postgres:")),
        };
        Ok(Self(Arc::new(database)))
    }

    /// Brings the tables up to this binary's version. Several processes may do so at once.
    ///
    /// # Errors
    /// [`StoreError::Newer`] where a newer binary was here first; nothing is changed then.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match &*self.0 {
            Database::Sqlite(db) => schema::migrate_sqlite(&db.writer).await,
            Database::Postgres(db) => schema::migrate_postgres(&db.general).await,
        }
    }

    /// Refuses a database on which this binary must not serve.
    ///
    /// # Errors
    /// [`StoreError::NotMigrated`], [`StoreError::Newer`], or [`StoreError::Unsafe`] where a
    /// setting would lose what was acknowledged.
    pub async fn check(&self) -> Result<(), StoreError> {
        schema::check_version(&mut self.read().await?).await?;
        schema::check_durability(&mut self.begin(Lock::Admin).await?).await
    }

    /// Begins a transaction that holds `lock`. One that is dropped is rolled back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after 2 s without a connection or its turn, 5 s for
    /// [`Lock::Revoke`] and [`Lock::Withdraw`].
    pub async fn begin(&self, lock: Lock) -> Result<Tx, StoreError> {
        match &*self.0 {
            Database::Sqlite(db) => db.begin(lock).await,
            Database::Postgres(db) => db.begin(lock).await,
        }
    }

    /// The latest time up to `at_ms`, which was read before, of which it is settled what is revoked:
    /// whoever then reads how far the list has got finds each revocation that is dated at or before it,
    /// however long its commit takes. Milliseconds.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], after 5 s of waiting at most.
    pub async fn settled_ms(&self, session: &mut Reader, at_ms: i64) -> Result<i64, StoreError> {
        match session.conn() {
            Conn::Sqlite(_) => self.begin(Lock::Revoke).await.map(|_| at_ms),
            Conn::Postgres(conn) => postgres::settled_ms(conn, at_ms).await,
        }
    }

    /// A connection that only reads, of `lane`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after 2 s without one.
    pub async fn read_in(&self, lane: Lane) -> Result<Reader, StoreError> {
        Ok(Reader(match &*self.0 {
            Database::Sqlite(db) => Lent::Sqlite(db.readers(lane).acquire().await?),
            Database::Postgres(db) => Lent::Postgres(db.pool(lane).acquire().await?),
        }))
    }

    /// A connection that only reads, from those of ledgers and upkeep.
    ///
    /// # Errors
    /// As [`Store::read_in`].
    pub async fn read(&self) -> Result<Reader, StoreError> {
        self.read_in(Lane::General).await
    }

    /// A connection that only reads, from those of operators.
    ///
    /// # Errors
    /// As [`Store::read_in`].
    pub async fn read_for_operator(&self) -> Result<Reader, StoreError> {
        self.read_in(Lane::Administration).await
    }

    /// A connection that only reads, from those kept for revocation and the feed.
    ///
    /// # Errors
    /// As [`Store::read_in`].
    pub async fn read_reserved(&self) -> Result<Reader, StoreError> {
        self.read_in(Lane::Reserved).await
    }

    /// How many transactions of [`Lock::Mint`] gain by running at once.
    #[must_use]
    pub fn mints_at_once(&self) -> usize {
        match &*self.0 {
            Database::Sqlite(_) => 1,
            Database::Postgres(_) => 2,
        }
    }

    /// Whether it is the embedded one, which nobody else keeps a copy of.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        matches!(&*self.0, Database::Sqlite(_))
    }

    /// Closes every connection, after the transactions under way.
    pub async fn close(&self) {
        match &*self.0 {
            Database::Sqlite(db) => db.close().await,
            Database::Postgres(db) => db.close().await,
        }
    }
}
