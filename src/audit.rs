//! Who did what, when, from where, what was asked and granted, and what came of it.
//!
//! What changes something is written in the transaction that changes it. What was only refused is
//! written by a task in groups: a flood of refusals must not slow down those who are served.

use std::net::IpAddr;
use std::time::Duration;

use scrip_token::{Jti, QualifiedName};
use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::rates::Refusals;
use crate::store::{Lock, Store, StoreError, audit};
use crate::{clock, random, secret};

/// Most refusals that wait to be written; beyond it they are only counted.
const MAX_WAITING: usize = 4096;
/// Most refusals in one commit.
const MAX_GROUP: usize = 256;
/// What could not be written is tried again after this time.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest text of one event, in bytes.
const MAX_DETAIL: usize = 8192;

/// Builds an event. Never given a secret or a token.
#[derive(Debug, Clone)]
pub struct Event(audit::Event);

impl Event {
    /// `action` is a verb, such as `mint` or `client.create`; `outcome` is `granted`, `done`, the
    /// reason for a refusal, or `alert`, which goes to the webhook too.
    #[must_use]
    pub fn new(action: &str, outcome: &str) -> Self {
        Self(audit::Event {
            id: Uuid::nil(),
            at_ms: 0,
            action: action.to_owned(),
            outcome: outcome.to_owned(),
            actor: None,
            tenant: None,
            target: None,
            jti: None,
            address: None,
            request_id: String::new(),
            detail: "{}".to_owned(),
        })
    }

    /// Who asked, and so in which tenant.
    #[must_use]
    pub fn actor(mut self, client: &QualifiedName) -> Self {
        self.0.actor = Some(client.to_string());
        self.0.tenant.get_or_insert_with(|| client.tenant().to_owned());
        self
    }

    /// What it was done to.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.0.target = Some(target.into());
        self
    }

    /// The tenant that it concerns, where that is not the actor's.
    #[must_use]
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.0.tenant = Some(tenant.to_owned());
        self
    }

    /// The token that it concerns.
    #[must_use]
    pub fn jti(mut self, jti: Jti) -> Self {
        self.0.jti = Some(jti);
        self
    }

    /// Where the request came from, and its id.
    #[must_use]
    pub fn origin(mut self, address: IpAddr, request_id: String) -> Self {
        self.0.address = Some(address.to_string());
        self.0.request_id = request_id;
        self
    }

    /// What was asked and granted; left out where it is too long or a master credential is in it.
    #[must_use]
    pub fn detail(mut self, detail: &impl Serialize) -> Self {
        let text = serde_json::to_string(detail).ok();
        let fit = text.filter(|text| text.len() <= MAX_DETAIL && !secret::is_in(text));
        self.0.detail = fit.unwrap_or_else(|| r#"{"cut":true}"#.to_owned());
        self
    }

    /// Dates it, in milliseconds of database time, and so names it.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> audit::Event {
        self.0.at_ms = now_ms;
        self.0.id = random::uuid(now_ms);
        self.0
    }
}

/// Takes refusals to be written.
pub struct Journal {
    queue: mpsc::Sender<audit::Event>,
    written: Refusals,
}

impl Journal {
    /// Starts the task; it ends when the journal is gone and what it holds is written.
    #[must_use]
    pub fn start(store: Store) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, mut events) = mpsc::channel(MAX_WAITING);
        let task = tokio::spawn(async move {
            let mut group = Vec::with_capacity(MAX_GROUP);
            while events.recv_many(&mut group, MAX_GROUP).await > 0 {
                keep_writing(&store, &group).await;
                group.clear();
            }
        });
        (Self { queue, written: Refusals::default() }, task)
    }

    /// Notes a refusal, unless there were many of the same client or place.
    pub fn note(&self, event: Event) {
        let Event(row) = &event;
        let address = row.address.as_ref().and_then(|address| address.parse().ok());
        if !self.written.may_write(row.actor.as_deref(), address, clock::monotonic()) {
            metrics::counter!("scrip_audit_spared_total").increment(1);
            return;
        }
        if self.queue.try_send(event.at(clock::now_ms())).is_err() {
            metrics::counter!("scrip_audit_lost_total").increment(1);
        }
    }
}

/// Returns when the events are written, however long the database is away: what comes meanwhile waits
/// in the queue.
async fn keep_writing(store: &Store, events: &[audit::Event]) {
    let count = events.len();
    loop {
        match write(store, events).await {
            // They were written when it was not known to have been.
            Ok(()) | Err(StoreError::Conflict) => return,
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(%error, events = count, "refusals are not in the audit log yet");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                metrics::counter!("scrip_audit_lost_total").increment(count as u64);
                tracing::error!(%error, events = count, "refusals are not in the audit log");
                return;
            }
        }
    }
}

async fn write(store: &Store, events: &[audit::Event]) -> Result<(), StoreError> {
    let mut tx = store.begin(Lock::Admin).await?;
    audit::insert_many(&mut tx, events).await?;
    tx.commit().await
}
