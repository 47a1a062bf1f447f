//! Scrip: a security token service for LLM endpoints.
//!
//! The binary is a thin wrapper; tests and benchmarks use what is here. Start with `router`, then
//! read a request's story in its file: `mint`, `revoke`, `introspect`, `publish`.

pub mod admin;
pub mod app;
pub mod audit;
pub mod bootstrap;
pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deny;
pub mod error;
pub mod escrow;
pub mod introspect;
mod latest;
pub mod lifecycle;
pub mod log;
pub mod metrics;
pub mod mint;
pub mod ops;
pub mod outbox;
pub mod policy;
pub mod prices;
pub mod publish;
pub mod random;
pub mod rates;
pub mod receipts;
pub mod recorder;
pub mod revoke;
pub mod router;
pub mod secret;
pub mod serve;
pub mod signer;
pub mod store;
mod strict;
pub mod tls;
pub mod upkeep;
pub mod usage;
pub mod vault;
pub mod witness;
