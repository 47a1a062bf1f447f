//! A gateway that was told to serve rather than to refuse.

use super::drill::{Drill, MAX_STALENESS, freshness};
use super::ledger::{Judge, Said, Verdict};
use crate::harness::service::Installation;
use crate::harness::wire::{Weather, Wire};
use scrip_verify::StalePolicy;
use serde_json::{Value, json};
use std::time::Duration;

const ALLOW_FOR: u64 = 4;

/// It goes on for so much longer than others would, revoked or not, and no longer; and who revokes is
/// told that it may, up to the end of the token's life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_a_gateway_that_may_go_on_hears_nothing() {
    let mut drill = Drill::found("no feed, AllowFor", Installation::on_sqlite()).await;
    drill.promise.max_staleness = MAX_STALENESS + ALLOW_FOR;
    let wire = Wire::to(drill.acme.installation.setting("SCRIP_LISTEN").clone()).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    let contract = freshness(MAX_STALENESS, StalePolicy::AllowFor(ALLOW_FOR));
    let generous = drill.follow_under(contract, &wire.url()).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike_one(&generous);
        wire.turn(Weather::Silent);
        let cut = drill.ledger.now();
        is_told_that_it_may(&drill).await;
        drill.outlast().await;
        drill.calm().await;
        {
            let history = drill.ledger.read();
            let judge = Judge::new(&history, drill.promise);
            let after = |seconds| cut + Duration::from_secs(seconds);
            let of_it = |verdict: &&Verdict| verdict.gateway == generous.number;
            let said: Vec<_> = history.verdicts.iter().filter(of_it).collect();
            let accepts = |verdict: &&&Verdict| verdict.said == Said::Accepted;

            // The freshness contract of others is over, and its own is not.
            let (first, last) = (after(MAX_STALENESS + 1), after(MAX_STALENESS + ALLOW_FOR - 1));
            let more: Vec<_> =
                said.iter().filter(|verdict| (first..last).contains(&verdict.asked)).collect();
            let is_live = |verdict: &&&&Verdict| !judge.is_asked_for(verdict.token, verdict.asked);
            let live = more.iter().filter(is_live);
            assert!(live.clone().count() > 0 && live.clone().all(accepts));
            let revoked = |verdict: &Verdict| {
                judge.acknowledged(verdict.token).any(|(.., at)| at < verdict.asked)
            };
            assert!(more.iter().any(|verdict| revoked(verdict) && accepts(verdict)));

            let over = drill.promise.bound();
            let old = |verdict: &&&Verdict| history.tokens[verdict.token].minted < cut;
            let mut late = said.iter().filter(|verdict| verdict.asked > cut + over).filter(old);
            assert!(late.next().is_some() && !late.any(|verdict| accepts(&verdict)));
        }
        wire.turn(Weather::Clear);
        drill.recover().await;
    }
    drill.end().await;
}

/// A revocation of which it cannot hear is answered with the end of the token's life.
async fn is_told_that_it_may(drill: &Drill) {
    let http = drill.acme.http();
    let minted = http.mint(&drill.workload, &[], None).await.expect("it is answered");
    let revoked = http.revoke(&drill.acme.operator, json!({"jti": minted.body["jti"]})).await;
    let revoked = revoked.expect("it is answered").body;
    let verifiers = revoked["enforced"]["verifiers"].as_array().expect("a list");
    let generous = verifiers.iter().find(|one| one["verifier"] == "gateway-1");
    let generous = generous.expect("it is known");
    assert_eq!(generous["since"], Value::Null, "{revoked}");
    assert_eq!(generous["refuses_by"], revoked["until"], "{revoked}");
    assert_eq!(revoked["enforced"]["by"], revoked["until"], "{revoked}");
}
