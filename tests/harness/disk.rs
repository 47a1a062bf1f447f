use super::postgres::is_root;
use super::process::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A file system of its own, so small that it can be filled: a tmpfs in a mount namespace that only
/// those see who enter it. Needs no privilege where the kernel lets anybody make a user namespace.
pub struct SmallDisk {
    /// Keeps the namespace.
    holder: Process,
    folder: TempDir,
}

impl SmallDisk {
    pub async fn mount(megabytes: u32) -> Self {
        let folder = TempDir::with_prefix("scrip-disk-").expect("a folder to mount at");
        let mut unshare = Command::new("unshare");
        if !is_root() {
            unshare.arg("--map-root-user");
        }
        let script =
            "mount -t tmpfs -o \"size=$1,mode=0777\" tmpfs \"$2\" && echo mounted && exec cat";
        unshare.args(["--mount", "sh", "-c", script, "disk", &format!("{megabytes}m")]);
        unshare.arg(folder.path());
        let mut holder = Process::start(unshare);
        holder.line(|line| line == "mounted").await;
        Self { holder, folder }
    }

    /// Where it is, for those who entered.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What a command has to begin with to see it.
    pub fn entrance(&self) -> Vec<String> {
        let pid = self.holder.pid().to_string();
        let mut entrance = vec!["nsenter".to_owned(), "--target".to_owned(), pid];
        if !is_root() {
            entrance.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        entrance.extend(["--mount", "--"].map(str::to_owned));
        entrance
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).expect("there is room for a name");
        let full = std::io::copy(&mut std::io::repeat(0), &mut filler).expect_err("it is small");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    /// Gives back what was filled.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Where it is, for everybody: for reading and writing only, since links to it lead elsewhere.
    pub fn outside(&self) -> PathBuf {
        let path = self.folder.path().strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.pid().to_string()).join("root").join(path)
    }

    fn filler(&self) -> PathBuf {
        self.outside().join("filler")
    }
}
