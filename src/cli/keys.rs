//! `scrip keys`: the keys that sign tokens, the feed's, and the root.

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
    /// Replace the key of an algorithm by its next one, the feed's key, or the root
    Rotate {
        /// ES256, EdDSA, RS256, feed or root
        #[arg(value_parser = rotated)]
        name: String,
    },
    /// Withdraw a key that has never signed
    Retire {
        /// The key
        #[arg(allow_hyphen_values = true)]
        kid: Kid,
    },
    /// Refuse everything that a stolen key ever signed, and replace it
    Revoke {
        /// The key
        #[arg(allow_hyphen_values = true)]
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
            Command::Rotate { name } => {
                let path = format!("/v1/keys/{name}/rotate");
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

fn rotated(name: &str) -> Result<String, String> {
    let known = matches!(name, "feed" | "root") || name.parse::<Alg>().is_ok();
    known.then(|| name.to_owned()).ok_or_else(|| "ES256, EdDSA, RS256, feed or root".to_owned())
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
