//! `scrip revocations`: what was revoked, and who enforces it.

use uuid::Uuid;

use super::Remote;
use super::api::Scope;
use super::failure::Failure;
use super::print::{Column, Page};
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
        let query = self.page.query();
        printer.list(&api.get(Scope::Revoke, path, &query).await?, REVOCATIONS)
    }
}

const REVOCATIONS: &[Column] = &[
    ("REVOCATION", "/id"),
    ("AT", "/at"),
    ("SELECTOR", "/selector"),
    ("REASON", "/reason"),
    ("BY", "/by"),
    ("UNTIL", "/until"),
    ("NOTE", "/note"),
];
