//! Those who mint and revoke while everything breaks.

use super::history::Writer;
use super::ledger::Ledger;
use crate::harness::cli::Cli;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const REVOKERS: usize = 4;
/// Of so many tokens one is kept.
const KEPT: usize = 8;
/// Of so many revocations one waits for receipts.
pub const WAITING: usize = 6;

pub struct Load {
    revokers: JoinSet<()>,
    stop: CancellationToken,
}

impl Load {
    /// Each revoker uses the next of `writers`. `pace` is between two tokens of one revoker, and
    /// between two attempts.
    pub fn start(ledger: &Arc<Ledger>, writers: &[Writer], operator: &Cli, pace: Duration) -> Self {
        let stop = CancellationToken::new();
        let mut revokers = JoinSet::new();
        for (number, writer) in (0..REVOKERS).zip(writers.iter().cycle()) {
            let revoker = Revoker {
                number,
                writer: writer.clone(),
                operator: operator.clone(),
                ledger: ledger.clone(),
                pace,
                stop: stop.clone(),
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

struct Revoker {
    number: usize,
    writer: Writer,
    operator: Cli,
    ledger: Arc<Ledger>,
    pace: Duration,
    stop: CancellationToken,
}

impl Revoker {
    async fn work(self) {
        for round in 0.. {
            let key = format!("drill-{}-{round}", self.number);
            let minted = loop {
                if self.stop.is_cancelled() {
                    return;
                }
                if let Some(minted) = self.writer.mint(&key).await {
                    break minted;
                }
                tokio::time::sleep(self.pace).await;
            };
            let kept = round % KEPT == 0;
            let token = self.ledger.minted(minted.jti.clone(), &minted.token, kept);
            if !kept {
                self.revoke(token, &minted.jti).await;
            }
            tokio::time::sleep(self.pace).await;
        }
    }

    /// Once it has been sent it is repeated until it is acknowledged: the outcome of an attempt
    /// without an answer is unknown, so what was minted must not stay in doubt.
    async fn revoke(&self, token: usize, jti: &str) {
        self.ledger.sends(token);
        loop {
            let wait = if token.is_multiple_of(WAITING) { 2 } else { 0 };
            if let Some(revoked) = self.writer.revoke(&self.operator, jti, wait).await {
                let acknowledgement = self.ledger.acknowledgement(&revoked.body);
                self.ledger.acknowledged(token, acknowledgement);
                return self.ledger.receipt(token, &revoked.body["enforced"]);
            }
            tokio::time::sleep(self.pace).await;
        }
    }
}
