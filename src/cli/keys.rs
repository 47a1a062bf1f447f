//! `scrip keys`: the keys that sign tokens.

use clap::Subcommand;
use reqwest::Method;
use scrip_token::Alg;

use super::Remote;
use super::api::Scope;
use super::failure::Failure;
use super::print::Column;
use super::revoke::{Grounds, Kid, Selector, revoke};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List keys with their states and times
    List,
    /// Let the algorithm's next key sign, and publish another next one
    Rotate {
        /// ES256, EdDSA or RS256
        alg: Alg,
    },
    /// Take a key away that has never signed
    Retire {
        /// The key
        kid: Kid,
    },
    /// Refuse everything that a key ever signed: it was stolen
    Revoke {
        /// The key
        kid: Kid,
        #[command(flatten)]
        grounds: Grounds,
    },
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let scope = Scope::Keys;
        match self.command {
            Command::List => printer.list(&api.get(scope, "/v1/keys", &[]).await?, KEYS),
            Command::Rotate { alg } => {
                let path = format!("/v1/keys/{}/rotate", alg.as_str());
                printer.record(&api.act(scope, Method::POST, &path).await?, ROTATED)
            }
            Command::Retire { kid } => {
                let path = format!("/v1/keys/{}/retire", kid.as_str());
                printer.record(&api.act(scope, Method::POST, &path).await?, KEY)
            }
            Command::Revoke { kid, grounds } => {
                revoke(&api, printer, &Selector::kid(kid), &grounds).await
            }
        }
    }
}

const KEYS: &[Column] = &[
    ("KID", "/kid"),
    ("ALG", "/alg"),
    ("USE", "/use"),
    ("STATE", "/state"),
    ("PUBLISHED", "/published"),
    ("ACTIVE FROM", "/active_from"),
    ("RETIRES", "/retire_at"),
    ("REVOKED", "/revoked_at"),
];

const KEY: &[Column] = &[
    ("kid", "/kid"),
    ("alg", "/alg"),
    ("state", "/state"),
    ("published", "/published"),
    ("active from", "/active_from"),
    ("retires", "/retire_at"),
    ("revoked", "/revoked_at"),
];

const ROTATED: &[Column] = &[
    ("active", "/active/kid"),
    ("since", "/active/active_from"),
    ("next", "/next/kid"),
    ("published", "/next/published"),
];
