use super::history::{Event, Minted, Writer};
use crate::harness::acme::Acme;
use crate::harness::batches::{batches, read};
use crate::harness::cli::Cli;
use crate::harness::dice::{Dice, Size};
use crate::harness::follower::Follower;
use crate::harness::postgres::Cluster;
use crate::harness::service::Installation;
use crate::harness::until::until;
use scrip_token::deny::Entry;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;

const WRITERS: usize = 8;
/// How many acknowledgements a round sees before the fault; about half a second of load.
const ACKNOWLEDGED: std::ops::Range<u64> = 16..128;
/// Within this the service must have found Postgres again.
const RECOVERY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n77_nothing_acknowledged_is_lost_when_the_service_dies_on_sqlite() {
    let acme = Acme::found(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    Drill::new(acme, None).await.run(|_| Victims { service: true, postgres: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n111_nothing_acknowledged_is_lost_when_postgres_or_the_service_dies() {
    let cluster = Cluster::start(&[]).await;
    let installation = Installation::on(&cluster.database().await).set("SCRIP_HEARTBEAT", "1");
    let acme = Acme::found(installation).await;
    let victims = |round| Victims { service: round % 4 != 0, postgres: round % 2 == 0 };
    Drill::new(acme, Some(cluster)).await.run(victims).await;
}

/// Who is killed in a round.
#[derive(Debug, Clone, Copy)]
struct Victims {
    service: bool,
    postgres: bool,
}

struct Drill {
    acme: Acme,
    cluster: Option<Cluster>,
    workload: Cli,
    gateway: Follower,
    /// Each acknowledged mint, of all rounds.
    minted: Vec<Minted>,
    /// `jti`s whose revocation was acknowledged, and those where no answer came.
    revoked: BTreeSet<String>,
    doubtful: BTreeSet<String>,
    batches: Vec<String>,
}

impl Drill {
    async fn new(acme: Acme, cluster: Option<Cluster>) -> Self {
        let workload = acme.embedded("acme/billing").await;
        let gateway = Follower::start(&acme.gateway, &[]).await;
        let (minted, batches) = (Vec::new(), Vec::new());
        let (revoked, doubtful) = (BTreeSet::new(), BTreeSet::new());
        Self { acme, cluster, workload, gateway, minted, revoked, doubtful, batches }
    }

    async fn run(mut self, victims: impl Fn(u64) -> Victims) {
        let mut dice = Dice::new();
        for round in 0..Size::asked_for().of(8, 20) {
            let victims = victims(round);
            let fatal = dice.roll(ACKNOWLEDGED) as usize;
            println!("round {round}: after {fatal} acknowledgements {victims:?} die");
            let first = self.minted.len();
            let unknown = self.load(round, fatal, victims).await;
            self.mend(victims).await;
            self.converge(unknown).await;
            self.check(first).await;
        }
        self.check_inventory().await;
    }

    /// Lets the writers write until `fatal` acknowledgements have come, then kills. Returns the
    /// keys of mints whose outcome is unknown.
    async fn load(&mut self, round: u64, fatal: usize, victims: Victims) -> Vec<String> {
        let (history, mut events) = mpsc::unbounded_channel();
        let writer = self.writer();
        let writers = (0..WRITERS).map(|number| {
            let name = format!("{round}-{number}");
            tokio::spawn(writer.clone().write(name, history.clone()))
        });
        let writers: Vec<_> = writers.collect();
        drop(history);
        let (mut unknown, mut struck) = (Vec::new(), false);
        let before = self.acknowledged();
        while let Some(event) = events.recv().await {
            match event {
                Event::Minted(minted) => self.minted.push(minted),
                Event::Revoked(jti) => drop(self.revoked.insert(jti)),
                Event::MintUnknown { key } => unknown.push(key),
                Event::RevokeUnknown(jti) => drop(self.doubtful.insert(jti)),
            }
            if !struck && self.acknowledged() - before >= fatal {
                struck = true;
                self.strike(victims).await;
            }
        }
        for writer in writers {
            writer.await.expect("a writer sees nothing but acknowledgements and silence");
        }
        assert!(struck, "the load ended by itself");
        unknown
    }

    fn writer(&self) -> Writer {
        Writer::new(&self.acme, &self.workload, Some(&self.acme.operator))
    }

    fn acknowledged(&self) -> usize {
        self.minted.len() + self.revoked.len()
    }

    async fn strike(&mut self, victims: Victims) {
        if victims.service {
            self.acme.kill().await;
        }
        if let Some(cluster) = self.cluster.as_mut().filter(|_| victims.postgres) {
            cluster.kill().await;
        }
    }

    /// Brings back what was killed.
    async fn mend(&mut self, victims: Victims) {
        if let Some(cluster) = self.cluster.as_mut().filter(|_| victims.postgres) {
            cluster.restart().await;
        }
        if victims.service {
            self.acme.start().await;
        }
        let http = self.acme.http();
        until("the service is ready again", RECOVERY, async || {
            (http.readiness().await.status == 200).then_some(())
        })
        .await;
    }

    /// A retry with the same key finds what was done, or does it now: in any case once.
    async fn converge(&mut self, unknown: Vec<String>) {
        let writer = self.writer();
        for key in unknown {
            let minted = writer.mint(&key).await.expect("the service is well again");
            let again = writer.mint(&key).await.expect("the service is well again");
            assert_eq!(minted.jti, again.jti, "{key}");
            self.minted.push(minted);
        }
    }

    /// Every mint since `first` is on record, every revocation is enforced, the list has no gap.
    async fn check(&mut self, first: usize) {
        let http = self.acme.http();
        let reader = self.reader().await;
        for Minted { jti, .. } in &self.minted[first..] {
            let record = http.read_with(&reader, &format!("/v1/tokens/{jti}")).await;
            assert_eq!(record.status, 200, "a token without its record: {jti}");
            assert_eq!(record.body["client"], "acme/billing");
            if !self.doubtful.contains(jti) {
                assert_eq!(record.body["revoked"], self.revoked.contains(jti), "{jti}");
            }
        }

        let epoch = self.gateway.start["epoch"].as_str().expect("it has synced").to_owned();
        let batches = batches(&http, &self.acme.gateway, &epoch).await;
        assert!(batches.starts_with(&self.batches), "what was published has changed");
        let entries = batches.iter().flat_map(|jws| read(jws).entries);
        let jtis: BTreeSet<String> = entries
            .filter_map(|entry| match entry {
                Entry::Jti { jti, .. } => Some(jti.to_string()),
                _ => None,
            })
            .collect();
        assert!(jtis.is_superset(&self.revoked), "acknowledged, and not on the list");
        self.batches = batches;

        let of_round = &self.minted[first..];
        let denied = of_round.iter().rev().find(|minted| self.revoked.contains(&minted.jti));
        self.gateway.learns_of(&denied.expect("every writer revokes").token).await;
        let tokens = self.minted.iter().map(|minted| minted.token.as_str());
        let verdicts = self.gateway.judge_all(tokens).await;
        for (minted, verdict) in self.minted.iter().zip(verdicts) {
            let expected = if self.revoked.contains(&minted.jti) { Some("revoked") } else { None };
            if !self.doubtful.contains(&minted.jti) {
                assert_eq!(verdict["reason"].as_str(), expected, "{} {verdict}", minted.jti);
            }
        }
    }

    /// One record for each key that was ever used: nothing was minted twice, nothing besides.
    async fn check_inventory(&self) {
        let (http, reader) = (self.acme.http(), self.reader().await);
        let mut recorded = BTreeSet::new();
        let mut path = "/v1/tokens?client=acme/billing&limit=200".to_owned();
        loop {
            let page = http.read_with(&reader, &path).await.body;
            let items = page["items"].as_array().expect("a list").iter();
            recorded.extend(items.map(|item| item["jti"].as_str().expect("a jti").to_owned()));
            let Value::String(next) = &page["next"] else { break };
            path = format!("/v1/tokens?client=acme/billing&limit=200&after={next}");
        }
        let minted: BTreeSet<String> =
            self.minted.iter().map(|minted| minted.jti.clone()).collect();
        assert_eq!(minted.len(), self.minted.len(), "a jti was handed out twice");
        assert_eq!(recorded, minted);
    }

    /// A token that reads the inventory.
    async fn reader(&self) -> String {
        self.acme.operator.token(&["--audience", "self", "--scope", "scrip:tokens"]).await
    }
}
