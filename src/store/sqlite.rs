use super::gate::{Gate, Pace};
use super::session::Begun;
use super::{Lane, Lock, StoreError, Tx};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection, SqlitePool};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Semaphore;

/// One connection writes, others read; and one process at a time, which the lock file proves.
pub(super) struct Sqlite {
    pub(super) writer: SqlitePool,
    general: SqlitePool,
    administration: SqlitePool,
    minting: SqlitePool,
    reserved: SqlitePool,
    gate: Gate,
    operators: Semaphore,
    _lock: File,
}

/// What the writer keeps of the database in memory, in KiB (negative): every group of mints changes
/// pages of many clients and indexes.
const WRITERS_CACHE: &str = "-65536";

/// Operators who wait for the writer at once; the others wait for one of these.
const OPERATORS: usize = 4;

const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_TO_REVOKE: Duration = Duration::from_secs(5);

impl Sqlite {
    pub(super) async fn open(path: &str) -> Result<Self, StoreError> {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.starts_with(':') || path.contains('?') {
            return Err(StoreError::Url("sqlite: is followed by the path of a file, nothing else"));
        }
        let path = Path::new(path);
        refuse_network(path)?;
        let lock = lock(path)?;
        private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        // A file does not go away by itself: connections need not be tested when they are lent or
        // come back.
        let pool = |size| {
            PoolOptions::new()
                .max_connections(size)
                .acquire_timeout(PATIENCE)
                .test_before_acquire(false)
        };
        // SQLite itself rolls back where it has no room; sqlx then finds nothing to roll back, and
        // takes the transaction for one that goes on, for ever. Such a connection is replaced.
        let writer = pool(1)
            .before_acquire(|connection: &mut SqliteConnection, _| {
                let clean = !connection.is_in_transaction();
                Box::pin(async move { Ok(clean) })
            })
            .connect_with(options.clone().pragma("cache_size", WRITERS_CACHE))
            .await?;
        let options = options.read_only(true);
        Ok(Self {
            writer,
            general: pool(4).connect_lazy_with(options.clone()),
            administration: pool(4).connect_lazy_with(options.clone()),
            minting: pool(4).connect_lazy_with(options.clone()),
            reserved: pool(4).connect_lazy_with(options),
            gate: Gate::default(),
            operators: Semaphore::new(OPERATORS),
            _lock: lock,
        })
    }

    pub(super) fn readers(&self, lane: Lane) -> &SqlitePool {
        match lane {
            Lane::General => &self.general,
            Lane::Administration => &self.administration,
            Lane::Minting => &self.minting,
            Lane::Reserved => &self.reserved,
        }
    }

    pub(super) async fn begin(&self, lock: Lock) -> Result<Tx, StoreError> {
        let (pace, patience) = match lock {
            Lock::Revoke | Lock::Withdraw => (Pace::Hurried, PATIENCE_TO_REVOKE),
            Lock::Mint | Lock::Admin | Lock::Operator | Lock::Feed => (Pace::Ordinary, PATIENCE),
        };
        let entering = async {
            let _place = match lock {
                Lock::Operator | Lock::Withdraw => self.operators.acquire().await.ok(),
                _ => None,
            };
            self.gate.enter(pace).await
        };
        let turn = tokio::time::timeout(patience, entering)
            .await
            .map_err(|_| StoreError::Unavailable(sqlx::Error::PoolTimedOut))?;
        let tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx(Begun::Sqlite(tx, turn)))
    }

    pub(super) async fn close(&self) {
        self.general.close().await;
        self.administration.close().await;
        self.minting.close().await;
        self.reserved.close().await;
        // Last, so that it is the one that empties the write-ahead log.
        self.writer.close().await;
    }
}

/// SQLite itself lets several processes write in turn; the order of mints and revocations is
/// kept inside one process. The system drops this lock with the process, however it ends.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut beside = OsString::from(path);
    beside.push(".lock");
    let file = private(&PathBuf::from(beside))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Unsafe("another process has it open".to_owned()))
        }
        Err(TryLockError::Error(e)) => Err(sqlx::Error::Io(e).into()),
    }
}

/// Makes the file, for its owner alone, where it is absent; SQLite gives `-wal` and `-shm` the
/// mode of the database.
fn private(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| sqlx::Error::Io(e).into())
}

/// The write-ahead log needs shared memory and locks that network file systems do not give.
/// Where the system does not list its mounts, nothing is refused.
fn refuse_network(path: &Path) -> Result<(), StoreError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(sqlx::Error::Io)?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    match network_file_system(&mounts, &folder) {
        Some(kind) => Err(StoreError::Unsafe(format!("it lies on a network file system ({kind})"))),
        None => Ok(()),
    }
}

/// The type of the file system that holds `folder`, if it is a network's. `mounts` is fstab(5);
/// of those mounted at one place the last counts.
fn network_file_system<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    const NETWORK: [&str; 9] =
        ["9p", "afs", "ceph", "cifs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"];
    let (_, kind) = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?.replace("\\040", " "), fields.next()?))
        })
        .filter(|(at, _)| folder.starts_with(at))
        .max_by_key(|(at, _)| at.len())?;
    NETWORK.contains(&kind).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n118_a_network_file_system_is_refused() {
        let mounts = "/dev/vda / ext4 rw 0 0\nnas:/x /srv/my\\040data nfs4 rw 0 0\n\
                      tmpfs /srv/my\\040data/local tmpfs rw 0 0\n";
        let at = |folder| network_file_system(mounts, Path::new(folder));
        assert_eq!(at("/srv/my data/scrip"), Some("nfs4"));
        assert_eq!(at("/srv/my data/local"), None);
        assert_eq!(at("/srv/my database"), None);
    }

    #[tokio::test]
    async fn a_connection_that_does_not_sync_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let db = Sqlite::open(folder.path().join("db").to_str().unwrap()).await.unwrap();
        super::super::schema::check_durability(&mut db.begin(Lock::Admin).await.unwrap())
            .await
            .unwrap();
        sqlx::query("PRAGMA synchronous = NORMAL").execute(&db.writer).await.unwrap();
        let refused =
            super::super::schema::check_durability(&mut db.begin(Lock::Admin).await.unwrap()).await;
        assert!(matches!(refused, Err(StoreError::Unsafe(_))), "{refused:?}");
    }
}
