//! Many gateways on one service.

use super::drill::{Drill, freshness};
use crate::harness::service::Installation;
use crate::harness::wire::{Weather, Wire};
use scrip_verify::StalePolicy;
use std::time::Duration;

const FLEET: usize = 50;
/// As many of them are unlucky at a time, at most.
const UNLUCKY: usize = 10;
/// Fifty together leave a busy machine less time for each.
const MAX_STALENESS: u64 = 6;
const TURN: Duration = Duration::from_millis(50);

/// Each is behind a network of its own, and some of those fail, each in its own way, for longer than
/// a gateway may go on. The others must not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_the_networks_of_some_of_fifty_fail() {
    let mut drill = Drill::found("networks among fifty", Installation::on_sqlite()).await;
    drill.promise.max_staleness = MAX_STALENESS;
    drill.turn = TURN;
    let mut fleet = Vec::new();
    for _ in 0..FLEET {
        let wire = Wire::to(drill.acme.installation.setting("SCRIP_LISTEN").clone()).await;
        let contract = freshness(MAX_STALENESS, StalePolicy::Deny);
        fleet.push((drill.follow_under(contract, &wire.url()).await, wire));
    }
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        for _ in 0..UNLUCKY {
            let (unlucky, wire) = &fleet[drill.dice.roll(0..FLEET as u64) as usize];
            drill.strike_one(unlucky);
            wire.turn(Weather::bad(&mut drill.dice));
        }
        drill.outlast().await;
        fleet.iter().for_each(|(_, wire)| wire.turn(Weather::Clear));
        drill.recover().await;
    }
    drill.end().await;
}
