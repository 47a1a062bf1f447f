//! A source of tokens, for the commands that renew.

use scrip_client::{BuildError, ClientError, MasterCredential, TokenSource};
use std::path::Path;
use std::time::Duration;

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::print::plain;
use super::Wish;

impl Wish {
    /// Starts to obtain what is wished for, and to renew it. A file with the secret is read again
    /// for each token: whoever rotates the secret writes a new one.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming what is missing or cannot be.
    pub(super) fn source(&self, connection: Connection) -> Result<TokenSource, Failure> {
        let file = connection.client_secret_file.clone();
        let (issuer, id, secret) = connection.complete()?;
        let credential = match file.filter(|path| path != Path::new("-")) {
            Some(path) => MasterCredential::File(path),
            None => MasterCredential::Text(secret),
        };
        let mut source = TokenSource::builder(issuer.as_str(), id.as_str(), credential);
        if let Some(audience) = &self.audience {
            source = source.audience(audience);
        }
        for scope in &self.scopes {
            source = source.scope(scope);
        }
        for model in &self.models {
            source = source.model(model.to_string());
        }
        for cidr in &self.cidrs {
            source = source.cidr(cidr.to_string());
        }
        if let Some(tokens) = self.budget_tokens {
            source = source.budget_tokens(tokens.get());
        }
        if let Some(tokens) = self.budget_request_tokens {
            source = source.budget_request_tokens(tokens.get());
        }
        if let Some(requests) = self.budget_requests {
            source = source.budget_requests(requests.get());
        }
        if let Some(seconds) = self.ttl {
            source = source.ttl(Duration::from_secs(seconds.get()));
        }
        source.build().map_err(|error: BuildError| Failure::Usage(error.to_string()))
    }
}

/// Why there is no first token.
pub(super) fn failure(error: &ClientError) -> Failure {
    let reason = plain(&error.to_string());
    match error {
        ClientError::Refused(_) | ClientError::NotYet { .. } => Failure::Rejected(reason),
        ClientError::Credential(_) => Failure::Usage(reason),
        _ => Failure::Unreachable(reason),
    }
}
