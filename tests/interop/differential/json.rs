//! The same JSON written in other ways, and what is nearly JSON.

use super::forge::{Object, Rng};

pub(super) fn reordered(rng: &mut Rng, object: &Object) -> String {
    let Object(mut members) = object.clone();
    let mut order = Vec::new();
    while !members.is_empty() {
        order.push(members.swap_remove(rng.below(members.len())));
    }
    Object(order).text()
}

pub(super) fn spaced(rng: &mut Rng, object: &Object) -> String {
    let mut space = || *rng.pick(&["", " ", "\n", "\t", "\r\n", "  "]);
    let members: Vec<_> = object
        .0
        .iter()
        .map(|(name, value)| {
            format!("{}\"{name}\"{}:{}{value}{}", space(), space(), space(), space())
        })
        .collect();
    format!("{}{{{}}}{}", space(), members.join(","), space())
}

/// A letter of a name, or of a value that is a string, as an escape.
pub(super) fn escaped(rng: &mut Rng, object: &Object) -> String {
    let mut object = object.clone();
    let at = rng.below(object.0.len());
    let (name, value) = &mut object.0[at];
    if rng.below(2) == 0 {
        *name = with_an_escape(rng, name);
    } else if let Some(text) = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        *value = format!("\"{}\"", with_an_escape(rng, text));
    }
    object.text()
}

/// A member twice, the second with the same value or another, spelt the same or with an escape.
pub(super) fn doubled(rng: &mut Rng, object: &Object) -> String {
    let at = rng.below(object.0.len());
    let (name, value) = object.0[at].clone();
    let name = if rng.below(2) == 0 { with_an_escape(rng, &name) } else { name };
    let value = match rng.below(3) {
        0 => value,
        1 => "\"other\"".to_owned(),
        _ => "null".to_owned(),
    };
    object.clone().and(&name, value, rng).text()
}

/// What some parsers read all the same.
pub(super) fn nearly(rng: &mut Rng, object: &Object) -> String {
    let text = object.text();
    let inside = &text[1..text.len() - 1];
    match rng.below(13) {
        0 => format!("\u{feff}{text}"),
        1 => format!("{text}{text}"),
        2 => format!("{text}x"),
        3 => format!("{text}\0"),
        4 => format!("{{{inside},}}"),
        5 => format!("{{,{inside}}}"),
        6 => format!("{{{inside}"),
        7 => format!("{{/* */{inside}}}"),
        8 => format!("{{{inside}\n// {{\n}}"),
        9 => text.replacen('"', "'", 2),
        10 => text.replacen('"', "", 2),
        11 => text.replacen(':', "=", 1),
        _ => text.replacen(',', ";", 1),
    }
}

/// JSON, but no object with these members.
pub(super) fn no_object(rng: &mut Rng, object: &Object) -> String {
    let text = object.text();
    let quoted = serde_json::to_string(&text).expect("a string");
    let array = text.replace('{', "[").replace('}', "]").replace(':', ",");
    let whole = format!("[{text}]");
    rng.pick(&[whole, array, quoted, "null".into(), "{}".into(), "[]".into(), "1".into()]).clone()
}

fn with_an_escape(rng: &mut Rng, text: &str) -> String {
    let places: Vec<usize> =
        text.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()).map(|(at, _)| at).collect();
    let at = *rng.pick(&places);
    let code = u32::from(text.as_bytes()[at]);
    let escape =
        if rng.below(2) == 0 { format!("\\u{code:04x}") } else { format!("\\u{code:04X}") };
    format!("{}{escape}{}", &text[..at], &text[at + 1..])
}
