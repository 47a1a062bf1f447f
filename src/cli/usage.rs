//! `scrip usage`: what has become of quotas.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::Remote;
use super::api::Scope;
use super::failure::Failure;
use super::print::{Column, Page, raw};
use crate::escrow::Window;
use crate::prices::Money;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Sums of each client, or of each tenant
    #[arg(long, value_enum, default_value = "client")]
    by: By,
    /// Only this client's
    #[arg(long, value_name = "TENANT/NAME", conflicts_with = "tenant")]
    client: Option<String>,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only windows of this kind: hour, day, month or lifetime
    #[arg(long, value_parser = |text: &str| Window::try_from(text.to_owned()))]
    window: Option<Window>,
    /// Money, in place of LLM tokens
    #[arg(long)]
    money: bool,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    Client,
    Tenant,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let (by, whose): (&str, Column) = match self.by {
            By::Client => ("client", ("CLIENT", "/client")),
            By::Tenant => ("tenant", ("TENANT", "/tenant")),
        };
        let filters = [
            ("by", Some(by.to_owned())),
            ("client", self.client),
            ("tenant", self.tenant),
            ("window", self.window.map(|window| window.to_string())),
        ];
        let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<_> = filters.chain(self.page.query()).collect();
        let reply = api.get(Scope::Tokens, "/v1/usage", &query).await?;
        if printer.json {
            return raw(&reply);
        }
        let mut page = reply.json()?;
        for item in page["items"].as_array_mut().into_iter().flatten() {
            if self.money {
                for member in AMOUNTS {
                    item[member] = item["money"][member].clone();
                }
            }
            item["chart"] = json!(chart(item));
        }
        printer.page(&page, &[&[whose], COLUMNS].concat())
    }
}

const COLUMNS: &[Column] = &[
    ("WINDOW", "/window"),
    ("STARTS", "/starts"),
    ("QUOTA", "/quota"),
    ("SPENT", "/spent"),
    ("RESERVED", "/reserved"),
    ("LEFT", "/left"),
    ("OVERRUN", "/overrun"),
    ("", "/chart"),
];

/// What is there in either unit, and shown.
const AMOUNTS: [&str; 6] = ["quota", "spent", "reserved", "carried", "left", "overrun"];

/// Characters of a chart.
const WIDTH: u64 = 20;

/// What is spent (`#`, with what earlier windows overran), what is reserved (`+`) and what is left (`.`)
/// of a quota.
fn chart(item: &Value) -> String {
    let amount = |member: &str| {
        let money = || Money::parse(item[member].as_str()?).ok().map(Money::millionths);
        item[member].as_u64().or_else(money).unwrap_or_default()
    };
    let quota = amount("quota");
    // Rounded up, so that whatever is there can be seen.
    let cells = |amount: u64| match quota {
        0 => 0,
        quota => (u128::from(amount) * u128::from(WIDTH)).div_ceil(u128::from(quota)) as u64,
    };
    let spent = amount("spent").saturating_add(amount("carried"));
    let gone = cells(spent).min(WIDTH) as usize;
    let out = cells(spent.saturating_add(amount("reserved"))).min(WIDTH) as usize;
    let left = WIDTH as usize - out;
    format!("{}{}{}", "#".repeat(gone), "+".repeat(out.saturating_sub(gone)), ".".repeat(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_shows_what_is_spent_reserved_and_left() {
        let of = |quota: u64, spent: u64, reserved: u64, carried: u64| {
            chart(
                &json!({"quota": quota, "spent": spent, "reserved": reserved, "carried": carried}),
            )
        };
        assert_eq!(of(100, 0, 0, 0), "....................");
        assert_eq!(of(100, 50, 25, 0), "##########+++++.....");
        assert_eq!(of(100, 1, 0, 0), "#...................");
        assert_eq!(of(100, 100, 0, 0), "####################");
        assert_eq!(of(100, 20, 80, 50), "##############++++++", "lowered, or overrun");
        assert_eq!(of(u64::MAX, u64::MAX, u64::MAX, u64::MAX), "####################");
        assert_eq!(chart(&json!({"quota": null})), "....................");
        let money = json!({"quota": "10.5", "spent": "5.25", "reserved": "0", "carried": "0.5"});
        assert_eq!(chart(&money), "###########.........");
    }
}
