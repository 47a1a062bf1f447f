//! `scrip revocations`: what was revoked, and who enforces it.

use serde_json::Value;
use uuid::Uuid;

use super::Remote;
use super::api::Scope;
use super::failure::Failure;
use super::moment::Moment;
use super::print::{Column, Page, cell, plain, raw};
use super::revoke::show;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Only this one, with the verifiers that enforce it
    #[arg(conflicts_with_all = ["limit", "after"])]
    id: Option<Uuid>,
    #[command(flatten)]
    page: Page,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let path = "/v1/revocations";
        if let Some(id) = self.id {
            return show(printer, &api.get(Scope::Revoke, &format!("{path}/{id}"), &[]).await?);
        }
        let page = api.get(Scope::Revoke, path, &self.page.query()).await?;
        if printer.json {
            return raw(&page);
        }
        let mut page = page.json()?;
        for item in page["items"].as_array_mut().into_iter().flatten() {
            item["selector"] = shown(&item["selector"]).into();
        }
        printer.page(&page, REVOCATIONS)
    }
}

/// A selector as it is asked for.
fn shown(selector: &Value) -> String {
    let value = |value: &Value| match value {
        Value::Object(parts) => match (parts.get("client"), parts.get("tenant")) {
            (Some(client), _) => format!("{}@{}", cell(Some(client)), cell(parts.get("version"))),
            (_, tenant) => format!("{}/{}", cell(tenant), cell(parts.get("id"))),
        },
        Value::Bool(true) => String::new(),
        value => cell(Some(value)),
    };
    let members = selector.as_object().into_iter().flatten();
    let (before, what): (Vec<_>, Vec<_>) = members.partition(|(name, _)| name.as_str() == "before");
    let words = what.into_iter().map(|(name, of)| format!("{} {}", plain(name), value(of)));
    let before = before.into_iter().filter_map(|(_, at)| Moment::at(at.as_u64()?));
    let before = before.map(|at| format!(" before {at}"));
    words.map(|word| word.trim_end().to_owned()).chain(before).collect()
}

const REVOCATIONS: &[Column] = &[
    ("REVOCATION", "/id"),
    ("AT", "/at"),
    ("SELECTOR", "/selector"),
    ("REASON", "/reason"),
    ("BY", "/by"),
    ("EXPIRED BY", "/until"),
    ("NOTE", "/note"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_is_shown_as_it_is_asked_for() {
        for (selector, expected) in [
            (json!({"jti": "01a1"}), "jti 01a1"),
            (
                json!({"before": 1795000000, "client": "acme/billing"}),
                "client acme/billing before 2026-11-18T11:06:40Z",
            ),
            (json!({"sub": {"tenant": "acme", "id": "client:acme/b"}}), "sub acme/client:acme/b"),
            (
                json!({"cred": {"client": "acme/b", "version": "vault:3.1"}}),
                "cred acme/b@vault:3.1",
            ),
            (json!({"tenant": "acme"}), "tenant acme"),
            (json!({"all": true}), "all"),
        ] {
            assert_eq!(shown(&selector), expected);
        }
    }
}
