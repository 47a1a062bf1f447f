use crate::harness::process::{Process, free_port};
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
async fn a_webhook_that_could_not_be_trusted_is_refused_by_name_and_not_repeated() {
    let (url, secret) = ("http://hooks.example/hidden", "whsec_hidden");
    for (settings, reason) in [
        (
            vec![("SCRIP_WEBHOOK_URL", url)],
            "SCRIP_WEBHOOK_URL and SCRIP_WEBHOOK_SECRET go together",
        ),
        (
            vec![("SCRIP_WEBHOOK_URL", url), ("SCRIP_WEBHOOK_SECRET", secret)],
            "SCRIP_WEBHOOK_URL is not an https URL",
        ),
        (
            vec![
                ("SCRIP_WEBHOOK_URL", "https://hooks.example/hidden"),
                ("SCRIP_WEBHOOK_SECRET", secret),
            ],
            "SCRIP_WEBHOOK_SECRET is not `whsec_`",
        ),
        (
            vec![("SCRIP_WEBHOOK_SECRET", secret), ("SCRIP_WEBHOOK_SECRET_FILE", "hidden")],
            "SCRIP_WEBHOOK_SECRET and SCRIP_WEBHOOK_SECRET_FILE are both set",
        ),
        (vec![("SCRIP_WEBHOOK_SECRET_FILE", "absent")], "SCRIP_WEBHOOK_SECRET_FILE absent: "),
    ] {
        let installation = settings
            .into_iter()
            .fold(Installation::on_sqlite(), |all, (name, value)| all.set(name, value));
        let mut refused = Process::start(installation.command(&["serve"]));
        assert!(!refused.exit().await.success());
        let why = refused.stderr();
        assert!(why.contains(reason) && !why.contains("hidden"), "{reason}: {why}");
    }
}

#[tokio::test]
async fn a_key_lead_that_no_key_could_wait_for_is_refused() {
    for lead in ["2592001", "18446744073709551615"] {
        let installation = Installation::on_sqlite().set("SCRIP_KEY_LEAD", lead);
        let mut refused = Process::start(installation.command(&["serve"]));
        assert!(!refused.exit().await.success());
        assert!(
            refused.stderr().contains("SCRIP_KEY_LEAD is 2592000 seconds at most"),
            "{refused}"
        );
    }
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

#[tokio::test]
async fn a_database_that_does_not_answer_is_said_with_the_reason() {
    let address = format!("postgres://scrip:hidden@127.0.0.1:{}/scrip", free_port());
    let installation = Installation::on(&address);
    let mut refused = Process::start(installation.command(&["bootstrap"]));
    assert_eq!(refused.exit().await.code(), Some(3), "{refused}");
    let why = refused.stderr();
    assert!(why.contains("Connection refused") && !why.contains("hidden"), "{why}");
}
