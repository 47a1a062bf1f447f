//! `scrip price`: what models cost.

use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;

use super::api::Scope;
use super::failure::Failure;
use super::http::Reply;
use super::print::{Column, Page, plain, raw, warn};
use super::{Remote, input};
use crate::prices::PriceList;

/// Largest file that is read, in bytes.
const MOST: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a file's prices the current ones
    Set {
        /// A list of prices in TOML
        file: PathBuf,
    },
    /// Print the prices as a file that `set` takes
    Show {
        /// Another version than the current one
        #[arg(long, value_name = "N")]
        version: Option<NonZeroU32>,
    },
    /// List the versions of the prices, newest first
    Versions(Page),
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        match self.command {
            Command::Set { file } => {
                let list = read(&file)?;
                let reply = api.send(Scope::Policies, Method::PUT, PATH, &list).await?;
                printer.record(&reply, RECORD)?;
                warn(&reply)
            }
            Command::Show { version } => {
                let query = version.map(|version| ("version", version.to_string()));
                let reply = api.get(Scope::Policies, PATH, query.as_slice()).await?;
                if printer.json { raw(&reply) } else { print_file(&reply) }
            }
            Command::Versions(page) => {
                let versions = format!("{PATH}/versions");
                printer.list(&api.get(Scope::Policies, &versions, &page.query()).await?, LIST)
            }
        }
    }
}

pub(super) const PATH: &str = "/v1/prices";

/// Reads a file and checks it here, where the line at fault is known; the service checks it again.
pub(super) fn read(file: &Path) -> Result<PriceList, Failure> {
    let text = input::read(file, MOST)?;
    toml::from_str(&text).map_err(|error| {
        Failure::Usage(format!("{}: {}", file.display(), input::at(&text, &error)))
    })
}

fn print_file(reply: &Reply) -> Result<(), Failure> {
    let reply = reply.json()?;
    let prices = toml::to_string(&reply["prices"])
        .map_err(|error| Failure::Unreachable(format!("the answer has no prices: {error}")))?;
    let said = |member: &str| plain(reply[member].as_str().unwrap_or("-"));
    let (version, author, at) = (&reply["version"], said("author"), said("at"));
    Ok(write!(io::stdout(), "# version {version}, by {author}, {at}\n{prices}")?)
}

const LIST: &[Column] = &[("VERSION", "/version"), ("AUTHOR", "/author"), ("AT", "/at")];

const RECORD: &[Column] = &[
    ("version", "/version"),
    ("author", "/author"),
    ("at", "/at"),
    ("currency", "/prices/currency"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n61_a_file_that_has_no_prices_is_wrong_usage_with_file_and_line() {
        let refused = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let failure = read(file.path()).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.to_string().contains(&file.path().display().to_string()));
            failure.to_string()
        };
        let price = |input: &str| {
            format!(
                "currency = \"USD\"\n[[models]]\nmodel = \"a\"\ninput = {input}\noutput = \"1\"\n"
            )
        };
        assert!(refused(&price("2.5")).contains("line 4: invalid type: floating point"));
        assert!(refused(&price("\"-1\"")).contains("`/models/0/input` is negative"));
        assert_eq!(read(Path::new("/nonexistent")).unwrap_err().exit_code(), 2);
    }
}
