//! A change that an operator asks for: done once, however often the request is sent.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use scrip_token::{Digest, QualifiedName};
use serde_json::{Value, json};

use super::is_json;
use crate::app::App;
use crate::audit::Event;
use crate::caller::{Caller, Means, Reach, current_policy, operator, policy_of};
use crate::error::{Failure, Problem};
use crate::mint::idempotency_key;
use crate::policy::{Policy, ScopeGrant};
use crate::router::{Arrival, RequestId};
use crate::store::clients::Client;
use crate::store::idempotency::{self, Used};
use crate::store::{Session, StoreError, Tx};

/// What comes with a request to change something.
pub struct Asked {
    arrival: Arrival,
    id: RequestId,
    headers: HeaderMap,
    route: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let Ok(id) = RequestId::from_request_parts(parts, state).await;
        Ok(Self {
            arrival: Arrival::from_request_parts(parts, state).await?,
            id,
            headers: parts.headers.clone(),
            route: format!("{} {}", parts.method, parts.uri.path()),
        })
    }
}

impl Asked {
    /// Proves the operator. A body, where there is one, must be JSON.
    ///
    /// # Errors
    /// 400, 401, 403, 415, 503.
    pub async fn by_operator(
        self,
        app: &App,
        scope: &'static str,
        body: &[u8],
    ) -> Result<Change, Problem> {
        self.by(app, scope, body, Means::Token).await
    }

    /// Proves a ledger. A body, where there is one, must be JSON.
    ///
    /// # Errors
    /// As [`Asked::by_operator`].
    pub async fn by_ledger(
        self,
        app: &App,
        scope: &'static str,
        body: &[u8],
    ) -> Result<Change, Problem> {
        self.by(app, scope, body, Means::LedgersToken).await
    }

    async fn by(
        self,
        app: &App,
        scope: &'static str,
        body: &[u8],
        means: Means,
    ) -> Result<Change, Problem> {
        let Self { arrival, id, headers, route } = self;
        let by = operator(app, &headers, arrival.address, arrival.at, scope, means).await?;
        let (by, reach) = by.within();
        if !body.is_empty() {
            is_json(&headers)?;
        }
        let used = idempotency_key(&headers).map_err(Problem)?.map(|key| Used {
            caller: by.client.to_string(),
            route,
            key,
            digest: Digest::of(body),
            at: 0,
            jti: None,
            reply: None,
        });
        Ok(Change { by, reach, request_id: id.to_string(), used })
    }
}

/// A change by an operator who may ask for it.
pub struct Change {
    by: Caller,
    reach: Reach,
    request_id: String,
    /// The `Idempotency-Key`, as it will stand in the database.
    used: Option<Used>,
}

impl Change {
    /// Who asks.
    #[must_use]
    pub fn by(&self) -> &QualifiedName {
        &self.by.client
    }

    /// Lets a change to what belongs to no tenant through.
    ///
    /// # Errors
    /// 403 for an operator who is confined to a tenant.
    pub fn everywhere(self) -> Result<Self, Problem> {
        if self.reach.is_confined() { Err(Problem(Failure::confined())) } else { Ok(self) }
    }

    /// How far they reach.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// What was answered the first time, without its secret, where this request is a repetition.
    ///
    /// # Errors
    /// 409 where the key came with another body.
    pub async fn answered(&self, from: &mut impl Session) -> Result<Option<Value>, Problem> {
        let Some(used) = &self.used else { return Ok(None) };
        let first = idempotency::find(from, &used.caller, &used.route, &used.key).await?;
        let Some(first) = first else { return Ok(None) };
        if first.digest != used.digest {
            return Err(Problem::conflict("this Idempotency-Key was used with another request"));
        }
        let reply = serde_json::from_str(first.reply.as_deref().unwrap_or_default());
        reply.map(Some).map_err(|error| StoreError::Corrupt(error.to_string()).into())
    }

    /// Remembers the answer, which must have no secret in it, under the key. Where another request
    /// with the key was first, gives that one's answer; the transaction must be given up then.
    ///
    /// # Errors
    /// As [`Change::answered`].
    pub async fn claim(
        &self,
        tx: &mut Tx,
        reply: &Value,
        now_ms: i64,
    ) -> Result<Option<Value>, Problem> {
        let Some(used) = &self.used else { return Ok(None) };
        let reply = Some(reply.to_string());
        let used = Used { at: now_ms / 1000, reply, ..used.clone() };
        if idempotency::insert(tx, &used).await? {
            return Ok(None);
        }
        let first = self.answered(tx).await?;
        first.map(Some).ok_or_else(|| StoreError::Conflict.into())
    }

    /// The event of this change to what `target` names.
    #[must_use]
    pub fn event(&self, action: &str, outcome: &str, target: &QualifiedName) -> Event {
        self.event_of_all(action, outcome).tenant(target.tenant()).target(target.as_str())
    }

    /// The event of this change to what is everybody's.
    #[must_use]
    pub fn event_of_all(&self, action: &str, outcome: &str) -> Event {
        let event = Event::new(action, outcome).actor(&self.by.client);
        event.origin(self.by.address, self.request_id.clone())
    }

    /// Refuses to give away more of the service's own API than the operator's own policy grants at
    /// this moment, whatever the operator's token says.
    ///
    /// # Errors
    /// 403.
    pub async fn may_grant(
        &self,
        app: &App,
        session: &mut impl Session,
        policy: &Policy,
    ) -> Result<(), Problem> {
        if !policy.scopes().iter().any(ScopeGrant::is_operators) {
            return Ok(());
        }
        let own = policy_of(session, &self.by.client).await?;
        let Some(beyond) = policy.beyond(own.as_ref()) else { return Ok(()) };
        let event = self.event("grant", "refused", policy.name());
        app.journal.note(event.detail(&json!(beyond)));
        let status = StatusCode::FORBIDDEN;
        Err(Problem(Failure::new(status, "insufficient-scope", beyond.to_string())))
    }

    /// Whoever can have a client's secret, switch the client on or off, delete it, give it another
    /// policy, or end its ledgers, has what its policy grants: or whoever may do little could end the
    /// administration.
    ///
    /// # Errors
    /// 403.
    pub async fn may_touch(
        &self,
        app: &App,
        session: &mut impl Session,
        client: &Client,
    ) -> Result<(), Problem> {
        match current_policy(session, &client.policy).await? {
            Some(policy) => self.may_grant(app, session, &policy).await,
            None => Ok(()),
        }
    }
}
