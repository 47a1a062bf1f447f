//! A database that is older than what was acknowledged.

use super::drill::{Drill, MAX_STALENESS};
use crate::harness::backup::Backup;
use crate::harness::postgres;
use crate::harness::service::Installation;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_an_older_sqlite_database_is_restored() {
    restored("SQLite restored", Installation::on_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_an_older_postgres_database_is_restored() {
    restored("Postgres restored", Installation::on(&postgres::database().await)).await;
}

/// The service is killed, put back to where it was some revocations ago, and started: nothing that
/// was revoked in between, by whichever selector, passes at those who knew, at one who was away, or at
/// one who is new.
async fn restored(name: &'static str, installation: Installation) {
    let mut drill = Drill::found(name, installation).await;
    drill.targets.spare_keys();
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    let away = drill.follow_apart(&here);
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        let backup = Backup::of(&drill.acme.installation).await;
        drill.acknowledges_each().await;
        drill.strike();
        away.kill().await;
        drill.calm().await;
        drill.acme.kill().await;
        backup.restore(&drill.acme.installation).await;
        drill.acme.start().await;
        drill.purged();
        away.start(drill.gateway(away.number, MAX_STALENESS, &here));
        drill.follow(&here).await;
        drill.recover().await;
    }
    drill.end().await;
}
