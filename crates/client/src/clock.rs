//! The only reader of time in this package.

use std::time::SystemTime;

use tokio::time::Instant;

/// One moment on both clocks. The monotonic one cannot be set back, but stands still while a
/// machine sleeps; the wall clock goes on. A token is over as soon as either says so.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) monotonic: Instant,
    pub(crate) wall: SystemTime,
}

#[expect(clippy::disallowed_methods, reason = "the one place where this package reads a clock")]
pub(crate) fn now() -> Moment {
    Moment { monotonic: Instant::now(), wall: SystemTime::now() }
}
