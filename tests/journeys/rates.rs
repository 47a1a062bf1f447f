use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::until::until;
use std::fs;
use std::time::Duration;

/// Mints of the rate; an hour is longer than the test, so that nothing is earned in the meantime.
const MINTS: usize = 20;
const LIMITED: &str = r#"
name      = "acme/limited"
audiences = ["llm-gateway"]
scopes    = ["llm:chat"]
env       = "prod"
rate      = { mints = 20, per = "hour" }
"#;
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_exceed_a_rate_by_one_burst_and_never_again() {
    let acme = Acme::found(Installation::on_postgres().await).await;
    let other = acme.installation.replica();
    let service = other.serve().await;
    let both = [acme.http(), Http::new(&other)];
    let policy = acme.installation.folder.path().join("limited.toml");
    fs::write(&policy, LIMITED).unwrap();
    acme.operator.run(&["policy", "apply", policy.to_str().unwrap()]).await;

    // At one of them all that the rate grants; then the other knows.
    let pinned = register(&acme, "acme/pinned").await;
    assert_eq!(granted(&both[..1], &pinned).await, MINTS, "one that asks at one gets all");
    until("the other replica is told", SOON, async || {
        (granted(&both[1..], &pinned).await == 0).then_some(())
    })
    .await;

    // At both at once: at most a burst at each, as ARCHITECTURE.md says; and never again more.
    let spread = register(&acme, "acme/spread").await;
    let at_once = granted(&both, &spread).await;
    assert!((MINTS..=2 * MINTS).contains(&at_once), "{at_once}");
    until("both have been told of all", SOON, async || {
        (granted(&both, &spread).await == 0).then_some(())
    })
    .await;

    // Nor where one of them forgets all that it had in memory.
    service.stop().await;
    let service = other.serve().await;
    until("the new process is told what the old one granted", SOON, async || {
        (granted(&both[1..], &spread).await == 0).then_some(())
    })
    .await;
    let all = acme.operator.json(&["token", "list", "--client", "acme/spread", "--limit", "200"]);
    let on_record = all.await["items"].as_array().unwrap().len();
    assert!((at_once..=3 * MINTS).contains(&on_record), "{on_record}");
    service.stop().await;
}

async fn register(acme: &Acme, id: &str) -> Cli {
    let created = ["client", "create", id, "--policy", "acme/limited", "--source", "embedded"];
    let client = acme.operator.json(&created).await;
    Cli::new(&acme.installation, id, client["secret"].as_str().unwrap())
}

/// How many of more mints than a rate grants were granted, all at once at each of these.
async fn granted(services: &[Http], client: &Cli) -> usize {
    let mints = services.iter().flat_map(|http| std::iter::repeat_n(http, MINTS + 10));
    let mints = mints.map(async |http| {
        let answer = http.mint(client, &[], None).await.unwrap();
        match answer.status {
            200 => 1,
            429 => {
                let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=3 * 3600).contains(&wait), "{answer:?}");
                0
            }
            _ => panic!("{answer:?}"),
        }
    });
    futures_util::future::join_all(mints).await.iter().sum()
}
