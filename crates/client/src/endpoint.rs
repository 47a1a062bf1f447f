use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use scrip_token::limits::{MAX_LIFETIME, MAX_TOKEN_BYTES};
use scrip_token::{Jti, QualifiedName, json};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use crate::clock::{self, Moment};
use crate::credential::Credential;
use crate::error::{ClientError, Refusal};
use crate::http::{Peer, Reply};
use crate::random;
use crate::token::{Minted, Token};

/// How long retries use one idempotency key: a token that a later retry brought back would be old.
const KEY_LIFE: Duration = Duration::from_secs(60);

/// The token endpoint of one issuer, and the one request that is made there.
pub(crate) struct Endpoint {
    peer: Peer,
    metadata: Url,
    form: String,
    issuer: String,
    credential: Credential,
    client: QualifiedName,
    /// Discovered; forgotten when something unexpected answers.
    url: Option<Url>,
    /// Set while nobody knows whether the service has minted.
    unsettled: Option<IdempotencyKey>,
}

struct IdempotencyKey {
    text: String,
    since: Instant,
}

impl Endpoint {
    pub(crate) fn new(
        peer: Peer,
        metadata: Url,
        form: String,
        issuer: String,
        credential: Credential,
        client: QualifiedName,
    ) -> Self {
        Self { peer, metadata, form, issuer, credential, client, url: None, unsettled: None }
    }

    /// One attempt at a token, and a second one where the master credential was refused and there
    /// is another one by now.
    pub(crate) async fn mint(&mut self) -> Result<Token, ClientError> {
        let secret = self.credential.current().await?;
        let outcome = self.ask(&secret).await;
        if !outcome.as_ref().is_err_and(ClientError::is_invalid_client) {
            return outcome;
        }
        match self.credential.instead_of(&secret).await {
            Some(secret) => self.ask(&secret).await,
            None => outcome,
        }
    }

    async fn ask(&mut self, secret: &SecretString) -> Result<Token, ClientError> {
        let url = self.discover().await?;
        let asked = clock::now();
        // RFC 6749 section 2.3.1: both halves are form-encoded before they are Basic-encoded.
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let id: String = encode(self.client.as_str());
        let password: Zeroizing<String> = Zeroizing::new(encode(secret.expose_secret()));
        let mut request = self
            .peer
            .post(&url)
            .basic_auth(id, Some(password.as_str()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(self.form.clone());
        if let Some(key) = self.key(asked.monotonic) {
            request = request.header("Idempotency-Key", key);
        }
        let outcome = match self.peer.send(request).await {
            Ok(reply) => self.read(&reply, asked),
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(_) | Err(ClientError::Refused(_) | ClientError::NotYet { .. }) => {
                self.unsettled = None;
            }
            Err(_) => self.url = None,
        }
        outcome
    }

    /// RFC 8414 section 3. The credential goes nowhere but to the issuer's own origin.
    async fn discover(&mut self) -> Result<Url, ClientError> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let Reply { status, retry_after, body } =
            self.peer.send(self.peer.get(&self.metadata)).await?;
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(self.overloaded(status, retry_after));
        }
        if status != StatusCode::OK {
            return Err(ClientError::Malformed("there is no metadata document (RFC 8414)"));
        }
        let metadata: Metadata = json::read(&body)
            .map_err(|_| ClientError::Malformed("the metadata document is not RFC 8414's"))?;
        if metadata.issuer != self.issuer {
            return Err(ClientError::Malformed("the metadata document names another issuer"));
        }
        match Url::parse(&metadata.token_endpoint) {
            Ok(url) if url.origin() == self.metadata.origin() => {
                self.url = Some(url.clone());
                Ok(url)
            }
            _ => Err(ClientError::Malformed("the token endpoint is not at the issuer's origin")),
        }
    }

    /// The same key for each retry of one mint, so that an answer lost on the way costs nothing.
    fn key(&mut self, now: Instant) -> Option<&str> {
        if self.unsettled.as_ref().is_none_or(|key| now >= key.since + KEY_LIFE) {
            // Without randomness there is no key, and a retry may mint twice: better than no token.
            self.unsettled = random::bytes().ok().map(|bytes| IdempotencyKey {
                text: format!("{:032x}", u128::from_be_bytes(bytes)),
                since: now,
            });
        }
        self.unsettled.as_ref().map(|key| key.text.as_str())
    }

    fn read(&mut self, reply: &Reply, asked: Moment) -> Result<Token, ClientError> {
        let status = reply.status;
        if status == StatusCode::OK {
            return granted(&reply.body, asked);
        }
        if status.is_server_error() {
            return Err(self.overloaded(status, reply.retry_after));
        }
        if status == StatusCode::CONFLICT {
            // The token of the answer that was lost has ended since: the next attempt mints a new
            // one.
            self.unsettled = None;
            return Err(self.peer.away("the lost answer cannot be repeated".to_owned(), None));
        }
        let refusal = json::read(&reply.body).map(|error: ErrorReply| Refusal {
            status: status.as_u16(),
            error: printable(&error.error),
            description: printable(&error.error_description),
            request_id: printable(&error.request_id),
        });
        Err(match refusal {
            Ok(refusal) if status == StatusCode::TOO_MANY_REQUESTS => {
                ClientError::NotYet { refusal, retry_after: reply.retry_after }
            }
            Ok(refusal) if status.is_client_error() => ClientError::Refused(refusal),
            // Not said by the service, but by a proxy in front of it.
            _ if status == StatusCode::TOO_MANY_REQUESTS => {
                self.overloaded(status, reply.retry_after)
            }
            _ => ClientError::Malformed("the token endpoint's answer is not RFC 6749's"),
        })
    }

    fn overloaded(&self, status: StatusCode, retry_after: Option<Duration>) -> ClientError {
        self.peer.away(format!("it answered {}", status.as_u16()), retry_after)
    }
}

/// RFC 6749 section 5.1. The reason is a constant: a parser's would quote the token.
fn granted(body: &[u8], asked: Moment) -> Result<Token, ClientError> {
    let reply: Granted = json::read(body)
        .map_err(|_| ClientError::Malformed("the token reply is not RFC 6749's"))?;
    if !reply.token_type.eq_ignore_ascii_case("bearer") {
        return Err(ClientError::Malformed("the token is not a bearer token"));
    }
    let token = reply.access_token.expose_secret();
    let is_compact = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=MAX_TOKEN_BYTES).contains(&token.len()) || !token.bytes().all(is_compact) {
        return Err(ClientError::Malformed("the token is not a compact JWS"));
    }
    if reply.expires_in == 0 {
        return Err(ClientError::Malformed("the token has no time to live"));
    }
    Ok(Token::new(Minted {
        secret: reply.access_token,
        jti: reply.jti,
        audience: reply.audience,
        scope: reply.scope,
        models: reply.models,
        asked,
        // No verifier takes a longer one.
        life: Duration::from_secs(reply.expires_in.min(MAX_LIFETIME)),
    }))
}

/// What RFC 6749 section 5.2 lets an error text consist of, and not too much of it.
fn printable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).take(300).collect()
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    token_type: String,
    expires_in: u64,
    jti: Jti,
    audience: String,
    scope: String,
    #[serde(default)]
    models: Vec<String>,
}

#[derive(Deserialize)]
struct ErrorReply {
    error: String,
    #[serde(default)]
    error_description: String,
    #[serde(default)]
    request_id: String,
}
