//! Every test of the service in one binary: one link, one Postgres cluster for all of them.

mod harness;
mod stores;
