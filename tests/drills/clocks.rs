//! A wall clock moves back and forth by a minute, on one side.

use super::drill::{Drill, MAX_STALENESS, freshness};
use super::ledger::Promise;
use crate::harness::faketime::FakeTime;
use crate::harness::postgres;
use crate::harness::service::Installation;
use crate::harness::wire::{Weather, Wire};
use scrip_token::limits::LEEWAY;
use scrip_verify::StalePolicy;

/// Back it goes in the moment in which the network falls silent: what the gateway knows ages all
/// the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d7_n147_the_clock_of_a_gateway_jumps() {
    let mut drill = Drill::found("clock of a gateway", Installation::on_sqlite()).await;
    drill.promise.skew = LEEWAY;
    let wire = Wire::to(drill.acme.installation.setting("SCRIP_LISTEN").clone()).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    let clock = FakeTime::right();
    let mut command = drill.gateway(1, MAX_STALENESS, &wire.url());
    command.envs(clock.environment());
    let confused = drill.follow_by(command);
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike_one(&confused);
        clock.move_by(60);
        drill.calm().await;
        clock.move_by(-60);
        wire.turn(Weather::Silent);
        drill.outlast().await;
        wire.turn(Weather::Clear);
        clock.move_by(0);
        drill.recover().await;
    }
    drill.end().await;
}

/// On Postgres the service's own clock decides nothing: nobody may notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d7_n110_the_clock_of_the_service_jumps_on_postgres() {
    let clock = FakeTime::right();
    let installation = Installation::on(&postgres::database().await);
    let installation = installation.living_by(clock.environment());
    let mut drill = Drill::found("clock of the service (Postgres)", installation).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(2) {
        for offset in [60, -60, 0] {
            clock.move_by(offset);
            drill.calm().await;
        }
    }
    drill.end().await;
}

/// On SQLite it is the only one there is. Time that was recorded never goes back: what is minted
/// until it is reached again waits for it. A gateway that was told of a time within the leeway ahead
/// keeps to it, and counts ages from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d7_n110_the_clock_of_the_service_jumps_on_sqlite() {
    let clock = FakeTime::right();
    let installation = Installation::on_sqlite().living_by(clock.environment());
    let mut drill = Drill::found("clock of the service (SQLite)", installation).await;
    drill.promise = Promise { max_staleness: 2 * LEEWAY, skew: LEEWAY, ..drill.promise };
    drill.in_step = 1 + LEEWAY;
    let here = drill.acme.installation.url();
    drill.follow_under(freshness(2 * LEEWAY, StalePolicy::Deny), &here).await;
    drill.begin(&[drill.acme.http()]).await;
    let jump = drill.size.of(8, 60);
    for offset in [-jump, jump] {
        drill.calm().await;
        drill.strike();
        clock.move_by(offset);
        drill.calm().await;
        clock.move_by(0);
        tokio::time::sleep(std::time::Duration::from_secs(offset.max(0).unsigned_abs())).await;
        drill.recover().await;
    }
    drill.end().await;
}
