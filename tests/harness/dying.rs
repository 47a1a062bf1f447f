use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/harness/dying.c");

/// A disk that dies under a process, and heals: it takes what is written, and syncs nothing of it.
/// What the kernel does beyond the error, forgetting what it could not write, it does not.
pub struct DyingDisk {
    folder: TempDir,
}

impl DyingDisk {
    /// A sound one. Made by the compiler that Rust links with.
    pub fn new() -> Self {
        // Postgres is run by somebody else.
        let folder = tempfile::Builder::new()
            .prefix("scrip-dying-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a folder");
        let disk = Self { folder };
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-D_GNU_SOURCE", "-Wall", "-Werror", "-o"])
            .args([disk.library(), PathBuf::from(SOURCE)])
            .output()
            .expect("a C compiler");
        assert!(made.status.success(), "{made:?}");
        disk
    }

    pub fn die(&self) {
        fs::write(self.sign(), "").expect("the folder is ours");
    }

    pub fn heal(&self) {
        fs::remove_file(self.sign()).expect("it was dead");
    }

    /// What a process that lives by this disk has in its environment.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", self.library().display().to_string()),
            ("DEAD_DISK", self.sign().display().to_string()),
        ]
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("dying.so")
    }

    fn sign(&self) -> PathBuf {
        self.folder.path().join("dead")
    }
}
