//! What the verifier accepts and refuses, from the outside. Numbers in names are those of
//! `tests/HOSTILE.md`.

mod cache;
mod claims;
mod deny;
mod encoding;
mod fixture;
mod freshness;
mod golden;
mod header;
mod keys;
mod rejection;
mod request;
mod signature;
mod time;
mod wycheproof;
