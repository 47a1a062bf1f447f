//! What the verifier accepts and refuses, from the outside. Numbers in names are those of the
//! project's list of hostile inputs.

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
