//! Ten thousand subscribers: what each of them costs the service, and how long a batch is on its way.

use scrip::clock;

use crate::field::{Field, REAL};
use crate::figures::{Times, ratio, title};
use crate::harness::service::Installation;

const SUBSCRIBERS: usize = 10_000;
const REVOCATIONS: usize = 20;
/// Files that are open beside the subscribers' sockets.
const OTHERS: usize = 500;

pub(crate) async fn run(files: usize) {
    let subscribers = SUBSCRIBERS.min(files.saturating_sub(OTHERS));
    let mut field = Field::new("sqlite", Installation::on_sqlite()).await;
    field.revoke().await;
    let before = resident(&field);
    let begun = clock::monotonic();
    field.grow(subscribers).await;
    let connected = begun.elapsed();

    let mut last_byte = Times::default();
    for _ in 0..REVOCATIONS {
        let last = field.drains.last_byte();
        let revoked = field.revoke().await;
        last_byte.push(last.await - revoked.sent);
    }
    let each = (resident(&field) - before) as f64 / (subscribers - REAL) as f64;
    title(&format!("{subscribers} subscribers, connected within {connected:.1?}"));
    last_byte.row("sqlite: request to last byte");
    let of = format!("of {subscribers} subscribers");
    ratio("subscriber_bytes_10k", each, &format!("bytes of resident memory for each {of}"));
    let median = last_byte.median();
    ratio("revoke_last_byte_p50_10k", median, &format!("ms, request to last byte {of}"));
}

/// Memory of the service, in bytes (Linux `proc(5)`).
fn resident(field: &Field) -> usize {
    let status = format!("/proc/{}/status", field.acme.service.process.pid());
    let status = std::fs::read_to_string(status).expect("Linux, and it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kilobytes: usize = line.trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes * 1024
}
