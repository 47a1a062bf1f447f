//! `SIGSTOP` of each, for longer than a gateway may go on by what it knows: whoever wakes must not
//! take the time that it slept for no time at all.

use super::drill::Drill;
use crate::harness::postgres::Cluster;
use crate::harness::process::Signal;
use crate::harness::service::Installation;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_is_stopped_and_goes_on() {
    let mut drill = Drill::found("service stopped", Installation::on_sqlite()).await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike();
        drill.acme.service.process.signal(Signal::Stop);
        drill.outlast().await;
        drill.acme.service.process.signal(Signal::Continue);
        drill.recover().await;
    }
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_stopped_and_goes_on() {
    let mut drill = Drill::found("gateway stopped", Installation::on_sqlite()).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    let sleeper = drill.follow_apart(&here);
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike_one(&sleeper);
        sleeper.signal(Signal::Stop);
        drill.outlast().await;
        sleeper.signal(Signal::Continue);
        drill.recover().await;
    }
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_stopped_and_goes_on() {
    let cluster = Cluster::start(&[]).await;
    let installation = Installation::on(&cluster.database().await);
    let mut drill = Drill::found("Postgres stopped", installation).await;
    let here = drill.acme.installation.url();
    drill.follow(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike();
        cluster.freeze();
        drill.outlast().await;
        cluster.thaw();
        drill.recover().await;
    }
    drill.end().await;
}
