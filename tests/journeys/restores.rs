use crate::harness::acme::Acme;
use crate::harness::service::Installation;
use crate::harness::until::until;
use scrip_feed::{Alarm, Config, Credential, Handle, Reader, State};
use scrip_token::Jti;
use scrip_verify::{Rejection, Verifier};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n82_n83_d11_an_older_sqlite_database_begins_an_epoch_and_revives_nothing() {
    restored(Installation::on_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n82_n83_d11_an_older_postgres_database_begins_an_epoch_and_revives_nothing() {
    restored(Installation::on_postgres().await).await;
}

async fn restored(installation: Installation) {
    let mut acme = Acme::found(installation.set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let before = billing.token(&[]).await;
    let old = gateway.epoch();

    // Tonight's backup.
    acme.stop().await;
    let backup = Backup::of(&acme.installation).await;
    acme.start().await;

    // All this is acknowledged, and is not in it.
    let revoked = billing.token(&[]).await;
    let stolen = kid(&acme, "ES256", "active").await;
    assert_eq!(acme.http().give_up(&billing, &revoked).await.status, 200);
    gateway.refuses(&revoked).await;
    acme.operator.run(&["keys", "revoke", &stolen]).await;
    gateway.refuses(&before).await;
    acme.operator.run(&["keys", "rotate", "root"]).await;
    let spared = billing.token(&[]).await;
    gateway.accepts(&spared).await;

    acme.stop().await;
    backup.restore(&acme.installation).await;
    acme.start().await;

    // What was revoked meanwhile is unknown now, and so everything is refused, by whoever lived
    // through it and by whoever comes new.
    let new = until("the epoch arrives", PATIENCE, async || {
        (gateway.epoch() > old).then(|| gateway.epoch())
    })
    .await;
    let newcomer = Gateway::start(&acme).await;
    assert_eq!(newcomer.epoch(), new);
    for gateway in [&gateway, &newcomer] {
        for token in [&before, &revoked, &spared] {
            gateway.refuses(token).await;
        }
    }

    // The stolen key stays revoked, and what is minted now is good everywhere.
    let keys = acme.operator.json(&["keys", "list"]).await;
    let key = keys["items"].as_array().unwrap().iter().find(|key| key["kid"] == *stolen).unwrap();
    assert_eq!(key["state"], "retired", "{key}");
    assert_ne!(key["revoked_at"], Value::Null);
    assert_ne!(kid(&acme, "ES256", "active").await, stolen);
    let minted = billing.token(&[]).await;
    gateway.accepts(&minted).await;
    newcomer.accepts(&minted).await;
    assert_eq!(acme.http().give_up(&billing, &minted).await.status, 200);
    gateway.refuses(&minted).await;
    newcomer.refuses(&minted).await;

    // Nobody had to be restarted, nobody is alarmed, and the next start finds nothing amiss.
    gateway.is_calm().await;
    newcomer.is_calm().await;
    acme.stop().await;
    acme.start().await;
    assert_eq!(Gateway::start(&acme).await.epoch(), new);
    let audit = acme.operator.json(&["audit", "--action", "epoch.begin"]).await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");
}

/// A gateway with a disk of its own, in this process.
struct Gateway {
    handle: Handle,
    reader: Reader,
    _dir: TempDir,
}

impl Gateway {
    async fn start(acme: &Acme) -> Self {
        let dir = TempDir::with_prefix("scrip-follower-").unwrap();
        let credential = Credential::Basic {
            id: acme.gateway.id.clone(),
            secret: acme.gateway.secret.clone().into(),
        };
        let config = Config {
            credential: Some(credential),
            dir: Some(dir.path().join("feed")),
            ..Config::new(acme.installation.url())
        };
        let (handle, reader) = scrip_feed::Follower::start(config).await.unwrap();
        handle.synced().await.unwrap();
        Self { handle, reader, _dir: dir }
    }

    fn epoch(&self) -> Jti {
        self.reader.view().position().expect("it has a snapshot").epoch
    }

    async fn accepts(&self, token: &str) {
        until("the token is accepted", PATIENCE, async || self.judge(token).ok()).await;
    }

    /// By the list, or because nobody vouches for its key any more.
    async fn refuses(&self, token: &str) {
        until("the token is refused", PATIENCE, async || match self.judge(token) {
            Ok(()) => None,
            Err(Rejection::Revoked(_) | Rejection::UnknownKid { .. }) => Some(()),
            Err(other) => panic!("{other}"),
        })
        .await;
    }

    fn judge(&self, token: &str) -> Result<(), Rejection> {
        let view = self.reader.view();
        let verifier = Verifier::new("llm-gateway", "prod");
        verifier.authenticate(token.as_bytes(), view.now(), &view.trust()).map(drop)
    }

    /// Three signs of life later it is in step, and no alarm has been raised, ever.
    async fn is_calm(&self) {
        for _ in 0..3 {
            let heard = self.as_of();
            until("the next sign of life", PATIENCE, async || {
                (self.as_of() > heard && self.handle.state() == State::Synced).then_some(())
            })
            .await;
        }
        for alarm in Alarm::ALL {
            assert_eq!(self.handle.alarms().count(alarm), 0, "{alarm:?}");
        }
    }

    fn as_of(&self) -> u64 {
        match self.reader.view().information() {
            scrip_verify::Information::Followed { as_of, .. } => as_of,
            other => panic!("{other:?}"),
        }
    }
}

/// A copy of the database as it was, made and put back while nobody serves.
enum Backup {
    Sqlite { copy: PathBuf },
    Postgres { server: String, name: String, copy: String },
}

impl Backup {
    async fn of(installation: &Installation) -> Self {
        let url = installation.setting("SCRIP_DATABASE_URL");
        if let Some(file) = url.strip_prefix("sqlite:") {
            let copy = PathBuf::from(format!("{file}.backup"));
            fs::copy(file, &copy).unwrap();
            return Self::Sqlite { copy };
        }
        let (server, name) = url.rsplit_once('/').unwrap();
        let (server, copy) = (format!("{server}/postgres"), format!("{name}_backup"));
        statement(&server, format!("CREATE DATABASE {copy} TEMPLATE {name}")).await;
        Self::Postgres { server, name: name.to_owned(), copy }
    }

    async fn restore(&self, installation: &Installation) {
        match self {
            Self::Sqlite { copy } => {
                let file = installation.setting("SCRIP_DATABASE_URL").replace("sqlite:", "");
                for left in ["-wal", "-shm"] {
                    let _ = fs::remove_file(format!("{file}{left}"));
                }
                fs::copy(copy, file).unwrap();
            }
            Self::Postgres { server, name, copy } => {
                statement(server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
                statement(server, format!("CREATE DATABASE {name} TEMPLATE {copy}")).await;
            }
        }
    }
}

async fn statement(server: &str, sql: String) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

/// The key that is in this state.
async fn kid(acme: &Acme, alg: &str, state: &str) -> String {
    let keys = acme.operator.json(&["keys", "list"]).await;
    let wanted = json!({"alg": alg, "use": "token", "state": state});
    let is =
        |key: &&Value| wanted.as_object().unwrap().iter().all(|(name, value)| key[name] == *value);
    let key = keys["items"].as_array().unwrap().iter().find(is).expect("there is one");
    key["kid"].as_str().unwrap().to_owned()
}
