//! A gateway hears nothing for as long as it may go on, and longer.

use super::drill::Drill;
use super::ledger::{Said, Verdict};
use crate::harness::service::Installation;
use crate::harness::wire::{Weather, Wire};
use pem::Pem;
use scrip::{clock, random};
use scrip_token::compact::Compact;
use scrip_token::{Alg, Claims, Jti, SigningKey, Typ};
use scrip_verify::{Freshness, StalePolicy};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const MAX_STALENESS: u64 = 5;
const MAX_OFFLINE: u64 = 10;

/// At first nothing happens, then tokens that are older than `max_staleness` are refused and clients
/// carry on by minting, then nothing passes. Meanwhile a signing key was stolen: its revocation does
/// not get through, and the thief dates his tokens as he likes, so `max_offline` is what is promised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_n107_a_gateway_hears_nothing_and_a_key_was_stolen() {
    let mut drill = Drill::found("no feed, stolen key", Installation::on_sqlite()).await;
    drill.promise.max_staleness = MAX_OFFLINE;
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
        let http = drill.acme.http();
        let revoked = http.revoke(&drill.acme.operator, json!({"kid": thief.kid()})).await;
        let revoked = revoked.expect("it is answered");
        assert_eq!(revoked.status, 201, "{revoked:?}");
        let acknowledgement = drill.ledger.acknowledgement(&revoked.body);
        let purged_before = drill.ledger.read().purged.unwrap_or_default();
        drill.purged();
        let after = |seconds| cut + Duration::from_secs(seconds);
        while drill.ledger.now() < after(MAX_OFFLINE + 3) {
            let (jti, token) = thief.forge();
            drill.ledger.forged(jti, &token, acknowledgement.clone());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }

        {
            let history = drill.ledger.read();
            let (first, last) = (after(MAX_STALENESS + 1), after(MAX_OFFLINE - 2));
            let said = |during: std::ops::Range<Duration>| {
                let verdicts =
                    history.verdicts.iter().filter(|verdict| verdict.gateway == deaf.number);
                verdicts.filter(move |verdict| during.contains(&verdict.asked))
            };
            let accepted = |verdict: &&Verdict| verdict.said == Said::Accepted;
            let good = |verdict: &&Verdict| {
                let token = &history.tokens[verdict.token];
                token.kept && token.minted > purged_before
            };
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
        let token = drill.ledger.read().tokens.last().expect("there is a load").text.clone();
        let compact = Compact::parse(token.as_bytes(), token.len()).expect("a token");
        let header: serde_json::Value = serde_json::from_slice(&compact.header).expect("JSON");
        let claims = Claims::parse(&compact.payload).expect("a token");
        let kid = header["kid"].as_str().expect("a text");
        let file =
            Path::new(drill.acme.installation.setting("SCRIP_KEYS_DIR")).join(format!("{kid}.pem"));
        let pem: Pem = std::fs::read_to_string(file).expect("it is there").parse().expect("PEM");
        let key = SigningKey::from_pkcs8(Alg::ES256, pem.contents()).expect("a key");
        Self { key, claims }
    }

    fn kid(&self) -> &str {
        self.key.kid()
    }

    /// A token of this moment.
    fn forge(&self) -> (String, String) {
        let (now, jti) =
            (clock::now_seconds(), Jti::new(clock::now_ms().unsigned_abs(), random::bytes()));
        let claims = Claims { iat: now, nbf: now, exp: now + 600, jti, ..self.claims.clone() };
        let payload = serde_json::to_vec(&claims).expect("claims are JSON");
        let token = self.key.sign(Typ::AccessToken, &payload).expect("a sound key signs");
        (jti.to_string(), token)
    }
}
