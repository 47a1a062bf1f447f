//! Two services on one Postgres, each with a gateway that knows no other.

use super::drill::{Drill, PATIENT};
use super::ledger::Receipt;
use super::load::WAITING;
use crate::harness::http::Http;
use crate::harness::postgres;
use crate::harness::process::Signal;
use crate::harness::service::Installation;
use crate::harness::wire::{Weather, Wire};

/// One of them cannot reach the database, whether it is told so or not. It has no signs of life to
/// give, so its gateway closes; the other one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d8_n96_a_replica_is_cut_off_from_the_database() {
    let database = postgres::database().await;
    let address = database.rsplit(['@', '/']).nth(1).expect("it has a host").to_owned();
    let wire = Wire::to(address.clone()).await;
    let mut drill = Drill::found("replica without database", Installation::on(&database)).await;
    let database = database.replace(&address, &wire.address());
    let other = drill.acme.installation.replica().set("SCRIP_DATABASE_URL", &database);
    let _service = other.serve().await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    let cut_off = drill.follow(&other.url()).await;
    drill.begin(&[drill.acme.http(), Http::new(&other)]).await;

    let weathers = [Weather::Cut, Weather::Silent, Weather::OneWay];
    while drill.goes_on(1) {
        let weather = weathers[drill.dice.roll(0..3) as usize];
        drill.calm().await;
        drill.strike_one(&cut_off);
        wire.turn(weather);
        drill.outlast().await;
        wire.turn(Weather::Clear);
        drill.recover().await;
    }
    drill.end().await;
}

/// One of them is stopped in the middle of whatever it does, and wakes when the other has long gone
/// on. Nothing that it then says may be from before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d8_n58_a_replica_is_stopped_and_goes_on() {
    let database = postgres::database().await;
    let mut drill = Drill::found("replica stopped", Installation::on(&database)).await;
    let other = drill.acme.installation.replica();
    let service = other.serve().await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    let waiting = drill.follow(&other.url()).await;
    drill.begin(&[drill.acme.http(), Http::new(&other)]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        drill.strike_one(&waiting);
        service.process.signal(Signal::Stop);
        drill.outlast().await;
        service.process.signal(Signal::Continue);
        drill.recover().await;
    }
    drill.end().await;
}

/// Nothing is wrong: who waits is told that all enforce the revocation, and no gateway accepts the
/// token from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_true() {
    let database = postgres::database().await;
    let mut drill = Drill::found("healthy, receipts", Installation::on(&database)).await;
    let other = drill.acme.installation.replica();
    let _service = other.serve().await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    drill.follow_by(drill.gateway(1, PATIENT, &here));
    drill.follow_patiently(&other.url()).await;
    drill.follow_by(drill.gateway(3, PATIENT, &other.url()));
    drill.begin(&[drill.acme.http(), Http::new(&other)]).await;
    let began = drill.ledger.now();
    drill.suffices().await;
    {
        let history = drill.ledger.read();
        let waited =
            |receipt: &&Receipt| receipt.revocation.is_multiple_of(WAITING) && receipt.at > began;
        let receipts: Vec<_> = history.receipts.iter().filter(waited).collect();
        assert!(receipts.len() > 10 && receipts.iter().all(|receipt| receipt.all), "{receipts:?}");
    }
    drill.end().await;
}
