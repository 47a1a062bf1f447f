//! The only reader of the clocks.

use std::time::SystemTime;

use tokio::time::Instant;

/// What both clocks say at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Wall clock, in seconds since the epoch. It may step in either direction.
    pub(crate) wall: u64,
    /// Monotonic clock.
    pub(crate) monotonic: Instant,
}

impl Moment {
    /// Reads both clocks.
    #[expect(clippy::disallowed_methods, reason = "this file is the package's clock")]
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self { wall: since.map_or(0, |since| since.as_secs()), monotonic: Instant::now() }
    }
}
