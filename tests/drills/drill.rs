//! A running system with gateways, a load, and somebody who breaks things.

use super::delegation::delegate_on_record;
use super::gateway::Gateway;
use super::ledger::{Fault, Ledger, Maker, Promise, Time};
use super::load::Load;
use super::targets::Targets;
use crate::harness::acme::Acme;
use crate::harness::batches::{batches, read};
use crate::harness::cli::Cli;
use crate::harness::dice::{Dice, Size};
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::until::{until, within};
use scrip_feed::{Config, Credential};
use scrip_token::deny::Entry;
use scrip_verify::{Freshness, StalePolicy};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use url::Url;

/// Of gateways that are to reach the bound; four heartbeats, of which a busy machine may delay some.
pub const MAX_STALENESS: u64 = 4;
/// Of gateways that are to notice nothing, on a machine that is busy with other things.
pub const PATIENT: u64 = 30;
/// The usual time offline.
const MAX_OFFLINE: u64 = 900;
/// Within this everybody is well again.
const RECOVERY: Duration = Duration::from_secs(30);
/// Within this there are revocations enough, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Drill {
    name: &'static str,
    pub size: Size,
    pub dice: Dice,
    pub acme: Acme,
    pub gateways: Vec<Arc<Gateway>>,
    pub ledger: Arc<Ledger>,
    pub promise: Promise,
    /// How old, in seconds, the information of a gateway is at most that is in step.
    pub in_step: u64,
    /// How often each gateway is asked, and how soon whoever revokes goes on.
    pub turn: Duration,
    pub pace: Duration,
    pub workload: Cli,
    pub targets: Arc<Targets>,
    /// Whether the database can be reached from here.
    pub has_records: bool,
    load: Option<Load>,
    questions: JoinSet<()>,
    rounds: usize,
}

impl Drill {
    /// A service with a heartbeat each second, a workload, and whom each selector meets.
    pub async fn found(name: &'static str, installation: Installation) -> Self {
        let (size, mut dice) = (Size::asked_for(), Dice::new());
        let acme = Acme::found(installation.set("SCRIP_HEARTBEAT", "1")).await;
        let workload = acme.embedded("acme/billing").await;
        let targets = Arc::new(Targets::found(&acme, &workload, size, dice.fork()).await);
        Self {
            name,
            size,
            dice,
            acme,
            gateways: Vec::new(),
            ledger: Arc::new(Ledger::new()),
            promise: Promise { max_staleness: MAX_STALENESS, max_offline: MAX_OFFLINE, skew: 0 },
            in_step: 1,
            turn: Duration::from_millis(5),
            pace: Duration::from_millis(10),
            workload,
            targets,
            has_records: true,
            load: None,
            questions: JoinSet::new(),
            rounds: 0,
        }
    }

    /// Adds a gateway in this process that follows at `origin`.
    pub async fn follow(&mut self, origin: &str) -> Arc<Gateway> {
        self.follow_under(freshness(MAX_STALENESS, StalePolicy::Deny), origin).await
    }

    /// Adds one that must notice nothing: it is not hurt, and nothing that it depends on is.
    pub async fn follow_patiently(&mut self, origin: &str) -> Arc<Gateway> {
        self.follow_under(freshness(PATIENT, StalePolicy::Deny), origin).await
    }

    /// Adds one with this freshness contract.
    pub async fn follow_under(&mut self, freshness: Freshness, origin: &str) -> Arc<Gateway> {
        let Cli { id, secret, .. } = self.acme.gateway.clone();
        let config = Config {
            origins: vec![origin.parse::<Url>().expect("a URL")],
            credential: Some(Credential::Basic { id, secret: secret.into() }),
            freshness,
            verifier: Some(format!("gateway-{}", self.gateways.len())),
            ..Config::new(self.acme.installation.url())
        };
        let gateway = Gateway::inside(self.gateways.len(), config).await;
        self.add(gateway)
    }

    /// Adds a gateway that is a process.
    pub fn follow_apart(&mut self, origin: &str) -> Arc<Gateway> {
        self.follow_by(self.gateway(self.gateways.len(), MAX_STALENESS, origin))
    }

    pub fn follow_by(&mut self, command: Command) -> Arc<Gateway> {
        self.add(Gateway::apart(self.gateways.len(), command))
    }

    /// The command of the gateway of this number: it follows at `origin` and has a disk.
    pub fn gateway(&self, number: usize, max_staleness: u64, origin: &str) -> Command {
        let name = format!("gateway-{number}");
        let state = self.acme.installation.folder.path().join(&name);
        let state = state.to_str().expect("a plain name");
        let max_staleness = max_staleness.to_string();
        let fixed = ["token", "verify", "--follow", "--audience", "llm-gateway", "--env", "prod"];
        let own = ["--max-staleness", &max_staleness, "--state-dir", state];
        let mut command = self.acme.gateway.command(&[&fixed[..], &own].concat());
        command.args(["--origin", origin, "--verifier", &name]);
        command
    }

    fn add(&mut self, gateway: Gateway) -> Arc<Gateway> {
        let gateway = Arc::new(gateway);
        self.gateways.push(gateway.clone());
        self.questions.spawn(gateway.clone().work(self.ledger.clone(), self.turn));
        gateway
    }

    /// Begins to mint and to revoke, at each of `replicas`; returns when every gateway is well.
    pub async fn begin(&mut self, replicas: &[Http]) {
        self.strike();
        if self.has_records {
            self.delegate().await;
        }
        self.load = Some(Load::start(
            &self.ledger,
            replicas,
            &self.acme,
            &self.targets,
            self.pace,
            &mut self.dice,
        ));
        self.recover().await;
    }

    /// Some of those who are revoked later have delegated to somebody whom no selector names.
    async fn delegate(&self) {
        for client in self.targets.ancestors() {
            let asked = self.ledger.now();
            let minted = self.acme.http().mint(&client, &[("ttl", "600")], None).await;
            let minted = minted.expect("nothing is wrong yet").body;
            let text = minted["access_token"].as_str().expect("a token");
            let parent = self.ledger.minted(Maker::Service, text, asked);
            let parent = self.ledger.read().tokens[parent].clone();
            let asked = self.ledger.now();
            let token = delegate_on_record(&self.acme.installation, &parent).await;
            self.ledger.minted(Maker::Delegate, &token, asked);
        }
    }

    /// Whether there is another round; of the long form there are four times as many.
    pub fn goes_on(&mut self, rounds: usize) -> bool {
        self.rounds += 1;
        self.rounds <= self.size.of(rounds, 4 * rounds)
    }

    /// Returns when as much is revoked as the size demands, by every kind of selector.
    pub async fn suffices(&self) {
        let enough: usize = self.size.of(100, 1000);
        until(format!("{enough} are acknowledged, of each kind"), PATIENCE, async || {
            let mix = self.ledger.read().mix();
            (mix.iter().sum::<usize>() >= enough && !mix.contains(&0)).then_some(())
        })
        .await;
    }

    /// Returns when one revocation more by each kind of selector is acknowledged.
    pub async fn acknowledges_each(&self) {
        let before = self.ledger.read().mix();
        self.targets.deal();
        until("one more of each kind is acknowledged", PATIENCE, async || {
            let now = self.ledger.read().mix();
            now.iter().zip(before).all(|(now, before)| *now > before).then_some(())
        })
        .await;
    }

    /// Lets the load go on undisturbed for a while.
    pub async fn calm(&mut self) {
        tokio::time::sleep(self.dice.ms(self.size.of(50..400, 100..2000))).await;
    }

    /// Something is about to break for everybody.
    pub fn strike(&self) {
        self.strike_at(None);
    }

    /// Something is about to break for one gateway; the others must not notice.
    pub fn strike_one(&self, gateway: &Gateway) {
        self.strike_at(Some(gateway.number));
    }

    fn strike_at(&self, gateway: Option<usize>) {
        let now = self.ledger.now();
        self.ledger.read().faults.push(Fault { gateway, during: now..Time::MAX });
    }

    /// Whatever broke is mended: returns when every gateway is well again.
    pub async fn recover(&self) {
        self.recover_within(RECOVERY).await;
    }

    pub async fn recover_within(&self, limit: Duration) {
        let since = self.ledger.now();
        for gateway in &self.gateways {
            until(format!("gateway {} is well again", gateway.number), limit, async || {
                gateway.is_well(&self.ledger.read(), since, self.in_step).then_some(())
            })
            .await;
        }
        let now = self.ledger.now();
        let faults = &mut self.ledger.read().faults;
        for fault in faults.iter_mut().filter(|fault| fault.during.end == Time::MAX) {
            fault.during.end = now;
        }
    }

    /// An epoch has begun: whatever was minted so far is refused.
    pub fn purged(&self) {
        let now = self.ledger.now();
        self.ledger.read().purged = Some(now);
    }

    /// Longer than a gateway may go on by what it knows, whatever the clocks say.
    pub async fn outlast(&mut self) {
        let bound = self.promise.bound();
        tokio::time::sleep(bound + self.dice.ms(200..700)).await;
    }

    /// Ends the load, lets everything settle, and shows that the promise was kept. Prints the row
    /// of the table. Returns what is still running.
    pub async fn end(mut self) -> Acme {
        self.suffices().await;
        self.load.take().expect("it has begun").stop().await;
        self.settle().await;
        let settled = self.ledger.now();
        self.ledger.read().settled = Some(settled);
        self.gateways.iter().for_each(|gateway| gateway.sweep());
        self.settle().await;
        let (epoch, published) = (self.epoch(), self.published().await);
        // Asked before the ledger is held: whoever has a gateway may be waiting for that.
        let unrefused: Vec<_> = self.gateways.iter().map(|gateway| gateway.unrefused()).collect();

        let history = self.ledger.read();
        // What an older epoch had, the sweep has shown.
        for (selector, done) in history.acknowledged().filter(|(_, done)| done.epoch == epoch) {
            let mut entries = published[&done.seq].iter();
            let is_published = entries.any(|entry| selector.target.is_carried_by(entry, done.cut));
            assert!(is_published, "{selector:?} is not on the list: {done:?}");
        }
        let shown = history
            .check(self.promise)
            .unwrap_or_else(|broken| panic!("{}, seed {}: {broken:#?}", self.name, self.dice.seed));
        assert!(unrefused.iter().all(Vec::is_empty), "never refused: {unrefused:?}");
        println!(
            "| {} | {} | {} | {} | {} | 0 | {:.2} s | {:.0} s | {} |",
            self.name,
            self.dice.seed,
            shown.acknowledged.iter().sum::<usize>(),
            shown.acknowledged.map(|count| count.to_string()).join(" "),
            shown.covered,
            shown.worst.as_secs_f64(),
            shown.allowed.as_secs_f64(),
            shown.verdicts,
        );
        drop(history);
        self.acme
    }

    /// Waits until every gateway has refused everything that is revoked, as far as it ever will.
    async fn settle(&self) {
        within(PATIENCE, async || {
            self.gateways.iter().all(|gateway| gateway.unrefused().is_empty()).then_some(())
        })
        .await;
    }

    /// The entries of each batch of the newest epoch, which has no gap.
    async fn published(&self) -> BTreeMap<u64, Vec<Entry>> {
        let batches = batches(&self.acme.http(), &self.acme.gateway, &self.epoch()).await;
        let batches = batches.iter().map(|jws| read(jws));
        batches.map(|batch| (batch.seq, batch.entries)).collect()
    }

    /// The newest that an acknowledgement named.
    pub fn epoch(&self) -> String {
        let history = self.ledger.read();
        let epochs = history.acknowledged().map(|(_, done)| done.epoch.clone());
        epochs.max().expect("there is a load")
    }
}

/// With the usual time offline.
pub fn freshness(max_staleness: u64, policy: StalePolicy) -> Freshness {
    Freshness::new(max_staleness, MAX_OFFLINE, policy).expect("in range")
}
