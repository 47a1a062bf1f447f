use crate::harness::acme::Acme;
use crate::harness::batches::batches;
use crate::harness::cli::Cli;
use crate::harness::follower::Follower;
use crate::harness::gateway::Gateway;
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::until::until;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;

const ROUNDS: usize = 4;
const MINTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n58_two_services_on_one_database_act_as_one() {
    let installation = Installation::on_postgres().await.set("SCRIP_HEARTBEAT", "1");
    let acme = Acme::found(installation).await;
    let other = acme.installation.replica();
    let service = other.serve().await;
    let both = [acme.http(), Http::new(&other)];
    let billing = acme.embedded("acme/billing").await;
    let mut at_first = Follower::start(&acme.gateway, &[]).await;
    let at_other = Gateway::at(&acme, &[&other]).await;
    let mut seen = HashSet::new();

    for round in 0..ROUNDS {
        let before = mint_at_both(&both, &billing).await;
        for (jti, token) in &before {
            assert!(seen.insert(jti.clone()), "n58: {jti} is there twice");
            at_first.accepts(token).await;
        }

        // Revoked at one of them while mints go on at both. All that was handed out before is
        // refused wherever it was minted, and all that was asked for afterwards is good.
        let revoke = both[round % 2].revoke(&acme.operator, json!({"client": "acme/billing"}));
        let (during, revoked) = tokio::join!(mint_at_both(&both, &billing), revoke);
        assert_eq!(revoked.unwrap().status, 201);
        let after = mint_at_both(&both, &billing).await;
        at_first.learns_of(&before[0].1).await;
        until("the revocation arrives at the other", Duration::from_secs(20), async || {
            at_other.knows_of(&before[0].1).then_some(())
        })
        .await;
        for (_, token) in &before {
            at_first.refuses(token).await;
            assert!(at_other.knows_of(token));
        }
        for (_, token) in &after {
            at_first.accepts(token).await;
            assert!(!at_other.knows_of(token));
        }
        for (_, token) in &during {
            let refused = at_first.judge(token).await["reason"] == "revoked";
            assert_eq!(refused, at_other.knows_of(token), "the followers disagree");
        }
        seen.extend([during, after].into_iter().flatten().map(|(jti, _)| jti));
    }
    assert_eq!(seen.len(), ROUNDS * 3 * 2 * MINTS);

    // n68: the same revocation at both at once is one.
    let (_, token) = mint_at_both(&both, &billing).await.remove(0);
    let selector = json!({"jti": at_first.judge(&token).await["jti"]});
    let (one, two) = tokio::join!(
        both[0].revoke(&acme.operator, selector.clone()),
        both[1].revoke(&acme.operator, selector)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    assert_eq!(one.body["seq"], two.body["seq"]);

    let epoch = at_first.start["epoch"].as_str().unwrap();
    let (one, two) = tokio::join!(
        batches(&both[0], &acme.gateway, epoch),
        batches(&both[1], &acme.gateway, epoch)
    );
    assert_eq!(one, two);
    assert_eq!(one.len(), ROUNDS + 1);
    service.stop().await;
    acme.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_revokes_the_other_is_told_of() {
    let acme = Acme::found(Installation::on_postgres().await).await;
    let other = acme.installation.replica();
    let service = other.serve().await;
    let http = acme.http();
    let billing = acme.embedded("acme/billing").await;
    let at_other = Gateway::at(&acme, &[&other]).await;
    for _ in 0..20 {
        let minted = http.mint(&billing, &[], None).await.unwrap().body;
        let token = minted["access_token"].as_str().unwrap();
        assert!(!at_other.knows_of(token));
        let revoked = http.revoke(&acme.operator, json!({"jti": minted["jti"]})).await.unwrap();
        assert_eq!(revoked.status, 201, "{revoked:?}");
        until("the revocation arrives at the other", Duration::from_secs(20), async || {
            at_other.knows_of(token).then_some(())
        })
        .await;
    }
    // Looking for batches once a second finds some of them; it does not find each of them first.
    let metrics = reqwest::get(format!("{}/metrics", other.ops_url())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let of = "scrip_feed_batches_total{by=\"told\"} ";
    let told = metrics.lines().find_map(|line| line.strip_prefix(of)).unwrap_or("0");
    assert!(told.parse::<u64>().unwrap() >= 1, "{metrics}");
    service.stop().await;
    acme.service.stop().await;
}

/// `jti` and token of each mint, all at once.
async fn mint_at_both(both: &[Http; 2], client: &Cli) -> Vec<(String, String)> {
    let mints = both.iter().flat_map(|http| std::iter::repeat_n(http, MINTS)).map(async |http| {
        let answer = http.mint(client, &[], None).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        (text("jti"), text("access_token"))
    });
    futures_util::future::join_all(mints).await
}
