//! All settings, read once into one checked struct. No other file reads an environment variable.

mod checked;
mod vault;
mod webhook;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use scrip_token::{Alg, Cidr};
use secrecy::SecretString;
use url::Url;

use crate::rates::Rate;

pub(crate) use checked::is_loopback;
pub use checked::{Config, Contradictions};

/// Twenty minutes: twice as long as Envoy caches a JWKS.
const KEY_LEAD: u64 = 1200;
const HEARTBEAT: u64 = 5;
const LEDGER_GRACE: u32 = 3600;
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
    /// Seconds after a token's end for which its escrow waits for what ledgers report; then all of it
    /// counts as used.
    #[arg(long, env = "SCRIP_LEDGER_GRACE", default_value_t = LEDGER_GRACE)]
    pub ledger_grace: u32,
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
#[command(next_help_heading = "Alerts")]
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
#[command(next_help_heading = "Vault")]
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

fn audience_alg(text: &str) -> Result<(String, Alg), String> {
    let (audience, alg) = text.split_once('=').ok_or("not AUDIENCE=ALG")?;
    Ok((audience.to_owned(), alg.parse().map_err(|error| format!("{error}"))?))
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

/// Variables that begin with `SCRIP_` but mean nothing, each with the nearest name that means
/// something. Orchestrators inject some (`SCRIP_SERVICE_HOST`), so this is a warning only.
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
