use std::path::PathBuf;
use std::time::Duration;

use scrip_token::limits::{MAX_CIDRS, MAX_INTEGER, MAX_LIFETIME, MAX_MODELS, MIN_LIFETIME};
use scrip_token::name::Scopes;
use scrip_token::{Cidr, ModelPattern, QualifiedName};
use tokio::runtime::Handle;
use url::Url;

use crate::credential::{Credential, KEPT_FOR, MasterCredential};
use crate::endpoint::Endpoint;
use crate::http::{self, Peer};
use crate::source::TokenSource;
use crate::vault::Reader;

/// What to ask for. Whatever is left out is as the client's policy says.
#[derive(Debug, Clone)]
#[must_use]
pub struct TokenSourceBuilder {
    issuer: String,
    client: String,
    credential: MasterCredential,
    ca: Option<PathBuf>,
    patience: Duration,
    reread_after: Duration,
    audience: Option<String>,
    scopes: Vec<String>,
    models: Vec<String>,
    cidrs: Vec<String>,
    budget_tokens: Option<u64>,
    budget_request_tokens: Option<u64>,
    budget_requests: Option<u64>,
    ttl: Option<Duration>,
}

/// Why a [`TokenSource`] cannot be built: always the configuration's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An address that cannot be used.
    #[error("{0} {1}")]
    Address(&'static str, &'static str),
    /// Not `<tenant>/<client>`.
    #[error("the client must be <tenant>/<client>")]
    Client,
    /// A parameter that the service would refuse.
    #[error("{0}: {1}")]
    Parameter(&'static str, &'static str),
    /// Trust for a peer could not be set up.
    #[error("TLS towards {0}: {1}")]
    Tls(&'static str, String),
    /// A mount or prefix with an empty, dotted or odd segment.
    #[error("not a path in Vault: {0}")]
    VaultPath(String),
    /// A namespace that no HTTP header can carry.
    #[error("not a namespace of Vault")]
    VaultNamespace,
    /// Renewal needs a Tokio runtime to run in.
    #[error("a token source is built inside a Tokio runtime")]
    NoRuntime,
}

impl TokenSourceBuilder {
    pub(crate) fn new(issuer: String, client: String, credential: MasterCredential) -> Self {
        Self {
            issuer,
            client,
            credential,
            ca: None,
            patience: Duration::from_secs(10),
            reread_after: KEPT_FOR,
            audience: None,
            scopes: Vec::new(),
            models: Vec::new(),
            cidrs: Vec::new(),
            budget_tokens: None,
            budget_request_tokens: None,
            budget_requests: None,
            ttl: None,
        }
    }

    /// The gateways that shall accept the token: a name, or a URL that the policy grants.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// One more scope, such as `llm:chat`. Exact, no pattern.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// One more model, exact or `prefix*`.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.models.push(model.into());
        self
    }

    /// One more network from which the token works, such as `10.20.0.0/16`.
    pub fn cidr(mut self, cidr: impl Into<String>) -> Self {
        self.cidrs.push(cidr.into());
        self
    }

    /// Most LLM tokens that one Scrip token may spend in its life.
    pub fn budget_tokens(mut self, tokens: u64) -> Self {
        self.budget_tokens = Some(tokens);
        self
    }

    /// Most LLM tokens for one request.
    pub fn budget_request_tokens(mut self, tokens: u64) -> Self {
        self.budget_request_tokens = Some(tokens);
        self
    }

    /// Most requests in the life of one Scrip token.
    pub fn budget_requests(mut self, requests: u64) -> Self {
        self.budget_requests = Some(requests);
        self
    }

    /// Life of a token: whole seconds, 60 to 900.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// PEM file of the authorities to trust for the service, instead of the machine's. Read once.
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    /// How long [`TokenSource::token`] waits while there is no token and the service is away,
    /// 10 seconds unless told otherwise.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a credential from Vault is traded for tokens before it is read again, an hour unless
    /// told otherwise. What the old secret minted ends with the overlap of a rotation (24 hours
    /// unless the client has another one), so nobody notices a rotation only where this and the life
    /// of a token together are shorter than that.
    pub fn reread_after(mut self, age: Duration) -> Self {
        self.reread_after = age;
        self
    }

    /// Starts to obtain and renew tokens in the current Tokio runtime, until the last clone of the
    /// source is dropped.
    ///
    /// # Errors
    /// [`BuildError`], before anything is sent.
    pub fn build(self) -> Result<TokenSource, BuildError> {
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let client = QualifiedName::parse(&self.client).map_err(|_| BuildError::Client)?;
        let issuer = http::address("the issuer", &self.issuer)?;
        let endpoint = Endpoint::new(
            Peer::new("Scrip", &issuer, self.ca.as_deref())?,
            metadata_url(&issuer),
            self.parameters()?,
            self.issuer,
            match self.credential {
                MasterCredential::Text(secret) => Credential::Text(secret),
                MasterCredential::File(path) => Credential::File(path),
                MasterCredential::Vault(vault) => {
                    let reader = Box::new(Reader::new(vault, &client)?);
                    Credential::Vault { reader, keep_for: self.reread_after, kept: None }
                }
            },
            client,
        );
        Ok(TokenSource::start(&runtime, endpoint, self.patience))
    }

    /// The form of RFC 6749 section 4.4.2 with Scrip's parameters. What is not asked for is left
    /// out: the service refuses an empty parameter.
    fn parameters(&self) -> Result<String, BuildError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(audience) = &self.audience {
            if audience.is_empty() {
                return Err(BuildError::Parameter("audience", "must not be empty"));
            }
            form.append_pair("audience", audience);
        }
        if !self.scopes.is_empty() {
            let scope = Scopes::parse(&self.scopes.join(" ")).map_err(|_| {
                BuildError::Parameter("scope", "must be at most 64 distinct scopes")
            })?;
            form.append_pair("scope", scope.as_str());
        }
        if self.models.len() > MAX_MODELS
            || self.models.iter().any(|model| model.parse::<ModelPattern>().is_err())
        {
            return Err(BuildError::Parameter("models", "must be at most 64 model patterns"));
        }
        if !self.models.is_empty() {
            form.append_pair("models", &self.models.join(" "));
        }
        if self.cidrs.len() > MAX_CIDRS
            || self.cidrs.iter().any(|cidr| cidr.parse::<Cidr>().is_err())
        {
            return Err(BuildError::Parameter("cidrs", "must be at most 32 canonical CIDRs"));
        }
        if !self.cidrs.is_empty() {
            form.append_pair("cidrs", &self.cidrs.join(" "));
        }
        for (name, limit) in [
            ("budget_tokens", self.budget_tokens),
            ("budget_request_tokens", self.budget_request_tokens),
            ("budget_requests", self.budget_requests),
        ] {
            match limit {
                None => {}
                Some(limit) if (1..MAX_INTEGER).contains(&limit) => {
                    form.append_pair(name, &limit.to_string());
                }
                Some(_) => return Err(BuildError::Parameter(name, "must be 1 to 2^53 - 1")),
            }
        }
        if let Some(ttl) = self.ttl {
            let seconds = ttl.as_secs();
            if ttl.subsec_nanos() != 0 || !(MIN_LIFETIME..=MAX_LIFETIME).contains(&seconds) {
                return Err(BuildError::Parameter("ttl", "must be 60 to 900 whole seconds"));
            }
            form.append_pair("ttl", &seconds.to_string());
        }
        Ok(form.finish())
    }
}

/// RFC 8414 section 3.1: the well-known part goes between host and path.
fn metadata_url(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    let path = issuer.path().trim_end_matches('/');
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    url
}
