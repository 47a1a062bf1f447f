use crate::harness::process::Process;
use crate::harness::service::Installation;

#[tokio::test]
async fn the_service_starts_stops_and_goes_on_with_what_it_had() {
    let installation = Installation::on_sqlite();
    let operator = installation.bootstrap().await;
    assert_eq!(operator.id, "ops/admin");
    installation.serve().await.stop().await;
    let service = installation.serve().await;
    let written = format!("{}{}", service.process.stdout(), service.process.stderr());
    assert!(!written.contains(&operator.secret));
    service.stop().await;
}

#[tokio::test]
async fn replicas_share_a_database() {
    let first = Installation::on_postgres().await;
    first.bootstrap().await;
    let second = first.replica();
    let (one, two) = tokio::join!(first.serve(), second.serve());
    let mut keys = Vec::new();
    for replica in [&first, &second] {
        let reply = reqwest::get(format!("{}/.well-known/jwks.json", replica.url())).await.unwrap();
        keys.push(reply.text().await.unwrap());
    }
    assert_eq!(keys[0], keys[1]);
    tokio::join!(one.stop(), two.stop());
}

#[tokio::test]
async fn without_a_bootstrap_the_service_refuses_and_names_the_command() {
    let installation = Installation::on_sqlite();
    let mut refused = Process::start(installation.command(&["serve"]));
    assert!(!refused.exit().await.success());
    assert!(
        refused.stderr().contains("scrip bootstrap") || refused.stderr().contains("scrip migrate"),
        "{refused}"
    );
}
