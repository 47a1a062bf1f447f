//! `scrip token`: ask for a token, look one up, check one.

mod exec;
mod file;
mod keep;
mod source;
mod watch;

use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Subcommand;
use scrip_token::name::is_scope;
use scrip_token::{Cidr, Jti, ModelPattern, QualifiedName};

use super::api::Scope;
use super::failure::Failure;
use super::moment::Moment;
use super::print::{Column, Page, plain, raw};
use super::{Remote, verify};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Exchange the client's secret for a token and print it; --json prints the whole answer
    Get {
        #[command(flatten)]
        wish: Wish,
        /// Keep a fresh token in --file until stopped
        #[arg(long, requires = "file")]
        watch: bool,
        /// The file, mode 0600, replaced atomically
        #[arg(long, value_name = "PATH", requires = "watch")]
        file: Option<PathBuf>,
    },
    /// Run a command with a token in its environment, and in a file that is kept fresh
    Exec(exec::Args),
    /// List the tokens that were issued, newest first
    List(Box<Which>),
    /// Show what the service recorded of a token
    Show {
        /// The token's id
        jti: Jti,
    },
    /// Verify a token locally: explain its claims and name the first check that fails
    Verify(Box<verify::Args>),
}

/// Which tokens; all that is given has to be so.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only this client's
    #[arg(long, value_name = "TENANT/NAME")]
    client: Option<QualifiedName>,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only those with this scope
    #[arg(long, value_parser = scope)]
    scope: Option<String>,
    /// Only those that may use this model, or all that begin so (`claude-*`)
    #[arg(long)]
    model: Option<ModelPattern>,
    /// Only those that neither have expired nor are revoked; `--live=false`, only the others
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    live: Option<bool>,
    /// Only those issued then or later
    #[arg(long, value_name = "TIME")]
    issued_after: Option<Moment>,
    /// Only those issued before
    #[arg(long, value_name = "TIME")]
    issued_before: Option<Moment>,
    #[command(flatten)]
    page: Page,
}

impl Which {
    fn query(self) -> Vec<(&'static str, String)> {
        let time = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
        let filters = [
            ("client", self.client.map(|client| client.to_string())),
            ("tenant", self.tenant),
            ("scope", self.scope),
            ("model", self.model.map(|model| model.to_string())),
            ("live", self.live.map(|live| live.to_string())),
            ("issued_after", time(self.issued_after)),
            ("issued_before", time(self.issued_before)),
        ];
        let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        filters.chain(self.page.query()).collect()
    }
}

/// What to ask for. Omitted: what the client's policy gives by default.
#[derive(Debug, clap::Args)]
struct Wish {
    /// The gateways it is for
    #[arg(long)]
    audience: Option<String>,
    /// A scope; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<String>,
    /// A model, or a prefix with `*`; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<ModelPattern>,
    /// LLM tokens in total
    #[arg(long, value_name = "N")]
    budget_tokens: Option<NonZeroU64>,
    /// LLM tokens for one request
    #[arg(long, value_name = "N")]
    budget_request_tokens: Option<NonZeroU64>,
    /// Requests in total
    #[arg(long, value_name = "N")]
    budget_requests: Option<NonZeroU64>,
    /// A network it works from; may be repeated
    #[arg(long = "cidr", value_name = "CIDR")]
    cidrs: Vec<Cidr>,
    /// Its lifetime
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<NonZeroU64>,
}

fn scope(text: &str) -> Result<String, &'static str> {
    if is_scope(text) { Ok(text.to_owned()) } else { Err("a scope is [a-z0-9:._/-]{1,64}") }
}

impl Wish {
    /// The parameters of the request; one that was not asked for is absent, never empty.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let number = |n: Option<NonZeroU64>| n.map(|n| n.to_string());
        let parameters = [
            ("audience", self.audience.clone()),
            ("scope", spaced(&self.scopes)),
            ("models", spaced(&self.models)),
            ("budget_tokens", number(self.budget_tokens)),
            ("budget_request_tokens", number(self.budget_request_tokens)),
            ("budget_requests", number(self.budget_requests)),
            ("cidrs", spaced(&self.cidrs)),
            ("ttl", number(self.ttl)),
        ];
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn spaced(items: &[impl ToString]) -> Option<String> {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    (!items.is_empty()).then(|| items.join(" "))
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Get { wish, file: Some(path), .. } => {
                watch::watch(wish.source(self.remote.connection)?, &path).await
            }
            Command::Exec(args) => args.run(self.remote).await,
            Command::Get { wish, .. } => {
                let (api, printer) = self.remote.open()?;
                let reply = api.mint(&wish.parameters()).await?;
                if printer.json {
                    return raw(&reply);
                }
                let reply = reply.json()?;
                let token = reply["access_token"].as_str().unwrap_or_default();
                Ok(writeln!(io::stdout(), "{}", plain(token))?)
            }
            Command::List(which) => {
                let (api, printer) = self.remote.open()?;
                printer.list(&api.get(Scope::Tokens, "/v1/tokens", &which.query()).await?, LIST)
            }
            Command::Show { jti } => {
                let (api, printer) = self.remote.open()?;
                let reply = api.get(Scope::Tokens, &format!("/v1/tokens/{jti}"), &[]).await?;
                printer.record(&reply, RECORD)
            }
            Command::Verify(args) => args.run(self.remote).await,
        }
    }
}

const LIST: &[Column] = &[
    ("JTI", "/jti"),
    ("CLIENT", "/client"),
    ("AUDIENCE", "/audience"),
    ("ISSUED", "/issued"),
    ("EXPIRES", "/expires"),
    ("LIVE", "/live"),
    ("REVOKED", "/revocation/reason"),
    ("SCOPE", "/claims/scope"),
    ("MODELS", "/claims/models"),
    ("SPENT", "/spent/tokens"),
];

const RECORD: &[Column] = &[
    ("jti", "/jti"),
    ("client", "/client"),
    ("audience", "/audience"),
    ("issued", "/issued"),
    ("expires", "/expires"),
    ("live", "/live"),
    ("revoked", "/revoked"),
    ("revocation", "/revocation/id"),
    ("reason", "/revocation/reason"),
    ("kid", "/kid"),
    ("credential", "/claims/cred"),
    ("subject", "/claims/sub"),
    ("environment", "/claims/env"),
    ("scope", "/claims/scope"),
    ("models", "/claims/models"),
    ("budget", "/claims/budget"),
    ("networks", "/claims/cidrs"),
    ("spent", "/spent"),
];
