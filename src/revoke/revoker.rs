//! Orders -> revoked: groups concurrent revocations into one durable commit.
//!
//! What arrives while a commit runs is the next group, as with mints: there is no timer, and a
//! flood of revocations makes groups larger, not the feed slower.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use scrip_token::{Digest, Jti};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::enact::{Draft, Grounds, enact};
use super::selector::{Found, Selector, Target};
use super::{NotRevoked, ROUTE};
use crate::audit::Event;
use crate::caller::{Caller, Reach};
use crate::clock;
use crate::deny::{Appended, DenyList, Position, PublishError, epoch};
use crate::router::RequestId;
use crate::signer::{self, Purpose, Signer, rotation};
use crate::store::idempotency::{self, Used};
use crate::store::revocations::{self, Revocation};
use crate::store::tokens::{self, Token};
use crate::store::{Lock, Store, StoreError, Tx, audit, credentials};

/// Most revocations in one commit.
const MAX_GROUP: usize = 256;
/// Most revocations that wait for the next commit.
const MAX_QUEUE: usize = 8192;

/// Who revokes what.
pub struct Order {
    /// Who asks; that it may has been judged.
    pub by: Caller,
    /// How far they reach.
    pub reach: Reach,
    /// What.
    pub selector: Selector,
    /// Why.
    pub grounds: Grounds,
    /// The reply's `X-Request-Id`.
    pub id: RequestId,
    /// An `Idempotency-Key`, with the digest of the request that it came with.
    pub repeat: Option<(String, Digest)>,
}

/// What became of an order: 201, or 200 where nothing had to be done.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// 201 or 200.
    pub status: StatusCode,
    /// The revocation, or the one that was first.
    pub revocation: Revocation,
}

/// Hands orders to the one task that commits them.
#[derive(Clone)]
pub struct Revoker(mpsc::Sender<Pending>);

struct Pending {
    order: Order,
    reply: oneshot::Sender<Result<Revoked, NotRevoked>>,
}

impl Revoker {
    /// Starts the task; it ends when the last `Revoker` is gone and what it holds is settled.
    #[must_use]
    pub fn start(
        store: Store,
        deny: Arc<DenyList>,
        signer: Arc<Signer>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, mut orders) = mpsc::channel(MAX_QUEUE);
        let registry = Registry { store, deny, signer };
        let task = tokio::spawn(async move {
            let mut group = Vec::new();
            while orders.recv_many(&mut group, MAX_GROUP).await > 0 {
                registry.settle(std::mem::take(&mut group)).await;
            }
        });
        (Self(queue), task)
    }

    /// Revokes; returns once that is durable. It goes on where nobody waits for it any more.
    ///
    /// # Errors
    /// [`NotRevoked`].
    pub async fn revoke(&self, order: Order) -> Result<Revoked, NotRevoked> {
        let (reply, settled) = oneshot::channel();
        self.0.try_send(Pending { order, reply }).map_err(|_| NotRevoked::Busy)?;
        settled.await.map_err(|_| NotRevoked::Busy)?
    }
}

struct Registry {
    store: Store,
    deny: Arc<DenyList>,
    signer: Arc<Signer>,
}

impl Registry {
    /// Commits a group and answers everybody in it.
    async fn settle(&self, group: Vec<Pending>) {
        let (orders, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|pending| (pending.order, pending.reply)).unzip();
        metrics::histogram!("scrip_revocation_group_size").record(orders.len() as f64);
        let waiting = orders.len();
        let settled = match self.commit(orders).await {
            Ok(settled) => settled,
            Err(error) => (0..waiting).map(|_| Err(error.clone())).collect(),
        };
        for (reply, settled) in replies.into_iter().zip(settled) {
            // Whoever asked may have gone away; what was revoked stays revoked.
            let _ = reply.send(settled);
        }
    }

    async fn commit(
        &self,
        orders: Vec<Order>,
    ) -> Result<Vec<Result<Revoked, NotRevoked>>, NotRevoked> {
        let mut tx = self.store.begin(Lock::Revoke).await?;
        let now_ms = tx.now_ms(clock::now_ms()).await?;
        let mut docket = Docket::open(&mut tx, orders, now_ms).await?;
        let drafts = std::mem::take(&mut docket.drafts);
        let targets: Vec<Target> = drafts.iter().map(|d| d.selector.target.clone()).collect();

        let (revoked, appended) = enact(&mut tx, &self.deny, drafts, now_ms).await?;
        let mut appended = match appended {
            Some(appended) => appended,
            // Whoever hears that it was revoked already hears an acknowledgement too.
            None => Position::from(&self.deny.row(&mut tx).await?).into(),
        };
        for target in &targets {
            if let Some(further) = self.carry_out(&mut tx, target, now_ms).await? {
                appended = further;
            }
        }
        docket.remember(&mut tx, &revoked).await?;
        audit::insert_many(&mut tx, &docket.events(&revoked)).await?;
        tx.commit().await?;

        self.deny.announce(appended);
        metrics::counter!("scrip_revocations_total").increment(revoked.len() as u64);
        for revocation in &revoked {
            tracing::info!(subject = revocation.subject, by = revocation.by_whom, "revoked");
        }
        Ok(docket.settled(&revoked))
    }

    /// What a revocation does besides: nothing is signed by a revoked key, and nobody is
    /// authenticated by an ended credential, after the entry has been forgotten too. Yields what
    /// that put on the list.
    async fn carry_out(
        &self,
        tx: &mut Tx,
        target: &Target,
        at_ms: i64,
    ) -> Result<Option<Appended>, PublishError> {
        match target {
            Target::Kid(kid) => self.withdraw(tx, kid, at_ms).await,
            Target::Cred(cred) => {
                let client = cred.client.as_str();
                credentials::end_for_good(tx, client, &cred.version, at_ms / 1000).await?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Takes a key out of use and publishes what takes its place.
    async fn withdraw(
        &self,
        tx: &mut Tx,
        kid: &str,
        at_ms: i64,
    ) -> Result<Option<Appended>, PublishError> {
        let keys = signer::keys(tx).await?;
        let now = clock::seconds(at_ms);
        match keys.iter().find(|key| key.jwk.kid == kid && key.revoked_at.is_none()) {
            Some(key) if key.purpose == Purpose::Feed => {
                epoch::withdraw_feed_key(tx, &self.deny, kid, at_ms).await.map(Some)
            }
            Some(key) => {
                rotation::revoke(tx, &self.signer, &keys, key, now).await?;
                signer::publish_keys(tx, &self.signer, self.deny.issuer(), now).await?;
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

/// A group of orders, each judged by what stands in the database and by the orders before it.
struct Docket {
    now_ms: i64,
    drafts: Vec<Draft>,
    /// By subject: the last revocation, on record or drafted.
    standing: HashMap<String, Verdict>,
    /// By caller and `Idempotency-Key`.
    keys: HashMap<(String, String), (Digest, Verdict)>,
    /// Keys to be remembered, with what they led to.
    used: Vec<(Used, Verdict)>,
    /// For the audit log, one for each draft.
    events: Vec<(Event, Value)>,
    verdicts: Vec<Result<Verdict, NotRevoked>>,
}

#[derive(Clone)]
enum Verdict {
    /// Nothing to do: this one was first.
    Stands(StatusCode, Box<Revocation>),
    /// To be enacted: the draft's index.
    Drafted(usize),
    /// Nothing more to do after what is drafted by an order before it.
    Covered(usize),
}

/// What is remembered under an `Idempotency-Key`.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    id: Uuid,
}

impl Docket {
    async fn open(tx: &mut Tx, orders: Vec<Order>, now_ms: i64) -> Result<Self, NotRevoked> {
        let mut docket = Self {
            now_ms,
            drafts: Vec::new(),
            standing: HashMap::new(),
            keys: HashMap::new(),
            used: Vec::new(),
            events: Vec::new(),
            verdicts: Vec::with_capacity(orders.len()),
        };
        // One statement for all of them: the others are few.
        let jti = |order: &Order| match order.selector.target {
            Target::Jti(jti) => Some(jti),
            _ => None,
        };
        let jtis: Vec<Jti> = orders.iter().filter_map(jti).collect();
        let records = tokens::by_jtis(tx, &jtis).await?;
        let records: HashMap<Jti, Token> = records.into_iter().map(|t| (t.jti, t)).collect();
        let now = clock::seconds(now_ms);
        let mut found = Vec::with_capacity(orders.len());
        for order in &orders {
            let record = jti(order).and_then(|jti| records.get(&jti));
            found.push(match order.selector.resolve_with(tx, &order.reach, record, now).await {
                Err(ailing @ NotRevoked::Publish(_)) => return Err(ailing),
                found => found,
            });
        }
        let subjects: Vec<&str> = found.iter().flatten().map(|f| f.subject.as_str()).collect();
        for first in revocations::latest(tx, &subjects).await? {
            let verdict = Verdict::Stands(StatusCode::OK, Box::new(first.clone()));
            docket.standing.insert(first.subject, verdict);
        }
        for (order, found) in orders.into_iter().zip(found) {
            let verdict = docket.judge(tx, order, found).await?;
            docket.verdicts.push(verdict);
        }
        Ok(docket)
    }

    async fn judge(
        &mut self,
        tx: &mut Tx,
        mut order: Order,
        found: Result<Found, NotRevoked>,
    ) -> Result<Result<Verdict, NotRevoked>, StoreError> {
        // Not even what was answered before is said of what is out of reach by now.
        if order.reach.is_confined()
            && let Err(refused) = found
        {
            return Ok(Err(refused));
        }
        let repeat = order.repeat.take();
        if let Some((key, digest)) = &repeat {
            match self.answered(tx, &order.by, key).await? {
                Some((first, _)) if first != *digest => return Ok(Err(NotRevoked::KeyReused)),
                Some((_, verdict)) => return Ok(Ok(verdict)),
                None => {}
            }
        }
        let found = match found {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let caller = order.by.client.to_string();
        let verdict = match self.standing(&order, &found) {
            Some(verdict) => verdict,
            None => self.draft(order, found),
        };
        if let Some((key, digest)) = repeat {
            let used = Used {
                caller: caller.clone(),
                route: ROUTE.to_owned(),
                key: key.clone(),
                digest,
                at: self.now_ms / 1000,
                jti: None,
                reply: None,
            };
            self.keys.insert((caller, key), (digest, verdict.clone()));
            self.used.push((used, verdict.clone()));
        }
        Ok(Ok(verdict))
    }

    /// What an `Idempotency-Key` led to before.
    async fn answered(
        &self,
        tx: &mut Tx,
        by: &Caller,
        key: &str,
    ) -> Result<Option<(Digest, Verdict)>, StoreError> {
        let caller = by.client.to_string();
        let Some(used) = idempotency::find(tx, &caller, ROUTE, key).await? else {
            return Ok(self.keys.get(&(caller, key.to_owned())).cloned());
        };
        let corrupt = |what: &str| StoreError::Corrupt(format!("an answer without {what}"));
        let reply = used.reply.as_deref().unwrap_or_default();
        let Answer { status, id } = serde_json::from_str(reply).map_err(|_| corrupt("an id"))?;
        let status = StatusCode::from_u16(status).map_err(|_| corrupt("a status"))?;
        let first = revocations::by_id(tx, id).await?.ok_or_else(|| corrupt("its revocation"))?;
        Ok(Some((used.digest, Verdict::Stands(status, Box::new(first)))))
    }

    /// The revocation that has done already what is asked for: the list does not grow.
    fn standing(&self, order: &Order, found: &Found) -> Option<Verdict> {
        let verdict = self.standing.get(&found.subject)?.clone();
        let (first, verdict) = match &verdict {
            Verdict::Stands(_, first) => (&**first, verdict.clone()),
            Verdict::Drafted(n) | Verdict::Covered(n) => {
                (&self.drafts.get(*n)?.revocation, Verdict::Covered(*n))
            }
        };
        let covers = match (first.before.map(i64::cast_unsigned), found.before) {
            (Some(cut), Some(needed)) => {
                cut >= needed && order.selector.before.is_none_or(|asked| cut >= asked)
            }
            (None, None) => true,
            _ => false,
        };
        covers.then_some(verdict)
    }

    fn draft(&mut self, order: Order, found: Found) -> Verdict {
        let mut event = Event::new("revoke", "done")
            .actor(&order.by.client)
            .target(found.subject.clone())
            .origin(order.by.address, order.id.to_string());
        if let Some(tenant) = &found.tenant {
            event = event.tenant(tenant);
        }
        if let Target::Jti(jti) = order.selector.target {
            event = event.jti(jti);
        }
        let Grounds { reason, note } = &order.grounds;
        let detail = json!({"selector": order.selector.to_json(), "reason": reason, "note": note});
        self.events.push((event, detail));

        let subject = found.subject.clone();
        self.drafts.push(Draft::new(
            order.selector,
            found,
            &order.by.client,
            order.grounds,
            self.now_ms,
        ));
        let verdict = Verdict::Drafted(self.drafts.len() - 1);
        self.standing.insert(subject, verdict.clone());
        verdict
    }

    /// Remembers what the keys of this group have led to. Nobody else revokes meanwhile, so nobody
    /// else has taken one of them.
    async fn remember(&mut self, tx: &mut Tx, revoked: &[Revocation]) -> Result<(), StoreError> {
        for (mut used, verdict) in std::mem::take(&mut self.used) {
            let Revoked { status, revocation } = verdict.carried_out(revoked);
            let answer = json!({"status": status.as_u16(), "id": revocation.id.to_string()});
            used.reply = Some(answer.to_string());
            idempotency::insert(tx, &used).await?;
        }
        Ok(())
    }

    fn events(&mut self, revoked: &[Revocation]) -> Vec<audit::Event> {
        let events = std::mem::take(&mut self.events).into_iter().zip(revoked);
        let dated = |((event, mut detail), revocation): ((Event, Value), &Revocation)| {
            detail["seq"] = json!(revocation.seq);
            event.detail(&detail).at(self.now_ms)
        };
        events.map(dated).collect()
    }

    fn settled(self, revoked: &[Revocation]) -> Vec<Result<Revoked, NotRevoked>> {
        let verdicts = self.verdicts.into_iter();
        verdicts.map(|verdict| verdict.map(|verdict| verdict.carried_out(revoked))).collect()
    }
}

impl Verdict {
    fn carried_out(self, revoked: &[Revocation]) -> Revoked {
        let (status, revocation) = match self {
            Self::Stands(status, first) => (status, *first),
            Self::Drafted(n) if revoked[n].seq.is_some() => {
                (StatusCode::CREATED, revoked[n].clone())
            }
            Self::Drafted(n) | Self::Covered(n) => (StatusCode::OK, revoked[n].clone()),
        };
        Revoked { status, revocation }
    }
}
