//! JSON that means one thing only.
//!
//! Parsers disagree on duplicate members: some take the first, some the last (RFC 8259 section 4).
//! Whoever can make two parsers disagree about a token can make two gateways disagree, so a
//! duplicate is refused at every depth, however its name is escaped.

mod strict;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use self::strict::Strict;

/// Why a JSON text was refused. The text of the reason names members, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

impl JsonError {
    pub(crate) fn custom(rule: &str) -> Self {
        Self(rule.to_owned())
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        let mut reason: String = error.to_string().chars().take(200).collect();
        reason.retain(|c| !c.is_control());
        Self(reason)
    }
}

/// Reads a `T` from exactly one JSON text, in one pass.
///
/// # Errors
/// Anything that RFC 8259 refuses; duplicate members at any depth; nesting deeper than
/// [`MAX_JSON_DEPTH`](crate::limits::MAX_JSON_DEPTH); an object of more than
/// [`MAX_JSON_MEMBERS`](crate::limits::MAX_JSON_MEMBERS) members; an array for a struct; whatever
/// `T` refuses. A `T` with a `RawValue` in it cannot be read here: to serde_json that is a member
/// with a name of its own, which is refused.
pub fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, JsonError> {
    let text = str::from_utf8(text).map_err(|_| JsonError::custom("not UTF-8"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Strict::new(&mut deserializer))?;
    deserializer.end()?;
    Ok(value)
}

/// Checks everything of [`read`] that does not depend on the type.
///
/// # Errors
/// As [`read`].
pub fn unambiguous(text: &[u8]) -> Result<(), JsonError> {
    read::<IgnoredAny>(text).map(|_| ())
}

/// Reads an optional member, for `deserialize_with`: it may be absent, but where it is present it
/// has a value. `null` for a limit would otherwise read as "no limit".
///
/// # Errors
/// Whatever `T` refuses.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// Refuses a text longer than `most` bytes, before anything is done with it.
///
/// # Errors
/// [`JsonError`] naming both lengths.
pub fn bounded(text: &[u8], most: usize) -> Result<(), JsonError> {
    if text.len() > most {
        return Err(JsonError(format!("{} bytes is longer than {most}", text.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_JSON_DEPTH, MAX_JSON_MEMBERS};

    fn refused(text: &str) -> String {
        unambiguous(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn n19_duplicates_are_refused_at_every_depth_and_spelling() {
        for text in [
            r#"{"exp":1,"exp":2}"#,
            r#"{"exp":1,"\u0065xp":2}"#,
            r#"{"a":[{"b":{"c":1,"c":1}}]}"#,
            r#"{"a":1,"b":2,"a":1}"#,
        ] {
            assert!(refused(text).contains("duplicate member"), "{text}");
        }
        assert!(unambiguous(br#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#).is_ok());
    }

    #[test]
    fn a_value_in_the_disguise_of_a_member_is_refused() {
        for text in [
            r#"{"$serde_json::private::RawValue":"1"}"#,
            r#"{"a":[{"\u0024serde_json::private::RawValue":"{\"b\":1,\"b\":2}"}]}"#,
        ] {
            assert!(refused(text).contains("serde_json's own"), "{text}");
            assert!(read::<serde_json::Value>(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_type_is_named() {
        let error = read::<crate::Cidr>(b"7").unwrap_err().to_string();
        assert!(error.contains("integer `7`, expected a string"), "{error}");
    }

    #[test]
    fn names_are_as_long_as_they_like() {
        let long = "n".repeat(8_000);
        assert!(unambiguous(format!(r#"{{"{long}":1,"{long}s":1}}"#).as_bytes()).is_ok());
        assert!(refused(&format!(r#"{{"{long}":1,"{long}":1}}"#)).contains("duplicate member"));
    }

    #[test]
    fn n31_depth_and_width_are_bounded_and_odd_texts_refused() {
        let nest = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(unambiguous(nest(MAX_JSON_DEPTH).as_bytes()).is_ok());
        assert!(refused(&nest(MAX_JSON_DEPTH + 1)).contains("nested deeper"));
        assert!(refused(&nest(5_000)).contains("nested deeper"));
        let wide = |n: usize| {
            let members: Vec<String> = (0..n).map(|i| format!("\"{i}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(unambiguous(wide(MAX_JSON_MEMBERS).as_bytes()).is_ok());
        assert!(refused(&wide(MAX_JSON_MEMBERS + 1)).contains("members"));
        for text in ["", "{}x", "{} {}", "\u{feff}{}", r#""\ud800""#, "1e400", "{\"a\":NaN}", "01"]
        {
            refused(text);
        }
        assert!(unambiguous(b"\"\xff\"").is_err());
    }
}
