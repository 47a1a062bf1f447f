//! Nobody takes what the service logs. Neither mints nor revocations wait for that or fail, and
//! once lines get through again, the log says that some are missing.

use super::drill::Drill;
use crate::harness::disk::SmallDisk;
use crate::harness::service::Installation;
use crate::harness::until::until;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const NOTICE: &str = "lines of this log were lost";

/// The pipe of the log is full, then it is read again, then nobody is at its other end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_n150_nobody_reads_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut reader = both_ends(&pipe);
    let installation = Installation::on_sqlite().set("SCRIP_LOG", "trace");
    let installation = installation.behind(logging_to(&pipe));
    let mut drill = Drill::found("nobody reads the log", installation).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        loses_lines(&drill).await;
        drill.calm().await;
        let told = tokio::task::spawn_blocking(|| reads_of_loss(reader)).await;
        drop(told.expect("it tells"));
        loses_lines(&drill).await;
        drill.calm().await;
        reader = both_ends(&pipe);
    }
    drill.end().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_n150_the_disk_of_the_log_is_full() {
    let disk = SmallDisk::mount(4).await;
    let file = disk.path().join("log");
    let entrance = [disk.entrance(), logging_to(&file)].concat();
    let installation = Installation::on_sqlite().behind(entrance).set("SCRIP_LOG", "debug");
    let mut drill = Drill::found("disk of the log is full", installation).await;
    let here = drill.acme.installation.url();
    drill.follow_patiently(&here).await;
    drill.begin(&[drill.acme.http()]).await;
    while drill.goes_on(1) {
        drill.calm().await;
        disk.fill();
        loses_lines(&drill).await;
        drill.calm().await;
        disk.free();
        let log = disk.outside().join("log");
        until("the log tells of it", PATIENCE, async || {
            std::fs::read_to_string(&log).expect("it is there").contains(NOTICE).then_some(())
        })
        .await;
        File::create(log).expect("it can be emptied");
    }
    drill.end().await.stop().await;
}

/// What a command has to begin with to log there.
fn logging_to(file: &Path) -> Vec<String> {
    let script = "log=$1; shift; exec \"$@\" 2>>\"$log\"";
    ["sh", "-c", script, "log", file.to_str().expect("a plain name")].map(str::to_owned).to_vec()
}

/// A named pipe from which nothing is read, with somebody at both ends so that nobody waits for one.
fn both_ends(pipe: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(pipe).expect("it is there")
}

/// Reads on until the log tells that lines are missing.
fn reads_of_loss(mut pipe: File) -> File {
    let (mut read, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while !String::from_utf8_lossy(&read).contains(NOTICE) {
        let count = pipe.read(&mut buffer).expect("it has a writer");
        read.drain(..read.len().saturating_sub(NOTICE.len()));
        read.extend_from_slice(&buffer[..count]);
    }
    pipe
}

async fn loses_lines(drill: &Drill) {
    let lost = async || drill.acme.http().metric("scrip_log_lines_lost_total").await;
    let before = lost().await;
    until("lines are lost", PATIENCE, async || (lost().await > before).then_some(())).await;
}
