//! Parses the command line and dispatches.

use std::process::ExitCode;

use clap::Parser;
use scrip::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
