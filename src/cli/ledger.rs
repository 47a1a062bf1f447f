//! `scrip ledger`: who counts what tokens use.

use clap::Subcommand;
use reqwest::Method;
use scrip_token::QualifiedName;

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
    /// List ledgers, and until when the reports of each are complete
    List {
        /// Only those of this audience
        #[arg(long)]
        audience: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Stop waiting for the reports of a ledger that is gone
    Retire {
        /// Whose it is
        #[arg(value_name = "TENANT/NAME")]
        client: QualifiedName,
        /// Its name
        ledger: String,
    },
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        match self.command {
            Command::List { audience, page } => {
                let audience = audience.map(|audience| ("audience", audience));
                let query: Vec<_> = audience.into_iter().chain(page.query()).collect();
                printer.list(&api.get(Scope::Tokens, "/v1/ledgers", &query).await?, LEDGERS)
            }
            Command::Retire { client, ledger } => {
                let path = format!("/v1/ledgers/{client}/{ledger}");
                api.act(Scope::Clients, Method::DELETE, &path).await.map(drop)
            }
        }
    }
}

const LEDGERS: &[Column] = &[
    ("CLIENT", "/client"),
    ("LEDGER", "/instance"),
    ("AUDIENCE", "/audience"),
    ("REGISTERED", "/registered"),
    ("COMPLETE UNTIL", "/complete_until"),
    ("SILENT", "/silent"),
    ("RETIRED", "/retired"),
];
