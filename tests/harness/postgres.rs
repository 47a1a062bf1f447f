//! A Postgres cluster for the test run, and one more for whoever needs other settings.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;

const BIN: &str = "/usr/lib/postgresql/15/bin";
const NOBODY: u32 = 65534;

/// The URL of a new, empty database in the cluster that all tests share.
pub(crate) async fn database() -> String {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(|| Cluster::start(&[])).await.database().await
}

pub(crate) struct Cluster {
    port: u16,
}

impl Cluster {
    /// A cluster with `settings` such as `fsync=off`; it ends with the test process.
    pub(crate) async fn start(settings: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        chown(&folder, Some(NOBODY), Some(NOBODY)).expect("the tests run as root");
        let made = unprivileged("initdb", &folder)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"])
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("initdb runs").success());
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a free port")
            .port();
        // The signal comes when the thread ends that started the server: one that outlives tests.
        std::thread::spawn(move || {
            let mut command = unprivileged("postgres", &folder);
            command.args(["-k", "", "-h", "127.0.0.1", "-c", "max_connections=300"]);
            command.arg("-p").arg(port.to_string());
            for setting in settings {
                command.args(["-c", setting]);
            }
            let log = std::fs::File::create(folder.join("log")).expect("a log");
            command.stderr(log).status().expect("postgres runs")
        });
        let cluster = Self { port };
        let ready = async {
            while PgConnection::connect(&cluster.url("postgres")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("Postgres answers");
        cluster
    }

    /// The URL of a new, empty database.
    pub(crate) async fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut conn = PgConnection::connect(&self.url("postgres")).await.expect("Postgres");
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut conn).await.expect("a new database");
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

fn unprivileged(program: &str, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--pdeathsig", "QUIT"])
        .arg(format!("{BIN}/{program}"))
        .arg("-D")
        .arg(folder.join("cluster"));
    command
}
