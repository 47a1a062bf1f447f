//! The only reader of randomness in this package.

use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};

/// A number in `[0, 1)`, for jitter. Without randomness everybody gets the middle: a burden on the
/// service, but never wrong.
pub(crate) fn fraction() -> f64 {
    bytes().map_or(0.5, |bytes| f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
}

#[expect(clippy::disallowed_methods, reason = "the one place where this package draws randomness")]
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes)
}
