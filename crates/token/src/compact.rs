//! The compact form of a JWS (RFC 7515 section 7.1) and the two headers that exist here.

use std::borrow::Cow;

use base64_simd::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::json::{self, JsonError};
use crate::limits::MAX_HEADER_BYTES;
use crate::signature::Alg;

/// What a signed object is; its `typ` header (RFC 8725 section 3.11). Each is refused where another
/// is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Typ {
    /// An access token (RFC 9068 section 2.1).
    AccessToken,
    /// A batch of deny entries.
    DenyBatch,
    /// A sign of life of the feed.
    DenyHeartbeat,
    /// The manifest of a snapshot.
    DenySnapshot,
    /// The keys document.
    Keys,
}

impl Typ {
    /// The header's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::DenyBatch => "scrip-deny-batch+jwt",
            Self::DenyHeartbeat => "scrip-deny-heartbeat+jwt",
            Self::DenySnapshot => "scrip-deny-snapshot+jwt",
            Self::Keys => "scrip-keys+jwt",
        }
    }
}

/// A JWS header: these three members and no other. `crit`, `jwk`, `jku`, `x5u`, `x5c`, `b64` and
/// `zip` are refused with all that is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header<'h> {
    /// Algorithm. The key decides; this must agree.
    #[serde(borrow)]
    pub alg: Cow<'h, str>,
    /// Kind of object.
    #[serde(borrow)]
    pub typ: Cow<'h, str>,
    /// RFC 7638 SHA-256 thumbprint of the key.
    #[serde(borrow)]
    pub kid: Cow<'h, str>,
}

impl<'h> Header<'h> {
    /// Reads a decoded header and checks all that does not depend on the key.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(text: &'h [u8], expected: Typ) -> Result<Self, HeaderError> {
        if text.len() > MAX_HEADER_BYTES {
            return Err(HeaderError::TooLong { bytes: text.len() });
        }
        let header: Self = json::read(text)?;
        if header.typ != expected.as_str() {
            return Err(HeaderError::Typ { expected: expected.as_str() });
        }
        if !is_kid(&header.kid) {
            return Err(HeaderError::Kid);
        }
        Ok(header)
    }

    /// The header that this crate writes: one key's objects of one kind all have it.
    #[must_use]
    pub fn written(alg: Alg, typ: Typ, kid: &str) -> String {
        // Each of the three is plain ASCII; nothing needs escaping.
        format!(r#"{{"alg":"{alg}","typ":"{}","kid":"{kid}"}}"#, typ.as_str())
    }
}

/// Why a header was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Above [`MAX_HEADER_BYTES`].
    #[error("header: {bytes} bytes is too long")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, ambiguous, a member missing, unknown, or of the wrong type.
    #[error("header: {0}")]
    Json(#[from] JsonError),
    /// Another kind of object.
    #[error("header: `typ` is not `{expected}`")]
    Typ {
        /// What was expected.
        expected: &'static str,
    },
    /// Not a thumbprint.
    #[error("header: `kid` is not a SHA-256 thumbprint")]
    Kid,
}

/// A JWS taken apart; nothing in it has been verified.
#[derive(Debug)]
pub struct Compact<'t> {
    /// The bytes that were signed: the first two segments as received.
    pub signing_input: &'t [u8],
    /// The decoded header.
    pub header: Vec<u8>,
    /// The decoded payload.
    pub payload: Vec<u8>,
    /// The decoded signature.
    pub signature: Vec<u8>,
}

/// Why bytes are not a JWS in compact form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// Longer than the caller allows.
    #[error("{bytes} bytes is longer than {most}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A character outside `A-Za-z0-9-_.`.
    #[error("character at offset {offset} is not allowed")]
    Character {
        /// Where.
        offset: usize,
    },
    /// Not three segments. Five are a JWE.
    #[error("{count} segments instead of three")]
    Segments {
        /// How many.
        count: usize,
    },
    /// A segment is empty, or not canonical base64url without padding (RFC 7515 section 2).
    #[error("the {segment} is not canonical base64url")]
    Base64 {
        /// Which.
        segment: &'static str,
    },
}

impl<'t> Compact<'t> {
    /// Takes a JWS apart.
    ///
    /// # Errors
    /// [`CompactError`]; the length is judged before anything is allocated.
    pub fn parse(jws: &'t [u8], most: usize) -> Result<Self, CompactError> {
        if jws.len() > most {
            return Err(CompactError::TooLong { bytes: jws.len(), most });
        }
        Self::taken_apart(jws).ok_or_else(|| CompactError::of(jws))
    }

    /// With a dot too many the payload contains it, and does not decode.
    fn taken_apart(jws: &'t [u8]) -> Option<Self> {
        let dot = |b: &u8| *b == b'.';
        let (signing_input, signature) = jws.split_at_checked(jws.iter().rposition(dot)?)?;
        let (header, payload) =
            signing_input.split_at_checked(signing_input.iter().position(dot)?)?;
        Some(Self {
            signing_input,
            header: decode(header)?,
            payload: decode(payload.strip_prefix(b".")?)?,
            signature: decode(signature.strip_prefix(b".")?)?,
        })
    }
}

impl CompactError {
    /// What is wrong with bytes that cannot be taken apart: the first that applies.
    fn of(jws: &[u8]) -> Self {
        if let Some(offset) = jws.iter().position(|&b| b != b'.' && !is_base64url_byte(b)) {
            return Self::Character { offset };
        }
        let count = jws.split(|&b| b == b'.').count();
        if count != 3 {
            return Self::Segments { count };
        }
        let segments = jws.split(|&b| b == b'.').zip(["header", "payload", "signature"]);
        let odd = segments.into_iter().find(|(segment, _)| decode(segment).is_none());
        Self::Base64 { segment: odd.map_or("signature", |(_, name)| name) }
    }
}

/// The bytes of one segment, of which there must be some.
fn decode(segment: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode_to_vec(segment).ok().filter(|bytes| !bytes.is_empty())
}

/// base64url without padding (RFC 7515 section 2).
#[must_use]
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// Reads canonical base64url without padding; `None` for anything else.
#[must_use]
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode_to_vec(text).ok()
}

/// Whether every character belongs to base64url.
#[must_use]
pub fn is_base64url(text: &str) -> bool {
    text.bytes().all(is_base64url_byte)
}

/// Whether `text` has the form of a SHA-256 thumbprint: 43 base64url characters.
#[must_use]
pub fn is_kid(text: &str) -> bool {
    text.len() == 43 && is_base64url(text)
}

fn is_base64url_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n16_only_three_segments_are_a_jws() {
        for (jws, count) in [("", 1), ("e30", 1), ("e30.e30", 2), ("a.b.c.d", 4), ("a.b.c.d.e", 5)]
        {
            let error = Compact::parse(jws.as_bytes(), 100).unwrap_err();
            assert_eq!(error, CompactError::Segments { count }, "{jws}");
        }
        for jws in ["..", "e30.e30.", ".e30.e30", "e30..e30"] {
            assert!(matches!(
                Compact::parse(jws.as_bytes(), 100),
                Err(CompactError::Base64 { .. })
            ));
        }
        assert!(Compact::parse(br#"{"payload":"e30"}"#, 100).is_err());
    }

    #[test]
    fn n17_n18_one_token_has_one_spelling() {
        let good = "e30.e30.AQ";
        let compact = Compact::parse(good.as_bytes(), 100).unwrap();
        assert_eq!(compact.signing_input, b"e30.e30");
        assert_eq!((&compact.header[..], &compact.signature[..]), (&b"{}"[..], &[1][..]));
        for bad in [
            "e30=.e30.AQ",
            "e30.e30.AQ==",
            "e30.e30.AR",
            "e30.e30.A",
            "e3+.e30.AQ",
            "e3/.e30.AQ",
            "e30.e30.AQ ",
            "e30.e30.AQ\n",
            " e30.e30.AQ",
            "e30.e30.AQ\0",
            "Bearer e30.e30.AQ",
            "e30.e30?.AQ",
            "e30.e30.A\u{e9}",
        ] {
            assert!(Compact::parse(bad.as_bytes(), 100).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn n32_length_is_judged_first() {
        let long = vec![b'.'; 101];
        assert_eq!(
            Compact::parse(&long, 100).unwrap_err(),
            CompactError::TooLong { bytes: 101, most: 100 }
        );
    }

    #[test]
    fn n8_n9_n10_n11_n12_n15_n19_headers_have_three_members_in_one_form() {
        let kid = "k".repeat(43);
        let header = |members: &str| {
            Header::parse(format!("{{{members}}}").as_bytes(), Typ::AccessToken).map(|_| ())
        };
        let good = format!(r#""alg":"ES256","typ":"at+jwt","kid":"{kid}""#);
        assert!(header(&good).is_ok());
        for extra in [
            r#""crit":["x"]"#,
            r#""crit":[]"#,
            r#""crit":"exp""#,
            r#""jwk":{}"#,
            r#""b64":false"#,
            r#""jku":"http://169.254.169.254/""#,
            r#""x5u":"file:///etc/passwd""#,
            r#""x5c":[]"#,
            r#""zip":"DEF""#,
            r#""alg":"ES256""#,
            r#""\u0061lg":"none""#,
            r#""kid":"x""#,
        ] {
            assert!(header(&format!("{good},{extra}")).is_err(), "{extra}");
        }
        for typ in ["JWT", "logout+jwt", "AT+JWT", "application/at+jwt", "scrip-keys+jwt", ""] {
            let error = header(&good.replace("at+jwt", typ)).unwrap_err();
            assert!(matches!(error, HeaderError::Typ { .. }), "{typ}");
        }
        assert!(header(&format!(r#""alg":"ES256","kid":"{kid}""#)).is_err());
        for odd in [
            "",
            "../../dev/null",
            "x' UNION SELECT",
            "|sleep 10",
            "\\r\\n",
            "\\u0000",
            "\\u202e",
            &"k".repeat(42),
            &"k".repeat(44),
        ] {
            assert!(header(&good.replace(&kid, odd)).is_err(), "{odd}");
        }
        for odd in ["7", "null", "[]"] {
            assert!(header(&good.replace(&format!("\"{kid}\""), odd)).is_err(), "{odd}");
        }
        let huge = good.replace(&kid, &"k".repeat(1 << 20));
        assert!(matches!(header(&huge), Err(HeaderError::TooLong { .. })));
    }
}
