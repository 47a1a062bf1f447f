//! `scrip revoke`: refuse tokens before they expire.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use reqwest::Method;
use scrip_token::compact::is_kid;
use scrip_token::limits::MAX_TOKEN_BYTES;
use scrip_token::{Jti, QualifiedName};
use serde::Serialize;
use serde_json::Value;

use super::api::{Api, Scope};
use super::failure::Failure;
use super::http::Reply;
use super::moment::Moment;
use super::print::{Column, Printer, cell};
use super::verify::unproved;
use super::{Remote, input};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    target: Target,
    /// Only tokens issued up to this moment [default: now]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["jti", "token_file", "cred", "kid"])]
    before: Option<Moment>,
    /// Show what would be revoked, and revoke nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    grounds: Grounds,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// One token and everything delegated from it, by its id
    #[arg(long)]
    jti: Option<Jti>,
    /// The same, by a file that holds the token; `-` for standard input
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// All tokens of a client
    #[arg(long, value_name = "TENANT/NAME")]
    client: Option<QualifiedName>,
    /// All tokens about a subject
    #[arg(long, value_name = "TENANT/SUB")]
    sub: Option<Subject>,
    /// All tokens of a tenant
    #[arg(long)]
    tenant: Option<String>,
    /// All tokens minted with one version of a master credential, which stops working as well
    #[arg(long, value_name = "TENANT/NAME@VERSION")]
    cred: Option<Credential>,
    /// Everything that a key has signed or will sign
    #[arg(long, allow_hyphen_values = true)]
    kid: Option<Kid>,
    /// Every token of everybody
    #[arg(long)]
    all: bool,
}

/// Why, for the audit log, and what to wait for.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Grounds {
    /// Why, for the audit log
    #[arg(long, default_value = "other")]
    reason: Reason,
    /// The same in your own words
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// Wait up to so many seconds (30 at most) until every connected gateway enforces it
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
        let stdin = Some(Path::new("-"));
        let secret = self.remote.connection.client_secret_file.as_deref();
        if secret == stdin && self.target.token_file.as_deref() == stdin {
            let why = "standard input cannot be both the token and the client's secret";
            return Err(Failure::Usage(why.to_owned()));
        }
        let (api, printer) = self.remote.open()?;
        let Target { jti, token_file, client, sub, tenant, cred, kid, all } = self.target;
        let jti = jti
            .map_or_else(|| token_file.as_deref().map(of_file).transpose(), |jti| Ok(Some(jti)))?;
        let (all, before) = (all.then_some(true), self.before.map(Moment::seconds));
        let selector = Selector { jti, client, sub, tenant, cred, kid, all, before };
        if !self.dry_run {
            return revoke(&api, printer, &selector, &self.grounds).await;
        }
        let reply = ask(&api, &selector, &self.grounds, true).await?;
        printer.record(&reply, PREVIEW)
    }
}

/// The id of the token in a file. Nothing of it is proved: who holds the token can revoke it only as
/// far as they could by its id.
fn of_file(path: &Path) -> Result<Jti, Failure> {
    let text = input::read(path, MAX_TOKEN_BYTES + 2)?;
    let claims = unproved(text.trim_ascii().as_bytes());
    let no_token = || Failure::Usage(format!("{}: this is no token of Scrip", path.display()));
    Ok(claims.ok_or_else(no_token)?.jti)
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

/// Shows a revocation with the gateways that enforce it, those that do not, and what it comes to.
pub(super) fn show(printer: Printer, revocation: &Reply) -> Result<(), Failure> {
    printer.record(revocation, RECORD)?;
    let revocation = revocation.json()?;
    if revocation["known"] == false {
        eprintln!("scrip: warning: nothing of this name is on record here");
    }
    if printer.json {
        return Ok(());
    }
    if revocation["epoch"].is_null() {
        return Ok(writeln!(io::stdout(), "\nIt had expired before: nobody accepts it.")?);
    }
    let enforced = &revocation["enforced"];
    writeln!(io::stdout())?;
    if enforced["verifiers"].as_array().is_some_and(|verifiers| !verifiers.is_empty()) {
        printer.table(&enforced["verifiers"], RECEIPTS)?;
        writeln!(io::stdout())?;
    }
    Ok(writeln!(io::stdout(), "{}", verdict(enforced))?)
}

/// Who refuses it, and since or from when, in a sentence or two.
fn verdict(enforced: &Value) -> String {
    let by = cell(enforced.get("by"));
    let is = |member: &str| enforced[member] == true;
    let known = match &enforced["verifiers"] {
        _ if is("all") && !is("strangers") => {
            return format!("Every gateway refuses it since {by}.");
        }
        _ if is("all") => "Every gateway that acknowledges refuses it.",
        Value::Array(verifiers) if verifiers.is_empty() => "No gateway has acknowledged it.",
        _ => "Not every gateway has acknowledged it.",
    };
    if !is("strangers") {
        return format!("{known} Those that have not refuse it from {by} on.");
    }
    let others = "Others may verify without acknowledging (JWKS, mirror, feed without --verifier):";
    match &enforced["by"] {
        Value::Null => format!("{known} {others} they accept it until they fetch the keys anew."),
        _ => format!("{known} {others} nobody accepts it from {by} on, when it has expired."),
    }
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
    ("unspent budget", "/budget_outstanding"),
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
    ("expired by", "/until"),
    ("on record", "/known"),
];

const RECEIPTS: &[Column] = &[
    ("CLIENT", "/client"),
    ("VERIFIER", "/verifier"),
    ("ENFORCES SINCE", "/since"),
    ("BEHIND", "/behind"),
    ("REFUSES FROM", "/refuses_by"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_verdict_says_who_refuses_and_from_when() {
        let by = "2026-11-18T11:07:20Z";
        let said = |all: bool, strangers: bool, by: Value, verifiers: Value| {
            verdict(&json!({"all": all, "strangers": strangers, "by": by, "verifiers": verifiers}))
        };
        let (some, by) = (json!([{}]), json!(by));
        let others =
            "Others may verify without acknowledging (JWKS, mirror, feed without --verifier):";
        for (said, expected) in [
            (said(true, false, by.clone(), some.clone()), "Every gateway refuses it since 2026-11-18T11:07:20Z.".to_owned()),
            (said(true, false, by.clone(), json!([])), "Every gateway refuses it since 2026-11-18T11:07:20Z.".to_owned()),
            (said(false, false, by.clone(), some.clone()), "Not every gateway has acknowledged it. Those that have not refuse it from 2026-11-18T11:07:20Z on.".to_owned()),
            (said(true, true, by.clone(), some.clone()), format!("Every gateway that acknowledges refuses it. {others} nobody accepts it from 2026-11-18T11:07:20Z on, when it has expired.")),
            (said(false, true, by, json!([])), format!("No gateway has acknowledged it. {others} nobody accepts it from 2026-11-18T11:07:20Z on, when it has expired.")),
            (said(false, true, Value::Null, some), format!("Not every gateway has acknowledged it. {others} they accept it until they fetch the keys anew.")),
        ] {
            assert_eq!(said, expected);
        }
    }
}
