//! A follower's start with a million denied tokens, and the making of their snapshot.

use std::time::Duration;

use scrip::clock;
use scrip_feed::{Config, Credential, Follower, State};
use scrip_token::deny::Manifest;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::figures::{Times, ratio, title};
use crate::harness::acme::Acme;
use crate::harness::service::Installation;
use crate::harness::until::until;

const MILLION: u64 = 1_000_000;
const STARTS: usize = 5;

pub(crate) async fn run() {
    let mut acme = Acme::found(Installation::on_sqlite()).await;
    acme.kill().await;
    deny_a_million(&acme.installation).await;
    acme.start().await;
    let begun = clock::monotonic();
    let http = reqwest::Client::builder().no_proxy().build().expect("no certificates");
    let snapshot = format!("{}/v1/deny/snapshot", acme.installation.url());
    until("the snapshot", Duration::from_secs(120), async || {
        let asked = http.get(&snapshot).basic_auth(&acme.gateway.id, Some(&acme.gateway.secret));
        let manifest = asked.send().await.ok()?.text().await.ok()?;
        (count(&manifest) >= Some(MILLION)).then_some(())
    })
    .await;
    let made = begun.elapsed();

    let folder = tempfile::tempdir().expect("a folder for the follower");
    let (id, secret) = (acme.gateway.id.clone(), acme.gateway.secret.clone().into());
    let config = Config {
        credential: Some(Credential::Basic { id, secret }),
        dir: Some(folder.path().to_owned()),
        ..Config::new(acme.installation.url())
    };
    let begun = clock::monotonic();
    let (handle, _) = Follower::start(config.clone()).await.expect("a loopback issuer");
    handle.synced().await.expect("nobody stops it");
    let fetched = begun.elapsed();
    handle.shutdown().await;

    acme.kill().await;
    let mut starts = Times::default();
    for _ in 0..STARTS {
        let begun = clock::monotonic();
        let (handle, reader) = Follower::start(config.clone()).await.expect("what is on disk");
        starts.push(begun.elapsed());
        assert_ne!(reader.view().state(), Some(State::Init), "it knows what is on disk");
        handle.shutdown().await;
    }
    title("a follower's start, the service away, a million denied tokens on its disk");
    starts.row("start");
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    ratio("start_from_1m_ms", starts.median(), "ms, start from a snapshot of 1 M on disk; < 2,000");
    ratio("start_from_1m_fetched_ms", ms(fetched), "ms, start from nothing, snapshot fetched");
    ratio(
        "snapshot_of_1m_ms",
        ms(made),
        "ms, the service making it from 1 M rows, after its start",
    );
}

/// What a manifest says that there is in the snapshot.
fn count(jws: &str) -> Option<u64> {
    let payload = scrip_token::compact::from_base64url(jws.split('.').nth(1)?)?;
    Some(Manifest::parse(&payload).ok()?.count)
}

/// Behind the back of a service that does not run: as rows of the batch that is not there.
async fn deny_a_million(installation: &Installation) {
    let database = installation.setting("SCRIP_DATABASE_URL");
    let mut connection = SqliteConnection::connect(database).await.expect("nobody has it open");
    let (ms, until) = (clock::now_ms(), clock::now_seconds() + 3600);
    let sql = format!(
        "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {MILLION} - 1), \
         jti(n, jti) AS (SELECT n, printf('%08x-%04x-7%03x-8%03x-%012x', \
         ({ms} - n % 900000) >> 16, ({ms} - n % 900000) & 65535, n & 4095, n >> 12, n) FROM n) \
         INSERT INTO deny_entries (epoch, seq, ord, kind, subject, jti, before, until, entry) \
         SELECT epoch, 0, n, 'jti', 'jti:' || jti, unhex(replace(jti, '-', '')), NULL, {until}, \
         '{{\"jti\":\"' || jti || '\",\"until\":{until}}}' FROM jti, installation"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("room on the disk");
    // The next snapshot would be made from the last one and the batches since.
    let none = sqlx::raw_sql("DELETE FROM deny_snapshots").execute(&mut connection).await;
    none.expect("the tables are there");
    connection.close().await.expect("nothing else to do");
}
