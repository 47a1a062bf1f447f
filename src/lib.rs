//! Scrip, a security token service for LLM endpoints: what the binary, tests and benches use.

pub mod store;
