//! `scrip verifiers`: who follows the deny list, and how far each has got.

use super::Remote;
use super::api::Scope;
use super::failure::Failure;
use super::print::{Column, Page};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    page: Page,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let (path, query) = ("/v1/deny/verifiers", self.page.query());
        // Whoever revokes may see them, and so may whoever reads the audit log.
        let page = match api.get(Scope::Revoke, path, &query).await {
            Err(Failure::Refused(_)) => api.get(Scope::Audit, path, &query).await?,
            page => page?,
        };
        printer.list(&page, VERIFIERS)
    }
}

const VERIFIERS: &[Column] = &[
    ("CLIENT", "/client"),
    ("VERIFIER", "/verifier"),
    ("CONNECTED", "/connected"),
    ("SEQ", "/seq"),
    ("BEHIND", "/behind"),
    ("ACKNOWLEDGED", "/acked_at"),
    ("AS OF", "/as_of"),
    ("MAX STALENESS", "/max_staleness"),
    ("POLICY", "/policy"),
    ("REFUSES FROM", "/refuses_by"),
];
