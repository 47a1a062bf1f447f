//! The whole list as one file, with a signed manifest: made beside the requests, from the one
//! before it, and served from memory.
//!
//! A manifest may be older than the request for it, as one from an untrusted relay always might
//! have been: it says what was so at its `iat`, age is counted from there, and everything since is
//! in the batches after it. A follower counts itself in step by a heartbeat made after its question
//! only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scrip_token::blob::{Blob, BlobError};
use scrip_token::compact::Compact;
use scrip_token::deny::{Entry, MAX_SIGN_OF_LIFE_BYTES, Manifest, OBJECT_VERSION};
use scrip_token::{Digest, Jti, Typ};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{DenyList, Position, PublishError, feed_key};
use crate::clock;
use crate::store::installation::{self, Installation};
use crate::store::{self, Lock, Session, Store, StoreError};
use crate::store::{deny_entries, deny_snapshots};

/// An entry stays in for so many seconds after it is over, for followers whose time is behind.
const LINGER: u64 = 60;
/// Seconds after which a manifest is made anew for whoever asks, even if nothing has changed: for
/// those who follow copies in files its date is the sign of life.
const YOUNG: u64 = 5;
/// A snapshot is made anew after so long even where nobody asks, and after so many batches: it is
/// never so old that a follower cannot go on from it.
const MAX_AGE: Duration = Duration::from_secs(300);
const MAX_BATCHES: i64 = 4096;
/// The pause after each: at least so long, and at least so many times as long as the making took.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_FACTOR: u32 = 19;
/// Longest wait for the first one. A follower waits 5 s.
const PATIENCE: Duration = Duration::from_secs(4);
/// Entries read at once.
const PAGE: u32 = 1_000;
/// Snapshots in memory: a follower may be fetching the one before the last.
const KEPT: usize = 2;

/// A snapshot as it is served.
pub struct Snapshot {
    /// What its manifest says.
    manifest: Manifest,
    /// The signed manifest.
    pub jws: Bytes,
    blob: Bytes,
}

/// The snapshots of this process.
pub struct Snapshots {
    /// Newest first.
    kept: watch::Sender<Vec<Arc<Snapshot>>>,
    /// A blob that another replica has made and that was asked for here.
    foreign: Mutex<Option<(Digest, Bytes)>>,
    asked: Notify,
}

impl Default for Snapshots {
    fn default() -> Self {
        let kept = watch::Sender::new(Vec::new());
        Self { kept, foreign: Mutex::default(), asked: Notify::new() }
    }
}

impl Snapshots {
    /// The newest one of the epoch that `list` is in; `None` where there is none in time. It may be
    /// older than the request: it says what was so at its time, and a heartbeat has to say that
    /// nothing is missing since.
    pub async fn newest(&self, list: &DenyList) -> Option<Arc<Snapshot>> {
        self.asked.notify_one();
        let epoch = list.follow().borrow().epoch.clone();
        let mut kept = self.kept.subscribe();
        let found = kept.wait_for(|kept| kept.first().is_some_and(|newest| newest.is_of(&epoch)));
        timeout(PATIENCE, found).await.ok()?.ok()?.first().cloned()
    }

    /// The blob with this digest, of a snapshot that is still kept here or in the database.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn blob(&self, store: &Store, sha256: &Digest) -> Result<Option<Bytes>, StoreError> {
        let kept = self.kept.borrow().iter().find(|kept| kept.manifest.sha256 == *sha256).cloned();
        if let Some(kept) = kept {
            return Ok(Some(kept.blob.clone()));
        }
        // All who ask for it wait for one of them to read it.
        let mut foreign = self.foreign.lock().await;
        if let Some((digest, blob)) = &*foreign
            && digest == sha256
        {
            return Ok(Some(blob.clone()));
        }
        let mut session = store.read_reserved().await?;
        let blob = deny_snapshots::blob(&mut session, sha256).await?.map(Bytes::from);
        if let Some(blob) = &blob {
            *foreign = Some((*sha256, blob.clone()));
        }
        Ok(blob)
    }

    /// Makes snapshots until shutdown: one at a time, when somebody asks or many batches have come,
    /// and never for more than a twentieth of the time.
    pub async fn keep(&self, store: Store, list: Arc<DenyList>, shutdown: CancellationToken) {
        let mut newest = list.follow();
        let keeping = async {
            loop {
                let begun = clock::monotonic();
                if let Err(error) = self.renew(&store, &list).await {
                    tracing::warn!(%error, "no snapshot");
                }
                let rest = sleep(begun.elapsed() * PAUSE_FACTOR);
                sleep(PAUSE).await;
                let last = self.kept.borrow().first().cloned();
                // Without a snapshot of this epoch nobody can begin: then the pause is cut short,
                // however long the last attempt took. It may have done nothing but wait for the
                // database.
                let is_other =
                    |newest: &Position| last.as_ref().is_none_or(|last| !last.is_of(&newest.epoch));
                tokio::select! {
                    () = rest => {}
                    _ = newest.wait_for(is_other) => continue,
                }
                let is_far = |newest: &Position| {
                    last.as_ref().is_none_or(|last| {
                        let behind = newest.seq - last.manifest.seq.cast_signed();
                        !last.is_of(&newest.epoch) || behind >= MAX_BATCHES
                    })
                };
                tokio::select! {
                    () = self.asked.notified() => {}
                    _ = newest.wait_for(is_far) => {}
                    () = sleep(MAX_AGE) => {}
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = keeping => {}
        }
    }

    async fn renew(&self, store: &Store, list: &DenyList) -> Result<(), PublishError> {
        let mut session = store.read_reserved().await?;
        // The time is read before the place: whatever is revoked by then is in it.
        let now_ms = store::now_ms(&mut session, clock::now_ms()).await?;
        let now = clock::seconds(store.settled_ms(&mut session, now_ms).await?);
        let row = list.row(&mut session).await?;
        let mut last = self.kept.borrow().first().cloned().filter(|last| last.is_base(&row));
        if last.as_ref().is_some_and(|last| last.is_current(&row, now)) {
            return Ok(());
        }
        // Another replica may have made one, or this one before it was started again.
        let iat = last.as_ref().map_or(0, |last| last.manifest.iat);
        if let Some(stored) = deny_snapshots::latest(&mut session).await?
            && stored.at.unsigned_abs() > iat
            && let Some(restored) = restore(&mut session, &stored).await?
            && restored.is_base(&row)
        {
            last = Some(self.take(restored));
        }
        if last.as_ref().is_some_and(|last| last.is_current(&row, now)) {
            return Ok(());
        }
        // A manifest is a sign of life too.
        installation::has_last_word(&mut session).await?;
        drop(session);
        self.take(make(store, list, last, row, now).await?);
        Ok(())
    }

    fn take(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        metrics::gauge!("scrip_feed_snapshot_bytes").set(snapshot.blob.len() as f64);
        self.kept.send_modify(|kept| {
            kept.insert(0, snapshot.clone());
            kept.truncate(KEPT);
        });
        snapshot
    }
}

impl Snapshot {
    fn is_of(&self, epoch: &str) -> bool {
        self.manifest.epoch.to_string() == epoch
    }

    /// Whether it is a snapshot to go on from: of the same epoch, and not ahead of what `row`
    /// counts.
    fn is_base(&self, row: &Installation) -> bool {
        self.is_of(&row.epoch) && self.manifest.seq <= row.seq.unsigned_abs()
    }

    fn is_current(&self, row: &Installation, now: u64) -> bool {
        let Manifest { seq, keys, iat, .. } = self.manifest;
        self.is_of(&row.epoch)
            && (seq, keys) == (row.seq.unsigned_abs(), row.keys_version.unsigned_abs())
            && now.saturating_sub(iat) < YOUNG
    }
}

/// What the database has; `None` where it does not fit together.
async fn restore(
    session: &mut impl Session,
    stored: &deny_snapshots::Snapshot,
) -> Result<Option<Snapshot>, StoreError> {
    let Some(blob) = deny_snapshots::blob(session, &stored.sha256).await? else { return Ok(None) };
    let jws = Compact::parse(stored.manifest.as_bytes(), 2 * MAX_SIGN_OF_LIFE_BYTES);
    let manifest = jws.ok().and_then(|jws| Manifest::parse(&jws.payload).ok());
    Ok(manifest.filter(|said| said.sha256 == stored.sha256).map(|manifest| Snapshot {
        manifest,
        jws: stored.manifest.clone().into(),
        blob: blob.into(),
    }))
}

/// A snapshot of all batches up to the one that `row` counts: the `last` one of the epoch, and the
/// entries since. It is in the database before it is anywhere else, so that any replica can serve
/// its blob; where the database has no room for it, this one serves it alone.
async fn make(
    store: &Store,
    list: &DenyList,
    last: Option<Arc<Snapshot>>,
    row: Installation,
    now: u64,
) -> Result<Snapshot, PublishError> {
    let over = now.saturating_sub(LINGER);
    let mut after =
        last.as_ref().map_or((0, -1), |last| (last.manifest.seq.cast_signed(), i64::MAX));
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        // A connection for each page: making a large one holds none of them for long.
        let mut session = store.read_reserved().await?;
        let cut = over.cast_signed();
        let page = deny_entries::live(&mut session, &row.epoch, row.seq, cut, after, PAGE).await?;
        drop(session);
        let Some(end) = page.last() else { break };
        after = (end.seq, end.ord);
        for stored in &page {
            entries.push(
                serde_json::from_str(&stored.entry)
                    .map_err(|error| StoreError::Corrupt(error.to_string()))?,
            );
        }
    }

    let built = tokio::task::spawn_blocking(move || build(last.as_deref(), entries, over)).await;
    let unfit = |error: &dyn std::error::Error| StoreError::Corrupt(error.to_string());
    let (blob, count, sha256) =
        built.map_err(|error| unfit(&error))?.map_err(|error| unfit(&error))?;
    let manifest = Manifest {
        ver: OBJECT_VERSION,
        iss: list.issuer().to_owned(),
        epoch: Jti::parse(&row.epoch).map_err(|_| PublishError::NotSetUp)?,
        seq: row.seq.unsigned_abs(),
        head: row.head,
        iat: now,
        count: count as u64,
        size: blob.len() as u64,
        sha256,
        blob: format!("/v1/deny/blobs/{sha256}"),
        keys: row.keys_version.unsigned_abs(),
    };
    let payload = serde_json::to_vec(&manifest)?;
    let mut session = store.read_reserved().await?;
    let kid = feed_key(&mut session, now).await?;
    let jws = list.sign(Typ::DenySnapshot, &kid, &payload)?;
    drop(session);

    let stored = deny_snapshots::Snapshot {
        sha256,
        epoch: row.epoch,
        seq: row.seq,
        at: now.cast_signed(),
        manifest: jws.clone(),
    };
    if let Err(error) = put(store, &stored, &blob).await {
        tracing::warn!(%error, "the snapshot is in memory only");
    }
    Ok(Snapshot { manifest, jws: jws.into(), blob: blob.into() })
}

/// The entries of the last snapshot that are not over, and the later ones, as a file.
fn build(
    last: Option<&Snapshot>,
    later: Vec<Entry>,
    over: u64,
) -> Result<(Vec<u8>, usize, Digest), BlobError> {
    let last = last.map(|last| Blob::decode(&last.blob)).transpose()?.unwrap_or_default();
    let jtis = last.jtis.into_iter();
    let jtis = jtis.map(|(jti, until)| Entry::Jti { jti, until: until.into() });
    let all = jtis.chain(last.rules).chain(later);
    let blob =
        Blob::from_entries(all.filter(|entry| entry.until().is_none_or(|until| until > over)))?;
    let bytes = blob.encode()?;
    let sha256 = Digest::of(&bytes);
    Ok((bytes, blob.count(), sha256))
}

async fn put(
    store: &Store,
    snapshot: &deny_snapshots::Snapshot,
    blob: &[u8],
) -> Result<(), StoreError> {
    let mut tx = store.begin(Lock::Feed).await?;
    if !deny_snapshots::renew(&mut tx, snapshot).await? {
        deny_snapshots::insert(&mut tx, snapshot, blob).await?;
    }
    deny_snapshots::prune(&mut tx).await?;
    tx.commit().await
}
