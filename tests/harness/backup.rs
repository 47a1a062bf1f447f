use super::postgres;
use super::service::Installation;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A copy of the database as it was, made while somebody serves and put back while nobody does, by
/// the databases' own tools.
pub struct Backup(PathBuf);

impl Backup {
    pub async fn of(installation: &Installation) -> Self {
        let path = installation.folder.path().join("backup");
        let url = installation.setting("SCRIP_DATABASE_URL");
        if let Some(file) = url.strip_prefix("sqlite:") {
            let _ = fs::remove_file(&path);
            let mut connection = SqliteConnection::connect(file).await.expect("it can be read");
            let sql = format!("VACUUM INTO '{}'", path.display());
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .expect("there is room");
        } else {
            let mut dump = postgres::command("pg_dump");
            run(dump.arg("--format=custom").arg("--file").arg(&path).arg(url));
        }
        Self(path)
    }

    pub async fn restore(&self, installation: &Installation) {
        let url = installation.setting("SCRIP_DATABASE_URL");
        if let Some(file) = url.strip_prefix("sqlite:") {
            for left in ["-wal", "-shm"] {
                let _ = fs::remove_file(format!("{file}{left}"));
            }
            fs::copy(&self.0, file).expect("the folder is the test's own");
            return;
        }
        let (server, name) = url.rsplit_once('/').expect("a database's URL");
        let mut connection =
            PgConnection::connect(&format!("{server}/postgres")).await.expect("Postgres answers");
        for sql in [format!("DROP DATABASE {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")]
        {
            let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
            made.expect("the database is the test's own");
        }
        run(postgres::command("pg_restore").arg("--dbname").arg(url).arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let done = command.output().expect("it comes with Postgres");
    assert!(done.status.success(), "{command:?}: {done:?}");
}
