//! JSON that means one thing only.
//!
//! Parsers disagree on duplicate members: some take the first, some the last (RFC 8259 section 4).
//! Whoever can make two parsers disagree about a token can make two gateways disagree, so a
//! duplicate is refused at every depth, however its name is escaped.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::limits::{MAX_JSON_DEPTH, MAX_JSON_MEMBERS};

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

/// Reads a `T` from exactly one JSON text.
///
/// # Errors
/// Anything that RFC 8259 refuses; duplicate members at any depth; nesting deeper than
/// [`MAX_JSON_DEPTH`]; an object of more than [`MAX_JSON_MEMBERS`] members; whatever `T` refuses.
pub fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, JsonError> {
    unambiguous(text)?;
    Ok(serde_json::from_slice(text)?)
}

/// Checks everything of [`read`] that does not depend on the type.
///
/// # Errors
/// As [`read`].
pub fn unambiguous(text: &[u8]) -> Result<(), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Walk { depth: 0 }.deserialize(&mut deserializer)?;
    Ok(deserializer.end()?)
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

/// Visits a value of any kind and keeps nothing of it.
struct Walk {
    depth: usize,
}

impl Walk {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == MAX_JSON_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_JSON_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.deeper::<A::Error>()?.depth;
        while seq.next_element_seed(Walk { depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.deeper::<A::Error>()?.depth;
        let mut seen: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            if seen.contains(&name) {
                let name = name.escape_default();
                return Err(A::Error::custom(format_args!("duplicate member `{name}`")));
            }
            if seen.len() == MAX_JSON_MEMBERS {
                let most = MAX_JSON_MEMBERS;
                return Err(A::Error::custom(format_args!("more than {most} members")));
            }
            seen.push(name);
            map.next_value_seed(Walk { depth })?;
        }
        Ok(())
    }
}

/// A member's name with its escapes resolved, borrowed where it has none.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

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
