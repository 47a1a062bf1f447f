//! Webhooks, durable: every alert reaches the one address that is configured, at least once.
//!
//! 1. Whoever writes an alert into the audit log puts it into the outbox in the same transaction:
//!    `store::audit` does.
//! 2. A replica claims some by a commit of its own. If it dies, the claim runs out; nobody leads.
//! 3. It sends each, signed (`webhook`). An alert that is taken is deleted; any other is put off.
//! 4. After a day it is given up, and the audit log says so.
//!
//! Attempts begin 2 s apart and become as rare as one an hour; each ends after 10 s, reads no body,
//! follows no redirect and uses no proxy. The outbox has no text of its own: it names events of the
//! audit log.

mod webhook;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::audit::Event;
use crate::store::outbox::{self, Message};
use crate::store::{self, Lock, StoreError, audit};
use crate::{clock, random};

pub use webhook::{Settings, Unusable, Webhook};

/// How often alerts are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Most that one replica sends at once.
const AT_ONCE: u32 = 8;
/// For how long others leave alone what one has claimed, in milliseconds: longer than an attempt.
const CLAIM: i64 = 15_000;
/// After the first failure, and at most, in milliseconds.
const FIRST_DELAY: i64 = 2000;
const MOST_DELAY: i64 = 3_600_000;
/// An alert so many milliseconds old is given up when it fails once more.
const GIVEN_UP: i64 = 24 * 3_600_000;
/// Where no webhook is configured, alerts wait for so many milliseconds for one.
pub const KEPT: i64 = GIVEN_UP + 2 * MOST_DELAY;

/// Sends alerts until shutdown. What is under way then is sent again by whoever comes next.
pub async fn run(app: Arc<App>, webhook: Webhook) {
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sending = async {
            interval.tick().await;
            send_due(&app, &webhook).await
        };
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            sent = sending => if let Err(error) = sent {
                tracing::warn!(%error, "webhook: the outbox");
            }
        }
    }
}

async fn send_due(app: &App, webhook: &Webhook) -> Result<(), StoreError> {
    loop {
        let mut session = app.store.read().await?;
        let now_ms = store::now_ms(&mut session, clock::now_ms()).await?;
        if !outbox::is_due(&mut session, now_ms).await? {
            return Ok(());
        }
        drop(session);
        let mut tx = app.store.begin(Lock::Admin).await?;
        let claimed = outbox::claim(&mut tx, now_ms, now_ms + CLAIM, AT_ONCE).await?;
        tx.commit().await?;
        let sent = claimed.iter().map(|message| send(app, webhook, message, now_ms));
        join_all(sent).await.into_iter().collect::<Result<(), _>>()?;
    }
}

async fn send(
    app: &App,
    webhook: &Webhook,
    message: &Message,
    now_ms: i64,
) -> Result<(), StoreError> {
    let event = &message.event;
    let sent = webhook.send(event, clock::seconds(now_ms)).await;
    let mut tx = app.store.begin(Lock::Admin).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let outcome = match sent {
        Ok(()) => {
            outbox::delete(&mut tx, event.id).await?;
            "sent"
        }
        Err(why) if now_ms - event.at_ms < GIVEN_UP => {
            outbox::postpone(&mut tx, event.id, now_ms + delay(message.tries)).await?;
            tracing::warn!(alert = %event.id, tries = message.tries, %why, "webhook: not taken");
            "failed"
        }
        Err(why) => {
            outbox::delete(&mut tx, event.id).await?;
            let detail = json!({
                "action": event.action, "tries": message.tries, "reason": why.to_string(),
            });
            let mut given_up = Event::new("webhook", "given_up").target(event.id.to_string());
            if let Some(tenant) = &event.tenant {
                given_up = given_up.tenant(tenant);
            }
            audit::insert_many(&mut tx, &[given_up.detail(&detail).at(now_ms)]).await?;
            tracing::error!(alert = %event.id, tries = message.tries, %why, "webhook: given up");
            "given_up"
        }
    };
    tx.commit().await?;
    metrics::counter!("scrip_webhooks_total", "outcome" => outcome).increment(1);
    Ok(())
}

/// Twice as long after each attempt. Half of it is chance, so that alerts that failed together do
/// not come back together.
fn delay(tries: i64) -> i64 {
    let doublings = (tries - 1).clamp(0, 30);
    let whole = FIRST_DELAY.saturating_mul(1 << doublings).min(MOST_DELAY);
    whole / 2 + (random::fraction() * (whole / 2) as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_and_stay_bounded() {
        for (tries, whole) in
            [(0, 2000), (1, 2000), (2, 4000), (5, 32_000), (12, MOST_DELAY), (i64::MAX, MOST_DELAY)]
        {
            let delay = delay(tries);
            assert!((whole / 2..=whole).contains(&delay), "{tries}: {delay}");
        }
    }
}
