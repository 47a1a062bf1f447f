//! All settings, read once into one checked struct. No other file names an environment variable.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use scrip_token::{Alg, Cidr};
use secrecy::SecretString;
use url::{Host, Url};

use crate::outbox;
use crate::rates::Rate;
use crate::vault;

/// Twenty minutes: twice as long as Envoy caches a JWKS.
const KEY_LEAD: u64 = 1200;
const HEARTBEAT: u64 = 5;
const TOKEN_RETENTION: u32 = 30;
const UNUSED_DAYS: NonZeroU32 = NonZeroU32::new(30).unwrap();
const MOST_ADDRESSES: u32 = 64;

/// Settings of `scrip serve`, `migrate` and `bootstrap` as given: each a flag with its variable.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Address of the API.
    #[arg(long, env = "SCRIP_LISTEN", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "SCRIP_OPS_LISTEN", default_value = "127.0.0.1:7071")]
    pub ops_listen: SocketAddr,
    /// The `iss` of every token, byte for byte; https unless it is loopback.
    #[arg(long, env = "SCRIP_ISSUER")]
    pub issuer: Option<String>,
    /// `sqlite:PATH` or `postgres://USER@HOST/NAME`. May hold a password: prefer the variable.
    #[arg(long, env = "SCRIP_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// A file that holds the database URL.
    #[arg(long, env = "SCRIP_DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
    /// Folder of the private keys, mode 0700, shared by all replicas.
    #[arg(long, env = "SCRIP_KEYS_DIR", default_value = "keys")]
    pub keys_dir: PathBuf,
    /// Certificate chain, PEM. Reloaded when the file changes.
    #[arg(long, env = "SCRIP_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, env = "SCRIP_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Networks whose `X-Forwarded-For` is believed, comma-separated.
    #[arg(long, env = "SCRIP_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Cidr>,
    /// Algorithm of an audience's tokens, `llm-gateway=EdDSA,..`; ES256 where nothing is said.
    #[arg(long, env = "SCRIP_AUDIENCE_ALG", value_delimiter = ',', value_parser = audience_alg)]
    pub audience_alg: Vec<(String, Alg)>,
    /// Seconds between publishing a signing key and signing with it: the greater of two cache
    /// lifetimes and 20 minutes.
    #[arg(long, env = "SCRIP_KEY_LEAD", default_value_t = KEY_LEAD)]
    pub key_lead: u64,
    /// Seconds between heartbeats of the deny list's feed.
    #[arg(long, env = "SCRIP_HEARTBEAT", default_value_t = HEARTBEAT)]
    pub heartbeat: u64,
    /// Most mints of all clients of a tenant together, for each tenant, such as `6000/minute`; no
    /// limit where nothing is said.
    #[arg(long, env = "SCRIP_TENANT_RATE")]
    pub tenant_rate: Option<Rate>,
    /// Days for which the record of a token is kept.
    #[arg(long, env = "SCRIP_TOKEN_RETENTION", default_value_t = TOKEN_RETENTION)]
    pub token_retention: u32,
    /// Days without a mint after which a client counts as unused.
    #[arg(long, env = "SCRIP_UNUSED_DAYS", default_value_t = UNUSED_DAYS)]
    pub unused_days: NonZeroU32,
    /// Addresses (IPv6: networks of 64 bits) from which a client may mint within a day before its
    /// secret counts as shared.
    #[arg(long, env = "SCRIP_MOST_ADDRESSES", default_value_t = MOST_ADDRESSES)]
    pub most_addresses: u32,
    /// Form of the log.
    #[arg(long, env = "SCRIP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged, such as `info` or `scrip=debug,warn`.
    #[arg(long, env = "SCRIP_LOG", default_value = "info,sqlx=warn")]
    pub log: String,
    #[command(flatten)]
    webhook: WebhookSettings,
    #[command(flatten)]
    vault: VaultSettings,
}

/// Where alerts go.
#[derive(Args, Clone, Debug)]
struct WebhookSettings {
    /// Where alerts are posted, https; it may hold a secret: prefer the variable.
    #[arg(long, env = "SCRIP_WEBHOOK_URL", hide_env_values = true)]
    webhook_url: Option<SecretString>,
    /// What signs them: `whsec_` and the base64 of 24 to 64 bytes (Standard Webhooks).
    #[arg(long, env = "SCRIP_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<SecretString>,
    /// A file that holds it.
    #[arg(long, env = "SCRIP_WEBHOOK_SECRET_FILE")]
    webhook_secret_file: Option<PathBuf>,
}

/// Where master credentials lie, when it is Vault that keeps them.
#[derive(Args, Clone, Debug)]
struct VaultSettings {
    /// Address of Vault; without it there are embedded credentials only.
    #[arg(long, env = "SCRIP_VAULT_ADDR")]
    vault_addr: Option<Url>,
    /// Mount of the KV v2 engine.
    #[arg(long, env = "SCRIP_VAULT_MOUNT", default_value = "secret")]
    vault_mount: String,
    /// Path below the mount, above `<tenant>/<name>`.
    #[arg(long, env = "SCRIP_VAULT_PREFIX", default_value = "scrip")]
    vault_prefix: String,
    /// Namespace (Vault Enterprise).
    #[arg(long, env = "SCRIP_VAULT_NAMESPACE")]
    vault_namespace: Option<String>,
    /// Certificate authorities that Vault's certificate is checked against, PEM.
    #[arg(long, env = "SCRIP_VAULT_CA")]
    vault_ca: Option<PathBuf>,
    /// How to log in.
    #[arg(long, env = "SCRIP_VAULT_AUTH", value_enum, default_value_t = VaultAuth::Token)]
    vault_auth: VaultAuth,
    /// Mount of the login method; its own name where absent.
    #[arg(long, env = "SCRIP_VAULT_AUTH_MOUNT")]
    vault_auth_mount: Option<String>,
    /// Token (auth `token`).
    #[arg(long, env = "SCRIP_VAULT_TOKEN", hide_env_values = true)]
    vault_token: Option<SecretString>,
    /// File that holds the token (auth `token`); read again at each login.
    #[arg(long, env = "SCRIP_VAULT_TOKEN_FILE")]
    vault_token_file: Option<PathBuf>,
    /// Role id (auth `approle`).
    #[arg(long, env = "SCRIP_VAULT_ROLE_ID")]
    vault_role_id: Option<String>,
    /// File that holds the role id (auth `approle`).
    #[arg(long, env = "SCRIP_VAULT_ROLE_ID_FILE")]
    vault_role_id_file: Option<PathBuf>,
    /// File that holds the secret id (auth `approle`); read again at each login.
    #[arg(long, env = "SCRIP_VAULT_SECRET_ID_FILE")]
    vault_secret_id_file: Option<PathBuf>,
    /// Role (auth `kubernetes`).
    #[arg(long, env = "SCRIP_VAULT_ROLE")]
    vault_role: Option<String>,
    /// File of the service account's token (auth `kubernetes`).
    #[arg(
        long,
        env = "SCRIP_VAULT_JWT_PATH",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )]
    vault_jwt_path: PathBuf,
    /// Seconds between looks at the credentials of clients with live tokens.
    #[arg(long, env = "SCRIP_VAULT_REFRESH", default_value_t = 60)]
    vault_refresh: u64,
    /// Seconds for which known credentials go on while Vault is away.
    #[arg(long, env = "SCRIP_VAULT_GRACE", default_value_t = 900)]
    vault_grace: u64,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Login methods of Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VaultAuth {
    Token,
    Approle,
    Kubernetes,
}

/// Settings that do not contradict each other.
pub struct Config {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address of the operations listener.
    pub ops_listen: SocketAddr,
    /// The `iss` of every token.
    pub issuer: String,
    /// Where everything is stored.
    pub database_url: SecretString,
    /// Folder of the private keys.
    pub keys_dir: PathBuf,
    /// Certificate and key, where TLS ends here.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Algorithms of audiences; see [`Config::alg`].
    audience_alg: BTreeMap<String, Alg>,
    /// Seconds between publishing a key and signing with it.
    pub key_lead: u64,
    /// Seconds between heartbeats.
    pub heartbeat: u64,
    /// Most mints of all clients of one tenant.
    pub tenant_rate: Option<Rate>,
    /// Where alerts go, where they go anywhere.
    pub webhook: Option<outbox::Settings>,
    /// Days for which the record of a token is kept.
    pub token_retention: u32,
    /// Days without a mint after which a client counts as unused.
    pub unused_days: NonZeroU32,
    /// Addresses of a client within a day beyond which its secret counts as shared.
    pub most_addresses: u32,
    /// Where master credentials lie, when it is Vault.
    pub vault: Option<vault::Settings>,
}

impl Config {
    /// Everything embedded in one folder, on loopback; operations on a free port.
    #[must_use]
    pub fn embedded(listen: SocketAddr, folder: &Path) -> Self {
        let mut ops_listen = listen;
        ops_listen.set_port(0);
        Self {
            listen,
            ops_listen,
            issuer: format!("http://{listen}"),
            database_url: format!("sqlite:{}", folder.join("scrip.db").display()).into(),
            keys_dir: folder.join("keys"),
            tls: None,
            trusted_proxies: Vec::new(),
            audience_alg: BTreeMap::new(),
            key_lead: KEY_LEAD,
            heartbeat: HEARTBEAT,
            tenant_rate: None,
            webhook: None,
            token_retention: TOKEN_RETENTION,
            unused_days: UNUSED_DAYS,
            most_addresses: MOST_ADDRESSES,
            vault: None,
        }
    }

    /// With which algorithm tokens for `audience` are signed.
    #[must_use]
    pub fn alg(&self, audience: &str) -> Alg {
        self.audience_alg.get(audience).copied().unwrap_or(Alg::ES256)
    }

    /// Every algorithm in use.
    #[must_use]
    pub fn algs(&self) -> Vec<Alg> {
        let mut algs: Vec<Alg> = self.audience_alg.values().copied().chain([Alg::ES256]).collect();
        algs.sort_unstable();
        algs.dedup();
        algs
    }
}

/// Everything that is wrong with the settings, at once.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not usable:\n  - {}", .0.join("\n  - "))]
pub struct Contradictions(Vec<String>);

impl Settings {
    /// Checks the settings against each other and reads what lies in files.
    ///
    /// # Errors
    /// [`Contradictions`], all of them.
    pub fn check(self) -> Result<Config, Contradictions> {
        let mut wrong = Vec::new();

        let issuer = self.issuer.unwrap_or_else(|| {
            wrong.push("SCRIP_ISSUER is missing: the URL under which clients reach this".into());
            String::new()
        });
        if !issuer.is_empty()
            && let Err(reason) = check_issuer(&issuer)
        {
            wrong.push(format!("SCRIP_ISSUER {reason}"));
        }

        let database_url = match (self.database_url, self.database_url_file) {
            (Some(url), None) => Some(url),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Some(SecretString::from(text.trim())),
                Err(error) => {
                    wrong.push(format!("SCRIP_DATABASE_URL_FILE {}: {error}", path.display()));
                    None
                }
            },
            (None, None) => {
                wrong.push("SCRIP_DATABASE_URL is missing: sqlite:PATH or postgres://..".into());
                None
            }
            (Some(_), Some(_)) => {
                wrong.push("SCRIP_DATABASE_URL and SCRIP_DATABASE_URL_FILE are both set".into());
                None
            }
        };

        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                wrong.push("SCRIP_TLS_CERT and SCRIP_TLS_KEY go together".into());
                None
            }
        };
        if self.listen == self.ops_listen && self.listen.port() != 0 {
            wrong.push("SCRIP_LISTEN and SCRIP_OPS_LISTEN are the same address".into());
        }
        if !(1..=60).contains(&self.heartbeat) {
            wrong.push("SCRIP_HEARTBEAT is 1 to 60 seconds".into());
        }
        if !(1..=3650).contains(&self.token_retention) {
            wrong.push("SCRIP_TOKEN_RETENTION is 1 to 3650 days".into());
        }
        if self.unused_days.get() > 3650 {
            wrong.push("SCRIP_UNUSED_DAYS is 1 to 3650 days".into());
        }
        if !(1..=200).contains(&self.most_addresses) {
            wrong.push("SCRIP_MOST_ADDRESSES is 1 to 200".into());
        }
        let mut audience_alg = BTreeMap::new();
        for (audience, alg) in self.audience_alg {
            if audience_alg.insert(audience.clone(), alg).is_some_and(|before| before != alg) {
                wrong.push(format!("SCRIP_AUDIENCE_ALG gives {audience} two algorithms"));
            }
        }
        let webhook = self.webhook.check(&mut wrong);
        let vault = self.vault.check(&mut wrong);

        match database_url {
            Some(database_url) if wrong.is_empty() => Ok(Config {
                listen: self.listen,
                ops_listen: self.ops_listen,
                issuer,
                database_url,
                keys_dir: self.keys_dir,
                tls,
                trusted_proxies: self.trusted_proxies,
                audience_alg,
                key_lead: self.key_lead,
                heartbeat: self.heartbeat,
                tenant_rate: self.tenant_rate,
                webhook,
                token_retention: self.token_retention,
                unused_days: self.unused_days,
                most_addresses: self.most_addresses,
                vault,
            }),
            _ => Err(Contradictions(wrong)),
        }
    }
}

impl WebhookSettings {
    fn check(self, wrong: &mut Vec<String>) -> Option<outbox::Settings> {
        let secret = match (self.webhook_secret, self.webhook_secret_file) {
            (Some(_), Some(_)) => {
                wrong
                    .push("SCRIP_WEBHOOK_SECRET and SCRIP_WEBHOOK_SECRET_FILE are both set".into());
                return None;
            }
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Some(SecretString::from(text)),
                Err(error) => {
                    wrong.push(format!("SCRIP_WEBHOOK_SECRET_FILE {}: {error}", path.display()));
                    return None;
                }
            },
            (secret, None) => secret,
        };
        match (self.webhook_url, secret) {
            (Some(url), Some(secret)) => outbox::Settings::new(url, &secret)
                .map_err(|unusable| wrong.push(unusable.to_string()))
                .ok(),
            (None, None) => None,
            _ => {
                wrong.push("SCRIP_WEBHOOK_URL and SCRIP_WEBHOOK_SECRET go together".into());
                None
            }
        }
    }
}

impl VaultSettings {
    fn check(self, wrong: &mut Vec<String>) -> Option<vault::Settings> {
        use vault::{Auth, Source};
        let Some(addr) = self.vault_addr else {
            let files = [&self.vault_token_file, &self.vault_role_id_file, &self.vault_ca];
            let texts = [&self.vault_namespace, &self.vault_role, &self.vault_role_id];
            if files.iter().any(|file| file.is_some())
                || texts.iter().any(|text| text.is_some())
                || self.vault_token.is_some()
                || self.vault_secret_id_file.is_some()
            {
                wrong.push(
                    "SCRIP_VAULT_ADDR is missing, and other SCRIP_VAULT_ settings are there".into(),
                );
            }
            return None;
        };
        let loopback = is_loopback(&addr);
        if addr.scheme() != "https" && !loopback {
            wrong.push("SCRIP_VAULT_ADDR is not https, and not loopback".into());
        }
        if !(1..=3600).contains(&self.vault_refresh) {
            wrong.push("SCRIP_VAULT_REFRESH is 1 to 3600 seconds".into());
        }
        if !(0..=86_400).contains(&self.vault_grace) {
            wrong.push("SCRIP_VAULT_GRACE is at most 86400 seconds".into());
        }
        let mount = |method: &str| self.vault_auth_mount.clone().unwrap_or_else(|| method.into());
        let auth = match self.vault_auth {
            VaultAuth::Token => match (self.vault_token, self.vault_token_file) {
                (Some(token), None) => Some(Auth::Token(Source::Value(token))),
                (None, Some(path)) => Some(Auth::Token(Source::File(path))),
                _ => {
                    wrong.push(
                        "SCRIP_VAULT_AUTH=token needs SCRIP_VAULT_TOKEN or SCRIP_VAULT_TOKEN_FILE"
                            .into(),
                    );
                    None
                }
            },
            VaultAuth::Approle => {
                let role_id = match (self.vault_role_id, self.vault_role_id_file) {
                    (Some(id), None) => Some(Source::Value(id.into())),
                    (None, Some(path)) => Some(Source::File(path)),
                    _ => None,
                };
                match (role_id, self.vault_secret_id_file) {
                    (Some(role_id), Some(path)) => Some(Auth::AppRole {
                        mount: mount("approle"),
                        role_id,
                        secret_id: Source::File(path),
                    }),
                    _ => {
                        wrong.push(
                            "SCRIP_VAULT_AUTH=approle needs SCRIP_VAULT_SECRET_ID_FILE and one of \
                             SCRIP_VAULT_ROLE_ID, SCRIP_VAULT_ROLE_ID_FILE"
                                .into(),
                        );
                        None
                    }
                }
            }
            VaultAuth::Kubernetes => match self.vault_role {
                Some(role) => Some(Auth::Kubernetes {
                    mount: mount("kubernetes"),
                    role,
                    jwt: Source::File(self.vault_jwt_path),
                }),
                None => {
                    wrong.push("SCRIP_VAULT_AUTH=kubernetes needs SCRIP_VAULT_ROLE".into());
                    None
                }
            },
        }?;
        Some(vault::Settings {
            addr,
            mount: self.vault_mount,
            prefix: self.vault_prefix,
            namespace: self.vault_namespace,
            ca: self.vault_ca,
            auth,
            refresh: Duration::from_secs(self.vault_refresh),
            grace: Duration::from_secs(self.vault_grace),
        })
    }
}

fn audience_alg(text: &str) -> Result<(String, Alg), String> {
    let (audience, alg) = text.split_once('=').ok_or("not AUDIENCE=ALG")?;
    Ok((audience.to_owned(), alg.parse().map_err(|error| format!("{error}"))?))
}

/// An issuer is an https URL without query or fragment (RFC 8414 section 2), written as verifiers
/// will compare it; plain http is for loopback only.
fn check_issuer(text: &str) -> Result<(), &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err("is not https, and not loopback");
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if url.query().is_some() || url.fragment().is_some() || has_user {
        return Err("has a query, a fragment or a user");
    }
    if text.ends_with('/') || url.as_str().trim_end_matches('/') != text {
        return Err("is not in canonical form (lower case, no default port, no final slash)");
    }
    if url.path() != "/" {
        return Err("has a path; this service answers at the root of its host");
    }
    Ok(())
}

/// Whether a URL leads nowhere outside of this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// `SCRIP_CLIENT_SECRET`, for the commands that speak to the service. It has no flag: arguments show
/// in process lists and shell histories.
#[must_use]
pub fn client_secret() -> Option<SecretString> {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    let secret = std::env::var("SCRIP_CLIENT_SECRET");
    secret.ok().filter(|text| !text.is_empty()).map(Into::into)
}

/// The folder that is a user's own, in memory, and gone with the session (XDG Base Directory), where
/// the system has one.
#[must_use]
pub fn runtime_dir() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    let folder = std::env::var_os("XDG_RUNTIME_DIR");
    folder.map(PathBuf::from).filter(|folder| folder.is_dir())
}

/// Variables that stand in dev.env, have no flag, or are set for others.
const OTHERS: [&str; 7] = [
    "SCRIP_CLIENT_SECRET",
    "SCRIP_TOKEN_FILE",
    "SCRIP_OPERATOR_ID",
    "SCRIP_OPERATOR_SECRET",
    "SCRIP_VERIFIER_ID",
    "SCRIP_VERIFIER_SECRET",
    "SCRIP_OPS_URL",
];

/// Variables that begin with `SCRIP_` and mean nothing, each with the nearest name that does.
/// Orchestrators inject some (`SCRIP_SERVICE_HOST`), so this is a warning only.
#[must_use]
pub fn unknown_variables(command: &clap::Command) -> Vec<(String, Option<String>)> {
    let mut known: Vec<String> = OTHERS.map(str::to_owned).to_vec();
    let mut commands = vec![command];
    while let Some(command) = commands.pop() {
        let names = command.get_arguments().filter_map(clap::Arg::get_env);
        known.extend(names.filter_map(|name| name.to_str()).map(str::to_owned));
        commands.extend(command.get_subcommands());
    }
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("SCRIP_") && !known.contains(name))
        .map(|name| {
            let nearest = known
                .iter()
                .map(|candidate| (strsim::jaro_winkler(candidate, &name), candidate))
                .max_by(|(a, _), (b, _)| a.total_cmp(b))
                .map(|(_, candidate)| candidate.clone());
            (name, nearest)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n63_the_issuer_is_configuration_in_one_spelling() {
        for good in ["https://sts.example", "https://sts.example:8443", "http://127.0.0.1:7070"] {
            assert_eq!(check_issuer(good), Ok(()), "{good}");
        }
        for bad in [
            "sts.example",
            "http://sts.example",
            "https://sts.example/",
            "https://STS.example",
            "https://sts.example:443",
            "https://sts.example/a",
            "https://sts.example?x",
            "https://u@sts.example",
            "https://:p@sts.example",
            "ftp://127.0.0.1",
        ] {
            assert!(check_issuer(bad).is_err(), "{bad}");
        }
    }
}
