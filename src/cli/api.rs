//! The service's HTTP API, as a client with an operator's rights calls it.

use std::collections::HashMap;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder};
use scrip_token::QualifiedName;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::Mutex;

use super::connection::{Connection, Issuer};
use super::failure::{Failure, Refusal};
use super::http::{self, Reply, exchange};

/// Speaks to one service as one client.
pub(super) struct Api {
    http: Client,
    issuer: Issuer,
    id: QualifiedName,
    secret: SecretString,
    /// Tokens that were good a moment ago: a command may make thousands of calls.
    tokens: Mutex<HashMap<Scope, SecretString>>,
}

/// What an operator's token must allow for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    Clients,
    Policies,
    Keys,
    Revoke,
    Tokens,
    Audit,
    /// Trying a policy on what the audit log holds.
    Replay,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Clients => "scrip:clients",
            Self::Policies => "scrip:policies",
            Self::Keys => "scrip:keys",
            Self::Revoke => "scrip:revoke",
            Self::Tokens => "scrip:tokens",
            Self::Audit => "scrip:audit",
            Self::Replay => "scrip:policies scrip:audit",
        }
    }

    /// Whether the credential itself opens the route. Revoking and replacing a key must work while
    /// nothing can be minted.
    fn takes_credential(self) -> bool {
        matches!(self, Self::Keys | Self::Revoke)
    }
}

impl Api {
    /// Prepares to call; nothing is sent yet.
    pub(super) fn open(connection: Connection) -> Result<Self, Failure> {
        let (issuer, id, secret) = connection.complete()?;
        Ok(Self { http: http::client()?, issuer, id, secret, tokens: Mutex::default() })
    }

    /// Who asks.
    pub(super) fn id(&self) -> &QualifiedName {
        &self.id
    }

    /// Reads `path`.
    pub(super) async fn get(
        &self,
        scope: Scope,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Reply, Failure> {
        let mut address = self.issuer.at(path);
        if !query.is_empty() {
            address = format!("{address}?{}", form(query));
        }
        self.call(scope, || self.http.get(&address)).await
    }

    /// Changes something at `path`.
    pub(super) async fn send(
        &self,
        scope: Scope,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply, Failure> {
        let address = self.issuer.at(path);
        self.call(scope, || self.http.request(method.clone(), &address).json(body)).await
    }

    /// Changes something at `path` that needs no words.
    pub(super) async fn act(
        &self,
        scope: Scope,
        method: Method,
        path: &str,
    ) -> Result<Reply, Failure> {
        let address = self.issuer.at(path);
        self.call(scope, || self.http.request(method.clone(), &address)).await
    }

    /// Asks for a token with the client-credentials grant (RFC 6749 section 4.4).
    pub(super) async fn mint(&self, parameters: &[(&str, String)]) -> Result<Reply, Failure> {
        let grant = [("grant_type", "client_credentials".to_owned())];
        let body = form(grant.iter().chain(parameters));
        let request = self
            .http
            .post(self.issuer.at("/oauth2/token"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .body(body);
        exchange(self.with_credential(request)).await
    }

    /// Where the route takes embedded credentials, a client of Vault is refused, and tries again
    /// with a token.
    async fn call(
        &self,
        scope: Scope,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Reply, Failure> {
        if scope.takes_credential() {
            match exchange(self.with_credential(request())).await {
                Err(Failure::Refused(Refusal { status: 403, .. })) => {}
                outcome => return outcome,
            }
        }
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(&scope) {
            match exchange(request().bearer_auth(token.expose_secret())).await {
                // The token has expired, or its key or the client's credential has ended: get
                // another.
                Err(Failure::Refused(Refusal { status: 401, .. })) => {}
                outcome => return outcome,
            }
        }
        let parameters = [("audience", "self".to_owned()), ("scope", scope.as_str().to_owned())];
        let minted = self.mint(&parameters).await.map_err(|failure| match failure {
            Failure::Refused(refusal) => Failure::Refused(refusal.of_token_for(scope.as_str())),
            failure => failure,
        })?;
        let minted = minted.json()?;
        let token = SecretString::from(minted["access_token"].as_str().unwrap_or_default());
        let request = request().bearer_auth(token.expose_secret());
        tokens.insert(scope, token);
        exchange(request).await
    }

    /// HTTP Basic; both halves are form-encoded first (RFC 6749 section 2.3.1).
    fn with_credential(&self, request: RequestBuilder) -> RequestBuilder {
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let secret = encoded(self.secret.expose_secret());
        request.basic_auth(encoded(self.id.as_str()), Some(secret))
    }
}

fn form<'p>(pairs: impl IntoIterator<Item = &'p (&'p str, String)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
