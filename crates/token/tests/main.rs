//! The token format from the outside: vectors of others, hostile keys, and properties. Numbers in
//! names are those of the project's list of hostile inputs.

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
