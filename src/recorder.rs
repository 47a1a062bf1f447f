//! Approved -> Recorded: groups concurrent mints into one durable commit.
//!
//! What arrives while a commit runs is the next group; there is no timer. Under the mint's lock a
//! group reads the database's time, re-reads who is enabled, which cuts there are and which
//! versions of credentials have ended, and picks the signing key. A token that would be dated at
//! or before a matching cut waits until after it; it is never dated back. A token under a quota has
//! its budget in escrow by the same commit.

pub mod quotas;

mod rows;
mod uses;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use scrip_token::{Alg, Claims, Digest, Jti};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::deny::{self, subject};
use crate::mint::ROUTE;
use crate::policy::Approved;
use crate::store::idempotency::Used;
use crate::store::{Inserts, Lock, Store, StoreError, Tx, idempotency, standing, tokens};
use crate::{audit, clock, random, store};
use quotas::Quotas;
use rows::Rows;
use uses::Uses;

/// Most mints in one commit.
const MAX_GROUP: usize = 256;
/// Most mints that wait for the next commit.
const MAX_QUEUE: usize = 8192;
/// Longest wait for a cut to pass, in seconds: a cut lies at most 5 s ahead.
const MAX_WAIT: u64 = 6;

/// A token that is on record and may be signed. Made here only.
#[derive(Debug)]
pub struct Recorded {
    claims: Claims,
    /// The claims as they stand in the database.
    text: String,
    kid: String,
    now: u64,
    is_repeated: bool,
}

impl Recorded {
    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What is signed: byte for byte what is on record.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The key that signs it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether it was on record already, for the same `Idempotency-Key`.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Seconds that are left of its life.
    #[must_use]
    pub fn expires_in(&self) -> u64 {
        self.claims.exp.saturating_sub(self.now)
    }
}

/// What is to be recorded.
pub struct Order {
    /// The judgement that allows it.
    pub approved: Approved,
    /// What was asked for, as the audit log says it.
    pub asked: Value,
    /// The algorithm that will sign it.
    pub alg: Alg,
    /// What a retry of the same request carries too.
    pub repeat: Option<RepeatKey>,
    /// Where the request came from.
    pub address: IpAddr,
    /// The reply's `X-Request-Id`.
    pub request_id: String,
}

impl Order {
    fn repeated_as(&self) -> Option<(&str, &str)> {
        self.repeat.as_ref().map(|repeat| (self.approved.client().as_str(), repeat.key.as_str()))
    }
}

/// An `Idempotency-Key` with the digest of the request that it came with.
pub struct RepeatKey {
    /// The key.
    pub key: String,
    /// The digest of the parameters in a canonical order.
    pub digest: Digest,
}

/// Why nothing has been recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotRecorded {
    /// The commit failed, or is not known to have succeeded.
    #[error("the database is unavailable")]
    Store(#[from] Arc<StoreError>),
    /// Too many mints are waiting.
    #[error("too many mints are waiting")]
    Busy,
    /// A cut that matches lies too far ahead.
    #[error("a cut that matches has not passed yet")]
    Cut,
    /// No key of the algorithm may sign now.
    #[error("no key may sign")]
    NoKey,
    /// The client has been disabled, or its credential ended, since it was proved.
    #[error("the client or its credential has ended")]
    Ended,
    /// The `Idempotency-Key` came with another request before.
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    /// The token of the first request has expired or was revoked.
    #[error("the token of this Idempotency-Key has expired or was revoked")]
    NotRepeatable,
    /// The client's quota has less left than the token would take, or nobody knows how much that is.
    #[error(transparent)]
    Quota(#[from] quotas::NotHeld),
}

impl From<StoreError> for NotRecorded {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Hands orders to the one task that commits them.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Pending>,
    writing: AbortHandle,
}

struct Pending {
    order: Order,
    reply: oneshot::Sender<Settled>,
}

enum Settled {
    Recorded(Recorded),
    Refused(NotRecorded),
    After(Order, Duration),
}

impl Recorder {
    /// Starts the task; it ends when the last `Recorder` is gone and what it holds is settled.
    #[must_use]
    pub fn start(store: Store) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, mut orders) = mpsc::channel(MAX_QUEUE);
        let uses = Arc::new(Uses::default());
        let writing = uses.keep_writing(store.clone());
        let at_once = store.mints_at_once();
        let places = Arc::new(Semaphore::new(at_once));
        let task = tokio::spawn(async move {
            while let Ok(place) = places.clone().acquire_owned().await {
                let mut group = Vec::new();
                if orders.recv_many(&mut group, MAX_GROUP).await == 0 {
                    break;
                }
                let (store, uses) = (store.clone(), uses.clone());
                tokio::spawn(async move {
                    settle(&store, &uses, group).await;
                    drop(place);
                });
            }
            // Waits for the groups under way.
            let _ = places.acquire_many(at_once as u32).await;
            uses.write(&store).await;
        });
        (Self { queue, writing }, task)
    }

    /// The task that writes down who mints how much.
    #[must_use]
    pub fn writing(&self) -> AbortHandle {
        self.writing.clone()
    }

    /// Records an order; returns once that is durable.
    ///
    /// # Errors
    /// [`NotRecorded`].
    pub async fn record(&self, mut order: Order) -> Result<Recorded, NotRecorded> {
        let mut waited = Duration::ZERO;
        loop {
            let (reply, settled) = oneshot::channel();
            self.queue.try_send(Pending { order, reply }).map_err(|_| NotRecorded::Busy)?;
            match settled.await.map_err(|_| NotRecorded::Busy)? {
                Settled::Recorded(recorded) => return Ok(recorded),
                Settled::Refused(why) => return Err(why),
                Settled::After(again, wait) => {
                    waited += wait;
                    if waited > Duration::from_secs(MAX_WAIT) {
                        return Err(NotRecorded::Cut);
                    }
                    tokio::time::sleep(wait).await;
                    order = again;
                }
            }
        }
    }
}

/// Commits a group and answers everybody in it.
async fn settle(store: &Store, uses: &Uses, mut group: Vec<Pending>) {
    // Two replicas that are sent the same keys take them in one order, and do not deadlock.
    group.sort_by(|a, b| a.order.repeated_as().cmp(&b.order.repeated_as()));
    let (orders, replies): (Vec<_>, Vec<_>) =
        group.into_iter().map(|pending| (pending.order, pending.reply)).unzip();
    metrics::histogram!("scrip_mint_group_size").record(orders.len() as f64);
    let waiting = orders.len();
    let settled = match commit(store, uses, orders).await {
        Ok(settled) => settled,
        Err(error) => {
            let error = Arc::new(error);
            (0..waiting).map(|_| Settled::Refused(error.clone().into())).collect()
        }
    };
    for (reply, settled) in replies.into_iter().zip(settled) {
        // Whoever asked may have gone away. The record stays: one without a token is harmless.
        let _ = reply.send(settled);
    }
}

async fn commit(
    store: &Store,
    uses: &Uses,
    orders: Vec<Order>,
) -> Result<Vec<Settled>, StoreError> {
    let mut tx = store.begin(Lock::Mint).await?;
    let standing = Standing::read(&mut tx, &orders).await?;
    let group = orders.iter().map(|order| &order.approved);
    let mut quotas = Quotas::lock(&mut tx, group, standing.now()).await?;
    let mut rows = Rows::default();
    let mut settled = Vec::with_capacity(orders.len());
    for order in orders {
        settled.push(standing.settle(&mut tx, order, &mut quotas, &mut rows).await?);
    }
    let insert = |inserts: &mut Inserts| {
        rows.push(inserts);
        quotas.push(inserts)
    };
    let alerts = tx.insert(insert).await?;
    let alerts: Vec<_> = alerts.into_iter().map(|alert| alert.at(standing.0.now_ms)).collect();
    if !alerts.is_empty() {
        store::audit::insert_many(&mut tx, &alerts).await?;
    }
    tx.commit().await?;
    for (client, address) in rows.uses {
        uses.note(&client, address, standing.now());
    }
    metrics::counter!("scrip_alerts_total", "of" => "quota.threshold")
        .increment(alerts.len() as u64);
    Ok(settled)
}

/// What stands in the database while the group holds the mint's lock.
struct Standing(standing::Standing);

impl Standing {
    async fn read(tx: &mut Tx, orders: &[Order]) -> Result<Self, StoreError> {
        let mut clients: Vec<&str> = orders.iter().map(|o| o.approved.client().as_str()).collect();
        clients.sort_unstable();
        clients.dedup();
        let mut subjects: Vec<String> =
            orders.iter().flat_map(|order| subject::of_approved(&order.approved)).collect();
        subjects.sort_unstable();
        subjects.dedup();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        standing::read(tx, &clients, &subjects, clock::now_ms()).await.map(Self)
    }

    fn now_ms(&self) -> u64 {
        self.0.now_ms.unsigned_abs()
    }

    fn now(&self) -> u64 {
        self.now_ms() / 1000
    }

    /// The key that signs tokens of `alg` now: the one that took over last.
    fn kid(&self, alg: Alg) -> Option<&str> {
        let (alg, now) = (alg.as_str(), self.now().cast_signed());
        let signs = self.0.keys.iter().filter(|key| key.alg == alg && key.from <= now);
        signs.max_by_key(|key| (key.from, &key.kid)).map(|key| key.kid.as_str())
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        order: Order,
        quotas: &mut Quotas,
        rows: &mut Rows,
    ) -> Result<Settled, StoreError> {
        let now = self.now();
        let client = order.approved.client().as_str();
        let cred = (client.to_owned(), order.approved.cred().to_owned());
        if !self.0.enabled.contains(client) || self.0.ended.contains(&cred) {
            return Ok(Settled::Refused(NotRecorded::Ended));
        }
        let Some(kid) = self.kid(order.alg) else {
            return Ok(Settled::Refused(NotRecorded::NoKey));
        };

        for subject in subject::of_approved(&order.approved) {
            match self.0.cuts.get(&subject) {
                // Without a date it names a version of the credential, which has ended for good.
                Some(None) => return Ok(Settled::Refused(NotRecorded::Ended)),
                Some(Some(before)) if before.unsigned_abs() >= now => {
                    let wait = Duration::from_secs(before.unsigned_abs() - now + 1);
                    return Ok(Settled::After(order, wait));
                }
                _ => {}
            }
        }

        let kid = kid.to_owned();
        let jti = Jti::new(self.now_ms(), random::bytes());
        let taken = quotas.take(&order.approved);
        if let Some(repeat) = &order.repeat {
            let claimed = match &taken {
                Ok(_) => self.claim(tx, client, repeat, jti, rows).await?,
                // A key for which there is no token stays free for a time when there is room.
                Err(_) => self.find(tx, client, repeat, rows).await?,
            };
            if !matches!(claimed, Claimed::First)
                && let Ok(Some(taken)) = &taken
            {
                quotas.give_back(taken);
            }
            match claimed {
                Claimed::First => {}
                Claimed::Again(claims, text) => {
                    rows.events.push(
                        audit::Event::new("mint", "repeated")
                            .actor(&claims.client_id)
                            .target(claims.sub.clone())
                            .jti(claims.jti)
                            .origin(order.address, order.request_id)
                            .detail(&json!({"exp": claims.exp, "kid": kid}))
                            .at(self.0.now_ms),
                    );
                    let claims = *claims;
                    let recorded = Recorded { claims, text, kid, now, is_repeated: true };
                    return Ok(Settled::Recorded(recorded));
                }
                Claimed::Never(why) => return Ok(Settled::Refused(why)),
            }
        }
        let taken = match taken {
            Ok(taken) => taken,
            Err(why) => {
                quotas.go_without(&order.approved, &why);
                return Ok(Settled::Refused(why.into()));
            }
        };
        let Order { address, request_id, asked, .. } = order;
        let claims = order.approved.into_claims(now, jti);
        let text = rows.add(&claims, &kid, &asked, address, request_id, self.now_ms())?;
        if let Some(taken) = taken {
            quotas.keep(taken, &claims);
        }
        Ok(Settled::Recorded(Recorded { claims, text, kid, now, is_repeated: false }))
    }

    /// Takes an `Idempotency-Key` for `jti`, or finds what it was used for.
    async fn claim(
        &self,
        tx: &mut Tx,
        client: &str,
        repeat: &RepeatKey,
        jti: Jti,
        rows: &Rows,
    ) -> Result<Claimed, StoreError> {
        let used = Used {
            caller: client.to_owned(),
            route: ROUTE.to_owned(),
            key: repeat.key.clone(),
            digest: repeat.digest,
            at: self.now().cast_signed(),
            jti: Some(jti),
            reply: None,
        };
        if idempotency::insert(tx, &used).await? {
            return Ok(Claimed::First);
        }
        match self.find(tx, client, repeat, rows).await? {
            Claimed::First => Err(StoreError::Conflict),
            claimed => Ok(claimed),
        }
    }

    /// What an `Idempotency-Key` was used for.
    async fn find(
        &self,
        tx: &mut Tx,
        client: &str,
        repeat: &RepeatKey,
        rows: &Rows,
    ) -> Result<Claimed, StoreError> {
        let Some(before) = idempotency::find(tx, client, ROUTE, &repeat.key).await? else {
            return Ok(Claimed::First);
        };
        if before.digest != repeat.digest {
            return Ok(Claimed::Never(NotRecorded::KeyReused));
        }
        let Some(jti) = before.jti else { return Ok(Claimed::Never(NotRecorded::NotRepeatable)) };
        if let Some(row) = rows.tokens.iter().find(|row| row.jti == jti) {
            let claims = parse_claims(&row.claims)?;
            return Ok(Claimed::Again(Box::new(claims), row.claims.clone()));
        }
        let Some(row) = tokens::by_jti(tx, jti).await? else {
            return Ok(Claimed::Never(NotRecorded::NotRepeatable));
        };
        let claims = parse_claims(&row.claims)?;
        let denied = deny::is_denied(tx, &claims, &row.kid, self.now()).await?;
        if claims.exp <= self.now() || denied {
            return Ok(Claimed::Never(NotRecorded::NotRepeatable));
        }
        Ok(Claimed::Again(Box::new(claims), row.claims))
    }
}

enum Claimed {
    First,
    /// The first request's token, with the text of its claims.
    Again(Box<Claims>, String),
    Never(NotRecorded),
}

fn parse_claims(text: &str) -> Result<Claims, StoreError> {
    Claims::parse(text.as_bytes()).map_err(|error| StoreError::Corrupt(error.to_string()))
}
