//! `scrip token`: ask for a token, look one up, check one.

use std::io::{self, Write};
use std::num::NonZeroU64;

use clap::Subcommand;
use scrip_token::name::is_scope;
use scrip_token::{Cidr, Jti, ModelPattern, QualifiedName};

use super::api::Scope;
use super::failure::Failure;
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
    /// Trade the client's secret for a token; prints the token alone
    Get(Wish),
    /// List the tokens that were issued, newest first
    List {
        /// Only this client's
        #[arg(long, value_name = "TENANT/NAME")]
        client: Option<QualifiedName>,
        #[command(flatten)]
        page: Page,
    },
    /// Show what the service recorded of a token
    Show {
        /// The token's id
        jti: Jti,
    },
    /// Check a token here, explain its claims, and name the first check that fails
    Verify(Box<verify::Args>),
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
    /// A model, or a prefix and `*`; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<ModelPattern>,
    /// LLM tokens in all
    #[arg(long, value_name = "N")]
    budget_tokens: Option<NonZeroU64>,
    /// LLM tokens for one request
    #[arg(long, value_name = "N")]
    budget_request_tokens: Option<NonZeroU64>,
    /// Requests in all
    #[arg(long, value_name = "N")]
    budget_requests: Option<NonZeroU64>,
    /// A network it works from; may be repeated
    #[arg(long = "cidr", value_name = "CIDR")]
    cidrs: Vec<Cidr>,
    /// Its life
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
            Command::Get(wish) => {
                let (api, printer) = self.remote.open()?;
                let reply = api.mint(&wish.parameters()).await?;
                if printer.json {
                    return raw(&reply);
                }
                let reply = reply.json()?;
                let token = reply["access_token"].as_str().unwrap_or_default();
                Ok(writeln!(io::stdout(), "{}", plain(token))?)
            }
            Command::List { client, page } => {
                let (api, printer) = self.remote.open()?;
                let client = client.map(|client| ("client", client.to_string()));
                let query: Vec<_> = client.into_iter().chain(page.query()).collect();
                printer.list(&api.get(Scope::Tokens, "/v1/tokens", &query).await?, LIST)
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
    ("EXPIRES", "/expires"),
    ("REVOKED", "/revoked"),
    ("SCOPE", "/claims/scope"),
];

const RECORD: &[Column] = &[
    ("jti", "/jti"),
    ("client", "/client"),
    ("audience", "/audience"),
    ("issued", "/issued"),
    ("expires", "/expires"),
    ("revoked", "/revoked"),
    ("kid", "/kid"),
    ("credential", "/claims/cred"),
    ("subject", "/claims/sub"),
    ("environment", "/claims/env"),
    ("scope", "/claims/scope"),
    ("models", "/claims/models"),
    ("budget", "/claims/budget"),
    ("networks", "/claims/cidrs"),
];
