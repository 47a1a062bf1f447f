//! Replaces what is on disk by a newer snapshot: the copy stays short, and what could not be
//! written is made up for. It runs beside everything else, so batches do not wait for it, and
//! nothing is lost where it fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Moment;
use crate::files::Files;
use crate::keeper::Held;
use crate::origin::{Fault, Origin};
use crate::writer::fetch_blob;

/// Time between two attempts.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps the copy on disk short, whole, and signed by keys that are still believed.
pub(crate) struct Compaction {
    files: Files,
    wanted: bool,
    attempted: Option<Instant>,
    /// At most one task, which says in the end whether the copy is whole.
    running: JoinSet<bool>,
}

impl Compaction {
    pub(crate) fn new(files: Files) -> Self {
        Self { files, wanted: false, attempted: None, running: JoinSet::new() }
    }

    /// Wants the copy replaced, as soon as there is a newer snapshot.
    pub(crate) fn want(&mut self) {
        self.wanted = self.files.exist();
    }

    /// Begins an attempt where one is wanted, none is running, and the last one was long enough
    /// ago.
    pub(crate) fn tend(&mut self, origin: &Origin, held: Option<Arc<Held>>) {
        while let Some(ended) = self.running.try_join_next() {
            self.wanted |= !ended.unwrap_or(false);
        }
        let Some(held) = held else { return };
        let now = Moment::now().monotonic;
        let early = self.attempted.is_some_and(|attempted| now < attempted + PAUSE);
        if !self.wanted || early || !self.running.is_empty() {
            return;
        }
        self.wanted = false;
        self.attempted = Some(now);
        let attempt = attempt(self.files.clone(), origin.clone(), held);
        self.running.spawn(self.files.tracked(attempt));
    }
}

async fn attempt(files: Files, origin: Origin, held: Arc<Held>) -> bool {
    let fetched = async {
        let manifest = held.feed.prove(&origin.manifest().await?).map_err(Fault::protocol)?;
        fetch_blob(&origin, manifest).await
    };
    match fetched.await {
        Ok(snapshot) => {
            let saved = files.write_within(PAUSE, move |disk| disk.save_snapshot(&snapshot));
            saved.await == Some(true)
        }
        Err(fault) => {
            tracing::info!(%fault, "no newer snapshot for the disk");
            false
        }
    }
}
