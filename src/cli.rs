//! The command line. All commands but `dev`, `serve`, `migrate` and `bootstrap` work from anywhere:
//! they need nothing but HTTP.

mod api;
mod apply;
mod audit;
mod client;
mod connection;
mod dev;
mod explain;
mod failure;
mod feed;
mod follow;
mod http;
mod input;
mod keys;
mod ledger;
mod moment;
mod policy;
mod price;
mod print;
mod revocations;
mod revoke;
mod service;
mod token;
mod usage;
mod verifiers;
mod verify;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::api::Api;
use self::connection::Connection;
use self::failure::Failure;
use self::print::Printer;

/// A security token service for LLM endpoints.
#[derive(Debug, Parser)]
#[command(name = "scrip", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 unreachable";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service with everything embedded, to try it out
    Dev(dev::Args),
    /// Run the service
    Serve(Box<service::Args>),
    /// Create or upgrade the database's tables
    Migrate(Box<service::Args>),
    /// Create the tables, the keys and the first operator, where they are missing
    Bootstrap(Box<service::Args>),
    /// Who may get tokens: create, list, rotate, disable, import
    Client(client::Args),
    /// What tokens a client may get: apply, diff, test, replay
    Policy(policy::Args),
    /// What models cost, for quotas in money
    Price(price::Args),
    /// Bring policies, clients and prices in line with a folder of files
    Apply(apply::Args),
    /// Get a token, look one up, verify one
    Token(token::Args),
    /// Revoke a token, all tokens of a client, a tenant or everybody, or what a key signed
    Revoke(revoke::Args),
    /// What was revoked, and which gateways enforce it since when
    Revocations(revocations::Args),
    /// The gateways that follow the deny list, and how far each has got
    Verifiers(verifiers::Args),
    /// Watch the deny list's feed, or copy it into files
    Feed(feed::Args),
    /// The keys that sign tokens and the feed: list, rotate, revoke
    Keys(keys::Args),
    /// What is used and left of quotas
    Usage(usage::Args),
    /// The ledgers, which report what tokens use
    Ledger(ledger::Args),
    /// The audit log: who did what, when, from where
    Audit(audit::Args),
}

impl Cli {
    /// Runs the command. Results go to standard output, why it failed to standard error.
    ///
    /// Exit code 0: done; 1: refused; 2: wrong usage; 3: the service is unreachable or ailing;
    /// `token exec` ends as the command that it runs.
    pub async fn run(self) -> ExitCode {
        match self.command.run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Ended(code)) => code.into(),
            Err(failure) => {
                eprintln!("scrip: {failure}");
                failure.exit_code().into()
            }
        }
    }
}

impl Command {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Dev(args) => args.run().await,
            Self::Serve(args) => args.serve().await,
            Self::Migrate(args) => args.migrate().await,
            Self::Bootstrap(args) => args.bootstrap().await,
            Self::Client(args) => args.run().await,
            Self::Policy(args) => args.run().await,
            Self::Price(args) => args.run().await,
            Self::Apply(args) => args.run().await,
            Self::Token(args) => args.run().await,
            Self::Revoke(args) => args.run().await,
            Self::Revocations(args) => args.run().await,
            Self::Verifiers(args) => args.run().await,
            Self::Feed(args) => args.run().await,
            Self::Keys(args) => args.run().await,
            Self::Usage(args) => args.run().await,
            Self::Ledger(args) => args.run().await,
            Self::Audit(args) => args.run().await,
        }
    }
}

/// What every command that speaks to the service takes.
#[derive(Debug, Args)]
struct Remote {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    printer: Printer,
}

impl Remote {
    fn open(self) -> Result<(Api, Printer), Failure> {
        Ok((Api::open(self.connection)?, self.printer))
    }
}

#[cfg(test)]
mod tests;
