//! The whole list as one file, with a signed manifest.

use std::time::Instant;

use scrip_token::blob::Blob;
use scrip_token::deny::{Entry, Manifest, OBJECT_VERSION};
use scrip_token::{Digest, Jti, Typ};
use tokio::sync::Mutex;

use super::{DenyList, PublishError};
use crate::clock;
use crate::store::{self, Lock, Store, StoreError, deny_entries, deny_snapshots};

/// A snapshot is made anew after so many seconds even where nothing changed, long before the
/// batches that follow it are pruned.
const MAX_AGE: u64 = 300;
/// An entry stays in for so many seconds after it is over, for followers whose time is behind.
const LINGER: u64 = 60;
/// Entries read at once.
const PAGE: u32 = 5_000;

/// One snapshot is made at a time; when the last one was begun, and its manifest.
#[derive(Default)]
pub struct Maker(Mutex<Option<(Instant, String)>>);

impl Maker {
    /// The manifest of a snapshot that has all that was revoked before `arrival`. All who wait for
    /// one share the next.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn manifest(
        &self,
        arrival: Instant,
        store: &Store,
        list: &DenyList,
    ) -> Result<String, PublishError> {
        let mut last = self.0.lock().await;
        if let Some((begun, manifest)) = &*last
            && *begun >= arrival
        {
            return Ok(manifest.clone());
        }
        let begun = clock::monotonic();
        let manifest = current(store, list).await?;
        *last = Some((begun, manifest.clone()));
        Ok(manifest)
    }
}

/// The manifest of the stored snapshot where it is current, else of one that is made now.
async fn current(store: &Store, list: &DenyList) -> Result<String, PublishError> {
    let mut session = store.read_reserved().await?;
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    let row = list.row(&mut session).await?;
    if let Some(latest) = deny_snapshots::latest(&mut session).await? {
        let age = now.saturating_sub(latest.at.unsigned_abs());
        if latest.epoch == row.epoch && latest.seq == row.seq && age <= MAX_AGE {
            return Ok(latest.manifest);
        }
    }

    let mut entries: Vec<Entry> = Vec::new();
    let mut after = (0, -1);
    let over = now.saturating_sub(LINGER).cast_signed();
    loop {
        let page = deny_entries::live(&mut session, &row.epoch, row.seq, over, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = (last.seq, last.ord);
        for stored in &page {
            entries.push(
                serde_json::from_str(&stored.entry)
                    .map_err(|error| StoreError::Corrupt(error.to_string()))?,
            );
        }
    }
    let unfit = |error: scrip_token::blob::BlobError| StoreError::Corrupt(error.to_string());
    let blob = Blob::from_entries(entries).map_err(unfit)?;
    let bytes = blob.encode().map_err(unfit)?;
    let sha256 = Digest::of(&bytes);
    let manifest = Manifest {
        ver: OBJECT_VERSION,
        iss: list.issuer().to_owned(),
        epoch: Jti::parse(&row.epoch).map_err(|_| PublishError::NotSetUp)?,
        seq: row.seq.unsigned_abs(),
        head: row.head,
        iat: now,
        count: blob.count() as u64,
        size: bytes.len() as u64,
        sha256,
        blob: format!("/v1/deny/blobs/{sha256}"),
        keys: row.keys_version.unsigned_abs(),
    };
    let payload = serde_json::to_vec(&manifest)?;
    let jws = list.sign(&mut session, Typ::DenySnapshot, now, &payload).await?;
    drop(session);

    let snapshot = deny_snapshots::Snapshot {
        sha256,
        epoch: row.epoch,
        seq: row.seq,
        at: now.cast_signed(),
        manifest: jws.clone(),
    };
    let mut tx = store.begin(Lock::Admin).await?;
    deny_snapshots::insert(&mut tx, &snapshot, &bytes).await?;
    deny_snapshots::prune(&mut tx).await?;
    tx.commit().await?;
    Ok(jws)
}
