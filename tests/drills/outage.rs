//! A gateway hears nothing for as long as it may go on, and longer.

use super::delegation::{key, sign};
use super::drill::Drill;
use super::ledger::{Judge, Maker, Promise, Said, Target, Verdict};
use crate::harness::service::Installation;
use crate::harness::wire::{Weather, Wire};
use scrip::{clock, random};
use scrip_token::{Claims, Jti, SigningKey};
use scrip_verify::{Freshness, StalePolicy};
use serde_json::json;
use std::time::Duration;

const MAX_STALENESS: u64 = 5;
const MAX_OFFLINE: u64 = 10;

/// At first nothing happens, then tokens that are older than `max_staleness` are refused and clients
/// carry on by minting, then nothing passes. Meanwhile a signing key was stolen: its revocation does
/// not get through, and the thief dates his tokens as he likes, so `max_offline` is what is promised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_n107_a_gateway_hears_nothing_and_a_key_was_stolen() {
    let mut drill = Drill::found("no feed, stolen key", Installation::on_sqlite()).await;
    drill.promise = Promise { max_staleness: MAX_STALENESS, max_offline: MAX_OFFLINE, skew: 0 };
    drill.targets.spare_keys();
    let wire = Wire::to(drill.acme.installation.setting("SCRIP_LISTEN").clone()).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    let contract = Freshness::new(MAX_STALENESS, MAX_OFFLINE, StalePolicy::Deny).unwrap();
    let deaf = drill.follow_under(contract, &wire.url()).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike_one(&deaf);
        wire.turn(Weather::Silent);
        let cut = drill.ledger.now();
        let thief = Thief::robs(&drill);
        let revocation = drill.ledger.sends(Target::Kid(thief.kid().to_owned()).into());
        let http = drill.acme.http();
        let revoked = http.revoke(&drill.acme.operator, json!({"kid": thief.kid()})).await;
        let revoked = revoked.expect("it is answered");
        assert_eq!(revoked.status, 201, "{revoked:?}");
        drill.ledger.acknowledged(revocation, &revoked.body);
        let after = |seconds| cut + Duration::from_secs(seconds);
        while drill.ledger.now() < after(MAX_OFFLINE + 3) {
            let asked = drill.ledger.now();
            drill.ledger.minted(Maker::Thief, &thief.forges(), asked);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }

        {
            let history = drill.ledger.read();
            let judge = Judge::new(&history, drill.promise);
            let (first, last) = (after(MAX_STALENESS + 1), after(MAX_OFFLINE - 2));
            let said = |during: std::ops::Range<Duration>| {
                let verdicts =
                    history.verdicts.iter().filter(|verdict| verdict.gateway == deaf.number);
                verdicts.filter(move |verdict| during.contains(&verdict.asked))
            };
            let accepted = |verdict: &&Verdict| verdict.said == Said::Accepted;
            let good = |verdict: &&Verdict| !judge.is_asked_for(verdict.token, cut);
            let age = |verdict: &Verdict| verdict.asked - history.tokens[verdict.token].minted;

            let mut soon = said(cut..after(MAX_STALENESS - 3)).filter(good);
            assert!(soon.next().is_some() && soon.all(|verdict| accepted(&verdict)));
            let fresh: Vec<_> = said(first..last).filter(accepted).map(age).collect();
            let oldest = fresh.iter().max().expect("new tokens pass");
            assert!(*oldest <= Duration::from_secs(MAX_STALENESS + 1), "{oldest:?}");
            let mut late = said(after(MAX_OFFLINE + 1)..after(MAX_OFFLINE + 3));
            assert!(late.next().is_some() && !late.any(|verdict| accepted(&verdict)));
        }
        wire.turn(Weather::Clear);
        drill.recover().await;
    }
    drill.end().await;
}

/// Has the private key that signed the newest token.
struct Thief {
    key: SigningKey,
    claims: Claims,
}

impl Thief {
    fn robs(drill: &Drill) -> Self {
        let history = drill.ledger.read();
        let mut newest = history.tokens.iter().rev();
        let token = newest.find(|token| token.claims.client_id.as_str() == drill.workload.id);
        let token = token.expect("there is a load");
        Self { key: key(&drill.acme.installation, &token.kid), claims: token.claims.clone() }
    }

    fn kid(&self) -> &str {
        self.key.kid()
    }

    /// A token of this moment.
    fn forges(&self) -> String {
        let (now, jti) =
            (clock::now_seconds(), Jti::new(clock::now_ms().unsigned_abs(), random::bytes()));
        sign(&self.key, &Claims { iat: now, nbf: now, exp: now + 600, jti, ..self.claims.clone() })
    }
}
