//! Token ids.

use std::fmt;

use uuid::{Builder, Uuid, Variant};

use crate::name::Malformed;
use crate::text::text_form;

/// A token's id: a UUIDv7 (RFC 9562 section 5.7) whose 74 random bits are all random.
///
/// Its time is the token's `iat`, so the deny list can be kept in buckets of time and pruned
/// without looking the token up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jti(Uuid);

impl Jti {
    /// Makes an id from a time in milliseconds since the epoch and ten random bytes.
    #[must_use]
    pub fn new(milliseconds: u64, random: [u8; 10]) -> Self {
        Self(Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
    }

    /// Reads the one spelling that counts: lower case, hyphenated.
    ///
    /// # Errors
    /// [`Malformed`] for any other text, version or variant.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed { kind: "jti (UUIDv7, lower case, hyphenated)" };
        // Of the forms that the library reads, only the hyphenated one has 36 characters.
        if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(malformed);
        }
        Self::from_bytes(Uuid::try_parse(text).map_err(|_| malformed)?.into_bytes())
    }

    /// Reads the sixteen bytes, in network order.
    ///
    /// # Errors
    /// [`Malformed`] for another version or variant.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, Malformed> {
        let uuid = Uuid::from_bytes(bytes);
        if uuid.get_version_num() == 7 && uuid.get_variant() == Variant::RFC4122 {
            Ok(Self(uuid))
        } else {
            Err(Malformed { kind: "UUIDv7" })
        }
    }

    /// The sixteen bytes, in network order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Its time, in milliseconds since the epoch.
    #[must_use]
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.0.as_u128() >> 80).unwrap_or(u64::MAX)
    }

    /// Its time, in seconds since the epoch.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.milliseconds() / 1000
    }
}

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

text_form!(Jti);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_time_version_and_variant_is_random() {
        let jti = Jti::new(1_795_000_000_123, [0xff; 10]);
        assert_eq!(jti.to_string(), "01a1ee56-5e7b-7fff-bfff-ffffffffffff");
        assert_eq!(format!("{jti:?}"), jti.to_string());
        assert_eq!((jti.milliseconds(), jti.seconds()), (1_795_000_000_123, 1_795_000_000));
        assert_eq!(Jti::parse(&jti.to_string()), Ok(jti));
        assert_eq!(Jti::from_bytes(*jti.as_bytes()), Ok(jti));
    }

    #[test]
    fn n26_another_spelling_version_or_variant_is_no_jti() {
        let good = Jti::new(1_795_000_000_123, [7; 10]).to_string();
        let v4 = format!("{}4{}", &good[..14], &good[15..]);
        let variant = format!("{}c{}", &good[..19], &good[20..]);
        for bad in [
            &good.to_uppercase(),
            &good.replace('-', ""),
            &format!("{{{good}}}"),
            &v4,
            &variant,
            "",
        ] {
            assert!(Jti::parse(bad).is_err(), "{bad}");
        }
    }
}
