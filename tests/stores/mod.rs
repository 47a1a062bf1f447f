//! One conformance suite for the store, on SQLite and on a real Postgres.

/// Runs each of these functions once on either database.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::stores::Fresh::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::stores::Fresh::postgres().await).await;
            })+
        }
    };
}

mod budgets;
mod clients;
mod deny;
mod effort;
mod epochs;
mod last_word;
mod lineage;
mod locks;
mod mints;
mod outbox;
mod partitions;
mod prices;
mod quotas;
mod rates;
mod receipts;
mod records;
mod refusals;
mod time;
mod tokens;

use crate::harness::postgres;
use crate::harness::until::until;
use scrip::store::{Store, StoreError};
use scrip_token::Jti;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use std::ops::Deref;
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// A migrated store in a database of its own.
struct Fresh {
    store: Store,
    url: String,
    /// Of SQLite's file, kept as long as the store.
    folder: Option<TempDir>,
}

impl Fresh {
    async fn sqlite() -> Self {
        let (url, folder) = sqlite_file();
        Self { store: migrated(&url).await, url, folder: Some(folder) }
    }

    async fn postgres() -> Self {
        let url = postgres::database().await;
        Self { store: migrated(&url).await, url, folder: None }
    }

    /// Statements behind the store's back.
    async fn sql(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        } else {
            let mut conn = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        }
    }

    /// What a statement behind the store's back counts.
    async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap()
        } else {
            let mut conn = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap()
        }
    }

    /// Returns once what was given up has been rolled back, and holds no lock any more.
    async fn is_idle(&self) {
        if self.is_postgres() {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND state LIKE 'idle in transaction%'";
            until("no transaction is open", Duration::from_secs(30), async || {
                (self.number(sql).await == 0).then_some(())
            })
            .await;
        }
    }

    fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres:")
    }
}

impl Deref for Fresh {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

fn sqlite_file() -> (String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (format!("sqlite:{}", folder.path().join("scrip.db").display()), folder)
}

async fn connect(url: &str) -> Result<Store, StoreError> {
    Store::connect(&SecretString::from(url)).await
}

async fn migrated(url: &str) -> Store {
    let store = connect(url).await.unwrap();
    store.migrate().await.unwrap();
    store.check().await.unwrap();
    store
}

/// The `n`th UUIDv7 of a second.
fn id(second: i64, n: u16) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&(second * 1000).to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[14..].copy_from_slice(&n.to_be_bytes());
    Uuid::from_bytes(bytes)
}

fn jti(second: i64, n: u16) -> Jti {
    Jti::from_bytes(id(second, n).into_bytes()).unwrap()
}

const HOSTILE: [&str; 7] = [
    "' OR '1'='1' --",
    "x'; DROP TABLE clients; --",
    "$1 ? :a @b %s {}",
    "\u{202e}\u{feff}\u{1f512}",
    "line\r\nbreak\ttab",
    "\\x00 \\' \"",
    "",
];
