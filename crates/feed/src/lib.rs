#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)
)]

mod acks;
mod alarm;
mod atomic;
mod clock;
mod compaction;
mod disk;
mod document;
mod event;
mod files;
mod follower;
mod jwks;
mod keeper;
mod keyring;
mod mirror;
mod origin;
mod random;
mod refetch;
mod replica;
mod signed;
mod sse;
mod standing;
mod view;
mod writer;

#[cfg(test)]
#[path = "../tests/issuer.rs"]
mod issuer;

pub use alarm::{Alarm, Alarms};
pub use event::{Event, Events};
pub use follower::{Config, Follower, Handle, StartError, Stopped};
pub use jwks::{KeySource, KeysAlone};
pub use mirror::{Copied, CopyError, Mirror};
pub use origin::{Credential, TokenSource};
pub use replica::Evidence;
pub use standing::{Position, State};
pub use view::{Reader, View};
