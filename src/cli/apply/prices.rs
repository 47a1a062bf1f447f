//! What differs between two lists of prices. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::policy::{Difference, Effect};
use crate::prices::{Price, PriceList};

/// What makes `now` another list than `before`, model by model and in whatever order. No difference
/// widens or narrows: prices grant nothing.
pub(super) fn differences(before: &PriceList, now: &PriceList) -> Vec<Difference> {
    let (was, is) = (by_model(before), by_model(now));
    let models: BTreeSet<&str> = was.keys().chain(is.keys()).copied().collect();
    models
        .into_iter()
        .filter(|model| was.get(model) != is.get(model))
        .map(|model| Difference {
            member: model.to_owned(),
            was: json!(was.get(model)),
            is: json!(is.get(model)),
            effect: Effect::Differs,
        })
        .collect()
}

fn by_model(list: &PriceList) -> BTreeMap<&str, Value> {
    let each = list.models().iter().map(|Price { model, input, output }| {
        (model.as_str(), json!({"input": input, "output": output}))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_differs_that_comes_goes_or_costs_something_else() {
        let list = |models: &[(&str, &str)]| {
            let models = models
                .iter()
                .map(|(model, output)| json!({"model": model, "input": "1", "output": output}));
            let list = json!({"currency": "USD", "models": models.collect::<Vec<_>>()});
            PriceList::from_json(list.to_string().as_bytes()).unwrap()
        };
        let before = list(&[("gpt-5", "2"), ("old", "2"), ("same", "2.50")]);
        let now = list(&[("same", "2.5"), ("new-*", "2"), ("gpt-5", "3")]);
        let line = |member: &str, was: Value, is: Value| Difference {
            member: member.to_owned(),
            was,
            is,
            effect: Effect::Differs,
        };
        let price = |output: &str| json!({"input": "1", "output": output});
        assert_eq!(
            differences(&before, &now),
            [
                line("gpt-5", price("2"), price("3")),
                line("new-*", Value::Null, price("2")),
                line("old", price("2"), Value::Null),
            ]
        );
        let reordered = list(&[("gpt-5", "3"), ("same", "2.5"), ("new-*", "2")]);
        assert_eq!(differences(&now, &reordered), []);
    }
}
