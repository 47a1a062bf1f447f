//! Orders -> revoked: groups concurrent revocations into one durable commit.
//!
//! What arrives while a commit runs is the next group, as with mints: there is no timer, and a
//! flood of revocations makes groups larger, not the feed slower. Where more wait than a group takes,
//! callers have turns, so that whoever comes during another's flood is in the next group.

use std::sync::Arc;

use axum::http::StatusCode;
use scrip_token::Digest;
use tokio::sync::{mpsc, oneshot};

use super::NotRevoked;
use super::docket::Docket;
use super::enact::{Grounds, enact};
use super::line::{Line, Place, Places};
use super::selector::{Selector, Target};
use super::unissued::Unissued;
use crate::caller::{Caller, Reach};
use crate::clock;
use crate::deny::{Appended, DenyList, Position, PublishError, epoch};
use crate::router::RequestId;
use crate::signer::{self, Purpose, Signer, rotation};
use crate::store::revocations::Revocation;
use crate::store::{Lock, Store, Tx, audit, credentials};

/// Most revocations in one commit.
const MAX_GROUP: usize = 256;

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
pub struct Revoker {
    /// Unbounded, because places are.
    queue: mpsc::UnboundedSender<Pending>,
    places: Places,
}

struct Pending {
    order: Order,
    reply: oneshot::Sender<Result<Revoked, NotRevoked>>,
    place: Place,
}

impl Revoker {
    /// Starts the task; it ends when the last `Revoker` is gone and what it holds is settled.
    #[must_use]
    pub fn start(
        store: Store,
        deny: Arc<DenyList>,
        signer: Arc<Signer>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, mut arriving) = mpsc::unbounded_channel::<Pending>();
        let mut registry = Registry { store, deny, signer, unissued: Unissued::default() };
        let task = tokio::spawn(async move {
            let mut line = Line::default();
            loop {
                if line.is_empty() {
                    let Some(first) = arriving.recv().await else { return };
                    line.push(first.order.by.client.clone(), first);
                }
                while let Ok(next) = arriving.try_recv() {
                    line.push(next.order.by.client.clone(), next);
                }
                registry.settle(line.take(MAX_GROUP)).await;
            }
        });
        (Self { queue, places: Places::default() }, task)
    }

    /// Revokes; returns once that is durable. It goes on where nobody waits for it any more.
    ///
    /// # Errors
    /// [`NotRevoked`].
    pub async fn revoke(&self, order: Order) -> Result<Revoked, NotRevoked> {
        let place = self.places.take(&order.by.client)?;
        let (reply, settled) = oneshot::channel();
        self.queue.send(Pending { order, reply, place }).map_err(|_| NotRevoked::Busy)?;
        settled.await.map_err(|_| NotRevoked::Busy)?
    }
}

struct Registry {
    store: Store,
    deny: Arc<DenyList>,
    signer: Arc<Signer>,
    unissued: Unissued,
}

impl Registry {
    /// Commits a group and answers everybody in it.
    async fn settle(&mut self, group: Vec<Pending>) {
        let (orders, waiting): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|Pending { order, reply, place }| (order, (reply, place)))
            .unzip();
        metrics::histogram!("scrip_revocation_group_size").record(orders.len() as f64);
        let settled = match self.commit(orders).await {
            Ok(settled) => settled,
            Err(error) => waiting.iter().map(|_| Err(error.clone())).collect(),
        };
        for ((reply, _place), settled) in waiting.into_iter().zip(settled) {
            // Whoever asked may have gone away; what was revoked stays revoked.
            let _ = reply.send(settled);
        }
    }

    async fn commit(
        &mut self,
        orders: Vec<Order>,
    ) -> Result<Vec<Result<Revoked, NotRevoked>>, NotRevoked> {
        let mut tx = self.store.begin(Lock::Revoke).await?;
        let now_ms = tx.now_ms(clock::now_ms()).await?;
        let unissued = self.unissued.clone();
        let mut docket = Docket::open(&mut tx, orders, unissued, now_ms).await?;
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

        // Those that changed nothing about the list too.
        appended.revocations = revoked.len();
        self.deny.announce(appended);
        self.unissued = std::mem::take(&mut docket.unissued);
        for revocation in &revoked {
            tracing::info!(subject = revocation.subject, by = revocation.by_whom, "revoked");
        }
        Ok(docket.settled(&revoked))
    }

    /// What a revocation does besides its entry, for when that is forgotten: a revoked key signs
    /// nothing any more, an ended credential authenticates nobody. Yields what that put on the
    /// list.
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
