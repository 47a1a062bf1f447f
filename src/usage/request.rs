//! The body of `POST /v1/usage`, read strictly.

use std::collections::HashSet;

use scrip_token::limits::{MAX_INTEGER, MAX_MODELS};
use scrip_token::{Jti, QualifiedName};
use serde::Deserialize;
use serde_json::json;

use super::take::{Counted, Report};
use crate::admin::read;
use crate::error::Problem;
use crate::prices::ByModel;
use crate::receipts::is_name;
use crate::strict::Object;

/// Most tokens in one report.
const MAX_ITEMS: usize = 1000;
/// Longest name of a model, in bytes.
const MAX_MODEL: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    id: Jti,
    instance: String,
    audience: String,
    complete_until: u64,
    items: Vec<Object<Item>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    jti: Jti,
    tokens: u64,
    requests: u64,
    #[serde(default)]
    by_model: Vec<Object<ByModel>>,
}

/// Reads the report that `client` sent, and its id.
pub(super) fn parse(body: &[u8], client: &QualifiedName) -> Result<(Jti, Report), Problem> {
    let body: Body = read(body)?;
    if !is_name(&body.instance) {
        return Err(Problem::invalid("/instance", "1 to 64 of a-z, 0-9, `.` and `-`"));
    }
    if body.items.len() > MAX_ITEMS {
        return Err(Problem::invalid("/items", format!("at most {MAX_ITEMS} tokens")));
    }
    amount("/complete_until", body.complete_until)?;
    let mut seen = HashSet::with_capacity(body.items.len());
    let items = body.items.into_iter().enumerate().map(|(place, Object(item))| {
        if !seen.insert(item.jti) {
            return Err(Problem::invalid(&format!("/items/{place}/jti"), "stands here twice"));
        }
        counted(&format!("/items/{place}"), item)
    });
    let report = Report {
        client: client.to_string(),
        instance: body.instance,
        audience: body.audience,
        complete_until: body.complete_until.cast_signed(),
        items: items.collect::<Result<_, _>>()?,
    };
    Ok((body.id, report))
}

fn counted(at: &str, item: Item) -> Result<Counted, Problem> {
    amount(&format!("{at}/tokens"), item.tokens)?;
    amount(&format!("{at}/requests"), item.requests)?;
    let models: Vec<ByModel> = item.by_model.into_iter().map(|Object(one)| one).collect();
    let names: HashSet<&str> = models.iter().map(|one| one.model.as_str()).collect();
    if models.len() > MAX_MODELS || names.len() < models.len() {
        let detail = format!("at most {MAX_MODELS} different models");
        return Err(Problem::invalid(&format!("{at}/by_model"), detail));
    }
    for (place, one) in models.iter().enumerate() {
        let at = format!("{at}/by_model/{place}");
        let graphic = one.model.bytes().all(|b| b.is_ascii_graphic());
        if !(1..=MAX_MODEL).contains(&one.model.len()) || !graphic {
            let detail = format!("1 to {MAX_MODEL} printable ASCII characters");
            return Err(Problem::invalid(&format!("{at}/model"), detail));
        }
        amount(&format!("{at}/input"), one.input)?;
        amount(&format!("{at}/output"), one.output)?;
    }
    if models.iter().map(|one| one.input + one.output).sum::<u64>() > item.tokens {
        return Err(Problem::invalid(&format!("{at}/by_model"), "more than the tokens in all"));
    }
    Ok(Counted {
        jti: item.jti,
        tokens: item.tokens,
        requests: item.requests,
        by_model: json!(models).to_string(),
    })
}

fn amount(pointer: &str, value: u64) -> Result<(), Problem> {
    if value < MAX_INTEGER { Ok(()) } else { Err(Problem::invalid(pointer, "below 2^53")) }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const JTI: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn parsed(body: &Value) -> Result<Report, Problem> {
        let client = QualifiedName::parse("acme/gateway").unwrap();
        parse(body.to_string().as_bytes(), &client).map(|(_, report)| report)
    }

    fn body() -> Value {
        let by_model = json!([{"model": "gpt-4o", "input": 900, "output": 300}]);
        let item = json!({"jti": JTI, "tokens": 1200, "requests": 3, "by_model": by_model});
        json!({
            "id": JTI, "instance": "gw-1a", "audience": "llm-gateway",
            "complete_until": 1_795_000_000, "items": [item],
        })
    }

    #[test]
    fn a_report_is_read_whole() {
        let report = parsed(&body()).unwrap();
        assert_eq!((report.client.as_str(), report.instance.as_str()), ("acme/gateway", "gw-1a"));
        let item = &report.items[0];
        assert_eq!((item.jti.to_string().as_str(), item.tokens, item.requests), (JTI, 1200, 3));
        assert_eq!(item.by_model, r#"[{"input":900,"model":"gpt-4o","output":300}]"#);
        let mut empty = body();
        empty["items"] = json!([]);
        assert!(parsed(&empty).unwrap().items.is_empty());
    }

    #[test]
    fn n29_what_is_odd_is_refused_by_its_place() {
        let twice = json!([body()["items"][0], body()["items"][0]]);
        let many: Vec<Value> =
            (0..65).map(|n| json!({"model": format!("m{n}"), "input": 1, "output": 1})).collect();
        for (place, value, pointer) in [
            ("/id", json!("1"), ""),
            ("/id", json!("0e4f1d9c-3a4f-4a6a-9a55-4b9c7a3a2c11"), ""),
            ("/instance", json!(""), "/instance"),
            ("/instance", json!("gw/1"), "/instance"),
            ("/instance", json!("g".repeat(65)), "/instance"),
            ("/complete_until", json!(1_u64 << 53), "/complete_until"),
            ("/complete_until", json!(-1), ""),
            ("/complete_until", json!("2026-11-18T11:06:40Z"), ""),
            ("/items", twice, "/items/1/jti"),
            ("/items", json!({}), ""),
            ("/items/0/jti", json!("x"), ""),
            ("/items/0/tokens", json!(-1), ""),
            ("/items/0/tokens", json!(1.5), ""),
            ("/items/0/tokens", json!("1"), ""),
            ("/items/0/tokens", json!(1_u64 << 53), "/items/0/tokens"),
            ("/items/0/requests", json!(1_u64 << 53), "/items/0/requests"),
            ("/items/0/by_model", Value::Null, ""),
            ("/items/0/by_model", json!(many), "/items/0/by_model"),
            ("/items/0/by_model/0/model", json!(""), "/items/0/by_model/0/model"),
            ("/items/0/by_model/0/model", json!("m".repeat(257)), "/items/0/by_model/0/model"),
            ("/items/0/by_model/0/model", json!("a\u{0}b"), "/items/0/by_model/0/model"),
            ("/items/0/by_model/0/output", json!(1_u64 << 53), "/items/0/by_model/0/output"),
            ("/items/0/by_model/0/input", json!(-1), ""),
            ("/items/0/by_model/0/input", json!(901), "/items/0/by_model"),
            ("/items/0/tokens", json!(1199), "/items/0/by_model"),
        ] {
            let mut odd = body();
            *odd.pointer_mut(place).unwrap() = value.clone();
            let Problem(failure) = parsed(&odd).expect_err(&format!("{place} {value}"));
            assert_eq!(failure.pointer().unwrap_or_default(), pointer, "{place} {value}");
        }
        for place in ["", "/items/0", "/items/0/by_model/0"] {
            let mut odd = body();
            odd.pointer_mut(place).unwrap()["cost"] = json!(1);
            assert!(parsed(&odd).is_err(), "{place}");
        }
        let mut crowded = body();
        crowded["items"] = json!(vec![body()["items"][0].clone(); MAX_ITEMS + 1]);
        assert!(parsed(&crowded).is_err());
    }
}
