use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn list(prices: &[(&str, &str, &str)]) -> PriceList {
    let models = prices
        .iter()
        .map(|(model, input, output)| json!({"model": model, "input": input, "output": output}));
    let list = json!({"currency": "USD", "models": models.collect::<Vec<_>>()});
    PriceList::from_json(list.to_string().as_bytes()).unwrap()
}

fn some() -> PriceList {
    list(&[
        ("gpt-4o", "2.50", "10"),
        ("gpt-4o-mini", "0.15", "0.60"),
        ("gpt-*", "5", "20"),
        ("claude-haiku-*", "1", "5"),
        ("local/free", "0", "0"),
    ])
}

fn patterns(models: &[&str]) -> Vec<ModelPattern> {
    models.iter().map(|model| ModelPattern::parse(model).unwrap()).collect()
}

fn used(model: &str, input: u64, output: u64) -> ByModel {
    ByModel { model: model.to_owned(), input, output }
}

#[test]
fn the_dearest_price_is_that_of_what_a_token_permits() {
    let dearest = |models: &[&str]| some().dearest(&patterns(models)).map(|rate| rate.to_string());
    for (models, expected) in [
        (&["gpt-4o-mini"][..], "0.6"),
        (&["gpt-4o"], "10"),
        (&["gpt-4o-mini", "gpt-4o"], "10"),
        (&["gpt-4o-*"], "20"),
        (&["gpt-4o-mini-x"], "20"),
        (&["claude-haiku-4", "gpt-4o-mini"], "5"),
        (&["claude-haiku-4*"], "5"),
        (&["local/free"], "0"),
        (&[], "20"),
    ] {
        assert_eq!(dearest(models).as_deref(), Ok(expected), "{models:?}");
    }
    for models in [&["*"][..], &["claude-opus-4"], &["gpt-4o", "claude-*"], &["local/*"], &["gp*"]]
    {
        let unpriced = Unpriced::Model(patterns(&models[models.len() - 1..]).remove(0));
        assert_eq!(dearest(models), Err(unpriced), "{models:?}");
    }
    let dear_below = list(&[("*", "1", "2"), ("gpt-4*", "9", "3")]);
    let dearest = |models: &[&str]| dear_below.dearest(&patterns(models)).unwrap().to_string();
    assert_eq!([dearest(&["gpt-*"]), dearest(&["gpt-5"]), dearest(&["gpt-4"])], ["9", "2", "9"]);
}

#[test]
fn what_was_used_is_rounded_up_once() {
    let count = |tokens: u64, by_model: &[ByModel]| Count { tokens, by_model: by_model.to_vec() };
    let of_all = |counts: &[Count]| some().cost(Money::parse("10").unwrap(), counts).to_string();
    let cost = |tokens: u64, by_model: &[ByModel]| of_all(&[count(tokens, by_model)]);
    assert_eq!(cost(0, &[]), "0");
    assert_eq!(cost(1_000_000, &[used("gpt-4o-mini", 900_000, 100_000)]), "0.195");
    assert_eq!(cost(1, &[used("gpt-4o-mini", 1, 0)]), "0.000001", "0.15 of a millionth");
    let thrice = [used("gpt-4o-mini", 1, 0), used("gpt-4o-mini", 1, 0), used("gpt-4o-mini", 1, 0)];
    assert_eq!(cost(3, &thrice), "0.000001");
    assert_eq!(cost(1200, &[used("gpt-4o-mini", 200, 0)]), "0.01003", "the rest at the rate");
    assert_eq!(cost(1000, &[used("unheard-of", 600, 400)]), "0.01");
    assert_eq!(cost(0, &[used("gpt-4o", 1000, 1000)]), "0.0125", "more by models than in all");
    let most = [used("gpt-4o", u64::MAX, u64::MAX), used("gpt-4o", u64::MAX, u64::MAX)];
    let most = count(u64::MAX, &most);
    let limit = cost_at(Money::from_millionths(u64::MAX), u64::MAX).to_string();
    assert_eq!(of_all(&[most.clone(), most]), limit);

    // Each ledger's count by itself, and all of them rounded up once.
    let third = count(1, &[used("gpt-4o-mini", 1, 0)]);
    assert_eq!(of_all(&[third.clone(), third.clone(), third]), "0.000001");
    let excess = count(0, &[used("gpt-4o-mini", 100_000, 0)]);
    assert_eq!(of_all(&[excess, count(100_000, &[])]), "1.015", "nobody pays for another's rest");
}

#[test]
fn n61_a_list_that_is_none_is_refused_by_name() {
    let refused = |list: &Value| PriceList::from_json(list.to_string().as_bytes()).unwrap_err();
    let one = |model: &str| json!({"model": model, "input": "1", "output": "1"});
    let price = |text: &str| {
        let dear = json!({"model": "b", "input": "1", "output": text});
        refused(&json!({"currency": "USD", "models": [one("a"), dear]})).to_string()
    };
    for (text, why) in [
        ("-1", "is negative"),
        ("1e3", "has an exponent"),
        ("1000000000", "is not below 1000000000"),
        ("0.1234567", "has more than 6 decimals"),
        ("much", "is no decimal such as 12.50"),
    ] {
        assert_eq!(price(text), format!("`/models/1/output` {why}"));
    }
    let many: Vec<Value> = (0..513).map(|n| one(&format!("m{n}"))).collect();
    let usd = |models: Value| json!({"currency": "USD", "models": models});
    for (list, why) in [
        (json!({"currency": "usd", "models": [one("a")]}), "`/currency`"),
        (json!({"currency": "EURO", "models": [one("a")]}), "`/currency`"),
        (usd(json!([])), "`/models` has 1 to 512"),
        (usd(json!(many)), "`/models` has 1 to 512"),
        (usd(json!([one("a*b")])), "`/models/0/model` is not a well-formed"),
        (usd(json!([one("a"), one("b"), one("a")])), "`/models/2/model` stands here twice"),
        (usd(json!([["a", "1", "1"]])), "invalid type: sequence"),
        (usd(json!([{"model": "a", "input": "1"}])), "missing field `output`"),
        (usd(json!([{"model": "a", "input": 1, "output": "1"}])), "invalid type: integer"),
        (usd(json!({"a": one("a")})), "invalid type: map"),
        (json!({"currency": "USD", "models": [one("a")], "at": 1}), "unknown field `at`"),
        (json!({"models": [one("a")]}), "missing field `currency`"),
    ] {
        let said = refused(&list).to_string();
        assert!(said.contains(why), "{why}: {said}");
    }
    let twice =
        br#"{"currency":"USD","models":[{"model":"a","input":"1","input":"0","output":"1"}]}"#;
    assert!(PriceList::from_json(twice).unwrap_err().to_string().contains("duplicate member"));
}

#[test]
fn a_file_and_a_body_say_the_same() {
    let file =
        "currency = \"USD\"\n[[models]]\nmodel = \"gpt-4o\"\ninput = \"2.50\"\noutput = \"10\"\n";
    let read: PriceList = toml::from_str(file).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    let gpt = json!({"model": "gpt-4o", "input": "2.5", "output": "10"});
    assert_eq!(written, json!({"currency": "USD", "models": [gpt]}));
    assert_eq!(PriceList::from_json(written.to_string().as_bytes()).unwrap(), read);
    assert_eq!((read.currency(), read.models()[0].output.to_string()), ("USD", "10".to_owned()));
}

const NAMES: [&str; 6] = ["gpt-4o", "gpt-4o-mini", "gpt-5", "claude-haiku-4", "claude-", "local"];
const PATTERNS: [&str; 6] = ["gpt-4o", "gpt-4*", "gpt-*", "claude-haiku-*", "c*", "*"];

proptest! {
    /// Whatever the prices, and whatever a token uses that it permits: the escrow pays for it.
    #[test]
    fn n47_no_permitted_use_costs_more_than_the_escrow(
        prices in proptest::collection::btree_map(0..6_usize, (0..20_000_000_u64, 0..20_000_000_u64), 1..6),
        permitted in proptest::collection::vec(0..6_usize, 1..4),
        uses in proptest::collection::vec((0..6_usize, 0..5000_u64, 0..5000_u64), 0..6),
        more in 0..3000_u64,
    ) {
        let price = |amount| Money::from_millionths(amount).to_string();
        let prices: Vec<_> = prices
            .into_iter()
            .map(|(place, (input, output))| (PATTERNS[place], price(input), price(output)))
            .collect();
        let prices: Vec<_> = prices.iter().map(|(m, i, o)| (*m, i.as_str(), o.as_str())).collect();
        let list = list(&prices);
        let permitted = patterns(&permitted.iter().map(|place| PATTERNS[*place]).collect::<Vec<_>>());
        let uses: Vec<ByModel> = uses
            .into_iter()
            .map(|(place, input, output)| used(NAMES[place], input, output))
            .filter(|one| permitted.iter().any(|pattern| pattern.allows(&one.model)))
            .collect();
        let Ok(rate) = list.dearest(&permitted) else {
            // Some name that it permits has no price at all.
            let unpriced = |pattern: &_| list.models.iter().all(|one| !one.model.covers(pattern));
            prop_assert!(permitted.iter().any(unpriced));
            return Ok(());
        };
        let tokens = uses.iter().map(|one| one.input + one.output).sum::<u64>() + more;
        let cost = |tokens| list.cost(rate, &[Count { tokens, by_model: uses.clone() }]);
        let (cost, of_one_more) = (cost(tokens), cost(tokens + 1));
        prop_assert!(cost <= cost_at(rate, tokens), "{cost}");
        for one in &uses {
            prop_assert!(list.models.iter().any(|price| price.model.allows(&one.model)));
        }
        prop_assert!(of_one_more >= cost, "more never costs less");
    }
}
