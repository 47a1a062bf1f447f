#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod builder;
mod changes;
mod clock;
mod credential;
mod endpoint;
mod error;
mod http;
mod random;
mod renewal;
mod source;
mod token;
mod vault;

pub use builder::{BuildError, TokenSourceBuilder};
pub use changes::Changes;
pub use credential::MasterCredential;
pub use error::{ClientError, Refusal};
pub use source::TokenSource;
pub use token::Token;
pub use vault::{Vault, VaultAuth};
