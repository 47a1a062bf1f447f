#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

pub mod blob;
pub mod cidr;
pub mod claims;
pub mod compact;
pub mod deny;
pub mod digest;
pub mod json;
pub mod jti;
pub mod jwk;
pub mod keys;
pub mod limits;
pub mod model;
pub mod name;
pub mod signature;
mod text;

pub use cidr::Cidr;
pub use claims::{Actor, Budget, Claims, Confirmation};
pub use compact::Typ;
pub use digest::Digest;
pub use jti::Jti;
pub use model::ModelPattern;
pub use name::{QualifiedName, Scopes};
pub use signature::{Alg, SigningKey, VerifyingKey};
