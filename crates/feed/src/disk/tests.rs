use std::os::unix::fs::PermissionsExt;

use scrip_token::jwk::KeySet;
use scrip_verify::DenySet;

use super::*;
use crate::issuer::{Issuer, NOW, entry, jti};

const ISS: &str = "https://sts.example";

struct Cache {
    dir: tempfile::TempDir,
    issuer: Issuer,
    keys: FeedKeys,
    now: Moment,
}

/// A snapshot with one entry, one later batch, and a heartbeat after it.
fn cache() -> Cache {
    let mut issuer = Issuer::new(ISS);
    let jwk = serde_json::to_string(issuer.feed.public()).unwrap();
    let keys = FeedKeys::new(ISS, KeySet::from_members([jwk.as_str()]));
    let now = Moment { wall: NOW + 10, ..Moment::now() };
    let dir = tempfile::tempdir().unwrap();
    issuer.revoke(vec![entry(1)]);
    let cache = Cache { dir, issuer, keys, now };
    cache.save_snapshot();
    let mut cache = cache;
    let batch = cache.issuer.revoke(vec![entry(2)]);
    cache.issuer.iat = NOW + 3;
    let disk = cache.open();
    disk.append(cache.issuer.epoch, 2, &batch).unwrap();
    disk.save_heartbeat(cache.issuer.epoch, &cache.issuer.heartbeat()).unwrap();
    cache
}

impl Cache {
    fn open(&self) -> Disk {
        Disk::open(self.dir.path()).unwrap()
    }
    fn save_snapshot(&self) {
        let (manifest, blob) = self.issuer.snapshot();
        let snapshot = Snapshot::new(self.keys.prove(&manifest).unwrap(), blob).unwrap();
        self.open().save_snapshot(&snapshot).unwrap();
    }
    fn restore(&self) -> (Replica, Result<(), DiskError>) {
        self.open().restore(&self.keys, self.now)
    }
    fn epoch(&self) -> PathBuf {
        self.dir.path().join(self.issuer.epoch.to_string())
    }
    fn refused(&self) -> DiskError {
        let (replica, result) = self.restore();
        assert_eq!(replica.standing().position, None, "everything is denied");
        result.unwrap_err()
    }
}

fn deny(entries: &[scrip_token::deny::Entry]) -> DenySet {
    DenySet::default().with(entries)
}

#[test]
fn n98_what_was_known_is_known_after_a_restart() {
    let cache = cache();
    let (replica, result) = cache.restore();
    result.unwrap();
    let standing = replica.standing();
    assert_eq!(standing.position.unwrap().seq, 2);
    assert_eq!(standing.as_of(), NOW + 3);
    assert_eq!(*replica.deny(), deny(&[entry(1), entry(2)]));
    assert_eq!(standing.age(cache.now), 7);

    let (fresh, result) = {
        let dir = tempfile::tempdir().unwrap();
        Disk::open(dir.path()).unwrap().restore(&cache.keys, cache.now)
    };
    assert!(result.is_ok() && fresh.standing().position.is_none());
}

#[test]
fn n97_cut_or_changed_files_are_refused() {
    for name in ["manifest", "batches", "heartbeat", "blob"] {
        let cache = cache();
        let path = match name {
            "blob" => cache.epoch().join(cache.issuer_blob()),
            name => cache.epoch().join(name),
        };
        let good = fs::read(&path).unwrap();
        for bad in [&good[..good.len() / 2], b"", b"garbage\n"] {
            fs::write(&path, bad).unwrap();
            match (name, bad.len()) {
                // A heartbeat may be missing; then nothing says how young the rest is.
                ("heartbeat", 0) => {
                    assert_eq!(cache.restore().0.standing().as_of(), NOW);
                }
                _ => drop(cache.refused()),
            }
        }
        fs::write(&path, good).unwrap();
        assert!(cache.restore().1.is_ok(), "{name}");
    }
}

#[test]
fn n82_n97_an_older_copy_is_refused_and_stays_refused() {
    let cache = cache();
    fs::write(cache.epoch().join("batches"), b"").unwrap();
    assert!(matches!(cache.refused(), DiskError::Older));
    let (mut replica, _) = cache.restore();
    let mut older = Issuer::new(ISS);
    older.feed = cache.issuer.feed;
    older.revoke(vec![entry(1)]);
    let (manifest, blob) = older.snapshot();
    let snapshot = Snapshot::new(cache.keys.prove(&manifest).unwrap(), blob).unwrap();
    assert_eq!(replica.apply(Object::Snapshot(snapshot), cache.now), Outcome::Backwards);
}

#[test]
fn n82_n97_what_ends_before_its_own_heartbeat_or_snapshot_is_refused() {
    for lost in ["batches", "snapshot"] {
        let mut cache = cache();
        let third = cache.issuer.revoke(vec![entry(3)]);
        let before = fs::read(cache.epoch().join("batches")).unwrap();
        let disk = cache.open();
        disk.append(cache.issuer.epoch, 3, &third).unwrap();
        // By then nothing says that there is a third but the batch itself.
        fs::write(cache.epoch().join("batches"), &before).unwrap();
        drop(disk);
        let (replica, result) = cache.restore();
        result.unwrap();
        assert_eq!(replica.standing().as_of(), NOW + 3, "as old as its heartbeat");

        let disk = cache.open();
        disk.append(cache.issuer.epoch, 3, &third).unwrap();
        if lost == "batches" {
            disk.save_heartbeat(cache.issuer.epoch, &cache.issuer.heartbeat()).unwrap();
        }
        drop(disk);
        if lost == "snapshot" {
            let manifest = fs::read(cache.epoch().join("manifest")).unwrap();
            let (blob, bytes) =
                (cache.issuer_blob(), fs::read(cache.epoch().join(cache.issuer_blob())));
            cache.save_snapshot();
            fs::write(cache.epoch().join(blob), bytes.unwrap()).unwrap();
            fs::write(cache.epoch().join("manifest"), manifest).unwrap();
        }
        fs::write(cache.epoch().join("batches"), &before).unwrap();
        assert!(matches!(cache.refused(), DiskError::Older), "{lost}");
    }
}

#[test]
fn a_line_that_a_crash_cut_off_does_not_count_and_does_not_take_the_next_with_it() {
    let mut cache = cache();
    let batch = cache.issuer.revoke(vec![entry(3)]);
    let mut file = OpenOptions::new().append(true).open(cache.epoch().join("batches")).unwrap();
    file.write_all(&format!("3 {batch}").as_bytes()[..40]).unwrap();
    let (replica, result) = cache.restore();
    result.unwrap();
    assert_eq!(replica.standing().position.unwrap().seq, 2);

    cache.open().append(cache.issuer.epoch, 3, &batch).unwrap();
    let (replica, result) = cache.restore();
    result.unwrap();
    assert_eq!(replica.standing().position.unwrap().seq, 3);
}

#[test]
fn n117_what_could_not_be_written_is_missing_until_a_snapshot_has_it() {
    let mut cache = cache();
    let (disk, epoch) = (cache.open(), cache.issuer.epoch);
    let snapshot = |cache: &Cache| {
        let (manifest, blob) = cache.issuer.snapshot();
        Snapshot::new(cache.keys.prove(&manifest).unwrap(), blob).unwrap()
    };
    let (path, aside) = (cache.epoch().join("batches"), cache.epoch().join("aside"));
    let before = snapshot(&cache);
    let third = cache.issuer.revoke(vec![entry(3)]);
    // Nobody can write to a directory, not even root.
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    disk.append(epoch, 3, &third).unwrap_err();
    let heartbeat = fs::read(cache.epoch().join("heartbeat")).unwrap();
    disk.save_heartbeat(epoch, &cache.issuer.heartbeat()).unwrap();
    let kept = fs::read(cache.epoch().join("heartbeat")).unwrap();
    assert_eq!(kept, heartbeat, "the new one counts the third");
    disk.save_snapshot(&snapshot(&cache)).unwrap_err();
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();

    let fourth = cache.issuer.revoke(vec![entry(4)]);
    disk.append(epoch, 4, &fourth).unwrap();
    assert!(!disk.save_snapshot(&before).unwrap(), "the third is missing still");
    let now = snapshot(&cache);
    let fifth = cache.issuer.revoke(vec![entry(5)]);
    disk.append(epoch, 5, &fifth).unwrap();
    assert!(disk.save_snapshot(&now).unwrap(), "it has the third and the fourth");
    drop(disk);
    let (replica, result) = cache.restore();
    result.unwrap();
    assert_eq!(replica.standing().position.unwrap().seq, 5);
    assert_eq!(*replica.deny(), deny(&[1, 2, 3, 4, 5].map(entry)));
}

#[test]
fn entries_of_an_earlier_epoch_survive_the_restart() {
    let mut cache = cache();
    cache.issuer.begin_epoch(jti(NOW + 5, 0));
    cache.issuer.revoke(vec![entry(7)]);
    cache.save_snapshot();
    let (replica, result) = cache.restore();
    result.unwrap();
    assert_eq!(*replica.deny(), deny(&[entry(1), entry(2), entry(7)]));
    assert_eq!(replica.standing().position.unwrap().epoch, cache.issuer.epoch);
}

#[test]
fn a_newer_snapshot_takes_the_place_of_the_batches_in_it() {
    let mut cache = cache();
    cache.save_snapshot();
    assert_eq!(fs::read(cache.epoch().join("batches")).unwrap(), b"");
    let blobs = fs::read_dir(cache.epoch()).unwrap().count();
    assert_eq!(blobs, 4, "manifest, batches, heartbeat and one blob");
    let batch = cache.issuer.revoke(vec![entry(3)]);
    cache.open().append(cache.issuer.epoch, 3, &batch).unwrap();
    let (replica, result) = cache.restore();
    result.unwrap();
    assert_eq!(*replica.deny(), deny(&[entry(1), entry(2), entry(3)]));
}

#[test]
fn one_follower_for_one_directory_and_nobody_else_reads_it() {
    let cache = cache();
    let disk = cache.open();
    assert!(Disk::open(cache.dir.path()).is_err());
    drop(disk);
    for name in ["manifest", "batches", "heartbeat"] {
        let mode = fs::metadata(cache.epoch().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::metadata(cache.epoch()).unwrap().permissions().mode() & 0o777, 0o700);
}

impl Cache {
    fn issuer_blob(&self) -> String {
        let names = fs::read_dir(self.epoch()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names = names.map(|name| name.into_string().unwrap());
        names.find(|name| Digest::parse(name).is_ok()).unwrap()
    }
}
