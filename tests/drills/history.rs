use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::http::{Answer, Http};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

/// What a writer knows of one thing that it asked for.
#[derive(Debug)]
pub enum Event {
    /// Acknowledged.
    Minted(Minted),
    /// Acknowledged: the token of this `jti` is revoked.
    Revoked(String),
    /// No answer: it may have been done.
    MintUnknown { key: String },
    /// No answer: it may have been done.
    RevokeUnknown(String),
}

#[derive(Debug, Clone)]
pub struct Minted {
    pub jti: String,
    pub token: String,
}

/// What became of a mint under an `Idempotency-Key`.
pub enum Attempt {
    Minted(Minted),
    /// No answer: it may have been done.
    Unknown,
    /// It was done before, and is revoked by now.
    Denied,
}

/// Asks for tokens and, where it has an operator, revokes every other one, until no answer comes.
#[derive(Clone)]
pub struct Writer {
    http: Http,
    workload: Cli,
    operator: Option<Cli>,
}

impl Writer {
    pub fn new(acme: &Acme, workload: &Cli, operator: Option<&Cli>) -> Self {
        Self { http: acme.http(), workload: workload.clone(), operator: operator.cloned() }
    }

    /// One that only mints by itself, at this replica.
    pub fn at(http: Http, workload: &Cli) -> Self {
        Self { http, workload: workload.clone(), operator: None }
    }

    /// `name` makes its Idempotency-Keys unique.
    pub async fn write(self, name: String, history: UnboundedSender<Event>) {
        for number in 0.. {
            let key = format!("{name}-{number}");
            let Some(minted) = self.mint(&key).await else {
                let _ = history.send(Event::MintUnknown { key });
                return;
            };
            let jti = minted.jti.clone();
            if history.send(Event::Minted(minted)).is_err() {
                return;
            }
            let Some(operator) = self.operator.as_ref().filter(|_| number % 2 == 0) else {
                continue;
            };
            if self.revoke(operator, &jti).await.is_none() {
                let _ = history.send(Event::RevokeUnknown(jti));
                return;
            }
            let _ = history.send(Event::Revoked(jti));
        }
    }

    /// One mint under an `Idempotency-Key`; `None` where the outcome is unknown.
    pub async fn mint(&self, key: &str) -> Option<Minted> {
        match self.attempt(key).await {
            Attempt::Minted(minted) => Some(minted),
            Attempt::Unknown => None,
            Attempt::Denied => panic!("{key}: nobody has revoked what nobody was given"),
        }
    }

    /// The same, where somebody revokes more than single tokens.
    pub async fn attempt(&self, key: &str) -> Attempt {
        let answer = self.http.mint(&self.workload, &[("ttl", "600")], Some(key)).await;
        if let Ok(Answer { status: 409, body, .. }) = &answer
            && body["error"] == "invalid_request"
        {
            return Attempt::Denied;
        }
        let Some(answer) = acknowledged(answer) else { return Attempt::Unknown };
        let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
        Attempt::Minted(Minted { jti: text("jti"), token: text("access_token") })
    }

    /// One revocation of one token; `None` where the outcome is unknown.
    async fn revoke(&self, operator: &Cli, jti: &str) -> Option<Answer> {
        acknowledged(self.http.revoke(operator, json!({"jti": jti})).await)
    }
}

/// An answer that says that it is done. No other answer is right, unless it asks for another try.
pub fn acknowledged(answer: reqwest::Result<Answer>) -> Option<Answer> {
    let answer = answer.ok()?;
    match answer.status {
        200 | 201 => Some(answer),
        503 => None,
        _ => panic!("{answer:?}"),
    }
}
