//! `scrip revoke`: refuse tokens before they expire.

use std::io::{self, Write};
use std::str::FromStr;

use clap::ValueEnum;
use reqwest::Method;
use scrip_token::compact::is_kid;
use scrip_token::{Jti, QualifiedName};
use serde::Serialize;

use super::Remote;
use super::api::{Api, Scope};
use super::failure::Failure;
use super::http::Reply;
use super::moment::Moment;
use super::print::{Column, Printer};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    target: Target,
    /// Only tokens issued up to this moment [default: now]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["jti", "cred", "kid"])]
    before: Option<Moment>,
    /// Say what it would kill, and kill nothing
    #[arg(long)]
    dry_run: bool,
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
    /// All tokens about a subject
    #[arg(long, value_name = "TENANT/SUB")]
    sub: Option<Subject>,
    /// All tokens of a tenant
    #[arg(long)]
    tenant: Option<String>,
    /// All tokens traded for one version of a master credential, which ends
    #[arg(long, value_name = "TENANT/NAME@VERSION")]
    cred: Option<Credential>,
    /// Everything that a key signed, for ever
    #[arg(long, allow_hyphen_values = true)]
    kid: Option<Kid>,
    /// Everything that is out
    #[arg(long)]
    all: bool,
}

/// Why, for the audit log, and what to wait for.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Grounds {
    /// Why
    #[arg(long, default_value = "other")]
    reason: Reason,
    /// Why, in words
    #[arg(long, default_value = "")]
    note: String,
    /// Wait until every connected verifier enforces it, but not longer
    #[arg(long, value_name = "SECONDS", default_value_t = 0,
        value_parser = clap::value_parser!(u8).range(..=30))]
    wait: u8,
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

/// An RFC 7638 SHA-256 thumbprint. One in 64 begins with a hyphen.
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

/// `acme/client:acme/billing`: the tenant, and the `sub` of its tokens.
#[derive(Debug, Clone, Serialize)]
struct Subject {
    tenant: String,
    id: String,
}

impl FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tenant, id) = text.split_once('/').ok_or("not <tenant>/<sub>")?;
        Ok(Self { tenant: tenant.to_owned(), id: id.to_owned() })
    }
}

/// `acme/billing@vault:3.1795000000`: a client, and the `cred` of its tokens.
#[derive(Debug, Clone, Serialize)]
struct Credential {
    client: QualifiedName,
    version: String,
}

impl FromStr for Credential {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (client, version) = text.split_once('@').ok_or("not <tenant>/<name>@<version>")?;
        let client = client.parse().map_err(|_| "not <tenant>/<name>@<version>")?;
        Ok(Self { client, version: version.to_owned() })
    }
}

/// What to refuse; exactly one of the first seven is there.
#[derive(Debug, Default, Serialize)]
pub(super) struct Selector {
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Jti>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<QualifiedName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cred: Option<Credential>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<Kid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
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
    dry_run: bool,
    #[serde(flatten)]
    grounds: &'a Grounds,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let Target { jti, client, sub, tenant, cred, kid, all } = self.target;
        let (all, before) = (all.then_some(true), self.before.map(Moment::seconds));
        let selector = Selector { jti, client, sub, tenant, cred, kid, all, before };
        if !self.dry_run {
            return revoke(&api, printer, &selector, &self.grounds).await;
        }
        let reply = ask(&api, &selector, &self.grounds, true).await?;
        printer.record(&reply, PREVIEW)
    }
}

/// Asks for a revocation and shows what came of it.
pub(super) async fn revoke(
    api: &Api,
    printer: Printer,
    selector: &Selector,
    grounds: &Grounds,
) -> Result<(), Failure> {
    let reply = ask(api, selector, grounds, false).await?;
    show(printer, &reply)
}

/// Shows a revocation with the verifiers that enforce it, and those that do not.
pub(super) fn show(printer: Printer, revocation: &Reply) -> Result<(), Failure> {
    printer.record(revocation, RECORD)?;
    let verifiers = &revocation.json()?["enforced"]["verifiers"];
    if printer.json || verifiers.as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    writeln!(io::stdout())?;
    printer.table(verifiers, RECEIPTS)
}

async fn ask(
    api: &Api,
    selector: &Selector,
    grounds: &Grounds,
    dry_run: bool,
) -> Result<Reply, Failure> {
    let revocation = Revocation { selector, dry_run, grounds };
    api.send(Scope::Revoke, Method::POST, "/v1/revocations", &revocation).await
}

const PREVIEW: &[Column] = &[
    ("live tokens", "/live_tokens"),
    ("clients", "/clients"),
    ("budget outstanding", "/budget_outstanding"),
];

const RECORD: &[Column] = &[
    ("revocation", "/id"),
    ("jti", "/selector/jti"),
    ("client", "/selector/client"),
    ("tenant", "/selector/tenant"),
    ("tenant", "/selector/sub/tenant"),
    ("sub", "/selector/sub/id"),
    ("client", "/selector/cred/client"),
    ("credential", "/selector/cred/version"),
    ("kid", "/selector/kid"),
    ("all", "/selector/all"),
    ("before", "/selector/before"),
    ("reason", "/reason"),
    ("by", "/by"),
    ("at", "/at"),
    ("epoch", "/epoch"),
    ("seq", "/seq"),
    ("until", "/until"),
    ("known", "/known"),
    ("all enforce it", "/enforced/all"),
    ("nobody accepts from", "/enforced/by"),
];

const RECEIPTS: &[Column] = &[
    ("CLIENT", "/client"),
    ("VERIFIER", "/verifier"),
    ("ENFORCES SINCE", "/since"),
    ("BEHIND", "/behind"),
    ("REFUSES FROM", "/refuses_by"),
];
