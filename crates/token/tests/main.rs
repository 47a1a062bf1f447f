//! The token format from the outside: vectors of others, hostile keys, and properties. Numbers in
//! names are those of `tests/HOSTILE.md`.

mod cidr;
mod duplicates;
mod jose;
mod json_suite;
mod jwk;
mod jwks;
mod model;
mod rfc;
mod signature;
mod vectors;
mod wycheproof;
