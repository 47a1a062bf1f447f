//! Starts the real servers that tests speak to. Each listens on a free loopback port, is waited for by a
//! condition, and ends with the test, or with the test binary however that ends.

pub mod acme;
pub mod api;
pub mod at_exit;
pub mod backup;
pub mod batches;
pub mod cli;
pub mod dice;
pub mod disk;
pub mod dying;
pub mod faketime;
pub mod flood;
pub mod follower;
pub mod front;
pub mod gateway;
pub mod hook;
pub mod http;
pub mod postgres;
pub mod process;
pub mod relay;
pub mod service;
pub mod until;
pub mod vault;
pub mod wire;
