use super::{Cluster, PATIENCE, Site, empty_folder, free_port, unprivileged};
use crate::harness::until::until;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// As a standby calls itself to its primary.
const NAME: &str = "standby";

impl Cluster {
    /// A standby of this one that streams from `address`; returns when it has caught up. Nobody waits
    /// for it yet.
    pub async fn standby(&self, address: &str) -> Self {
        let (folder, removal) = empty_folder(None);
        let (host, port) = address.rsplit_once(':').expect("a host and a port");
        let source = format!("host={host} port={port} user=postgres application_name={NAME}");
        let copied = unprivileged("pg_basebackup", &folder, None)
            .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--dbname", &source])
            .output()
            .expect("it comes with Postgres");
        assert!(copied.status.success(), "{copied:?}");
        let (port, settings) = (free_port(), self.site.settings);
        let site = Site { folder, port, settings, environment: Vec::new(), disk: None };
        let standby = Self::run(site, removal).await;
        self.has_one("state = 'streaming'").await;
        standby
    }

    /// From now on each commit waits until the standby has it on its disk too.
    pub async fn waits_for_standby(&self) {
        self.execute(&format!("alter system set synchronous_standby_names = '{NAME}'")).await;
        self.execute("select pg_reload_conf()").await;
        self.has_one("sync_state = 'sync'").await;
    }

    /// Makes a primary of a standby; returns when it takes writes.
    pub async fn promote(&self) {
        self.execute("select pg_promote()").await;
        until("it is a primary", PATIENCE, async || {
            let mut connection = self.connection().await;
            let standby = sqlx::query_scalar("select pg_is_in_recovery()");
            let standby: bool = standby.fetch_one(&mut connection).await.expect("a primary");
            (!standby).then_some(())
        })
        .await;
    }

    /// Returns when a standby is connected of which that is true.
    async fn has_one(&self, condition: &str) {
        let sql = format!("select count(*) from pg_stat_replication where {condition}");
        until(format!("a standby: {condition}"), PATIENCE, async || {
            let mut connection = self.connection().await;
            let found = sqlx::query_scalar(AssertSqlSafe(sql.clone()));
            let found: i64 = found.fetch_one(&mut connection).await.expect("a system view");
            (found > 0).then_some(())
        })
        .await;
    }

    async fn execute(&self, sql: &str) {
        let mut connection = self.connection().await;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url("postgres")).await.expect("Postgres answers")
    }
}
