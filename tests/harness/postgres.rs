use super::at_exit::AtExit;
use super::disk::SmallDisk;
use super::process::{Process, Signal, free_port, send};
use super::until::until;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::OnceCell;

mod standby;

const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's `nobody`: `initdb` and `postgres` refuse to run as root.
const UNPRIVILEGED: u32 = 65534;

/// The address of a new, empty database in the cluster that all tests share.
pub async fn database() -> String {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(|| Cluster::start(&[])).await.database().await
}

/// A real Postgres of its own, on loopback, durable (`fsync=on`), for tests that kill it.
pub struct Cluster {
    postmaster: Process,
    site: Site,
    _removal: AtExit,
}

/// All that outlasts its processes.
struct Site {
    folder: PathBuf,
    port: u16,
    settings: &'static [&'static str],
    environment: Vec<(&'static str, String)>,
    disk: Option<SmallDisk>,
}

impl Cluster {
    /// `settings` such as `fsync=off` are added to the defaults, which lose nothing.
    pub async fn start(settings: &'static [&'static str]) -> Self {
        Self::start_on(None, settings, Vec::new()).await
    }

    /// One with a disk that can be filled.
    pub async fn on_small_disk() -> Self {
        let disk = SmallDisk::mount(128).await;
        Self::start_on(Some(disk), &["max_wal_size=32MB"], Vec::new()).await
    }

    /// One with these in its environment.
    pub async fn living_by(environment: impl Into<Vec<(&'static str, String)>>) -> Self {
        Self::start_on(None, &[], environment.into()).await
    }

    /// The disk that can be filled.
    pub fn disk(&self) -> &SmallDisk {
        self.site.disk.as_ref().expect("it was started on one")
    }

    async fn start_on(
        disk: Option<SmallDisk>,
        settings: &'static [&'static str],
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let (folder, removal) = empty_folder(disk.as_ref());
        let data = disk.as_ref().map_or(folder.as_path(), SmallDisk::path);
        let made = unprivileged("initdb", data, disk.as_ref())
            .args([
                "--wal-segsize=4",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .output();
        match made {
            Ok(made) if made.status.success() => {}
            failed => panic!("{failed:?}; without Postgres, `.ci/prepare postgres` installs it"),
        }

        let port = free_port();
        Self::run(Site { folder, port, settings, environment, disk }, removal).await
    }

    async fn run(site: Site, removal: AtExit) -> Self {
        let mut cluster = Self { postmaster: site.start(), site, _removal: removal };
        cluster.answers().await;
        cluster
    }

    /// The address of a new, empty database.
    pub async fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection =
            PgConnection::connect(&self.url("postgres")).await.expect("Postgres answers");
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut connection)
            .await
            .expect("a fresh name");
        self.url(&name)
    }

    /// `kill -9` of the postmaster and of all its processes; returns when none is left.
    pub async fn kill(&mut self) {
        let children = self.children();
        self.postmaster.signal(Signal::Kill);
        children.iter().for_each(|pid| send(Signal::Kill, *pid));
        self.postmaster.exit().await;
        until("Postgres is dead", PATIENCE, async || {
            children.iter().all(|pid| is_dead(*pid)).then_some(())
        })
        .await;
    }

    /// Stops all its processes where they are: connections stay open, and nobody answers.
    pub fn freeze(&self) {
        // The postmaster first, so that it starts no more of them.
        self.postmaster.signal(Signal::Stop);
        self.children().into_iter().for_each(|pid| send(Signal::Stop, pid));
    }

    /// Lets all go on.
    pub fn thaw(&self) {
        self.children().into_iter().for_each(|pid| send(Signal::Continue, pid));
        self.postmaster.signal(Signal::Continue);
    }

    fn children(&self) -> Vec<u32> {
        let postmaster = self.postmaster.pid();
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))
            .expect("the kernel lists children");
        children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
    }

    /// Whether it has given up by itself.
    pub fn has_ended(&mut self) -> bool {
        self.postmaster.ended().is_some()
    }

    /// Starts again what was killed, at the same address; returns when it has recovered.
    pub async fn restart(&mut self) {
        self.postmaster = self.site.start();
        self.answers().await;
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.site.port)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.site.port)
    }

    async fn answers(&mut self) {
        let url = self.url("postgres");
        self.postmaster.until(async || PgConnection::connect(&url).await.ok()).await;
    }
}

/// A folder for a cluster, owned by whoever runs Postgres, and what removes it.
fn empty_folder(disk: Option<&SmallDisk>) -> (PathBuf, AtExit) {
    let folder = TempDir::with_prefix("scrip-postgres-").expect("a folder for the cluster").keep();
    let path = folder.to_str().expect("a temporary folder's name is text");
    // The last backends may still be writing when the postmaster was killed; hence more than one try.
    let removal = AtExit::run(
        "for try in 1 2 3 4 5 6 7 8 9; do rm -rf \"$1\" && break; sleep 0.2; done",
        &[path],
    );
    let home = disk.map_or(folder.clone(), SmallDisk::outside);
    if is_root() {
        chown(home, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("root gives its folder away");
    }
    (folder, removal)
}

impl Site {
    /// Starts the postmaster.
    fn start(&self) -> Process {
        let data = self.disk.as_ref().map_or(self.folder.as_path(), SmallDisk::path);
        let mut command = unprivileged("postgres", data, self.disk.as_ref());
        command.envs(self.environment.iter().cloned());
        command.arg("-k").arg(data).args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
        for setting in ["max_connections=300"].iter().chain(self.settings) {
            command.args(["-c", setting]);
        }
        // SIGQUIT is Postgres' immediate shutdown; SIGKILL would leave its System V shared memory behind.
        Process::start_in(&self.folder, command, Signal::Quit)
    }
}

/// `program -D folder`, run by somebody other than root, as it insists.
fn unprivileged(name: &str, folder: &Path, disk: Option<&SmallDisk>) -> Command {
    let mut words = disk.map(SmallDisk::entrance).unwrap_or_default();
    if is_root() {
        let id = UNPRIVILEGED;
        words.push("setpriv".to_owned());
        words.extend([format!("--reuid={id}"), format!("--regid={id}")]);
        words.extend(["--clear-groups", "--"].map(str::to_owned));
    }
    let mut words = words.into_iter().map(OsString::from).chain([program(name).into()]);
    let mut command = Command::new(words.next().expect("the program at least"));
    command.args(words).current_dir("/").arg("-D").arg(folder.join("cluster"));
    command
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").expect("proc is mounted").uid() == 0
}

/// Gone, or a zombie that whoever inherited it has yet to reap.
fn is_dead(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')),
        Err(_) => true,
    }
}

/// A program that comes with Postgres, as whoever runs the tests.
pub fn command(name: &str) -> Command {
    Command::new(program(name))
}

/// `name` of the newest Postgres that Debian has, else whatever the PATH finds.
fn program(name: &str) -> PathBuf {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    debian
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .map(|(version, folder)| (version, folder.join("bin").join(name)))
        .filter(|(_, program)| program.exists())
        .max_by_key(|(version, _)| *version)
        .map_or_else(|| PathBuf::from(name), |(_, program)| program)
}
