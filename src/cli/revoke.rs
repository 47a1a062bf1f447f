//! `scrip revoke`: refuse tokens before they expire.

use std::str::FromStr;

use clap::ValueEnum;
use reqwest::Method;
use scrip_token::compact::is_kid;
use scrip_token::{Jti, QualifiedName};
use serde::Serialize;

use super::Remote;
use super::api::{Api, Scope};
use super::failure::Failure;
use super::moment::Moment;
use super::print::{Column, Printer};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    target: Target,
    /// With --client: only its tokens issued up to this moment [default: now]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["jti", "kid"])]
    before: Option<Moment>,
    #[command(flatten)]
    grounds: Grounds,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// One token and everything delegated from it
    #[arg(long)]
    jti: Option<Jti>,
    /// All tokens of a client
    #[arg(long, value_name = "TENANT/NAME")]
    client: Option<QualifiedName>,
    /// Everything that a key signed, for ever
    #[arg(long)]
    kid: Option<Kid>,
}

/// Why, for the audit log.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Grounds {
    /// Why
    #[arg(long, default_value = "other")]
    reason: Reason,
    /// Why, in words
    #[arg(long, default_value = "")]
    note: String,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    Leaked,
    Compromised,
    Rotated,
    Decommissioned,
    Test,
    Other,
}

/// An RFC 7638 SHA-256 thumbprint.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Kid(String);

impl Kid {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Kid {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_kid(text) { Ok(Self(text.to_owned())) } else { Err("not a key id") }
    }
}

/// What to refuse; exactly one of the first three is there.
#[derive(Debug, Default, Serialize)]
pub(super) struct Selector {
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Jti>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<QualifiedName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<Kid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<i64>,
}

impl Selector {
    pub(super) fn kid(kid: Kid) -> Self {
        Self { kid: Some(kid), ..Self::default() }
    }
}

#[derive(Serialize)]
struct Revocation<'a> {
    selector: &'a Selector,
    #[serde(flatten)]
    grounds: &'a Grounds,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let Target { jti, client, kid } = self.target;
        let selector = Selector { jti, client, kid, before: self.before.map(Moment::seconds) };
        revoke(&api, printer, &selector, &self.grounds).await
    }
}

/// Asks for a revocation and shows what came of it.
pub(super) async fn revoke(
    api: &Api,
    printer: Printer,
    selector: &Selector,
    grounds: &Grounds,
) -> Result<(), Failure> {
    let revocation = Revocation { selector, grounds };
    let reply = api.send(Scope::Revoke, Method::POST, "/v1/revocations", &revocation).await?;
    printer.record(&reply, RECORD)
}

const RECORD: &[Column] = &[
    ("revocation", "/id"),
    ("jti", "/selector/jti"),
    ("client", "/selector/client"),
    ("kid", "/selector/kid"),
    ("before", "/selector/before"),
    ("reason", "/reason"),
    ("by", "/by"),
    ("at", "/at"),
    ("epoch", "/epoch"),
    ("seq", "/seq"),
    ("until", "/until"),
    ("known", "/known"),
];
