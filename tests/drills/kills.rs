//! `kill -9` of each.

use super::drill::{Drill, MAX_STALENESS};
use crate::harness::postgres::Cluster;
use crate::harness::service::Installation;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_the_service_is_killed() {
    let mut drill = Drill::found("service killed (SQLite)", Installation::on_sqlite()).await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(3) {
        drill.calm().await;
        drill.strike();
        drill.acme.kill().await;
        drill.acme.start().await;
        drill.recover().await;
    }
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_postgres_is_killed() {
    let mut cluster = Cluster::start(&[]).await;
    let installation = Installation::on(&cluster.database().await);
    let mut drill = Drill::found("Postgres killed", installation).await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(2) {
        drill.calm().await;
        drill.strike();
        cluster.kill().await;
        cluster.restart().await;
        drill.recover().await;
    }
    drill.end().await;
}

/// A gateway that was killed begins with what is on its disk, service or no service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n97_n98_a_gateway_is_killed() {
    let mut drill = Drill::found("gateway killed", Installation::on_sqlite()).await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    let victim = drill.follow_apart(&here);
    drill.begin(&[drill.acme.http()]).await;
    let mut alone = false;
    while drill.goes_on(2) {
        alone = !alone;
        drill.calm().await;
        if alone {
            drill.strike_one(&victim);
            victim.kill().await;
            victim.start(drill.gateway(victim.number, MAX_STALENESS, &here));
        } else {
            drill.strike();
            drill.acme.kill().await;
            victim.kill().await;
            victim.start(drill.gateway(victim.number, MAX_STALENESS, &here));
            drill.calm().await;
            drill.acme.start().await;
        }
        drill.recover().await;
    }
    drill.end().await;
}
