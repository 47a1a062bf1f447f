use super::history::{Event, Writer};
use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::follower::Follower;
use crate::harness::http::Http;
use crate::harness::postgres::Cluster;
use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::wire::Wire;
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

const WRITERS: usize = 8;
/// Within this everything is answered, frozen database or not: 11 s for the statement that is under
/// way, 2 s for each connection that is then found to be silent.
const ANSWERED: Duration = Duration::from_secs(20);
/// Within this the service must have found Postgres again.
const RECOVERY: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n113_a_frozen_database_makes_nobody_wait_for_long() {
    let cluster = Cluster::start(&[]).await;
    let Drill { acme, workload, mut gateway } = Drill::on(&cluster.database().await).await;
    let http = acme.http();
    let writer = Writer::new(&acme, &workload, Some(&acme.operator));
    let token = workload.token(&[]).await;
    let first_keys = "/.well-known/scrip-keys?version=1";
    assert_eq!(http.published(first_keys).await.status, 200);
    under_load(writer, || cluster.freeze()).await;

    // Now and later: 503, soon; what is out goes on; the process is alive and says what is wrong.
    for _ in 0..2 {
        let asked = join_all((0..WRITERS).map(|_| http.mint(&workload, &[], None)));
        for answer in timeout(ANSWERED, asked).await.expect("each mint is answered") {
            let answer = answer.expect("an answer, whatever it says");
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.headers.contains_key("Retry-After"), "{answer:?}");
        }
        let revoked = http.revoke(&acme.operator, json!({"client": "acme/billing"}));
        let revoked = timeout(ANSWERED, revoked).await.expect("it is answered").unwrap();
        assert_eq!(revoked.status, 503, "{revoked:?}");
        let ready = timeout(ANSWERED, http.readiness()).await.expect("it is answered");
        assert_eq!(ready.status, 503, "{ready:?}");
        gateway.accepts(&token).await;
        // What was not signed here, or not for this API, needs no look at the database, and so takes
        // no connection to it.
        for forged in ["nothing", &forged(&token), &token] {
            let refused = timeout(ANSWERED, http.read_with(forged, "/v1/deny/snapshot")).await;
            assert_eq!(refused.expect("it is answered").status, 401);
        }
        // Nor does what never changes, and was asked for before.
        assert_eq!(http.published(first_keys).await.status, 200);
    }

    cluster.thaw();
    until("the service is ready again", RECOVERY, async || {
        (http.readiness().await.status == 200).then_some(())
    })
    .await;
    let fresh = mints(&http, &workload).await;
    gateway.accepts(&fresh).await;
    let revoked = http.revoke(&acme.operator, json!({"client": "acme/billing"})).await.unwrap();
    assert_eq!(revoked.status, 201, "{revoked:?}");
    gateway.learns_of(&fresh).await;
}

/// The token with another signature.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{other}{}", &signature[1..])
}

/// A primary that lost its power, and the one that took over: the old connections never answer
/// and never break, new ones work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n112_connections_that_fell_silent_are_replaced() {
    let cluster = Cluster::start(&[]).await;
    let wire = Wire::to(cluster.address()).await;
    let database = cluster.database().await;
    let database = database.replace(&cluster.address(), &wire.address());
    let Drill { acme, workload, mut gateway } = Drill::on(&database).await;

    let writer = Writer::new(&acme, &workload, Some(&acme.operator));
    under_load(writer, || wire.fall_silent()).await;
    let token = mints(&acme.http(), &workload).await;
    gateway.accepts(&token).await;
    let http = acme.http();
    until("it revokes again", RECOVERY, async || {
        let revoked = http.revoke(&acme.operator, json!({"client": "acme/billing"})).await;
        (revoked.unwrap().status == 201).then_some(())
    })
    .await;
    gateway.learns_of(&token).await;
}

struct Drill {
    acme: Acme,
    workload: Cli,
    gateway: Follower,
}

impl Drill {
    async fn on(database: &str) -> Self {
        let acme = Acme::found(Installation::on(database).set("SCRIP_HEARTBEAT", "1")).await;
        let workload = acme.embedded("acme/billing").await;
        let gateway = Follower::start(&acme.gateway, &[]).await;
        Self { acme, workload, gateway }
    }
}

/// Freezes in the middle of whatever is done for the writers. Each of them ends with the first
/// answer that is no acknowledgement, or with the first mint after it: who finds a connection that
/// works goes on. Returns when all have.
async fn under_load(writer: Writer, freeze: impl FnOnce()) {
    let (history, mut events) = mpsc::unbounded_channel();
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(writer.clone().write(number.to_string(), history.clone())))
        .collect();
    for _ in 0..4 * WRITERS {
        let event = events.recv().await;
        assert!(matches!(event, Some(Event::Minted(_) | Event::Revoked(_))), "{event:?}");
    }
    freeze();
    drop(events);
    for ended in timeout(ANSWERED, join_all(writers)).await.expect("each request is answered") {
        ended.expect("a writer sees nothing but acknowledgements and silence");
    }
}

/// The token of the next mint that succeeds.
async fn mints(http: &Http, client: &Cli) -> String {
    until("it mints again", RECOVERY, async || {
        let answer = http.mint(client, &[], None).await.ok()?;
        answer.body["access_token"].as_str().map(str::to_owned)
    })
    .await
}
