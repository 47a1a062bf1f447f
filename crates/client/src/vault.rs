use std::path::PathBuf;

use reqwest::header::HeaderValue;
use reqwest::{RequestBuilder, StatusCode};
use scrip_token::QualifiedName;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::builder::BuildError;
use crate::credential::read_secret;
use crate::error::ClientError;
use crate::http::{self, Peer, Reply};

/// Where in Vault the master credential lies: field `secret` of
/// `<mount>/<prefix>/<tenant>/<client>` in a KV v2 engine.
#[derive(Debug, Clone)]
pub struct Vault {
    /// `https://vault.internal:8200`; http only to this machine.
    pub addr: String,
    /// Sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// PEM file of the authorities to trust, instead of the machine's. Read once.
    pub ca: Option<PathBuf>,
    /// How to log in.
    pub auth: VaultAuth,
    /// Mount of the KV v2 engine, such as `secret`.
    pub mount: String,
    /// Path between mount and client, `scrip` unless the service was told otherwise; may be empty.
    pub prefix: String,
}

/// How a workload logs in to Vault. Files are read at each login.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum VaultAuth {
    /// A Vault token that somebody else, such as Vault Agent, keeps fresh in a file.
    TokenFile(PathBuf),
    /// AppRole.
    AppRole {
        /// Mount of the method, `approle` unless told otherwise.
        mount: String,
        /// Not a secret.
        role_id: String,
        /// File with the secret id.
        secret_id_file: PathBuf,
    },
    /// Kubernetes, or anything else that takes `{role, jwt}`.
    Kubernetes {
        /// Mount of the method, `kubernetes` unless told otherwise.
        mount: String,
        /// Role in Vault.
        role: String,
        /// File with the service account's token, usually
        /// `/var/run/secrets/kubernetes.io/serviceaccount/token`.
        jwt_path: PathBuf,
    },
}

/// Reads one client's master credential: a login and a read, nothing kept.
pub(crate) struct Reader {
    peer: Peer,
    namespace: Option<HeaderValue>,
    login: Login,
    secret: Url,
}

enum Login {
    TokenFile(PathBuf),
    AppRole { url: Url, role_id: String, secret_id_file: PathBuf },
    Kubernetes { url: Url, role: String, jwt_path: PathBuf },
}

#[derive(Serialize)]
#[serde(untagged)]
enum LoginRequest<'a> {
    AppRole { role_id: &'a str, secret_id: &'a str },
    Kubernetes { role: &'a str, jwt: &'a str },
}

impl Reader {
    pub(crate) fn new(vault: Vault, client: &QualifiedName) -> Result<Self, BuildError> {
        let base = http::address("the address of Vault", &vault.addr)?;
        let peer = Peer::new("Vault", &base, vault.ca.as_deref())?;
        let path = match vault.prefix.as_str() {
            "" => format!("{}/data/{}", vault.mount, client.as_str()),
            prefix => format!("{}/data/{prefix}/{}", vault.mount, client.as_str()),
        };
        let secret = below(&base, &path)?;
        let login = match vault.auth {
            VaultAuth::TokenFile(path) => Login::TokenFile(path),
            VaultAuth::AppRole { mount, role_id, secret_id_file } => Login::AppRole {
                url: below(&base, &format!("auth/{mount}/login"))?,
                role_id,
                secret_id_file,
            },
            VaultAuth::Kubernetes { mount, role, jwt_path } => Login::Kubernetes {
                url: below(&base, &format!("auth/{mount}/login"))?,
                role,
                jwt_path,
            },
        };
        let namespace = vault.namespace.map(HeaderValue::try_from).transpose();
        let namespace = namespace.map_err(|_| BuildError::VaultNamespace)?;
        Ok(Self { peer, namespace, login, secret })
    }

    pub(crate) async fn read(&self) -> Result<SecretString, ClientError> {
        let token = match &self.login {
            Login::TokenFile(path) => read_secret(path).await?,
            Login::AppRole { url, role_id, secret_id_file } => {
                let secret_id = read_secret(secret_id_file).await?;
                let secret_id = secret_id.expose_secret();
                self.log_in(url, &LoginRequest::AppRole { role_id, secret_id }).await?
            }
            Login::Kubernetes { url, role, jwt_path } => {
                let jwt = read_secret(jwt_path).await?;
                let jwt = jwt.expose_secret();
                self.log_in(url, &LoginRequest::Kubernetes { role, jwt }).await?
            }
        };
        let mut token = HeaderValue::from_str(token.expose_secret())
            .map_err(|_| ClientError::Credential("not a Vault token".to_owned()))?;
        token.set_sensitive(true);
        let request = self.peer.get(&self.secret).header("X-Vault-Token", token);
        let found: Found = self.ask(request, "reading").await?;
        match found.data.data.secret {
            secret if secret.expose_secret().is_empty() => {
                Err(ClientError::Credential("Vault holds an empty secret".to_owned()))
            }
            secret => Ok(secret),
        }
    }

    async fn log_in(
        &self,
        url: &Url,
        login: &LoginRequest<'_>,
    ) -> Result<SecretString, ClientError> {
        let unwritable =
            |_| ClientError::Credential("the login cannot be written as JSON".to_owned());
        let body = Zeroizing::new(serde_json::to_vec(login).map_err(unwritable)?);
        let request = self.peer.post(url).body(body.to_vec());
        let granted: Granted = self.ask(request, "logging in").await?;
        Ok(granted.auth.client_token)
    }

    /// Never repeats what Vault said: its errors may quote the request.
    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        mut request: RequestBuilder,
        doing: &str,
    ) -> Result<T, ClientError> {
        request = request.header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let Reply { status, retry_after, body } = self.peer.send(request).await?;
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let reason = format!("it answered {} to {doing}", status.as_u16());
            return Err(self.peer.away(reason, retry_after));
        }
        if status != StatusCode::OK {
            let reason = format!("Vault answered {} to {doing}", status.as_u16());
            return Err(ClientError::Credential(reason));
        }
        serde_json::from_slice(&body).map_err(|_| {
            ClientError::Credential(format!("Vault's answer to {doing} is not what KV v2 sends"))
        })
    }
}

/// `<base>/v1/<path>`, for a path of plain segments.
fn below(base: &Url, path: &str) -> Result<Url, BuildError> {
    let plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut segments) if path.split('/').all(plain) => {
            segments.pop_if_empty().push("v1").extend(path.split('/'));
        }
        _ => return Err(BuildError::VaultPath(path.to_owned())),
    }
    Ok(url)
}

#[derive(Deserialize)]
struct Granted {
    auth: GrantedAuth,
}

#[derive(Deserialize)]
struct GrantedAuth {
    client_token: SecretString,
}

#[derive(Deserialize)]
struct Found {
    data: FoundVersion,
}

#[derive(Deserialize)]
struct FoundVersion {
    data: FoundFields,
}

#[derive(Deserialize)]
struct FoundFields {
    secret: SecretString,
}
