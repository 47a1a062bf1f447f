#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod cache;
mod deny;
mod freshness;
mod genuine;
mod presented;
mod rejection;
mod trust;
mod verifier;

pub use deny::{Denied, DenySet};
pub use freshness::{Freshness, FreshnessError, Information, StalePolicy};
pub use presented::{Address, Asked, Derived, Model, Presented, Proof, Size};
pub use rejection::{Outside, Rejection};
pub use scrip_token as token;
pub use trust::{Issuer, Keys, Trust, TrustError};
pub use verifier::{Authentic, Verified, Verifier};
