//! A new version is rolled out, and a replica dies, while tokens are revoked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::acme::Acme;
use crate::harness::batches::batches;
use crate::harness::cli::Cli;
use crate::harness::gateway::Gateway;
use crate::harness::http::Http;
use crate::harness::process::Process;
use crate::harness::service::Installation;
use crate::harness::until::until;

const TOKENS: usize = 400;
/// Revocations that are acknowledged between one step of the operator and the next.
const BETWEEN: usize = 25;
/// Far above what a replica takes to start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_and_a_killed_replica_lose_nothing() {
    let installation = Installation::on_postgres().await.set("SCRIP_HEARTBEAT", "1");
    let mut acme = Acme::found(installation).await;
    let other = acme.installation.replica();
    let mut second = other.serve().await;
    let billing = acme.embedded("acme/billing").await;
    let tokens = mint(&[acme.http(), Http::new(&other)], &billing).await;
    let spared = mint(&[acme.http()], &billing).await;
    let gateway = Gateway::at(&acme, &[&acme.installation, &other]).await;

    let mut security = Security::start(&acme, &other, &tokens);
    security.acknowledged(BETWEEN).await;
    // Each replica in turn is replaced, with whatever migrations the next version brings in between.
    acme.service.stop().await;
    security.acknowledged(BETWEEN).await;
    let mut migrate = Process::start(acme.installation.command(&["migrate"]));
    assert!(migrate.exit().await.success(), "{migrate}");
    acme.service = acme.installation.serve().await;
    security.acknowledged(BETWEEN).await;
    second.stop().await;
    security.acknowledged(BETWEEN).await;
    second = other.serve().await;
    security.acknowledged(BETWEEN).await;
    acme.kill().await;
    security.acknowledged(BETWEEN).await;
    acme.start().await;
    security.done().await;

    until("the follower enforces the last of them", PATIENCE, async || {
        tokens.last().filter(|(_, token)| gateway.knows_of(token))
    })
    .await;
    let missed = tokens.iter().filter(|(_, token)| !gateway.knows_of(token));
    assert_eq!(missed.count(), 0, "acknowledged and not enforced");
    let refused = spared.iter().filter(|(_, token)| gateway.knows_of(token));
    assert_eq!(refused.count(), 0, "refused and never revoked");

    let epoch = gateway.epoch().to_string();
    let at_first = batches(&acme.http(), &acme.gateway, &epoch).await;
    assert_eq!(at_first, batches(&Http::new(&other), &acme.gateway, &epoch).await);
    acme.service.stop().await;
    second.stop().await;
}

/// Revokes one token after the other, at the replica that answers.
struct Security {
    task: JoinHandle<()>,
    acknowledged: Arc<AtomicUsize>,
}

impl Security {
    fn start(acme: &Acme, other: &Installation, tokens: &[(String, String)]) -> Self {
        let replicas = [acme.http(), Http::new(other)];
        let operator = acme.operator.clone();
        let jtis: Vec<String> = tokens.iter().map(|(jti, _)| jti.clone()).collect();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let count = acknowledged.clone();
        let task = tokio::spawn(async move {
            for (jti, turn) in jtis.iter().zip(0..) {
                let revoked = revoke(&replicas, &operator, jti, turn);
                timeout(PATIENCE, revoked).await.expect("one of the replicas revokes");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { task, acknowledged }
    }

    /// Waits until so many more are acknowledged.
    async fn acknowledged(&mut self, more: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + more;
        assert!(wanted < TOKENS, "all are revoked before the operator is done");
        until("revocations go on", PATIENCE, async || {
            (self.acknowledged.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    async fn done(self) {
        self.task.await.expect("each is acknowledged");
        assert_eq!(self.acknowledged.load(Ordering::Relaxed), TOKENS);
    }
}

/// Asks one replica and the other until one acknowledges.
async fn revoke(replicas: &[Http; 2], operator: &Cli, jti: &str, first: usize) {
    for turn in first.. {
        let selector = json!({"jti": jti});
        let answer = replicas[turn % 2].revoke(operator, selector).await;
        if answer.is_ok_and(|answer| matches!(answer.status, 200 | 201)) {
            return;
        }
    }
}

/// `jti` and token of each. All are asked for at once; a busy machine answers some with 503.
async fn mint(replicas: &[Http], client: &Cli) -> Vec<(String, String)> {
    let mints = replicas.iter().cycle().take(TOKENS).map(async |http| {
        until("it mints", PATIENCE, async || {
            let answer = http.mint(client, &[], None).await.ok()?;
            let text = |name: &str| answer.body[name].as_str().map(str::to_owned);
            Some((text("jti")?, text("access_token")?))
        })
        .await
    });
    join_all(mints).await
}
