//! The only reader of randomness.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// Full jitter, any time between zero and `most`: a fleet that lost its feed at one moment must not
/// come back at one moment.
#[expect(clippy::disallowed_methods, reason = "this file is the package's randomness")]
pub(crate) fn jitter(most: Duration) -> Duration {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => most.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)),
        Err(_) => most,
    }
}
