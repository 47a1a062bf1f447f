//! A second, slower reading of JSON, which the targets hold our own against.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What a text says, where it says one thing only: strict JSON (RFC 8259), no duplicate member at
/// any depth, eight levels at most, 64 members to an object.
pub fn sole_meaning(text: &[u8]) -> Option<Value> {
    let Sole(value) = serde_json::from_slice(text).ok()?;
    (depth(&value) <= 8).then_some(value)
}

/// Whether `text` says all of `part`: the same values, and in objects the same members at least.
pub fn says(text: &Value, part: &Value) -> bool {
    match (text, part) {
        (Value::Object(text), Value::Object(part)) => {
            part.iter().all(|(name, value)| text.get(name).is_some_and(|said| says(said, value)))
        }
        _ => text == part,
    }
}

/// Two texts in one input, a line each. Nothing where there is no second one.
pub fn two_lines(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|b| *b == b'\n')?;
    Some((&input[..end], &input[end + 1..]))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

struct Sole(Value);

impl<'de> Deserialize<'de> for Sole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading).map(Self)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(it.into())
    }
    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(it.into())
    }
    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(it.into())
    }
    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(it.into())
    }
    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Sole(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Sole(value))) = map.next_entry::<String, _>()? {
            if name.starts_with("$serde_json::") {
                return Err(A::Error::custom("to serde_json this is not a member"));
            }
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        if members.len() > 64 {
            Err(A::Error::custom("too many members"))
        } else {
            Ok(members.into())
        }
    }
}
