//! Signs of life: what the feed has got to, as of when.

use std::sync::Arc;
use std::time::Instant;

use scrip_token::deny::{Heartbeat, OBJECT_VERSION};
use scrip_token::{Jti, Typ};
use tokio::sync::watch;

use super::{DenyList, Position, PublishError};
use crate::clock;
use crate::latest::Latest;
use crate::store::{self, Store, installation};

/// The heartbeats of this process.
#[derive(Clone)]
pub struct Pulse {
    newest: watch::Receiver<Option<Beat>>,
    fresh: Arc<Latest<Result<Beat, Arc<PublishError>>>>,
}

/// A signed heartbeat and what it counts.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The signed object.
    pub jws: Arc<str>,
    /// What it says.
    pub position: Position,
    /// The version of the keys document that it names.
    pub keys: i64,
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
        self.fresh.after(arrival, async || beat(store, list, every).await.map_err(Arc::new)).await
    }
}

/// Signs a heartbeat. Its time is read before the position, so it never claims to know of a batch
/// later than it does; and the database proves in between that no other has taken over.
///
/// # Errors
/// [`PublishError`]; where the database cannot be read, or no longer commits, there is no heartbeat.
pub async fn beat(store: &Store, list: &DenyList, every: u64) -> Result<Beat, PublishError> {
    let mut session = store.read_reserved().await?;
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    installation::has_last_word(&mut session).await?;
    let row = list.row(&mut session).await?;
    let heartbeat = Heartbeat {
        ver: OBJECT_VERSION,
        iss: list.issuer().to_owned(),
        epoch: Jti::parse(&row.epoch).map_err(|_| PublishError::NotSetUp)?,
        seq: row.seq.unsigned_abs(),
        head: row.head,
        iat: now,
        every,
        keys: row.keys_version.unsigned_abs(),
    };
    let payload = serde_json::to_vec(&heartbeat)?;
    let jws = list.sign(&mut session, Typ::DenyHeartbeat, now, &payload).await?;
    let made = clock::monotonic();
    Ok(Beat { jws: jws.into(), position: Position::from(&row), keys: row.keys_version, made })
}
