//! Writes to disk without holding up the tasks that follow, and without being forgotten at the end.

use std::io;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::alarm::{Alarm, Alarms};
use crate::disk::Disk;

/// The directory, where there is one.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    disk: Option<Arc<Disk>>,
    alarms: Arc<Alarms>,
    /// Everything that may still write, or holds the directory.
    users: TaskTracker,
}

impl Files {
    pub(crate) fn new(disk: Option<Disk>, alarms: Arc<Alarms>) -> Self {
        Self { disk: disk.map(Arc::new), alarms, users: TaskTracker::new() }
    }

    /// Whether there is a directory.
    pub(crate) fn exist(&self) -> bool {
        self.disk.is_some()
    }

    /// Writes, and waits until it is written. `None` where there is no directory, or, with an
    /// alarm, where the disk refuses: what is known is followed all the same.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let disk = self.disk.clone()?;
        match self.users.spawn_blocking(move || write(&disk)).await {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                self.alarms.raise(Alarm::Disk, &error);
                None
            }
            Err(_) => None,
        }
    }

    /// A task that [`Files::close`] waits for.
    pub(crate) fn tracked<F: Future>(&self, task: F) -> impl Future<Output = F::Output> + use<F> {
        self.users.track_future(task)
    }

    /// Waits until nothing is written any more, and gives the directory back.
    pub(crate) async fn close(self) {
        self.users.close();
        self.users.wait().await;
    }
}
