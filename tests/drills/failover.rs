//! The primary is lost and its standby takes over, at the same address.

use super::drill::{Drill, MAX_STALENESS};
use super::ledger::Maker;
use crate::harness::http::Http;
use crate::harness::postgres::Cluster;
use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::wire::{Weather, Wire};
use std::collections::BTreeSet;
use std::time::Duration;

/// Within this a service has found the new primary.
const PATIENCE: Duration = Duration::from_secs(30);

/// It has all that was acknowledged: nobody is to mint anew, and each token is on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_n112_a_synchronous_standby_takes_over() {
    let mut primary = Cluster::start(&[]).await;
    let (way, database) = way_to(&primary).await;
    let installation = Installation::on(&database);
    let mut drill = Drill::found("failover, synchronous", installation).await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        let standby = synchronous(&drill, &primary, &primary.address()).await;
        drill.calm().await;
        drill.strike();
        primary.kill().await;
        standby.promote().await;
        way.lead_to(standby.address());
        primary = standby;
        drill.recover().await;
    }
    let ledger = drill.ledger.clone();
    let acme = drill.end().await;

    let minted: Vec<_> = {
        let history = ledger.read();
        let epochs: BTreeSet<_> = history.acknowledged().map(|(_, done)| &done.epoch).collect();
        assert_eq!(epochs.len(), 1, "{epochs:?}");
        let minted = history.tokens.iter().filter(|token| token.maker == Maker::Service);
        minted.map(|token| token.claims.jti).collect()
    };
    let reader = acme.operator.token(&["--audience", "self", "--scope", "scrip:tokens"]).await;
    for jti in minted {
        let record = acme.http().read_with(&reader, &format!("/v1/tokens/{jti}")).await;
        assert_eq!(record.status, 200, "a token without its record: {jti}");
    }
}

/// It lacks the last of what was acknowledged, and nobody can tell which. So a service that knows
/// better begins an epoch without being told: nothing that was revoked passes at a gateway that knew
/// of it, at one that was away meanwhile, or at one that is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_n81_a_standby_that_lags_takes_over() {
    let mut primary = Cluster::start(&[]).await;
    let (way, database) = way_to(&primary).await;
    let installation = Installation::on(&database);
    let mut drill = Drill::found("failover, lagging", installation).await;
    drill.targets.spare_keys();
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    let away = drill.follow_apart(&here);
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        let link = Wire::to(primary.address()).await;
        let standby = asynchronous(&drill, &primary, &link.address()).await;
        drill.calm().await;
        drill.strike();
        away.kill().await;
        link.turn(Weather::Silent);
        drill.acknowledges_each().await;
        primary.kill().await;
        standby.promote().await;
        let old = drill.epoch();
        way.lead_to(standby.address());
        until("an epoch begins", PATIENCE, async || (drill.epoch() > old).then_some(())).await;
        drill.purged();
        primary = standby;
        away.start(drill.gateway(away.number, MAX_STALENESS, &here));
        drill.follow(&here).await;
        drill.recover().await;
    }
    drill.end().await;
}

/// One replica's way leads to a standby that lags, as long as another one revokes at the primary.
/// What the standby has is no news: its gateway closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_n121_a_replica_reads_from_a_standby() {
    let primary = Cluster::start(&[]).await;
    let (way, elsewhere) = way_to(&primary).await;
    let database = elsewhere.replace(&way.address(), &primary.address());
    let link = Wire::to(primary.address()).await;
    let mut drill = Drill::found("replica at a standby", Installation::on(&database)).await;
    let standby = primary.standby(&link.address()).await;
    let other = drill.acme.installation.replica().set("SCRIP_DATABASE_URL", &elsewhere);
    let _service = other.serve().await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    let misled = drill.follow(&other.url()).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike_one(&misled);
        way.lead_to(standby.address());
        drill.calm().await;
        link.turn(Weather::Silent);
        drill.outlast().await;
        assert_eq!(Http::new(&other).readiness().await.status, 503);
        link.turn(Weather::Clear);
        way.lead_to(primary.address());
        drill.recover().await;
    }
    drill.end().await;
}

/// The standby took over, and the old primary does not know. Who is left with it is told nothing:
/// what commits there waits for a standby that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_d8_a_replica_is_left_with_the_old_primary() {
    let mut primary = Cluster::start(&[]).await;
    let (way, database) = way_to(&primary).await;
    let mut drill = Drill::found("two primaries", Installation::on(&database)).await;
    drill.targets.spare_keys();
    let (other_way, elsewhere) = (Wire::to(primary.address()).await, database);
    let elsewhere = elsewhere.replace(&way.address(), &other_way.address());
    let other = drill.acme.installation.replica().set("SCRIP_DATABASE_URL", &elsewhere);
    let _service = other.serve().await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    drill.follow(&other.url()).await;
    drill.begin(&[drill.acme.http(), Http::new(&other)]).await;
    while drill.goes_on(1) {
        let link = Wire::to(primary.address()).await;
        let standby = synchronous(&drill, &primary, &link.address()).await;
        drill.calm().await;
        drill.strike();
        link.turn(Weather::Silent);
        standby.promote().await;
        way.lead_to(standby.address());
        drill.acknowledges_each().await;
        drill.outlast().await;
        assert_eq!(Http::new(&other).readiness().await.status, 503);
        primary.kill().await;
        other_way.lead_to(standby.address());
        primary = standby;
        drill.recover().await;
    }
    drill.end().await;
}

/// A standby that streams from `address` and for which commits wait.
async fn synchronous(drill: &Drill, primary: &Cluster, address: &str) -> Cluster {
    drill.strike();
    let standby = primary.standby(address).await;
    primary.waits_for_standby().await;
    drill.recover().await;
    standby
}

/// One for which nobody waits. To copy a primary is work for its disk, and a heartbeat is a commit.
async fn asynchronous(drill: &Drill, primary: &Cluster, address: &str) -> Cluster {
    drill.strike();
    let standby = primary.standby(address).await;
    drill.recover().await;
    standby
}

/// A way to the cluster that can be led elsewhere, and a new database at the end of it.
async fn way_to(cluster: &Cluster) -> (Wire, String) {
    let way = Wire::to(cluster.address()).await;
    let database = cluster.database().await.replace(&cluster.address(), &way.address());
    (way, database)
}
