//! `scrip policy`: what tokens a client may ask for.

mod diff;
mod replay;
pub(super) mod test;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;
use scrip_token::QualifiedName;
use serde_json::Value;

use super::Remote;
use super::api::{Api, Scope};
use super::failure::Failure;
use super::http::Reply;
use super::print::{Column, Page, plain, raw, warn};
use crate::policy::Policy;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Call(Call),
    /// Judge the requests of a `.test.toml` file by the policy beside it, without a service
    ///
    /// A quota in money is judged by the list of prices that the file names. What depends on other
    /// mints is not judged: rates, and what is left of a quota.
    Test {
        /// `NAME.test.toml`, which tests `NAME.toml`
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// What the service is asked for.
#[derive(Debug, Subcommand)]
enum Call {
    /// Make a file's policy the current version
    Apply {
        /// A policy in TOML
        file: PathBuf,
    },
    /// List policies, newest first
    List(Page),
    /// Print a policy as a file that `apply` takes
    Show {
        #[command(flatten)]
        policy: Named,
        /// Another version than the current one
        #[arg(long, value_name = "N")]
        version: Option<NonZeroU32>,
    },
    /// List a policy's versions, newest first
    Versions {
        #[command(flatten)]
        policy: Named,
        #[command(flatten)]
        page: Page,
    },
    /// What differs between two versions, or between what is applied and a file
    Diff(diff::Args),
    /// What would change for the last real requests if a file were applied
    Replay(replay::Args),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The policy
    #[arg(value_name = "TENANT/NAME")]
    name: QualifiedName,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let call = match self.command {
            Command::Test { files } => return test::run(self.remote.printer, &files),
            Command::Call(call) => call,
        };
        let (api, printer) = self.remote.open()?;
        match call {
            Call::Apply { file } => {
                let policy = read(&file)?;
                let reply = api.send(SCOPE, Method::PUT, &path(policy.name()), &policy).await?;
                printer.record(&reply, RECORD)?;
                warn(&reply)
            }
            Call::List(page) => {
                printer.list(&api.get(SCOPE, "/v1/policies", &page.query()).await?, LIST)
            }
            Call::Show { policy, version } => {
                let reply = show(&api, &policy.name, version).await?;
                if printer.json { raw(&reply) } else { print_file(&reply) }
            }
            Call::Versions { policy, page } => {
                let versions = format!("{}/versions", path(&policy.name));
                printer.list(&api.get(SCOPE, &versions, &page.query()).await?, LIST)
            }
            Call::Diff(args) => args.run(&api, printer).await,
            Call::Replay(args) => args.run(&api, printer).await,
        }
    }
}

const SCOPE: Scope = Scope::Policies;

async fn show(
    api: &Api,
    name: &QualifiedName,
    version: Option<NonZeroU32>,
) -> Result<Reply, Failure> {
    let query = version.map(|version| ("version", version.to_string()));
    api.get(SCOPE, &path(name), query.as_slice()).await
}

/// The policy that an answer shows.
pub(super) fn parse(answer: &Value) -> Result<Policy, Failure> {
    Policy::from_json(answer["policy"].to_string().as_bytes())
        .map_err(|error| Failure::Unreachable(format!("the answer is no policy: {error}")))
}

pub(super) fn path(name: impl Display) -> String {
    format!("/v1/policies/{name}")
}

/// Reads a file and checks it here, where the line at fault is known; the service checks it again.
pub(super) fn read(file: &Path) -> Result<Policy, Failure> {
    let refuse = |why: &dyn Display| Failure::Usage(format!("{}: {why}", file.display()));
    let source = File::open(file).map_err(|error| refuse(&error))?;
    Policy::from_toml(source).map_err(|error| refuse(&error))
}

fn print_file(reply: &Reply) -> Result<(), Failure> {
    let reply = reply.json()?;
    let policy = toml::to_string(&reply["policy"])
        .map_err(|error| Failure::Unreachable(format!("the answer is no policy: {error}")))?;
    let said = |member: &str| plain(reply[member].as_str().unwrap_or("-"));
    let (version, author, at) = (&reply["version"], said("author"), said("at"));
    Ok(write!(io::stdout(), "# version {version}, by {author}, {at}\n{policy}")?)
}

const LIST: &[Column] =
    &[("POLICY", "/name"), ("VERSION", "/version"), ("AUTHOR", "/author"), ("AT", "/at")];

const RECORD: &[Column] =
    &[("policy", "/name"), ("version", "/version"), ("author", "/author"), ("at", "/at")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_go_where_their_names_say() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let policy = read(&folder.join("document-summaries.toml")).unwrap();
        assert_eq!(path(policy.name()), "/v1/policies/acme/document-summaries");
        assert_eq!(serde_json::to_value(&policy).unwrap()["ttl"]["max"], 900);
    }

    #[test]
    fn n61_a_file_that_is_no_policy_is_wrong_usage_with_file_and_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "name = \"acme/chat\"\nscope = [\"llm:chat\"]\n").unwrap();
        let failure = read(file.path()).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        let said = failure.to_string();
        assert!(said.contains(&file.path().display().to_string()), "{said}");
        assert!(said.contains("line 2") && said.contains("scope"), "{said}");
        assert_eq!(read(Path::new("/nonexistent")).unwrap_err().exit_code(), 2);
    }
}
