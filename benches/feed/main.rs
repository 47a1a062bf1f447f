//! What a revocation costs from the request to the refusal at gateways. `make bench` runs all;
//! `cargo bench --bench feed -- latency` a part, and a number after it sets the rounds.
//!
//! The service is the built binary in a process of its own, on SQLite and on Postgres, durable.
//! Ten followers are real ones, in this process, and the other subscribers only drain: a thousand
//! that verify would not fit on two cores beside the service. So service, followers and drains
//! share the machine, and so do the raw writes that they are compared with.

mod asked;
mod drains;
mod field;
mod figures;
#[allow(dead_code, unreachable_pub, reason = "the tests' harness; little of it is needed here")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod latency;
mod load;
mod many;
mod raw;
mod start;

use asked::Asked;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::main]
async fn main() {
    let asked = Asked::read();
    let files = raise_files();
    if asked.names("start") {
        start::run().await;
    }
    if asked.names("latency") {
        latency::run(asked.number().unwrap_or(20)).await;
    }
    if asked.names("many") {
        many::run(files).await;
    }
}

/// How many files this process can open, once it has asked for all that it may.
fn raise_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
