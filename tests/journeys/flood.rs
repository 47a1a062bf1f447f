use crate::harness::acme::Acme;
use crate::harness::flood::Flood;
use crate::harness::gateway::Gateway;
use crate::harness::service::Installation;
use futures_util::future::join;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n85_gateways_stay_fresh_while_revocations_go_on_without_a_pause() {
    let acme = Acme::found(Installation::on_postgres().await.set("SCRIP_HEARTBEAT", "1")).await;
    let other = acme.installation.replica();
    let service = other.serve().await;
    let (here, there) = (Gateway::start(&acme).await, Gateway::at(&acme, &[&other]).await);
    let flood = Flood::start(&acme.http(), &acme.operator);
    join(here.is_in_step(), there.is_in_step()).await;
    // Whoever begins in the middle of it gets in step too.
    Gateway::at(&acme, &[&other]).await.is_calm().await;
    drop(flood);
    join(here.is_calm(), there.is_calm()).await;
    service.stop().await;
}
