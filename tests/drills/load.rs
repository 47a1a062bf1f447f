//! Those who mint and revoke while everything breaks.

use super::delegation::delegate;
use super::history::{Attempt, Writer, acknowledged};
use super::ledger::{Ledger, Maker, Selector, Target};
use super::targets::{Herd, Targets};
use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::dice::Dice;
use crate::harness::http::Http;
use crate::harness::service::Installation;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const REVOKERS: usize = 4;
/// Of so many tokens one is kept.
const KEPT: usize = 8;
/// Of so many rounds one revokes more than a token; no two revokers in the same, none where one is kept.
const BROAD: usize = 24;
/// From one of so many tokens another is delegated, and from that another.
const FAMILIES: u64 = 8;
/// Of so many revocations one waits for receipts.
pub const WAITING: usize = 6;

pub struct Load {
    revokers: JoinSet<()>,
    stop: CancellationToken,
}

impl Load {
    /// Each revoker works at the next of `replicas`. `pace` is between two tokens of one revoker,
    /// and between two attempts.
    pub fn start(
        ledger: &Arc<Ledger>,
        replicas: &[Http],
        acme: &Acme,
        targets: &Arc<Targets>,
        pace: Duration,
        dice: &mut Dice,
    ) -> Self {
        let stop = CancellationToken::new();
        let keys = Arc::default();
        let mut revokers = JoinSet::new();
        for (number, http) in (0..REVOKERS).zip(replicas.iter().cycle()) {
            let hand = Hand {
                http: http.clone(),
                operator: acme.operator.clone(),
                ledger: ledger.clone(),
                pace,
                stop: stop.clone(),
                keys: Arc::clone(&keys),
            };
            let revoker = Revoker {
                number,
                hand,
                installation: acme.installation.clone(),
                targets: targets.clone(),
                dice: dice.fork(),
            };
            revokers.spawn(revoker.work());
        }
        Self { revokers, stop }
    }

    /// Returns when each revocation that was begun is acknowledged.
    pub async fn stop(self) {
        self.stop.cancel();
        self.revokers.join_all().await;
    }
}

/// Mints and revokes, however often it has to ask for that.
#[derive(Clone)]
pub struct Hand {
    http: Http,
    operator: Cli,
    ledger: Arc<Ledger>,
    pace: Duration,
    stop: CancellationToken,
    /// How many `Idempotency-Key`s have been used.
    keys: Arc<AtomicUsize>,
}

impl Hand {
    /// Returns the number of the token; `None` where it is stopped before there is one.
    async fn mint(&self, client: &Cli) -> Option<usize> {
        let writer = Writer::at(self.http.clone(), client);
        let mut key = self.key();
        while !self.stop.is_cancelled() {
            let asked = self.ledger.now();
            match writer.attempt(&key).await {
                Attempt::Minted(minted) => {
                    return Some(self.ledger.minted(Maker::Service, &minted.token, asked));
                }
                Attempt::Denied => key = self.key(),
                Attempt::Unknown => {}
            }
            tokio::time::sleep(self.pace).await;
        }
        None
    }

    /// Once it has been sent it is repeated until it is acknowledged: the outcome of an attempt
    /// without an answer is unknown, so what was minted must not stay in doubt. A token is revoked
    /// once, however often that is asked for; what has a cut would be cut again, but for the key.
    async fn revoke(&self, selector: Selector) {
        let (json, key) = (selector.to_json(), self.key());
        let key = Some(&*key).filter(|_| !matches!(selector.target, Target::Jti(_)));
        let revocation = self.ledger.sends(selector);
        let wait = if revocation.is_multiple_of(WAITING) { 2 } else { 0 };
        loop {
            let answer = self.http.revoke_and_wait(&self.operator, json.clone(), wait, key).await;
            if let Some(revoked) = acknowledged(answer) {
                self.ledger.acknowledged(revocation, &revoked.body);
                return self.ledger.receipt(revocation, &revoked.body["enforced"]);
            }
            tokio::time::sleep(self.pace).await;
        }
    }

    fn key(&self) -> String {
        format!("drill-{}", self.keys.fetch_add(1, Ordering::Relaxed))
    }
}

struct Revoker {
    number: usize,
    hand: Hand,
    installation: Installation,
    targets: Arc<Targets>,
    dice: Dice,
}

impl Revoker {
    async fn work(mut self) {
        let broad = 1 + BROAD / REVOKERS * self.number;
        let mut heirs = JoinSet::new();
        for round in 0.. {
            let went_on = match round {
                round if round % KEPT == 0 => {
                    self.hand.mint(&self.targets.workload).await.map(drop)
                }
                round if round % BROAD == broad => self.revoke_many(&mut heirs).await,
                _ => self.revoke_one().await,
            };
            if went_on.is_none() {
                break;
            }
            tokio::time::sleep(self.hand.pace).await;
        }
        heirs.join_all().await;
    }

    /// One token, with all that was delegated from it, and not what it was delegated from.
    async fn revoke_one(&mut self) -> Option<()> {
        let root = self.hand.mint(&self.targets.workload).await?;
        let mut revoked = root;
        if self.dice.roll(0..FAMILIES) == 0 {
            let child = self.delegate(root);
            self.delegate(child);
            revoked = [root, child][self.dice.roll(0..2) as usize];
        }
        let jti = self.hand.ledger.read().tokens[revoked].claims.jti;
        self.hand.revoke(Target::Jti(jti).into()).await;
        Some(())
    }

    /// Returns the number of the token.
    fn delegate(&self, parent: usize) -> usize {
        let ledger = &self.hand.ledger;
        let token = delegate(&self.installation, &ledger.read().tokens[parent]);
        ledger.minted(Maker::Delegate, &token, ledger.now())
    }

    /// All that a selector names, up to now or up to a time at which there were some of them. Those
    /// who are left mint anew; nobody waits for that.
    async fn revoke_many(&mut self, heirs: &mut JoinSet<()>) -> Option<()> {
        let herd = self.targets.draw();
        let mut tokens = Vec::new();
        for client in herd.doomed.iter().chain(&herd.doomed).chain(&herd.heirs) {
            tokens.push(self.hand.mint(client).await?);
        }
        let selector = self.selector(&herd, &tokens);
        self.hand.revoke(selector).await;
        let hand = self.hand.clone();
        heirs.spawn(async move {
            for client in herd.heirs {
                hand.mint(&client).await;
            }
        });
        Some(())
    }

    fn selector(&mut self, herd: &Herd, tokens: &[usize]) -> Selector {
        let history = self.hand.ledger.read();
        let target = herd.kind.that_names(&history.tokens[tokens[0]]);
        let one = self.dice.roll(0..tokens.len() as u64) as usize;
        let before = history.tokens[tokens[one]].claims.iat - self.dice.roll(0..2);
        let is_told = target.has_cut() && self.dice.roll(0..2) == 0;
        Selector { target, before: is_told.then_some(before) }
    }
}
