//! What a token costs. `make bench` runs all but the long form of `memory`; `cargo bench --bench mint
//! -- whole peer` parts, and a number after them sets the rounds (for `memory`, the seconds).
//!
//! The service is the built binary in a process of its own, with two workers, on SQLite and on
//! Postgres, durable. Whatever it is compared with has a process and two workers too, and gets the
//! same load: 64 connections that are kept, from one thread of this process, on the same machine.

#[path = "../feed/asked.rs"]
mod asked;
mod bare;
mod field;
#[path = "../feed/figures.rs"]
mod figures;
mod group;
mod growth;
#[allow(dead_code, unreachable_pub, reason = "the tests' harness; little of it is needed here")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod load;
mod memory;
mod peer;
mod proc;
mod side;
mod whole;

use asked::Asked;

#[tokio::main]
async fn main() {
    // The benchmark itself, in a process of its own, as a server to compare with.
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(bare::COMMAND) {
        return bare::serve(&words.next().unwrap_or_default()).await;
    }
    let asked = Asked::read();
    if asked.names("whole") {
        whole::run(asked.number().unwrap_or(10)).await;
    }
    if asked.names("group") {
        group::run(asked.number().unwrap_or(10)).await;
    }
    if asked.names("growth") {
        growth::run(asked.number().unwrap_or(10)).await;
    }
    if asked.names("peer") {
        peer::run(asked.number().unwrap_or(5)).await;
    }
    if asked.names("memory") {
        memory::run(asked.number().unwrap_or(60)).await;
    }
}
