//! Every test of the service in one binary: one link, one Postgres cluster for all of them.
#![allow(
    unreachable_pub,
    reason = "a test binary exports nothing; `pub` marks what a module offers the others"
)]

mod architecture;
mod compose;
mod contract;
mod documents;
mod drills;
mod harness;
mod http;
mod journeys;
mod servers;
mod stores;
mod vault;
