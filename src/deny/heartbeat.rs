//! Signs of life: what the feed has got to, as of when.
//!
//! A heartbeat that counts less than its follower has makes nobody young, and one that counts more
//! makes it ask. So it is given its time first, beside the batches, and its number when it is sent:
//! what was sent by then is at least all that was on the list by its time.

use std::sync::Arc;
use std::time::Instant;

use scrip_token::deny::{Heartbeat, OBJECT_VERSION};
use scrip_token::{Jti, Typ};
use tokio::sync::watch;

use super::{DenyList, Position, PublishError, feed_key};
use crate::clock;
use crate::latest::Latest;
use crate::store::{self, Store, installation};

/// The heartbeats of this process.
#[derive(Clone)]
pub struct Pulse {
    newest: watch::Receiver<Option<Beat>>,
    fresh: Arc<Latest<Result<Beat, Arc<PublishError>>>>,
}

/// A heartbeat that has its time, but no place yet. It may name any place from `from` on, because
/// to know of more than it has to is no lie: so it can be signed for exactly the batches that were
/// sent before it.
#[derive(Clone, Debug)]
pub struct Dated {
    /// Where the list had got to by its time, or later.
    pub from: Position,
    /// The version of the keys document that it names.
    pub keys: i64,
    at: u64,
    kid: String,
}

/// A signed heartbeat and what it counts.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The signed object.
    pub jws: Arc<str>,
    /// What it says.
    pub position: Position,
    /// When it was signed, on the monotonic clock.
    pub made: Instant,
}

impl Pulse {
    /// A pulse and the half that makes it beat.
    #[must_use]
    pub fn new() -> (watch::Sender<Option<Beat>>, Self) {
        let (sender, newest) = watch::channel(None);
        (sender, Self { newest, fresh: Arc::default() })
    }

    /// The newest heartbeat that everybody was sent; `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<Beat> {
        self.newest.borrow().clone()
    }

    /// A heartbeat made after `arrival`: whoever begins to follow must not be told that it is in
    /// step when it is not. All who wait for one share the next.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn after(
        &self,
        arrival: Instant,
        store: &Store,
        list: &DenyList,
        every: u64,
    ) -> Result<Beat, Arc<PublishError>> {
        let make = async || {
            let dated = Dated::now(store, list).await?;
            let position = dated.from.clone();
            dated.sign(list, every, position)
        };
        self.fresh.after(arrival, async || make().await.map_err(Arc::new)).await
    }
}

impl Dated {
    /// Its time is read before the position, and lies before whatever is being revoked, so it never
    /// claims to know of a batch later than it does, nor to be of a time by which something is revoked
    /// that it lacks; and the database proves in between that no other has taken over.
    ///
    /// # Errors
    /// [`PublishError`]; where the database cannot be read, or no longer commits, there is no
    /// heartbeat.
    pub async fn now(store: &Store, list: &DenyList) -> Result<Self, PublishError> {
        let mut session = store.read_reserved().await?;
        let now_ms = store::now_ms(&mut session, clock::now_ms()).await?;
        installation::has_last_word(&mut session).await?;
        let at = clock::seconds(store.settled_ms(&mut session, now_ms).await?);
        let row = list.row(&mut session).await?;
        let kid = feed_key(&mut session, at).await?;
        Ok(Self { from: Position::from(&row), keys: row.keys_version, at, kid })
    }

    /// Signs it for those who have what `position` counts and no more.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn sign(
        self,
        list: &DenyList,
        every: u64,
        position: Position,
    ) -> Result<Beat, PublishError> {
        let heartbeat = Heartbeat {
            ver: OBJECT_VERSION,
            iss: list.issuer().to_owned(),
            epoch: Jti::parse(&position.epoch).map_err(|_| PublishError::NotSetUp)?,
            seq: position.seq.unsigned_abs(),
            head: position.head,
            iat: self.at,
            every,
            keys: self.keys.unsigned_abs(),
        };
        let payload = serde_json::to_vec(&heartbeat)?;
        let jws = list.sign(Typ::DenyHeartbeat, &self.kid, &payload)?;
        Ok(Beat { jws: jws.into(), position, made: clock::monotonic() })
    }
}
