//! One request to Vault and its answer: bounded in time and size, never redirected.

use std::{error::Error, fs, time::Duration};

use reqwest::{
    Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    redirect,
};
use rustify::{endpoint::Endpoint, enums::RequestMethod};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{InvalidSettings, Reason, Settings};

/// Longest that connecting may take, and longest from the first byte sent to the last received.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer that is read.
pub const MAX_BODY_BYTES: usize = 1 << 20;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

pub(super) struct Transport {
    http: Client,
    addr: Url,
    namespace: Option<HeaderValue>,
}

impl Transport {
    /// The certificate of an `https` address is always checked: no setting and no variable of the
    /// environment turns that off.
    pub(super) fn new(settings: &Settings) -> Result<Self, InvalidSettings> {
        let addr = settings.addr.clone();
        let bare = addr.username().is_empty()
            && addr.password().is_none()
            && addr.query().is_none()
            && addr.fragment().is_none();
        if !matches!(addr.scheme(), "http" | "https") || addr.host().is_none() || !bare {
            return Err(InvalidSettings::Address);
        }
        let namespace = match &settings.namespace {
            Some(name) => {
                Some(HeaderValue::from_str(name).map_err(|_| InvalidSettings::Namespace)?)
            }
            None => None,
        };
        let mut http = Client::builder()
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            // A compressed answer is as large as its sender likes.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        if let Some(path) = &settings.ca {
            let pem = fs::read(path)
                .map_err(|source| InvalidSettings::CaFile { path: path.clone(), source })?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| InvalidSettings::Ca { path: path.clone() })?;
            http = http.tls_certs_only(certificates);
        }
        let http = http.build().map_err(|error| InvalidSettings::Http(chain(&error)))?;
        Ok(Self { http, addr, namespace })
    }

    /// Sends what `endpoint` describes. Answers of 2xx, 400, 403 and 404 are for the caller to
    /// judge.
    ///
    /// # Errors
    /// Any other status, and no answer at all.
    pub(super) async fn send<E: Endpoint>(
        &self,
        endpoint: &E,
        token: Option<&SecretString>,
    ) -> Result<Reply, Reason> {
        let response = self.request(endpoint, token)?.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = read(response).await?;
        let reply = Reply { status, body };
        match status.as_u16() {
            200..=299 | 400 | 403 | 404 => Ok(reply),
            _ => Err(reply.refusal()),
        }
    }

    fn request<E: Endpoint>(
        &self,
        endpoint: &E,
        token: Option<&SecretString>,
    ) -> Result<RequestBuilder, Reason> {
        let mut url = self.addr.clone();
        let path = endpoint.path();
        url.path_segments_mut()
            .map_err(|()| Reason::Unsendable)?
            .pop_if_empty()
            .push("v1")
            // Some of vaultrs' paths begin with a slash, one with a tab; a prefix may be empty.
            .extend(path.split('/').map(str::trim).filter(|segment| !segment.is_empty()));
        url.set_query(endpoint.query().map_err(|_| Reason::Unsendable)?.as_deref());
        let method = match endpoint.method() {
            RequestMethod::GET => Method::GET,
            RequestMethod::POST => Method::POST,
            RequestMethod::LIST => Method::from_bytes(b"LIST").map_err(|_| Reason::Unsendable)?,
            _ => return Err(Reason::Unsendable),
        };
        let mut request = self.http.request(method, url).header(REQUEST, "true");
        if let Some(body) = endpoint.body().map_err(|_| Reason::Unsendable)? {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header(NAMESPACE, namespace);
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.expose_secret())
                .map_err(|_| Reason::Login("the token is not one line of text"))?;
            // Keeps it out of the HTTP library's own traces.
            value.set_sensitive(true);
            request = request.header(TOKEN, value);
        }
        Ok(request)
    }
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    body: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// The `data` or the `auth` member of Vault's envelope.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Reason> {
        if !self.status.is_success() {
            return Err(self.refusal());
        }
        // The parser's error would quote what it stumbled over.
        serde_json::from_slice(&self.body).map_err(|_| Reason::Unreadable)
    }

    pub(super) fn refusal(&self) -> Reason {
        Reason::Refused { status: self.status.as_u16(), said: self.said() }
    }

    /// What Vault said, when it is one of the sentences known to be harmless: any other text might
    /// repeat what was sent.
    pub(super) fn said(&self) -> Option<&'static str> {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<String>,
        }
        let errors = serde_json::from_slice::<Errors>(&self.body).ok()?.errors;
        HARMLESS.into_iter().find(|sentence| errors.iter().any(|error| error.contains(sentence)))
    }
}

pub(super) const LOST: &str = "check-and-set parameter did not match the current version";

const HARMLESS: [&str; 10] = [
    LOST,
    "permission denied",
    "invalid token",
    "Vault is sealed",
    "Vault is not initialized",
    "invalid role or secret ID",
    "invalid role ID",
    "invalid secret id",
    "no handler for route",
    "Client sent an HTTP request to an HTTPS server",
];

async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let announced = response.content_length().unwrap_or(0);
    if announced > MAX_BODY_BYTES as u64 {
        return Err(Reason::TooLarge);
    }
    // Room for all of it at once where its size is known: growing would leave copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(announced.max(4096) as usize));
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Reason::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> Reason {
    if error.is_timeout() {
        return Reason::TimedOut;
    }
    Reason::Unreachable(chain(&error.without_url()))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
