//! Whatever lies between a gateway and the service.

use super::drill::Drill;
use crate::harness::relay::{Mood, Relay};
use crate::harness::service::Installation;
use crate::harness::wire::{Weather, Wire};
use std::time::Duration;

/// One gateway is behind a network that is cut, silent, half open, slow, late; for longer than it
/// may go on. The other one must not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_n86_n87_n88_the_network_fails() {
    let mut drill = Drill::found("network of a gateway", Installation::on_sqlite()).await;
    let wire = Wire::to(drill.acme.installation.setting("SCRIP_LISTEN").clone()).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    let cut_off = drill.follow(&wire.url()).await;
    drill.begin(&[drill.acme.http()]).await;

    let lasting = [Weather::Cut, Weather::Silent, Weather::OneWay];
    let passing = [
        Weather::Torn,
        Weather::Slow(2_000),
        Weather::Late(Duration::from_millis(700)),
        Weather::Cut,
    ];
    while drill.goes_on(1) {
        let (one, other) = (drill.dice.roll(0..3) as usize, drill.dice.roll(0..4) as usize);
        drill.calm().await;
        drill.strike_one(&cut_off);
        wire.turn(lasting[one]);
        drill.outlast().await;
        wire.turn(passing[other]);
        drill.calm().await;
        wire.turn(Weather::Clear);
        drill.recover().await;
    }
    drill.end().await;
}

/// A relay lets nothing pass but signs of life, or always the same one; then it loses, repeats,
/// reorders, delays, garbles and truncates events, and answers with what was true once or with a login
/// page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_n78_n81_n82_n93_a_relay_lies() {
    let mut drill = Drill::found("hostile relay", Installation::on_sqlite()).await;
    let here = drill.acme.installation.url();
    let relay = Relay::of(here.clone(), drill.dice.clone()).await;
    drill.follow_patiently(&here).await;
    let deceived = drill.follow(&relay.url).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        let mood = [Mood::Withholding, Mood::Repeating][drill.dice.roll(0..2) as usize];
        drill.calm().await;
        drill.strike_one(&deceived);
        // On the stream that there is: it would get no other.
        relay.turn(mood);
        drill.outlast().await;
        relay.turn(Mood::Lying);
        drill.calm().await;
        drill.calm().await;
        relay.turn(Mood::Honest);
        drill.recover().await;
    }
    drill.end().await;
}
