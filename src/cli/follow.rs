//! `scrip token verify --follow`: a follower of the deny list, for people and for tests.

use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use scrip_feed::{Config, Credential, Follower, Handle, Reader};
use scrip_token::Jti;
use scrip_token::limits::MAX_TOKEN_BYTES;
use scrip_verify::{Freshness, Information, Rejection, StalePolicy};
use serde::Serialize;
use tokio::time::timeout;
use url::Url;

use super::connection::Connection;
use super::failure::Failure;
use super::service::log;
use super::verify::{Expected, Verdict, unproved};
use crate::config::LogFormat;

/// How long the first verdict waits for the service. Without it what is on disk decides, within
/// the freshness contract.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said on standard error of how following goes.
pub(super) const FOLLOWER: &str = "scrip_feed=info";

/// How the deny list is followed, for every command that does.
#[derive(Debug, clap::Args)]
pub(super) struct Following {
    /// Thumbprint of the issuer's root key [default: the first contact decides]
    #[arg(long, env = "SCRIP_ROOT", value_name = "KID", allow_hyphen_values = true, global = true)]
    root: Option<String>,
    /// Where the service answers, in order of preference; may be repeated [default: the issuer]
    #[arg(long = "origin", value_name = "URL", global = true)]
    origins: Vec<Url>,
    /// Where copies of the feed are served as files, given no secret; may be repeated
    #[arg(long = "mirror", value_name = "URL", global = true)]
    mirrors: Vec<Url>,
}

impl Following {
    /// What to follow, as whom.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming what is missing.
    pub(super) fn config(self, connection: Connection) -> Result<Config, Failure> {
        let (issuer, id, secret) = connection.complete()?;
        Ok(Config {
            root: self.root,
            origins: self.origins,
            mirrors: self.mirrors,
            credential: Some(Credential::Basic { id: id.to_string(), secret }),
            ..Config::new(issuer.as_str())
        })
    }
}

/// The deny list as it is kept here.
#[derive(Debug, clap::Args)]
pub(super) struct LocalCopy {
    #[command(flatten)]
    following: Following,
    /// Folder for the deny list, to start from it while the service is away
    #[arg(long, value_name = "DIR", requires = "follow")]
    state_dir: Option<PathBuf>,
    /// Acknowledge under this name what is enforced; each process has its own [default: acknowledge nothing]
    #[arg(long, value_name = "NAME", requires = "follow")]
    verifier: Option<String>,
    #[command(flatten)]
    contract: Contract,
}

/// How old the deny list may be.
#[derive(Debug, clap::Args)]
struct Contract {
    /// How old the deny list may be at most
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "follow")]
    max_staleness: u64,
    /// How old it may be for a token that was minted within --max-staleness
    #[arg(long, value_name = "SECONDS", default_value_t = 900, requires = "follow")]
    max_offline: u64,
    /// What happens when it is older: deny, deny-and-alert, allow-for=SECONDS
    #[arg(long, value_name = "POLICY", default_value = "deny", value_parser = policy, requires = "follow")]
    on_stale: StalePolicy,
}

fn policy(text: &str) -> Result<StalePolicy, &'static str> {
    match text.split_once('=') {
        None if text == "deny" => Ok(StalePolicy::Deny),
        None if text == "deny-and-alert" => Ok(StalePolicy::DenyAndAlert),
        Some(("allow-for", seconds)) => {
            let seconds = seconds.parse().map_err(|_| "allow-for takes a number of seconds")?;
            Ok(StalePolicy::AllowFor(seconds))
        }
        _ => Err("one of deny, deny-and-alert, allow-for=SECONDS"),
    }
}

/// Judges tokens from standard input until it ends.
pub(super) async fn follow(
    connection: Connection,
    expected: Expected,
    copy: LocalCopy,
) -> Result<(), Failure> {
    if connection.client_secret_file.as_deref() == Some(Path::new("-")) {
        return Err(Failure::Usage("standard input is for tokens here, not for the secret".into()));
    }
    let _log = log(FOLLOWER, LogFormat::Text)?;
    let Contract { max_staleness, max_offline, on_stale } = copy.contract;
    let freshness = Freshness::new(max_staleness, max_offline, on_stale);
    let freshness = freshness.map_err(|error| Failure::Usage(error.to_string()))?;
    let config = Config {
        dir: copy.state_dir,
        verifier: copy.verifier,
        freshness,
        ..copy.following.config(connection)?
    };
    let (handle, reader) =
        Follower::start(config).await.map_err(|error| Failure::Usage(error.to_string()))?;
    let in_time = timeout(PATIENCE, handle.synced()).await.is_ok();
    let position = reader.view().position();
    if !in_time {
        eprintln!(
            "scrip: not in step with the deny list: is the service there, and may this client follow?"
        );
    }
    print(&Ready {
        event: if in_time { "synced" } else { "unsynced" },
        epoch: position.map(|position| position.epoch),
        seq: position.map(|position| position.seq),
    })?;
    let judged = tokio::task::spawn_blocking(move || judge(&handle, &reader, &expected)).await;
    judged.map_err(io::Error::from)?
}

/// The first line: from here on tokens are judged.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    epoch: Option<Jti>,
    seq: Option<u64>,
}

fn judge(handle: &Handle, reader: &Reader, expected: &Expected) -> Result<(), Failure> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte beyond what any token has, so that a longer line is refused by its length.
        input.by_ref().take(MAX_TOKEN_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if !line.ends_with(b"\n") {
            input.skip_until(b'\n')?;
        }
        let token = line.trim_ascii_end();
        if token.is_empty() {
            continue;
        }
        let claims = unproved(token);
        let judge = || {
            let view = reader.view();
            let asked = (reader.freshness(), view.now());
            (expected.judge(token, claims.as_ref(), asked, &view.trust()), view)
        };
        let (mut outcome, mut view) = judge();
        if matches!(outcome, Err(Rejection::UnknownKid { .. } | Rejection::NoKeys)) {
            tokio::runtime::Handle::current().block_on(handle.refetch_keys());
            (outcome, view) = judge();
        }
        let jti = claims.as_ref().map(|claims| claims.jti);
        let as_of = match view.information() {
            Information::Followed { as_of, .. } if view.age().is_some() => Some(as_of),
            _ => None,
        };
        print(&Verdict::new(jti, outcome, as_of, view.age()))?;
    }
}

fn print(line: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(line).map_err(io::Error::from)?;
    Ok(writeln!(io::stdout(), "{line}")?)
}
