use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A wall clock that can be moved under a process (libfaketime); its monotonic clock is left alone.
pub struct FakeTime {
    folder: TempDir,
}

impl FakeTime {
    /// A clock that is right.
    pub fn right() -> Self {
        let clock = Self { folder: TempDir::with_prefix("scrip-clock-").expect("a folder") };
        clock.move_by(0);
        clock
    }

    /// Seconds from the right time.
    pub fn move_by(&self, seconds: i64) {
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{seconds:+}\n")).expect("the folder is ours");
        // At once: a reader must not find half of it.
        fs::rename(next, self.file()).expect("the folder is ours");
    }

    /// What a process that lives by this clock has in its environment.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("now")
    }
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries
        .find(|library| library.exists())
        .expect("no libfaketime on this machine; `.ci/prepare faketime` installs it")
}
