//! `scrip token verify`: judges tokens here, without asking the service about them.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use scrip_token::compact::Compact;
use scrip_token::jwk::{KeySet, MAX_SET_BYTES};
use scrip_token::keys::{MAX_KEYS_BYTES, PublishedKeys};
use scrip_token::limits::MAX_TOKEN_BYTES;
use scrip_token::{Claims, Jti};
use scrip_verify::{
    Address, Asked, DenySet, Derived, Freshness, Information, Issuer, Keys, Model, Presented,
    Proof, Rejection, Size, Trust, Verifier,
};
use serde::Serialize;

use super::connection::{self, Connection};
use super::failure::Failure;
use super::follow::{LocalCopy, follow};
use super::print::{Printer, plain};
use super::{Remote, explain, http, input};
use crate::clock;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File with the token, `-` for standard input
    #[arg(long, value_name = "PATH", default_value = "-", conflicts_with = "follow")]
    token_file: PathBuf,
    /// File with the issuer's JWKS [default: the keys that the issuer publishes]
    #[arg(long, value_name = "PATH", conflicts_with = "follow")]
    jwks: Option<PathBuf>,
    #[command(flatten)]
    expected: Expected,
    /// Keep up with the deny list and judge tokens from standard input, one JSON verdict a line
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    copy: LocalCopy,
}

/// What a gateway would expect and be asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Expected {
    /// The gateway's audience [default: not compared]
    #[arg(long)]
    pub(super) audience: Option<String>,
    /// The gateway's environment [default: not compared]
    #[arg(long)]
    pub(super) env: Option<String>,
    /// The scope that a request needs [default: no request is judged]
    #[arg(long)]
    pub(super) scope: Option<String>,
    /// The model that the request names
    #[arg(long, requires = "scope")]
    model: Option<String>,
    /// Where the request comes from
    #[arg(long, value_name = "IP", requires = "scope")]
    address: Option<IpAddr>,
    /// The most LLM tokens that the request can cost
    #[arg(long, value_name = "N", requires = "scope")]
    request_tokens: Option<u64>,
}

/// What came of a token.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// As the token has it, proved or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Jti>,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Up to when every revocation is known, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<u64>,
    /// How old the deny list is, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
}

impl Verdict {
    pub(super) fn new(
        jti: Option<Jti>,
        outcome: Result<(), Rejection>,
        as_of: Option<u64>,
        age: Option<u64>,
    ) -> Self {
        let rejection = outcome.err();
        Self {
            jti,
            accepted: rejection.is_none(),
            reason: rejection.as_ref().map(Rejection::code),
            detail: rejection.map(|rejection| rejection.to_string()),
            as_of,
            age,
        }
    }
}

impl Args {
    pub(super) async fn run(self, remote: Remote) -> Result<(), Failure> {
        if self.follow {
            return follow(remote.connection, self.expected, self.copy).await;
        }
        let token = input::read(&self.token_file, MAX_TOKEN_BYTES + 2)?;
        let token = token.trim_end_matches(['\r', '\n']).as_bytes();
        if token.is_empty() {
            return Err(Failure::Usage(format!(
                "{}: there is no token",
                self.token_file.display()
            )));
        }
        let issuer = issuer(&remote.connection, self.jwks.as_deref()).await?;
        let now = clock::now_seconds();
        let claims = unproved(token);
        let trust = Trust::one(&issuer, Information::Unfollowed);
        let asked = (Freshness::default(), now);
        let outcome = self.expected.judge(token, claims.as_ref(), asked, &trust);
        self.tell(remote.printer, claims.as_ref(), outcome, now)
    }

    fn tell(
        &self,
        printer: Printer,
        claims: Option<&Claims>,
        outcome: Result<(), Rejection>,
        now: u64,
    ) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Explained<'c> {
            #[serde(flatten)]
            verdict: &'c Verdict,
            claims: Option<&'c Claims>,
        }
        let jti = claims.map(|claims| claims.jti);
        let verdict = Verdict::new(jti, outcome, None, None);
        let mut out = io::stdout().lock();
        if printer.json {
            let explained = Explained { verdict: &verdict, claims };
            writeln!(out, "{}", serde_json::to_string(&explained).map_err(io::Error::from)?)?;
        } else if let Some(claims) = claims {
            writeln!(out, "{}\n", explain::table(claims, now))?;
        }
        if let Some((reason, detail)) = verdict.reason.zip(verdict.detail) {
            let detail = plain(&detail);
            return Err(Failure::Rejected(format!("the token is refused: {reason}: {detail}")));
        }
        if !printer.json {
            writeln!(out, "accepted; {}", self.expected.left_out())?;
        }
        Ok(())
    }
}

impl Expected {
    /// Judges a token. `claims` are what it says of itself: they fill in for an audience and an
    /// environment that are not to be compared.
    pub(super) fn judge(
        &self,
        token: &[u8],
        claims: Option<&Claims>,
        (freshness, now): (Freshness, u64),
        trust: &Trust<'_>,
    ) -> Result<(), Rejection> {
        let own = |claim: fn(&Claims) -> &String| claims.map_or("", |claims| claim(claims));
        let audience = self.audience.as_deref().unwrap_or_else(|| own(|claims| &claims.aud));
        let env = self.env.as_deref().unwrap_or_else(|| own(|claims| &claims.env));
        let verifier = Verifier::new(audience, env).freshness(freshness);
        let Some(scope) = &self.scope else {
            return verifier.authenticate(token, now, trust).map(drop);
        };
        let asked = Asked {
            scope,
            model: self.model.as_deref().map_or(Model::None, Model::Named),
            size: self.request_tokens.map_or(Size::Unknown, Size::Known),
        };
        let address = self.address.map_or(Address::Unknown, |ip| Address::Known(ip, Derived::Peer));
        let presented = Presented { token, now, address, asked, proof: Proof::None };
        verifier.verify(&presented, trust).map(drop)
    }

    /// What an acceptance does not say.
    fn left_out(&self) -> String {
        let mut left_out = vec!["whether it is revoked (--follow)"];
        if self.audience.is_none() {
            left_out.push("for whom it is (--audience)");
        }
        if self.env.is_none() {
            left_out.push("its environment (--env)");
        }
        if self.scope.is_none() {
            left_out.push("what it permits (--scope)");
        }
        format!("not judged: {}", left_out.join(", "))
    }
}

/// What a token says of itself; nothing of it is proved.
pub(super) fn unproved(token: &[u8]) -> Option<Claims> {
    Claims::parse(&Compact::parse(token, MAX_TOKEN_BYTES).ok()?.payload).ok()
}

/// The issuer with its keys, from a file or as it publishes them.
async fn issuer(connection: &Connection, jwks: Option<&Path>) -> Result<Issuer, Failure> {
    let url = connection.url()?;
    let keys = match jwks {
        Some(file) => KeySet::parse(input::read(file, MAX_SET_BYTES)?.as_bytes())
            .map_err(|error| Failure::Rejected(format!("no token can be judged: {error}")))?,
        None => published_keys(url).await?,
    };
    Ok(Issuer::new(url.as_str(), Keys::from(keys), DenySet::default()))
}

/// From the keys document, believed as far as the connection is: whoever reads the JWKS counts for a
/// week as a gateway that revocations do not reach, and here somebody only looks at a token.
async fn published_keys(issuer: &connection::Issuer) -> Result<KeySet, Failure> {
    let document = http::client()?.get(issuer.at("/.well-known/scrip-keys"));
    let document = http::exchange(document).await?.into_body();
    let keys = Compact::parse(&document, 2 * MAX_KEYS_BYTES)
        .ok()
        .and_then(|jws| PublishedKeys::parse(&jws.payload).ok())
        .ok_or_else(|| {
            Failure::Unreachable("no keys document: is this the URL of Scrip?".into())
        })?;
    if keys.iss != issuer.as_str() {
        let named = plain(&keys.iss);
        return Err(Failure::Rejected(format!("{} calls itself {named}", issuer.as_str())));
    }
    Ok(keys.token_keys)
}

#[cfg(test)]
mod tests;
