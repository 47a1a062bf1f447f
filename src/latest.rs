//! Something that takes a while to make, made once for all who wait for it.

use std::time::Instant;

use tokio::sync::Mutex;

use crate::clock;

/// The newest one, and when its making began.
pub(crate) struct Latest<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Latest<T> {
    /// One whose making began after `moment`; `make` makes it where there is none. All who wait share
    /// the next one and its failure: otherwise they would wait for a silent database one after the
    /// other.
    pub(crate) async fn after(&self, moment: Instant, make: impl AsyncFnOnce() -> T) -> T {
        let mut newest = self.0.lock().await;
        if let Some((begun, made)) = &*newest
            && *begun >= moment
        {
            return made.clone();
        }
        let begun = clock::monotonic();
        let made = make().await;
        *newest = Some((begun, made.clone()));
        made
    }
}
