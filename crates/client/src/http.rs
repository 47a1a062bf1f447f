//! Outgoing HTTP with every bound in place: time, size, no redirect, no proxy, no plaintext beyond
//! this machine.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Certificate, RequestBuilder, StatusCode};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::builder::BuildError;
use crate::error::ClientError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REPLY_BYTES: usize = 64 * 1024;
/// However long a server asks to be left alone: a wrong header must not end the renewal.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

pub(crate) struct Peer {
    name: &'static str,
    client: reqwest::Client,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Peer {
    /// Trusts `ca` alone where it is given, else what the machine trusts.
    pub(crate) fn new(
        name: &'static str,
        address: &Url,
        ca: Option<&Path>,
    ) -> Result<Self, BuildError> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("scrip-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .redirect(Policy::none())
            .https_only(address.scheme() == "https")
            .no_proxy();
        let client = match ca {
            Some(path) => client.tls_certs_only(read_ca(name, path)?),
            // Plain HTTP on this machine: nothing needs trusting, and a bare container has no
            // certificates to load.
            None if address.scheme() == "http" => client.tls_certs_only([]),
            None => client,
        };
        let client = client.build().map_err(|error| BuildError::Tls(name, chain(&error)))?;
        Ok(Self { name, client })
    }

    pub(crate) fn get(&self, url: &Url) -> RequestBuilder {
        self.client.get(url.clone())
    }

    pub(crate) fn post(&self, url: &Url) -> RequestBuilder {
        self.client.post(url.clone())
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Reply, ClientError> {
        let mut response = request.send().await.map_err(|error| self.lost(error))?;
        let too_long = || self.away("the answer is longer than 64 KiB".to_owned(), None);
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(error))? {
            if body.len() + chunk.len() > MAX_REPLY_BYTES {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status: response.status(), retry_after, body })
    }

    pub(crate) fn away(&self, reason: String, retry_after: Option<Duration>) -> ClientError {
        ClientError::Away { peer: self.name, reason, retry_after }
    }

    fn lost(&self, error: reqwest::Error) -> ClientError {
        self.away(chain(&error.without_url()), None)
    }
}

/// Reads a base address: https, or http to this machine; no credentials, query or fragment.
pub(crate) fn address(what: &'static str, text: &str) -> Result<Url, BuildError> {
    let bad = |reason| BuildError::Address(what, reason);
    let url = Url::parse(text).map_err(|_| bad("is not a URL"))?;
    let secure = match url.scheme() {
        "https" => true,
        "http" => match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        },
        _ => false,
    };
    if !secure {
        return Err(bad("must be https (http only to this machine)"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not carry credentials"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("must have neither query nor fragment"));
    }
    Ok(url)
}

fn read_ca(name: &'static str, path: &Path) -> Result<Vec<Certificate>, BuildError> {
    let pem = std::fs::read(path)
        .map_err(|error| BuildError::Tls(name, format!("{}: {error}", path.display())))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(BuildError::Tls(name, format!("{}: no certificate in PEM", path.display()))),
    }
}

/// An error and its causes on one line: reqwest's own text ends before the interesting part.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
