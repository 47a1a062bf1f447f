//! Writes to disk off the runtime's threads, and is waited for when the follower is shut down.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use scrip_token::Jti;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::alarm::{Alarm, Alarms};
use crate::disk::Disk;

/// How long a write is waited for: a disk that hangs is as good as one that refuses.
const PATIENCE: Duration = Duration::from_secs(2);

/// The directory, where there is one.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    disk: Option<Arc<Disk>>,
    alarms: Arc<Alarms>,
    /// Writes that nobody waits for any more. While there is one, no other is begun.
    hung: Arc<Mutex<Vec<AbortHandle>>>,
    /// Everything that may still write, or holds the directory.
    users: TaskTracker,
}

impl Files {
    pub(crate) fn new(disk: Option<Disk>, alarms: Arc<Alarms>) -> Self {
        Self { disk: disk.map(Arc::new), alarms, hung: Arc::default(), users: TaskTracker::new() }
    }

    /// Whether there is a directory.
    pub(crate) fn exist(&self) -> bool {
        self.disk.is_some()
    }

    /// Writes, and waits until it is written, for 2 s at most. `None` where there is no directory, or,
    /// with an alarm, where the disk refuses or hangs: what is known is followed all the same.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        self.write_within(PATIENCE, write).await
    }

    /// The same, with more time for whoever holds up nobody.
    pub(crate) async fn write_within<T: Send + 'static>(
        &self,
        patience: Duration,
        write: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let disk = self.disk.clone()?;
        if self.is_hung() {
            self.alarms.raise(Alarm::Disk, &"an earlier write has not ended yet");
            return None;
        }
        let writing = self.users.spawn_blocking(move || write(&disk));
        let unended = writing.abort_handle();
        match timeout(patience, writing).await {
            Ok(Ok(Ok(value))) => return Some(value),
            Ok(Ok(Err(error))) => self.alarms.raise(Alarm::Disk, &error),
            Ok(Err(_)) => {}
            Err(_) => {
                self.hung.lock().unwrap_or_else(PoisonError::into_inner).push(unended);
                self.alarms.raise(Alarm::Disk, &"the disk does not answer");
            }
        }
        None
    }

    fn is_hung(&self) -> bool {
        let mut hung = self.hung.lock().unwrap_or_else(PoisonError::into_inner);
        hung.retain(|write| !write.is_finished());
        !hung.is_empty()
    }

    /// Takes note that what belongs to a place was not written, as far as is known.
    pub(crate) fn lose(&self, epoch: Jti, seq: u64) {
        if let Some(disk) = &self.disk {
            disk.lose(epoch, seq);
        }
    }

    /// A task that [`Files::close`] waits for.
    pub(crate) fn tracked<F: Future>(&self, task: F) -> impl Future<Output = F::Output> + use<F> {
        self.users.track_future(task)
    }

    /// Waits until nothing is written any more, and gives the directory back. A disk that hangs keeps
    /// it, and is not waited for.
    pub(crate) async fn close(self) {
        self.users.close();
        while !self.is_hung() && timeout(PATIENCE, self.users.wait()).await.is_err() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn n117_a_write_that_hangs_holds_up_nobody_and_the_next_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let alarms = Arc::new(Alarms::default());
        let files = Files::new(Some(Disk::open(folder.path()).unwrap()), alarms.clone());
        assert_eq!(files.write(|_| Ok(1)).await, Some(1));

        let (let_go, held) = mpsc::channel::<()>();
        let hung = files.write(move |_| held.recv().map_err(io::Error::other));
        assert_eq!(hung.await, None, "given up");
        assert_eq!(files.write(|_| Ok(2)).await, None, "not begun");
        assert_eq!(alarms.count(Alarm::Disk), 2);

        let_go.send(()).unwrap();
        while files.is_hung() {
            tokio::task::yield_now().await;
        }
        assert_eq!(files.write(|_| Ok(3)).await, Some(3));

        let (_let_go, held) = mpsc::channel::<()>();
        assert_eq!(files.write(move |_| held.recv().map_err(io::Error::other)).await, None);
        files.close().await;
    }
}
