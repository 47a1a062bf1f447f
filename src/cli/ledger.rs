//! `scrip ledger`: who counts what tokens use.

use clap::Subcommand;

use super::Remote;
use super::api::Scope;
use super::failure::Failure;
use super::print::{Column, Page};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List ledgers, and up to when each has reported all
    List {
        /// Only those of this audience
        #[arg(long)]
        audience: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let Command::List { audience, page } = self.command;
        let audience = audience.map(|audience| ("audience", audience));
        let query: Vec<_> = audience.into_iter().chain(page.query()).collect();
        printer.list(&api.get(Scope::Tokens, "/v1/ledgers", &query).await?, LEDGERS)
    }
}

const LEDGERS: &[Column] = &[
    ("CLIENT", "/client"),
    ("LEDGER", "/instance"),
    ("AUDIENCE", "/audience"),
    ("REGISTERED", "/registered"),
    ("COMPLETE UNTIL", "/complete_until"),
    ("RETIRED", "/retired"),
];
