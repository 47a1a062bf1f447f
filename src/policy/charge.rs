//! The judgement's last part, which needs prices: whether what a token may cost is within its quota.

use std::slice;

use super::{Approved, Denial, Policy};
use crate::escrow::Quota;
use crate::prices::{Money, PriceList, Unpriced, cost_at};

/// What a token takes of a quota in money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// The dearest price of a million LLM tokens, among the models that it permits.
    pub rate: Money,
    /// What its whole budget costs at that.
    pub held: Money,
}

impl Approved {
    /// What the token may cost; `None` where its quota does not limit money. How much is left of the
    /// quota is not asked.
    ///
    /// # Errors
    /// [`Denial::Unpriced`], and [`Denial::TooDear`] for more than there is in any window.
    pub fn charge(&self, prices: Option<&PriceList>) -> Result<Option<Charge>, Denial> {
        let Some((Quota { money: Some(most), .. }, tokens)) = self.escrow() else {
            return Ok(None);
        };
        let prices = prices.ok_or(Unpriced::Everything)?;
        let rate = prices.dearest(self.models())?;
        let held = cost_at(rate, tokens);
        if held > *most {
            let currency = prices.currency().to_owned();
            return Err(Denial::TooDear { asked: held, most: *most, currency });
        }
        Ok(Some(Charge { rate, held }))
    }
}

impl Policy {
    /// What the policy permits that no price covers: tokens for that are refused where its quota is
    /// in money. Empty where it is not.
    #[must_use]
    pub fn unpriced(&self, prices: Option<&PriceList>) -> Vec<Unpriced> {
        if self.quota().is_none_or(|quota| quota.money.is_none()) {
            return Vec::new();
        }
        let Some(prices) = prices else { return vec![Unpriced::Everything] };
        let each = self.0.models.iter();
        each.filter_map(|model| prices.dearest(slice::from_ref(model)).err()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Caller;
    use crate::mint::request::MintRequest;
    use crate::policy::judge;
    use scrip_token::QualifiedName;
    use serde_json::{Value, json};
    use std::borrow::Cow;

    fn policy(members: &Value) -> Policy {
        let mut policy = json!({
            "name": "acme/billing", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod",
            "models": ["gpt-4o-mini", "gpt-5", "claude-*"], "budget": {"tokens": 100_000},
            "defaults": {"models": ["gpt-4o-mini"], "budget": {"tokens": 5000}},
            "quota": {"money": "0.05", "window": "day"},
        });
        for (member, value) in members.as_object().unwrap() {
            policy[member] = value.clone();
        }
        Policy::from_json(policy.to_string().as_bytes()).unwrap()
    }

    fn prices() -> PriceList {
        let list = json!({"currency": "USD", "models": [
            {"model": "gpt-4o-mini", "input": "0.15", "output": "0.60"},
            {"model": "claude-haiku-*", "input": "1", "output": "5"},
        ]});
        PriceList::from_json(list.to_string().as_bytes()).unwrap()
    }

    fn charged(
        policy: &Policy,
        form: &str,
        prices: Option<&PriceList>,
    ) -> Result<Option<[String; 2]>, String> {
        let grant = (Cow::from("grant_type"), Cow::from("client_credentials"));
        let form = form_urlencoded::parse(form.as_bytes()).chain([grant]);
        let caller = Caller {
            client: QualifiedName::parse("acme/billing").unwrap(),
            cred: "vault:3.1795000000".into(),
            address: "10.20.30.7".parse().unwrap(),
        };
        let request = MintRequest::parse(form).unwrap();
        let approved = judge(&caller, &request, policy, "https://sts.example").unwrap();
        let charge = approved.charge(prices).map_err(|denial| {
            assert_eq!(denial.code(), "invalid_authorization_details");
            denial.to_string()
        });
        Ok(charge?.map(|Charge { rate, held }| [rate.to_string(), held.to_string()]))
    }

    #[test]
    fn a_token_is_charged_at_the_dearest_price_and_within_the_quota() {
        let (policy, prices) = (policy(&json!({})), prices());
        let charged = |form: &str| charged(&policy, form, Some(&prices));
        let is = |rate: &str, held: &str| Ok(Some([rate.to_owned(), held.to_owned()]));
        assert_eq!(charged(""), is("0.6", "0.003"));
        assert_eq!(charged("models=gpt-4o-mini claude-haiku-4"), is("5", "0.025"));
        assert_eq!(charged("models=claude-haiku-4&budget_tokens=10000"), is("5", "0.05"));
        let dear = charged("models=claude-haiku-4&budget_tokens=10001").unwrap_err();
        assert_eq!(dear, "the token would take 0.050005 USD, above the 0.05 of the quota");
        let unpriced = charged("models=gpt-4o-mini gpt-5").unwrap_err();
        assert!(unpriced.starts_with("no price says what all of `gpt-5` cost"), "{unpriced}");
    }

    #[test]
    fn without_prices_only_quotas_in_money_refuse() {
        let nothing = charged(&policy(&json!({})), "", None).unwrap_err();
        assert!(nothing.starts_with("there are no prices"), "{nothing}");
        let counted = policy(&json!({"quota": {"tokens": 500_000, "window": "day"}}));
        let free = br#"{"name":"acme/x","audiences":["gw"],"scopes":["llm:chat"],"env":"prod"}"#;
        for policy in [counted, Policy::from_json(free).unwrap()] {
            assert_eq!(charged(&policy, "", None), Ok(None));
            assert_eq!(policy.unpriced(None), []);
        }
    }

    #[test]
    fn a_policy_is_told_each_of_its_models_that_has_no_price() {
        let said = |policy: &Policy, prices: Option<&PriceList>| -> Vec<String> {
            policy.unpriced(prices).iter().map(ToString::to_string).collect()
        };
        let why = "cost, and the policy has a quota in money";
        let some = policy(&json!({}));
        assert_eq!(
            said(&some, Some(&prices())),
            [
                format!("no price says what all of `gpt-5` {why}"),
                format!("no price says what all of `claude-*` {why}"),
            ]
        );
        let none = ["there are no prices, and the policy has a quota in money"];
        assert_eq!(said(&some, None), none);
        let unnamed = policy(&json!({"models": [], "defaults": {"budget": {"tokens": 5000}}}));
        assert_eq!(said(&unnamed, Some(&prices())), [""; 0], "held at the dearest of all");
        assert_eq!(said(&unnamed, None), none);
    }
}
