//! One place that serves the feed over HTTP. Answers are bounded in size and time, and nothing in
//! them is believed.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};
use scrip_token::deny::{MAX_BATCH_BYTES, MAX_SIGN_OF_LIFE_BYTES};
use scrip_token::jwk::MAX_SET_BYTES;
use scrip_token::keys::MAX_KEYS_BYTES;
use scrip_token::{Digest, Jti};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::form_urlencoded::byte_serialize;
use url::{Host, Url};

use crate::signed::{Unproven, jws_bytes};
use crate::sse::{Event, EventError, Events};

/// Paths that a copy in files has too.
pub(crate) const KEYS: &str = "/.well-known/scrip-keys";
pub(crate) const KEYS_VERSIONS: &str = "/.well-known/scrip-keys-versions";
pub(crate) const MANIFEST: &str = "/v1/deny/snapshot";
pub(crate) const BLOBS: &str = "/v1/deny/blobs";

const CONNECT: Duration = Duration::from_secs(2);
pub(crate) const REQUEST: Duration = Duration::from_secs(5);
const BLOB: Duration = Duration::from_secs(60);
/// Largest blob that is fetched: three million tokens revoked at one time.
const MAX_BLOB_BYTES: u64 = 64 << 20;
/// Largest reply with batches; a longer range is what snapshots are for.
const MAX_RANGE_BYTES: usize = 32 << 20;
/// Longest `ETag` that is sent back.
const MAX_TAG_BYTES: usize = 256;
/// Most batches of one reply.
const MAX_RANGE: usize = 256;

/// How the feed's endpoints are opened. Keys are public and asked for without it.
#[derive(Clone)]
pub enum Credential {
    /// HTTP Basic with the credential of an `embedded` client (RFC 6749 section 2.3.1).
    Basic {
        /// `<tenant>/<client>`.
        id: String,
        /// Its master credential.
        secret: SecretString,
    },
    /// A token with the scope `scrip:feed`, asked for before each request.
    Token(TokenSource),
}

/// Yields a token that is good now, or `None` where there is none to be had. It bounds its own
/// time; five seconds of waiting count as `None`.
pub type TokenSource = Arc<dyn Fn() -> BoxFuture<'static, Option<SecretString>> + Send + Sync>;

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { id, .. } => write!(f, "Basic({id})"),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

/// A client that follows no redirect, uses no proxy, and trusts `ca` beside the platform's roots.
pub(crate) fn client(ca: Option<&[u8]>) -> Result<Client, reqwest::Error> {
    let certificates = ca.map(Certificate::from_pem_bundle).transpose()?.unwrap_or_default();
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .tls_certs_merge(certificates)
        .build()
}

/// Whether credentials and a first contact may travel to `url`: TLS, or this very machine.
pub(crate) fn is_private(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

/// One origin of the feed.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) base: Url,
    pub(crate) http: Client,
    pub(crate) credential: Option<Credential>,
    /// Whether it serves copies, and may be anybody.
    pub(crate) is_mirror: bool,
    /// The name under which is acknowledged what is read there.
    pub(crate) verifier: Option<String>,
}

/// Batches after a number, `GET /v1/deny/batches`.
#[derive(Debug, Deserialize)]
pub(crate) struct Range {
    pub(crate) batches: Vec<String>,
    #[serde(default)]
    pub(crate) heartbeat: Option<String>,
    pub(crate) more: bool,
}

/// Why an origin gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// No connection, no answer in time, or an answer that broke off.
    #[error("{0}")]
    Transport(String),
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// The origin has nothing there, which is how one is told that serves files only.
    #[error("the origin has nothing there")]
    Absent,
    /// 410: the origin does not have, or no longer has, what was asked for. A hint only.
    #[error("the origin does not have that range")]
    Gone,
    /// More bytes than the answer may have.
    #[error("answer is longer than {0} bytes")]
    TooLong(usize),
    /// Not an answer of this protocol: a login page, a truncated body.
    #[error("not an answer of this protocol: {0}")]
    Protocol(String),
    /// The credential source had no token.
    #[error("no token for the feed")]
    Credential,
    /// Three heartbeats were missed.
    #[error("no sign of life")]
    Silent,
    /// The origin does not have what its own signs of life promise.
    #[error("the origin promises more than it serves")]
    Unfilled,
}

impl Origin {
    /// The keys document, of `version` or the newest.
    pub(crate) async fn keys(&self, version: Option<u64>) -> Result<String, Fault> {
        let mut url = self.url(KEYS);
        if let Some(version) = version {
            url.query_pairs_mut().append_pair("version", &version.to_string());
        }
        let request = self.http.get(url).timeout(REQUEST).header(CACHE_CONTROL, "no-cache");
        text(ok(request).await?, jws_bytes(MAX_KEYS_BYTES)).await
    }

    /// The keys document of `version` where documents are files.
    pub(crate) async fn keys_file(&self, version: u64) -> Result<String, Fault> {
        let url = self.url(&format!("{KEYS_VERSIONS}/{version}"));
        text(ok(self.http.get(url).timeout(REQUEST)).await?, jws_bytes(MAX_KEYS_BYTES)).await
    }

    /// The newest manifest.
    pub(crate) async fn manifest(&self) -> Result<String, Fault> {
        let request = self.authorized(self.http.get(self.url(MANIFEST))).await?;
        text(ok(request.timeout(REQUEST)).await?, jws_bytes(MAX_SIGN_OF_LIFE_BYTES)).await
    }

    /// The newest manifest, unless it is still the one that `tag` stands for (RFC 9110 section
    /// 13.1.2).
    pub(crate) async fn changed_manifest(
        &self,
        tag: &mut Option<HeaderValue>,
    ) -> Result<Option<String>, Fault> {
        let mut request = self.http.get(self.url(MANIFEST));
        if let Some(tag) = tag.as_ref() {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let response = match ok(self.authorized(request).await?.timeout(REQUEST)).await {
            Err(Fault::Status(304)) => return Ok(None),
            response => response?,
        };
        *tag = response.headers().get(ETAG).filter(|tag| tag.len() <= MAX_TAG_BYTES).cloned();
        Ok(Some(text(response, jws_bytes(MAX_SIGN_OF_LIFE_BYTES)).await?))
    }

    /// The blob of a manifest, by digest; `size` is what the manifest promises.
    pub(crate) async fn blob(&self, sha256: Digest, size: u64) -> Result<Vec<u8>, Fault> {
        let most = usize::try_from(size.min(MAX_BLOB_BYTES)).unwrap_or(usize::MAX);
        let url = self.url(&format!("{BLOBS}/{sha256}"));
        body(ok(self.authorized(self.http.get(url)).await?.timeout(BLOB)).await?, most).await
    }

    /// Batches after `after`; with `wait`, as soon as there is one, or empty after that long.
    pub(crate) async fn batches(
        &self,
        epoch: Jti,
        after: u64,
        wait: Option<Duration>,
    ) -> Result<Range, Fault> {
        let mut url = self.url("/v1/deny/batches");
        url.query_pairs_mut()
            .append_pair("epoch", &epoch.to_string())
            .append_pair("after", &after.to_string());
        let mut request = self.authorized(self.http.get(url)).await?;
        if let Some(wait) = wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        let request = request.timeout(REQUEST + wait.unwrap_or_default());
        let response = match ok(request).await {
            // Some file servers answer 403 for what is not there.
            Err(Fault::Status(401 | 403)) if self.credential.is_none() => Err(Fault::Absent),
            response => response,
        };
        let bytes = body(response?, MAX_RANGE_BYTES).await?;
        let range: Range = serde_json::from_slice(&bytes)
            .map_err(|_| Fault::protocol("not a range of batches"))?;
        if range.batches.len() > MAX_RANGE {
            return Err(Fault::protocol("too many batches"));
        }
        Ok(range)
    }

    /// The live stream, from the batch after `seq` on.
    pub(crate) async fn stream(&self, epoch: Jti, seq: u64) -> Result<Stream, Fault> {
        let request = self
            .authorized(self.http.get(self.url("/v1/deny/stream")))
            .await?
            .header(ACCEPT, "text/event-stream")
            .header("last-event-id", format!("{epoch}:{seq}"));
        // A stream has no end, so the request has no timeout; its head has one, and whoever reads
        // the events counts heartbeats.
        let response = tokio::time::timeout(REQUEST, ok(request)).await;
        let response = response.map_err(|_| Fault::Silent)??;
        Ok(Stream { response, events: Events::new(jws_bytes(MAX_BATCH_BYTES)) })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Says what is enforced here. Only the status of the answer is read.
    pub(crate) async fn acknowledge(&self, ack: &impl Serialize) -> Result<(), Fault> {
        if self.credential.is_none() {
            // Without a credential it would be nobody's word.
            return Err(Fault::Absent);
        }
        let request = self.authorized(self.http.post(self.url("/v1/deny/acks"))).await?;
        match ok(request.json(ack).timeout(REQUEST)).await {
            Err(Fault::Status(204)) => Ok(()),
            Err(Fault::Status(405 | 501)) => Err(Fault::Absent),
            Err(fault) => Err(fault),
            Ok(_) => Err(Fault::protocol("an acknowledgement is answered with 204")),
        }
    }

    async fn authorized(&self, mut request: RequestBuilder) -> Result<RequestBuilder, Fault> {
        if let Some(verifier) = &self.verifier {
            request = request.header("x-scrip-verifier", verifier);
        }
        match &self.credential {
            None => Ok(request),
            Some(Credential::Basic { id, secret }) => {
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let secret = SecretString::from(encode(secret.expose_secret()));
                Ok(request.basic_auth(encode(id), Some(secret.expose_secret())))
            }
            Some(Credential::Token(source)) => {
                match tokio::time::timeout(REQUEST, source()).await {
                    Ok(Some(token)) => Ok(request.bearer_auth(token.expose_secret())),
                    Ok(None) | Err(_) => Err(Fault::Credential),
                }
            }
        }
    }
}

/// A plain JWK set, and for how long it may be kept (RFC 9111 section 5.2.2.1).
pub(crate) async fn jwks(http: &Client, url: &Url) -> Result<(Vec<u8>, Option<Duration>), Fault> {
    let response = ok(http.get(url.clone()).timeout(REQUEST)).await?;
    let max_age = response.headers().get(CACHE_CONTROL).and_then(|value| {
        let mut directives = value.to_str().ok()?.split(',');
        let seconds = directives.find_map(|directive| directive.trim().strip_prefix("max-age="))?;
        seconds.parse().ok().map(Duration::from_secs)
    });
    Ok((body(response, MAX_SET_BYTES).await?, max_age))
}

/// A live stream of events.
#[derive(Debug)]
pub(crate) struct Stream {
    response: Response,
    events: Events,
}

impl Stream {
    /// The next event; `None` where the stream ends between two events or within one. Cancelling
    /// loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if let Some(event) = self.events.next()? {
                return Ok(Some(event));
            }
            match self.response.chunk().await? {
                Some(chunk) => self.events.push(&chunk),
                None => return Ok(None),
            }
        }
    }
}

async fn ok(request: RequestBuilder) -> Result<Response, Fault> {
    let response = request.send().await?;
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::GONE => Err(Fault::Gone),
        StatusCode::NOT_FOUND => Err(Fault::Absent),
        status => Err(Fault::Status(status.as_u16())),
    }
}

async fn text(response: Response, most: usize) -> Result<String, Fault> {
    let bytes = body(response, most).await?;
    String::from_utf8(bytes).map_err(|_| Fault::protocol("not text"))
}

async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > most {
            return Err(Fault::TooLong(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

impl Fault {
    pub(crate) fn protocol(reason: impl fmt::Display) -> Self {
        Self::Protocol(reason.to_string())
    }
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut causes = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self::Transport(causes.join(": "))
    }
}

impl From<Unproven> for Fault {
    fn from(error: Unproven) -> Self {
        Self::protocol(error)
    }
}

impl From<EventError> for Fault {
    fn from(error: EventError) -> Self {
        Self::protocol(error)
    }
}
