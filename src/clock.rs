//! The only file of this package that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Unix time in whole milliseconds; 0 where the machine's clock stands before 1970.
#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Unix time in whole seconds; 0 where the machine's clock stands before 1970.
#[must_use]
pub fn now_seconds() -> u64 {
    seconds(now_ms())
}

/// Whole seconds of a Unix time in milliseconds, such as the database's.
#[must_use]
pub fn seconds(ms: i64) -> u64 {
    ms.unsigned_abs() / 1000
}

/// A clock that never jumps, for ages and deadlines.
#[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}
