//! `scrip feed`: the deny list as it travels.

mod mirror;
mod tail;

use std::io::{self, Write};

use clap::Subcommand;
use serde::Serialize;

use super::Remote;
use super::failure::Failure;
use super::follow::{FOLLOWER, Following};
use super::service::log;
use crate::config::LogFormat;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    following: Following,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is revoked as it arrives, verified; stop it with Ctrl-C
    Tail,
    /// Copy the feed into a directory that any file server can serve: for a CDN, or across an air gap
    Mirror(mirror::Args),
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.following.config(self.remote.connection)?;
        let _log = log(FOLLOWER, LogFormat::Text)?;
        match self.command {
            Command::Tail => tail::run(config, self.remote.printer).await,
            Command::Mirror(args) => args.run(config, self.remote.printer).await,
        }
    }
}

/// One line, at once: who reads it may be a program that waits.
fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

fn json(object: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(object).map_err(io::Error::from)?)
}
