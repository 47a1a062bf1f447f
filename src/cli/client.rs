//! `scrip client`: who may ask for tokens.

mod import;

use std::num::NonZeroU32;
use std::str::FromStr;

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use scrip_token::QualifiedName;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::Remote;
use super::api::{Api, Scope};
use super::failure::Failure;
use super::http::Reply;
use super::moment::Moment;
use super::print::{Column, Page, Printer};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register a client; an embedded one's secret is shown here and never again
    Create(New),
    /// List clients, newest first
    List(Which),
    /// Show a client and the versions of its credential
    Show(Named),
    /// Change a client
    Set {
        #[command(flatten)]
        client: Named,
        #[command(flatten)]
        changes: Changes,
    },
    /// Replace its secret; the old one still works for the client's overlap, unless --revoke
    Rotate {
        #[command(flatten)]
        client: Named,
        #[command(flatten)]
        rotation: Rotation,
    },
    /// Stop it from getting tokens; those that it has go on, unless --revoke
    Disable {
        #[command(flatten)]
        client: Named,
        /// Revoke the tokens it has, in the same transaction
        #[arg(long)]
        revoke: bool,
    },
    /// Disable it for good and revoke its tokens; its name and history stay
    Delete(Named),
    /// Register clients whose secrets are in Vault already; without arguments, list those
    Import(import::Import),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Only those that somebody should look at: never used, unused for long, with a secret that is
    /// past due or used from too many addresses
    #[arg(long, value_name = "WHY", num_args = 0..=1, default_missing_value = "any")]
    stale: Option<Stale>,
    /// How long is long [default: as the service is set]
    #[arg(long, value_name = "DAYS")]
    unused_for: Option<NonZeroU32>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stale {
    Any,
    NeverUsed,
    Unused,
    PastDue,
    Shared,
}

impl Which {
    fn query(self) -> Vec<(&'static str, String)> {
        let stale = self.stale.and_then(|stale| stale.to_possible_value());
        let stale = stale.map(|stale| ("stale", stale.get_name().to_owned()));
        let days = self.unused_for.map(|days| ("unused_for", days.to_string()));
        stale.into_iter().chain(days).chain(self.page.query()).collect()
    }
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The client
    #[arg(value_name = "TENANT/NAME")]
    id: QualifiedName,
}

impl Named {
    fn path(&self) -> String {
        format!("/v1/clients/{}", self.id)
    }
}

/// The body of a registration.
#[derive(Debug, clap::Args, Serialize)]
struct New {
    /// The client's name
    #[arg(value_name = "TENANT/NAME")]
    id: QualifiedName,
    /// What it may ask for: a policy of the same tenant
    #[arg(long, value_name = "TENANT/NAME")]
    policy: QualifiedName,
    /// Who keeps its secret [default: vault, if the service has one]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    /// How long the old secret still works after a rotation [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<u64>,
    /// When its secret must have been replaced
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate_by: Option<Moment>,
    /// Print the secret although Vault keeps it
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    show_secret: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Vault,
    Embedded,
}

/// The body of a change.
#[derive(Debug, clap::Args, Serialize)]
#[group(required = true, multiple = true)]
struct Changes {
    /// What it may ask for: another policy of the same tenant
    #[arg(long, value_name = "TENANT/NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<QualifiedName>,
    /// Give it tokens again
    #[arg(long = "enable")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    enabled: bool,
    /// How long an old secret goes on after a rotation
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<u64>,
    /// When its secret must have been replaced, or `never`
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate_by: Option<Deadline>,
}

#[derive(Debug, Clone, Copy)]
enum Deadline {
    Never,
    By(Moment),
}

impl FromStr for Deadline {
    type Err = <Moment as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self::Never) } else { text.parse().map(Self::By) }
    }
}

impl Serialize for Deadline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_none(),
            Self::By(moment) => moment.serialize(serializer),
        }
    }
}

/// The body of a rotation.
#[derive(Debug, clap::Args, Serialize)]
struct Rotation {
    /// End the old secret and the tokens it was traded for at once
    #[arg(long)]
    revoke: bool,
    /// Print the secret although Vault keeps it
    #[arg(long)]
    show_secret: bool,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let scope = Scope::Clients;
        match self.command {
            Command::Create(new) => {
                show(printer, &api.send(scope, Method::POST, "/v1/clients", &new).await?)
            }
            Command::List(which) => {
                printer.list(&api.get(scope, "/v1/clients", &which.query()).await?, LIST)
            }
            Command::Show(client) => show(printer, &api.get(scope, &client.path(), &[]).await?),
            Command::Set { client, changes } => change(&api, printer, &client, &changes).await,
            Command::Disable { client, revoke } => {
                change(&api, printer, &client, &json!({"enabled": false, "revoke": revoke})).await
            }
            Command::Rotate { client, rotation } => {
                let path = format!("{}/rotate", client.path());
                show(printer, &api.send(scope, Method::POST, &path, &rotation).await?)
            }
            Command::Delete(client) => {
                api.act(scope, Method::DELETE, &client.path()).await.map(drop)
            }
            Command::Import(import) => import.run(&api, printer).await,
        }
    }
}

async fn change(
    api: &Api,
    printer: Printer,
    client: &Named,
    changes: &impl Serialize,
) -> Result<(), Failure> {
    show(printer, &api.send(Scope::Clients, Method::PATCH, &client.path(), changes).await?)
}

pub(super) fn show(printer: Printer, client: &Reply) -> Result<(), Failure> {
    printer.record(client, RECORD)?;
    if printer.json {
        return Ok(());
    }
    printer.table(&client.json()?["credentials"], CREDENTIALS)
}

const LIST: &[Column] = &[
    ("CLIENT", "/id"),
    ("POLICY", "/policy"),
    ("SOURCE", "/source"),
    ("ENABLED", "/enabled"),
    ("MINTS", "/mints"),
    ("LAST USED", "/last_used"),
    ("DUE", "/due"),
    ("WARNINGS", "/warnings"),
];

const RECORD: &[Column] = &[
    ("client", "/id"),
    ("policy", "/policy"),
    ("source", "/source"),
    ("enabled", "/enabled"),
    ("overlap, seconds", "/overlap"),
    ("rotate by", "/rotate_by"),
    ("due", "/due"),
    ("warnings", "/warnings"),
    ("created", "/created"),
    ("rotated", "/rotated"),
    ("last used", "/last_used"),
    ("last address", "/last_address"),
    ("mints", "/mints"),
    ("secret", "/secret"),
];

const CREDENTIALS: &[Column] =
    &[("CREDENTIAL", "/version"), ("SINCE", "/since"), ("UNTIL", "/until")];
