//! The deny list: entries -> sequence -> signed batch, within the transaction that revokes.

pub mod audience;
pub mod epoch;
pub mod heartbeat;
pub mod snapshot;
pub mod stream;
pub mod subject;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use scrip_token::deny::{Batch, Entry, MAX_BATCH_ENTRIES, OBJECT_VERSION};
use scrip_token::{Claims, Digest, Jti, Typ};
use tokio::sync::watch;

use self::epoch::Continuity;
use crate::clock;
use crate::signer::{self, Purpose, Signer, SignerError};
use crate::store::installation::{self, Installation};
use crate::store::{self, Session, Store, StoreError, Tx, deny_batches, deny_entries};
use crate::witness::{Testimony, Witness, WitnessError};

/// Where the list has got to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The epoch, a UUIDv7 in text.
    pub epoch: String,
    /// Number of the newest batch; 0: none yet.
    pub seq: i64,
    /// Digest of its payload; of the epoch's text before the first.
    pub head: Digest,
}

impl From<&deny_batches::Batch> for Position {
    fn from(batch: &deny_batches::Batch) -> Self {
        Self { epoch: batch.epoch.clone(), seq: batch.seq, head: batch.head }
    }
}

impl From<&Installation> for Position {
    fn from(row: &Installation) -> Self {
        Self { epoch: row.epoch.clone(), seq: row.seq, head: row.head }
    }
}

/// What a transaction has put on the list, to be announced once that is committed.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Where the list has got to by that.
    pub position: Position,
    /// How many revocations that were.
    pub revocations: usize,
    /// The newest batches, in order, as they are stored.
    batches: Vec<deny_batches::Batch>,
}

impl From<Position> for Appended {
    fn from(position: Position) -> Self {
        Self { position, revocations: 0, batches: Vec::new() }
    }
}

/// Most batches that wait in memory to be published; those beyond are read from the database.
const MAX_FRESH: usize = 256;

/// Why the list was not extended.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The feed key or the root key.
    #[error(transparent)]
    Sign(#[from] SignerError),
    /// There is no feed key, or nothing was bootstrapped.
    #[error("the feed is not set up; run `scrip bootstrap`")]
    NotSetUp,
    /// A batch that cannot be written as JSON.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
    /// The database has lost what was published, or is another one. A new epoch puts that right.
    #[error("the database does not have what was published before")]
    Lost,
    /// It is committed and takes effect, but this replica has no record of it.
    #[error("it took effect, and there is no witness of it")]
    Unwitnessed(#[from] WitnessError),
}

/// Appends to the deny list and wakes those who follow it.
pub struct DenyList {
    issuer: String,
    signer: Arc<Signer>,
    witness: Witness,
    newest: watch::Sender<Position>,
    /// The greatest version of a keys document that was seen, witnessed or not.
    keys: AtomicI64,
    /// Batches that are committed, and that the publisher need not read again.
    fresh: Mutex<Vec<deny_batches::Batch>>,
}

impl DenyList {
    /// A list that has got to `position`.
    #[must_use]
    pub fn new(issuer: String, signer: Arc<Signer>, witness: Witness, position: Position) -> Self {
        let newest = watch::Sender::new(position);
        let keys = AtomicI64::new(witness.known().keys);
        Self { issuer, signer, witness, newest, keys, fresh: Mutex::default() }
    }

    /// The numbering row, provided that the database has all that is known to have been published:
    /// about any other nothing is signed.
    ///
    /// # Errors
    /// [`PublishError::Lost`].
    pub async fn row(&self, session: &mut impl Session) -> Result<Installation, PublishError> {
        // Read before the row: a commit in between makes the row newer than what is known, never
        // older.
        let known = self.witness.known();
        let row = installation::read(session).await?.ok_or(PublishError::NotSetUp)?;
        self.keys.fetch_max(row.keys_version, Ordering::AcqRel);
        let found = epoch::continuity(session, &row, &known).await?;
        (found == Continuity::Shown).then_some(row).ok_or(PublishError::Lost)
    }

    /// The same, locked: nobody else numbers anything until the transaction ends.
    ///
    /// # Errors
    /// [`PublishError::Lost`].
    pub async fn lock(&self, tx: &mut Tx) -> Result<Installation, PublishError> {
        let known = self.witness.known();
        let row = installation::lock(tx).await?.ok_or(PublishError::NotSetUp)?;
        let found = epoch::continuity(tx, &row, &known).await?;
        (found == Continuity::Shown).then_some(row).ok_or(PublishError::Lost)
    }

    /// Appends entries within a transaction that holds `Lock::Revoke` or `Lock::Withdraw`, in as many
    /// batches as it takes. Each batch is serialised, numbered and signed here, once; its bytes are stored.
    ///
    /// # Errors
    /// [`PublishError`]; the transaction must be given up then.
    pub async fn append(
        &self,
        tx: &mut Tx,
        now_ms: i64,
        entries: &[Entry],
    ) -> Result<Appended, PublishError> {
        let row = self.lock(tx).await?;
        self.extend(tx, row, now_ms, entries).await
    }

    async fn extend(
        &self,
        tx: &mut Tx,
        mut row: Installation,
        now_ms: i64,
        entries: &[Entry],
    ) -> Result<Appended, PublishError> {
        let epoch = Jti::parse(&row.epoch).map_err(|_| PublishError::NotSetUp)?;
        let now = clock::seconds(now_ms);
        let kid = feed_key(tx, now).await?;
        let mut batches = Vec::new();
        for entries in entries.chunks(MAX_BATCH_ENTRIES) {
            row.seq += 1;
            let batch = Batch {
                ver: OBJECT_VERSION,
                iss: self.issuer.clone(),
                epoch,
                seq: row.seq.unsigned_abs(),
                prev: row.head,
                iat: now,
                entries: entries.to_vec(),
            };
            let payload = serde_json::to_vec(&batch)?;
            row.head = Digest::of(&payload);
            let jws = self.signer.sign_object(Typ::DenyBatch, &kid, &payload)?;
            let stored = deny_batches::Batch {
                epoch: row.epoch.clone(),
                seq: row.seq,
                at: now.cast_signed(),
                head: row.head,
                jws: Some(jws),
            };
            deny_batches::insert(tx, &stored).await?;
            deny_entries::insert_many(tx, &rows(&row.epoch, row.seq, entries)?).await?;
            installation::advance(tx, row.seq, &row.head, now_ms).await?;
            batches.push(stored);
        }
        self.witness.note_time(now);
        Ok(Appended { position: Position::from(&row), revocations: 0, batches })
    }

    /// Announces, and returns when there is a witness: only then may it be acknowledged.
    ///
    /// # Errors
    /// [`PublishError::Unwitnessed`]: it took effect all the same.
    pub async fn acknowledge(&self, appended: Appended) -> Result<(), PublishError> {
        self.announce(appended);
        Ok(self.witness.sync().await?)
    }

    /// Returns when there is a witness of all that the database has, keys included. To be called
    /// after the commit of whatever changes a key.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn attest_keys(&self, store: &Store) -> Result<(), PublishError> {
        let mut session = store.read_reserved().await?;
        let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
        let found = Testimony::read(&mut session, now).await?.ok_or(PublishError::NotSetUp)?;
        self.signer.withdraw(&found.revoked);
        self.keys.fetch_max(found.keys, Ordering::AcqRel);
        // The disk may take its time: others can have the connection.
        drop(session);
        self.witness.add(found);
        Ok(self.witness.sync().await?)
    }

    /// The same where the keys document of `version` is news. Otherwise only what could not be
    /// written before is tried again.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn attest_keys_of(&self, store: &Store, version: i64) -> Result<(), PublishError> {
        if self.witness.known().keys < version {
            return self.attest_keys(store).await;
        }
        Ok(self.witness.sync().await?)
    }

    /// Wakes those who follow, once what was appended is committed; what is yet to be done before
    /// it is acknowledged is to sync the witness.
    pub fn announce(&self, Appended { position, revocations, batches }: Appended) {
        metrics::counter!("scrip_revocations_total").increment(revocations as u64);
        self.witness.note(&position);
        {
            let mut fresh = self.fresh.lock();
            if fresh.len() + batches.len() > MAX_FRESH {
                fresh.clear();
            } else {
                fresh.extend(batches);
            }
        }
        metrics::gauge!("scrip_deny_seq").set(position.seq as f64);
        self.newest.send_if_modified(|newest| {
            let further = (&newest.epoch, newest.seq) < (&position.epoch, position.seq);
            if further {
                *newest = position;
            }
            further
        });
    }

    /// The batches announced since the last call, in the order of their announcement; not all of
    /// them where they were many.
    #[must_use]
    pub fn fresh(&self) -> Vec<deny_batches::Batch> {
        std::mem::take(&mut *self.fresh.lock())
    }

    /// What is known to have been published.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// The newest keys document that is known here: whatever is older may name a revoked key.
    #[must_use]
    pub fn keys_version(&self) -> i64 {
        self.keys.load(Ordering::Acquire)
    }

    /// Follows the position.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Position> {
        self.newest.subscribe()
    }

    /// The issuer whose list it is.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs with a feed key.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn sign(&self, typ: Typ, kid: &str, payload: &[u8]) -> Result<String, PublishError> {
        Ok(self.signer.sign_object(typ, kid, payload)?)
    }
}

/// The `kid` of the feed key that signs at `now`.
async fn feed_key(session: &mut impl Session, now: u64) -> Result<String, PublishError> {
    let keys = signer::keys(session).await?;
    let feed = signer::single(&keys, Purpose::Feed, now).ok_or(PublishError::NotSetUp)?;
    Ok(feed.jwk.kid.clone())
}

fn rows(
    epoch: &str,
    seq: i64,
    entries: &[Entry],
) -> Result<Vec<deny_entries::Entry>, PublishError> {
    let row = |(ord, entry): (usize, &Entry)| {
        let (kind, jti, before) = match entry {
            Entry::Jti { jti, .. } => ("jti", Some(*jti), None),
            Entry::Client { before, .. } => ("client", None, Some(*before)),
            Entry::Sub { before, .. } => ("sub", None, Some(*before)),
            Entry::Tenant { before, .. } => ("tenant", None, Some(*before)),
            Entry::Cred { .. } => ("cred", None, None),
            Entry::Kid { .. } => ("kid", None, None),
            Entry::All { before, .. } => ("all", None, Some(*before)),
        };
        Ok(deny_entries::Entry {
            epoch: epoch.to_owned(),
            seq,
            ord: i64::try_from(ord).unwrap_or(i64::MAX),
            kind: kind.to_owned(),
            subject: subject::of_entry(entry),
            jti,
            before: before.map(u64::cast_signed),
            until: entry.until().map(u64::cast_signed),
            entry: serde_json::to_string(entry)?,
        })
    };
    entries.iter().enumerate().map(row).collect()
}

/// Whether anything on the list, as the database has it now, kills a token.
///
/// # Errors
/// [`StoreError`].
pub async fn is_denied(
    session: &mut impl Session,
    claims: &Claims,
    kid: &str,
    now: u64,
) -> Result<bool, StoreError> {
    let subjects = subject::of_token(claims, kid);
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    let cuts = deny_entries::cuts(session, &subjects, now.cast_signed()).await?;
    Ok(cuts.iter().any(|cut| cut.before.is_none_or(|before| claims.iat <= before.unsigned_abs())))
}
