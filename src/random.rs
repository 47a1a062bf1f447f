//! The only file of this package that reads randomness.

use ring::rand::{SecureRandom, SystemRandom};
use uuid::{Builder, Uuid};

/// `N` bytes from the operating system.
///
/// # Panics
/// Where the operating system has no randomness to give: nothing that follows would be safe.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    source().fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A number in `0.0..1.0`, for jitter.
#[must_use]
pub fn fraction() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}

/// The source itself, for whoever makes keys.
#[expect(clippy::disallowed_methods, reason = "the one reader of randomness")]
#[must_use]
pub fn source() -> SystemRandom {
    SystemRandom::new()
}

/// A UUIDv7 (RFC 9562 section 5.7) of a time in milliseconds, all its other bits random.
#[must_use]
pub fn uuid(at_ms: i64) -> Uuid {
    Builder::from_unix_timestamp_millis(at_ms.unsigned_abs(), &bytes()).into_uuid()
}
