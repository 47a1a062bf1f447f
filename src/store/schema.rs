//! The tables, by migrations that are only ever added. There never was a number 6. (Said here,
//! because a note in a migration would change its checksum, and every database that has it would be
//! refused.)

use super::session::heard;
use super::{Conn, Session, StoreError, Tx, on};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgPool, SqlitePool};
use std::collections::BTreeMap;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

pub(super) async fn migrate_sqlite(writer: &SqlitePool) -> Result<(), StoreError> {
    SQLITE.run(writer).await.map_err(explain)
}

/// Replicas that migrate at once wait for each other in sqlx's advisory lock, for as long as it
/// takes: hence a connection of its own, without the pool's limits.
pub(super) async fn migrate_postgres(pool: &PgPool) -> Result<(), StoreError> {
    let mut conn = pool.acquire().await?.detach();
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut conn).await?;
    POSTGRES.run(&mut conn).await.map_err(explain)?;
    Ok(conn.close().await?)
}

/// Holds what was applied against what this binary has.
pub(super) async fn check_version(from: &mut impl Session) -> Result<(), StoreError> {
    let (migrator, table) = match from.conn() {
        Conn::Sqlite(_) => (&SQLITE, "SELECT name FROM sqlite_schema WHERE name = $1"),
        Conn::Postgres(_) => (&POSTGRES, "SELECT to_regclass($1)::text"),
    };
    let table: Option<String> = on!(from, |c| {
        sqlx::query_scalar::<_, Option<String>>(table)
            .bind("_sqlx_migrations")
            .fetch_optional(c)
            .await?
            .flatten()
    });
    if table.is_none() {
        return Err(StoreError::NotMigrated);
    }
    let applied: BTreeMap<i64, Vec<u8>> = on!(from, |c| {
        let sql = "SELECT version, checksum FROM _sqlx_migrations WHERE success";
        sqlx::query_as(sql).fetch_all(c).await?.into_iter().collect()
    });
    if let Some(newer) = applied.keys().find(|version| !migrator.version_exists(**version)) {
        return Err(StoreError::Newer(*newer));
    }
    for ours in migrator.iter() {
        match applied.get(&ours.version) {
            None => return Err(StoreError::NotMigrated),
            Some(theirs) if *theirs != *ours.checksum => {
                return Err(explain(MigrateError::VersionMismatch(ours.version)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Refuses what would lose an acknowledged write when the power fails.
pub(super) async fn check_durability(tx: &mut Tx) -> Result<(), StoreError> {
    let unsafe_because = match tx.conn() {
        Conn::Sqlite(c) => {
            let synchronous: i64 =
                sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *c).await?;
            let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(c).await?;
            let full = synchronous == 2 && journal == "wal";
            (!full).then(|| format!("synchronous = {synchronous}, journal_mode = {journal}"))
        }
        Conn::Postgres(c) => {
            let sql = "SELECT name || ' = off' FROM pg_settings WHERE setting = 'off' AND name IN \
                       ('fsync', 'synchronous_commit', 'full_page_writes') \
                       UNION ALL SELECT 'it is a standby' WHERE pg_is_in_recovery()";
            heard(sqlx::query_scalar(sql).fetch_optional(c)).await?
        }
    };
    unsafe_because.map_or(Ok(()), |why| Err(StoreError::Unsafe(why)))
}

fn explain(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => StoreError::Newer(version),
        MigrateError::Execute(error) => error.into(),
        MigrateError::VersionMismatch(version) => {
            StoreError::Unsafe(format!("migration {version} is not the one this binary has"))
        }
        error => StoreError::Unavailable(sqlx::Error::Migrate(Box::new(error))),
    }
}
