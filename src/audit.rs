//! Who did what, when, from where, what was asked and granted, and what came of it.
//!
//! The event of a change is written in the transaction of the change. Refusals are written by a
//! task, in groups: a flood of them must not slow down those who are served.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use scrip_token::{Jti, QualifiedName};
use serde::Serialize;
use serde_json::{Value, json};
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

    /// What was asked and granted. What is too long, or has a master credential in it, is left out
    /// member by member; `cut` names those.
    #[must_use]
    pub fn detail(mut self, detail: &impl Serialize) -> Self {
        let text = serde_json::to_string(detail).unwrap_or_default();
        self.0.detail = if may_stand(&text) { text } else { cut(&text) };
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

fn may_stand(text: &str) -> bool {
    text.len() <= MAX_DETAIL && !secret::is_in(text)
}

/// A detail without what must not stand in it: nobody hides what was done by how it was asked for.
fn cut(detail: &str) -> String {
    let Ok(Value::Object(mut members)) = serde_json::from_str(detail) else {
        return r#"{"cut":true}"#.to_owned();
    };
    let mut cut = BTreeSet::new();
    for (name, member) in &mut members {
        if secret::is_in(&member.to_string()) {
            cut.insert(name.clone());
            end_before_secrets(member);
        }
    }
    members.retain(|_, member| !secret::is_in(&member.to_string()));
    loop {
        members.insert("cut".to_owned(), json!(cut));
        let text = Value::Object(members.clone()).to_string();
        let others = members.iter().filter(|(name, _)| *name != "cut");
        let longest = others.max_by_key(|(_, member)| member.to_string().len());
        let Some((longest, _)) = longest.filter(|_| !may_stand(&text)) else { return text };
        let longest = longest.clone();
        members.remove(&longest);
        cut.insert(longest);
    }
}

/// Ends texts, and texts in lists, where a master credential begins: where it ends nobody can say.
fn end_before_secrets(member: &mut Value) {
    match member {
        Value::String(text) => {
            let kept = secret::before(text).len();
            if kept < text.len() {
                text.truncate(kept);
                text.push_str("..");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(end_before_secrets),
        // A request without a part of it would be another request.
        _ => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(detail: &Value) -> Value {
        serde_json::from_str(&Event::new("mint", "granted").detail(detail).0.detail).unwrap()
    }

    #[test]
    fn only_what_must_not_stand_there_is_cut() {
        let whole = json!({"aud": "gw", "scope": "llm:chat", "asked": {"scope": "llm:chat"}});
        assert_eq!(detail(&whole), whole);
        let secret = "x scrip_mc_acme_abc y";
        let with_secrets = json!({
            "aud": "gw", "scope": format!("llm:chat {secret}"), "exp": 7,
            "models": ["a", secret], "asked": {"scope": secret, "ttl": "60"}, "note": {secret: 1},
        });
        let expected = json!({
            "aud": "gw", "scope": "llm:chat x ..", "exp": 7, "models": ["a", "x .."],
            "cut": ["asked", "models", "note", "scope"],
        });
        assert_eq!(detail(&with_secrets), expected);
        let long = json!({"aud": "gw", "asked": "a".repeat(5000), "granted": "g".repeat(4000)});
        let expected = json!({"aud": "gw", "granted": "g".repeat(4000), "cut": ["asked"]});
        assert_eq!(detail(&long), expected);
        let longest = json!({"aud": "a".repeat(9000), "asked": "b".repeat(9001), "exp": 7});
        assert_eq!(detail(&longest), json!({"exp": 7, "cut": ["asked", "aud"]}));
        assert_eq!(detail(&json!(secret)), json!({"cut": true}));
    }
}
