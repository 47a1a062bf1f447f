//! What models cost: a list of prices turns what tokens use into money. Pure: no clock, no I/O.
//!
//! The price of a model is that of the most specific pattern that allows it: its own name, else the
//! longest prefix. All is exact, in whole numbers, and rounded up once for each token.
//!
//! A token is held at the dearest price of what it permits: of a pattern that is the dearest of all
//! within it and of the one that covers it, and none where nothing covers it whole. A token without
//! models is held at the dearest price of the list, because nobody can say what it will use. What
//! has no price where it is counted, or no model, costs the rate that the token was held at. A
//! count that is corrected to a cheaper model gives nothing back that was charged.
//!
//! Quotas are bare decimals, and would mean something else in another currency: so the first list's
//! stays. Tokens that were minted before a policy limited money are not counted in it.

mod money;

use std::collections::HashSet;

use scrip_token::ModelPattern;
use scrip_token::json::{self, JsonError};
use serde::{Deserialize, Serialize};

use crate::strict::Object;

pub use money::{Money, NotMoney};

/// Most models in a list.
const MAX_MODELS: usize = 512;

/// The prices of models, in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written")]
pub struct PriceList {
    currency: String,
    models: Vec<Price>,
}

/// Of a million LLM tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Price {
    /// With which models.
    pub model: ModelPattern,
    /// Those that go in.
    pub input: Money,
    /// Those that come out.
    pub output: Money,
}

/// What one ledger has counted for one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// LLM tokens in all.
    pub tokens: u64,
    /// Where they went, as far as the ledger says.
    pub by_model: Vec<ByModel>,
}

/// What one ledger has counted of one model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ByModel {
    /// Its name, as the ledger knows it.
    pub model: String,
    /// LLM tokens that went in.
    pub input: u64,
    /// LLM tokens that came out.
    pub output: u64,
}

/// Why a list was refused.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// Not JSON, ambiguous, a member unknown, missing or of the wrong type.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A member breaks a rule.
    #[error("`{pointer}` {rule}")]
    Rule {
        /// JSON pointer (RFC 6901) to the member.
        pointer: String,
        /// The rule that it breaks.
        rule: String,
    },
}

/// No price says what a token may cost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    /// Some model that the token permits has none.
    #[error("no price says what all of `{}` cost, and the policy has a quota in money", .0.as_str())]
    Model(ModelPattern),
    /// There is no list.
    #[error("there are no prices, and the policy has a quota in money")]
    Everything,
}

impl PriceList {
    /// Reads the body of `PUT /v1/prices`, or a stored version.
    ///
    /// # Errors
    /// [`PriceError`]; duplicate members are refused at every depth.
    pub fn from_json(body: &[u8]) -> Result<Self, PriceError> {
        let Object(written): Object<Written> = json::read(body)?;
        written.try_into()
    }

    /// What all prices are in: three letters (ISO 4217).
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// All of them; no two are of one pattern.
    #[must_use]
    pub fn models(&self) -> &[Price] {
        &self.models
    }

    /// What a million LLM tokens cost at most, whichever of `models` they are used with; without
    /// models the dearest price of all.
    ///
    /// # Errors
    /// The first pattern that allows a model without a price.
    pub fn dearest(&self, models: &[ModelPattern]) -> Result<Money, Unpriced> {
        let mut dearest = Money::default();
        for permitted in models {
            let covering = self.most_specific(|pattern| pattern.covers(permitted));
            let covering = covering.ok_or_else(|| Unpriced::Model(permitted.clone()))?;
            let within = |pattern: &_| permitted.covers(pattern) || *pattern == covering.model;
            dearest = self.dearest_of(within).max(dearest);
        }
        Ok(if models.is_empty() { self.dearest_of(|_| true) } else { dearest })
    }

    /// What was used costs, by what each ledger counts. What it names no model for, and what has no
    /// price, costs `rate` for a million.
    #[must_use]
    pub fn cost(&self, rate: Money, counts: &[Count]) -> Money {
        let costs = counts.iter().map(|count| self.exact_cost(rate, count));
        rounded_up(costs.fold(0, u128::saturating_add))
    }

    /// In millionths of millionths.
    fn exact_cost(&self, rate: Money, Count { tokens, by_model }: &Count) -> u128 {
        let (mut rest, mut cost) = (*tokens, 0_u128);
        for ByModel { model, input, output } in by_model {
            let known = self.most_specific(|pattern| pattern.allows(model));
            let (of_input, of_output) = known.map_or((rate, rate), |one| (one.input, one.output));
            cost = cost
                .saturating_add(product(*input, of_input))
                .saturating_add(product(*output, of_output));
            rest = rest.saturating_sub(*input).saturating_sub(*output);
        }
        cost.saturating_add(product(rest, rate))
    }

    fn most_specific(&self, is_one: impl Fn(&ModelPattern) -> bool) -> Option<&Price> {
        // An exact name comes before a prefix of the same length.
        let rank = |price: &&Price| {
            let literal = price.model.as_str().trim_end_matches('*');
            (literal.len(), price.model.is_exact())
        };
        self.models.iter().filter(|price| is_one(&price.model)).max_by_key(rank)
    }

    fn dearest_of(&self, is_one: impl Fn(&ModelPattern) -> bool) -> Money {
        let those = self.models.iter().filter(|price| is_one(&price.model));
        those.map(|price| price.input.max(price.output)).max().unwrap_or_default()
    }
}

/// What so many LLM tokens cost at `rate` for a million.
#[must_use]
pub fn cost_at(rate: Money, tokens: u64) -> Money {
    rounded_up(product(tokens, rate))
}

/// In millionths of millionths.
fn product(tokens: u64, price: Money) -> u128 {
    u128::from(tokens) * u128::from(price.millionths())
}

/// In favour of the quota. What no database's integer holds is more than any quota.
fn rounded_up(cost: u128) -> Money {
    let millionths = cost.div_ceil(1_000_000).min(u128::from(i64::MAX.unsigned_abs()));
    Money::from_millionths(millionths as u64)
}

/// The members of a list, of the right types and nothing more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    currency: String,
    models: Vec<Object<WrittenPrice>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPrice {
    model: String,
    input: String,
    output: String,
}

impl TryFrom<Written> for PriceList {
    type Error = PriceError;

    fn try_from(Written { currency, models }: Written) -> Result<Self, PriceError> {
        if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(broken("/currency", "is three capital letters, such as USD"));
        }
        if !(1..=MAX_MODELS).contains(&models.len()) {
            return Err(broken("/models", format!("has 1 to {MAX_MODELS} models")));
        }
        let mut seen = HashSet::with_capacity(models.len());
        let models = models.into_iter().enumerate().map(|(place, Object(written))| {
            let at = |member: &str| format!("/models/{place}/{member}");
            let amount = |member: &str, text: &str| {
                Money::parse(text).map_err(|error| broken(at(member), error.to_string()))
            };
            let pattern = ModelPattern::parse(&written.model);
            let model = pattern.map_err(|error| broken(at("model"), format!("is {error}")))?;
            if !seen.insert(model.clone()) {
                return Err(broken(at("model"), "stands here twice"));
            }
            let input = amount("input", &written.input)?;
            Ok(Price { model, input, output: amount("output", &written.output)? })
        });
        Ok(Self { currency, models: models.collect::<Result<_, _>>()? })
    }
}

fn broken(pointer: impl Into<String>, rule: impl Into<String>) -> PriceError {
    PriceError::Rule { pointer: pointer.into(), rule: rule.into() }
}

#[cfg(test)]
mod tests;
