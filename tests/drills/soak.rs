//! One thing after the other, for as long as is asked: `DRILL_MINUTES=30 make drill DRILLS=drills::soak`.

use super::drill::{Drill, MAX_STALENESS};
use crate::harness::dice::minutes;
use crate::harness::http::Http;
use crate::harness::postgres::Cluster;
use crate::harness::process::Signal;
use crate::harness::relay::{Mood, Relay};
use crate::harness::service::Installation;
use crate::harness::wire::{Weather, Wire};
use std::fs;
use std::time::Duration;

/// Of those who ask and of those who revoke, where it takes hours.
const UNHURRIED: Duration = Duration::from_millis(200);
/// A service may need so much more at the end than at the beginning, in MiB.
const GROWTH: u64 = 64;

#[derive(Debug, Clone, Copy)]
enum Fault {
    ServiceKilled,
    ServiceStopped,
    ServiceRestarted,
    PostgresKilled,
    PostgresStopped,
    ReplicaCutOff,
    GatewayKilled,
    GatewayStopped,
    NetworkFails,
    RelayLies,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::ServiceKilled,
        Self::ServiceStopped,
        Self::ServiceRestarted,
        Self::PostgresKilled,
        Self::PostgresStopped,
        Self::ReplicaCutOff,
        Self::GatewayKilled,
        Self::GatewayStopped,
        Self::NetworkFails,
        Self::RelayLies,
    ];
}

/// The replica to which nothing happens but what happens around it is as large at the end as at the
/// beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d12_n150_one_thing_breaks_after_the_other() {
    let mut cluster = Cluster::start(&[]).await;
    let database = cluster.database().await;
    let mut drill = Drill::found("soak", Installation::on(&database)).await;
    if minutes().is_some() {
        (drill.turn, drill.pace) = (UNHURRIED / 4, UNHURRIED);
    }
    let way = Wire::to(cluster.address()).await;
    let database = database.replace(&cluster.address(), &way.address());
    let other = drill.acme.installation.replica().set("SCRIP_DATABASE_URL", &database);
    let lasting = other.serve().await;
    let (here, there) = (drill.acme.installation.url(), other.url());
    let network = Wire::to(other.setting("SCRIP_LISTEN").clone()).await;
    let relay = Relay::of(there.clone(), drill.dice.clone()).await;
    drill.follow(&here).await;
    drill.follow(&there).await;
    drill.follow(&network.url()).await;
    drill.follow(&relay.url).await;
    let victim = drill.follow_apart(&here);
    drill.begin(&[drill.acme.http(), Http::new(&other)]).await;

    let before = Footprint::of(lasting.process.pid());
    while match minutes() {
        Some(end) => drill.ledger.now() < end,
        None => drill.goes_on(2),
    } {
        drill.calm().await;
        let fault = Fault::ALL[drill.dice.roll(0..Fault::ALL.len() as u64) as usize];
        println!("{:.0} s: {fault:?}", drill.ledger.now().as_secs_f64());
        drill.strike();
        match fault {
            Fault::ServiceKilled => {
                drill.acme.kill().await;
                drill.calm().await;
                drill.acme.start().await;
            }
            Fault::ServiceStopped => {
                drill.acme.service.process.signal(Signal::Stop);
                drill.outlast().await;
                drill.acme.service.process.signal(Signal::Continue);
            }
            Fault::ServiceRestarted => {
                drill.acme.stop().await;
                drill.acme.start().await;
            }
            Fault::PostgresKilled => {
                cluster.kill().await;
                drill.calm().await;
                cluster.restart().await;
            }
            Fault::PostgresStopped => {
                cluster.freeze();
                drill.outlast().await;
                cluster.thaw();
            }
            Fault::ReplicaCutOff => breaks(&way, &mut drill).await,
            Fault::GatewayKilled => {
                victim.kill().await;
                drill.calm().await;
                victim.start(drill.gateway(victim.number, MAX_STALENESS, &here));
            }
            Fault::GatewayStopped => {
                victim.signal(Signal::Stop);
                drill.outlast().await;
                victim.signal(Signal::Continue);
            }
            Fault::NetworkFails => breaks(&network, &mut drill).await,
            Fault::RelayLies => {
                let moods = [Mood::Withholding, Mood::Repeating, Mood::Lying];
                relay.turn(moods[drill.dice.roll(0..3) as usize]);
                drill.outlast().await;
                relay.turn(Mood::Honest);
            }
        }
        drill.recover().await;
    }
    let after = Footprint::of(lasting.process.pid());
    println!("the service: {before:?} at the beginning, {after:?} at the end");
    assert!(after.mebibytes < before.mebibytes + GROWTH, "{before:?} {after:?}");
    drill.end().await;
}

async fn breaks(wire: &Wire, drill: &mut Drill) {
    wire.turn(Weather::bad(&mut drill.dice));
    drill.outlast().await;
    wire.turn(Weather::Clear);
}

/// What a process needs.
#[derive(Debug)]
struct Footprint {
    mebibytes: u64,
    #[expect(dead_code, reason = "printed")]
    files: usize,
}

impl Footprint {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = resident.and_then(|size| size.trim().strip_suffix(" kB"));
        let kibibytes: u64 = kibibytes.and_then(|size| size.parse().ok()).expect("a size");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
        Self { mebibytes: kibibytes / 1024, files }
    }
}
