//! What the document says without any service: its examples are right, and its objects are closed.

use super::document::Document;
use serde_json::Value;

#[test]
fn every_example_is_what_its_schema_describes() {
    let document = Document::load();
    let mut checked = 0;
    walk(&document.0, "#", &mut |value, at| {
        let owner = if value.get("schema").is_some() { &value["schema"] } else { value };
        let named = value["examples"].as_object().into_iter().flat_map(|named| named.values());
        let named = named.map(|example| &example["value"]);
        for example in value.get("example").into_iter().chain(named) {
            document.matches(owner, example, at);
            checked += 1;
        }
    });
    assert!(checked > 80, "only {checked} examples were found");
}

#[test]
fn no_reply_may_have_members_that_are_not_documented() {
    // Open on purpose: forms, of which unknown parameters are ignored; what is somebody else's to define.
    let open = ["/MintRequest", "/TokenForm", "/act", "/detail", "/Claims", "/Active/allOf/1"];
    let document = Document::load();
    walk(&document.0, "#", &mut |value, at| {
        let closed = ["additionalProperties", "unevaluatedProperties"];
        let closed = closed.iter().any(|keyword| value[keyword] == false);
        if value["type"] == "object" && !open.iter().any(|open| at.ends_with(open)) {
            assert!(closed, "{at} accepts any member");
        }
        if value["$ref"] == "#/components/schemas/Claims" && !at.ends_with("/Active/allOf/0") {
            assert!(closed, "{at} accepts any claim");
        }
    });
}

/// Every object of the document but the examples' own, with its JSON pointer.
fn walk(value: &Value, at: &str, visit: &mut impl FnMut(&Value, &str)) {
    match value {
        Value::Object(members) => {
            visit(value, at);
            for (name, member) in members.iter().filter(|(name, _)| !name.starts_with("example")) {
                walk(member, &format!("{at}/{name}"), visit);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{at}/{index}"), visit);
            }
        }
        _ => {}
    }
}
