//! A service with its clients.

use std::fs;
use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::service::Installation;
use crate::load::Requests;
use crate::side::Side;

/// Threads of whoever serves: as many as the machine has cores on which the figures are given.
pub(crate) const WORKERS: (&str, &str) = ("TOKIO_WORKER_THREADS", "2");
/// Everything that a policy can ask of a mint.
pub(crate) const POLICY: &str = r#"
name      = "acme/minting"
audiences = ["llm-gateway"]
scopes    = ["llm:chat", "llm:embed", "db:private-documents"]
models    = ["gpt-4o-mini", "claude-haiku-4-5"]
cidrs     = ["10.20.0.0/16", "2001:db8:20::/48"]
mint_from = ["127.0.0.0/8"]
env       = "prod"
ttl       = { default = 300, max = 900 }
budget    = { tokens = 50000, request_tokens = 2000, requests = 100 }
quota     = { tokens = 1000000000000000, window = "day" }
"#;
/// The client that all others are copies of.
const FIRST: &str = "acme/c0";

pub(crate) struct Field {
    pub(crate) acme: Acme,
    pub(crate) first: Cli,
    clients: usize,
}

impl Field {
    /// Sets one up with so many clients under [`POLICY`].
    pub(crate) async fn new(installation: Installation, clients: usize) -> Self {
        let mut acme = Acme::found(installation.set(WORKERS.0, WORKERS.1)).await;
        let policy = acme.installation.folder.path().join("minting.toml");
        fs::write(&policy, POLICY).expect("the folder is the bench's own");
        acme.operator.run(&["policy", "apply", policy.to_str().expect("a plain name")]).await;
        let created = ["client", "create", FIRST, "--policy", "acme/minting"];
        let client = acme.operator.json(&[&created[..], &["--source", "embedded"]].concat()).await;
        let secret = client["secret"].as_str().expect("shown this once");
        let first = Cli::new(&acme.installation, FIRST, secret);
        acme.stop().await;
        copy_first(&acme.installation, clients).await;
        acme.start().await;
        Self { acme, first, clients }
    }

    /// Where the service listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.acme.installation.setting("SCRIP_LISTEN").parse().expect("an address")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.acme.service.process.pid()
    }

    /// As an entry of a table.
    pub(crate) fn side(&self, name: &'static str) -> Side {
        Side::new(name, self.address(), self.pid(), self.requests())
    }

    /// A request of each client, in an order that jumps about.
    pub(crate) fn requests(&self) -> Requests {
        // Divides no power of ten: every client has its turn.
        let client = |n: usize| format!("acme/c{}", n * 61_803 % self.clients);
        (0..self.clients).map(|n| self.request(&client(n))).collect()
    }

    fn request(&self, id: &str) -> Vec<u8> {
        let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let basic = BASE64_STANDARD.encode(format!("{id}:{}", self.first.secret));
        let body = "grant_type=client_credentials";
        format!(
            "POST /oauth2/token HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {basic}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.address(),
            body.len()
        )
        .into_bytes()
    }
}

/// Behind the back of a service that does not run: the digest of a secret does not tell whose it is.
async fn copy_first(installation: &Installation, clients: usize) {
    let numbers = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {clients} - 1)"
    );
    let sql = [
        format!(
            "{numbers} INSERT INTO clients (id, tenant, policy, source, enabled, overlap, created, mints) \
             SELECT 'acme/c' || n, tenant, policy, source, enabled, overlap, created, mints \
             FROM clients, n WHERE id = '{FIRST}'"
        ),
        format!(
            "{numbers} INSERT INTO credentials (client, version, created, digest) \
             SELECT 'acme/c' || n, version, created, digest \
             FROM credentials, n WHERE client = '{FIRST}'"
        ),
    ]
    .join("; ");
    let (sql, url) = (AssertSqlSafe(sql), installation.setting("SCRIP_DATABASE_URL"));
    if url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(url).await.expect("nobody has it open");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("the tables are there");
        connection.close().await.expect("nothing else to do");
    } else {
        let mut connection = PgConnection::connect(url).await.expect("Postgres answers");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("the tables are there");
        // What Postgres would find out by itself within a minute.
        sqlx::raw_sql("ANALYZE").execute(&mut connection).await.expect("they are its own");
    }
}
