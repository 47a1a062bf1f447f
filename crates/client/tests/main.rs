//! Against a token endpoint that does what it is told, faults included, and against a real Vault.

mod faults;
mod issuer;
mod renewal;
mod requests;
mod secrets;
mod vault;
