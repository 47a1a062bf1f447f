use super::{Fresh, connect, migrated, sqlite_file};
use crate::harness::postgres::{Cluster, database};
use scrip::store::{Lock, StoreError};
use sqlx::{Connection, SqliteConnection};
use std::os::unix::fs::PermissionsExt;

on_both![
    migrating_again_changes_nothing,
    n120_a_newer_database_is_refused,
    n120_another_migration_is_refused,
    no_row_that_does_not_parse_is_taken,
];

async fn migrating_again_changes_nothing(store: &Fresh) {
    store.migrate().await.unwrap();
    store.check().await.unwrap();
}

async fn n120_a_newer_database_is_refused(store: &Fresh) {
    store
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
             execution_time) SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations \
             WHERE version = 1",
        )
        .await;
    let refused = store.check().await;
    assert!(matches!(refused, Err(StoreError::Newer(9999))), "{refused:?}");
    let refused = store.migrate().await;
    assert!(matches!(refused, Err(StoreError::Newer(9999))), "{refused:?}");
}

async fn n120_another_migration_is_refused(store: &Fresh) {
    let other = if store.is_postgres() { "'\\x00'::bytea" } else { "x'00'" };
    store.sql(&format!("UPDATE _sqlx_migrations SET checksum = {other}")).await;
    let refused = store.check().await;
    assert!(matches!(refused, Err(StoreError::Unsafe(_))), "{refused:?}");
}

async fn no_row_that_does_not_parse_is_taken(store: &Fresh) {
    let short = if store.is_postgres() { "'\\x00'::bytea" } else { "x'00'" };
    store
        .sql(&format!(
            "INSERT INTO installation (one, issuer, epoch, seq, head, newest_ms, keys_version, \
             created) VALUES (1, '', '', 0, {short}, 0, 0, 0)"
        ))
        .await;
    let mut reader = store.read().await.unwrap();
    let refused = scrip::store::installation::read(&mut reader).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
}

#[tokio::test]
async fn n120_replicas_that_migrate_at_once_migrate_once() {
    let url = database().await;
    let replicas = [connect(&url).await.unwrap(), connect(&url).await.unwrap()];
    let (one, two) = tokio::join!(replicas[0].migrate(), replicas[1].migrate());
    one.unwrap();
    two.unwrap();
    replicas[0].check().await.unwrap();
}

#[tokio::test]
async fn a_database_without_tables_is_refused() {
    let (sqlite, _folder) = sqlite_file();
    for url in [sqlite, database().await] {
        let store = connect(&url).await.unwrap();
        let refused = store.check().await.unwrap_err();
        assert!(matches!(refused, StoreError::NotMigrated), "{url}: {refused:?}");
        assert!(refused.to_string().contains("scrip migrate"), "{refused}");
    }
}

#[tokio::test]
async fn a_postgres_that_commits_without_the_disk_is_refused() {
    let fresh = Fresh::postgres().await;
    let name = fresh.url.rsplit('/').next().unwrap();
    for (mode, refuses) in [("off", true), ("local", false), ("remote_write", false)] {
        fresh.sql(&format!("ALTER DATABASE {name} SET synchronous_commit = {mode}")).await;
        match connect(&fresh.url).await.unwrap().check().await {
            Err(StoreError::Unsafe(why)) => assert!(refuses && why.contains("synchronous_commit")),
            other => assert!(!refuses && other.is_ok(), "{mode}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_postgres_that_does_not_sync_is_refused() {
    let cluster = Cluster::start(&["fsync=off"]).await;
    let store = connect(&cluster.database().await).await.unwrap();
    store.migrate().await.unwrap();
    match store.check().await {
        Err(StoreError::Unsafe(why)) => assert!(why.contains("fsync"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn n118_a_second_process_is_refused() {
    let (url, _folder) = sqlite_file();
    let first = migrated(&url).await;
    let refused = connect(&url).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unsafe(_))), "{refused:?}");
    first.close().await;
    drop(first);
    migrated(&url).await;
}

#[tokio::test]
async fn n118_a_file_that_somebody_else_writes_is_unavailable() {
    let fresh = Fresh::sqlite().await;
    let mut somebody = SqliteConnection::connect(&fresh.url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut somebody).await.unwrap();
    let refused = fresh.begin(Lock::Mint).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    drop(fresh.read().await.unwrap());
    somebody.close().await.unwrap();
    fresh.begin(Lock::Mint).await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn n118_what_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("db")).unwrap();
    let refused =
        connect(&format!("sqlite:{}", folder.path().join("db").display())).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    let fresh = Fresh::sqlite().await;
    drop(fresh.begin(Lock::Admin).await.unwrap());
    let folder = fresh.folder.as_ref().unwrap().path();
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        files += 1;
    }
    assert_eq!(files, 4, "the database, its log, its index and its lock");
}

#[tokio::test]
async fn only_databases_that_last_have_a_url() {
    for url in [
        "",
        "sqlite:",
        "sqlite::memory:",
        "sqlite:x?mode=memory",
        "mysql://root:hunter2@localhost/x",
        "postgres://u:hunter2@[::1/x",
    ] {
        let refused = connect(url).await.map(drop).unwrap_err();
        assert!(matches!(refused, StoreError::Url(_)), "{url}: {refused:?}");
        assert!(!format!("{refused:?} {refused}").contains("hunter2"));
    }
}
