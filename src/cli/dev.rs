//! `scrip dev`: everything embedded, for a first hour.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::failure::Failure;
use super::service::{log, refused, stop_on_signal};
use crate::bootstrap::{self, BootstrapError};
use crate::clock;
use crate::config::{Config, LogFormat};
use crate::policy::Policy;
use crate::serve::{Listeners, Service};
use crate::signer::Signer;
use crate::store::{Lock, Store, policies};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address of the API, on loopback
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Folder of the database, the keys and dev.env
    #[arg(long, value_name = "DIR", default_value = ".scrip-dev")]
    data_dir: PathBuf,
    /// What is logged, such as `info` or `scrip=debug,warn`
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

/// A demo client, and a verifier that follows the deny list for its gateways.
const DEMO: (&str, &str) = (
    "demo/assistant",
    r#"
name      = "demo/assistant"
audiences = ["llm-gateway"]
scopes    = ["llm:chat", "llm:embed"]
models    = ["gpt-4o-mini", "claude-haiku-*"]
env       = "dev"
ttl       = { default = 300, max = 900 }
budget    = { tokens = 50000, request_tokens = 4000, requests = 100 }
[defaults]
scopes    = ["llm:chat"]
models    = ["gpt-4o-mini"]
budget    = { tokens = 5000 }
"#,
);
const VERIFIER: (&str, &str) = (
    "demo/gateway",
    r#"
name      = "demo/gateway"
audiences = ["self"]
scopes    = ["scrip:feed"]
serves    = ["llm-gateway"]
env       = "scrip"
"#,
);

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let _log = log(&self.log, LogFormat::Text)?;
        if !self.listen.ip().is_loopback() {
            let why =
                "`scrip dev` speaks plain HTTP and listens on loopback only; see `scrip serve`";
            return Err(Failure::Usage(why.to_owned()));
        }
        let config = Config::embedded(self.listen, &self.data_dir);
        let listeners = Listeners::bind(&config).map_err(refused)?;
        let ops = listeners.ops_address()?;
        let refuse = |error| Failure::Usage(format!("{}: {error}", self.data_dir.display()));
        std::fs::create_dir_all(&self.data_dir).map_err(refuse)?;
        let store = Store::connect(&config.database_url).await.map_err(refused)?;
        let env = Environment(self.data_dir.join("dev.env"));
        set_up(&store, &config, &env).await?;
        env.set("SCRIP_OPS_URL", &format!("http://{ops}"))?;

        let service = Service::start(config, store, listeners).await.map_err(refused)?;
        let stop = stop_on_signal()?;
        print!("{}", story(&env.0, &self.data_dir));
        std::io::stdout().flush()?;
        service.run(stop).await.map_err(refused)
    }
}

/// Makes what is not there yet. Secrets stand in dev.env only: where the very first run is killed
/// between a commit and the write, the folder is to be deleted.
async fn set_up(store: &Store, config: &Config, env: &Environment) -> Result<(), Failure> {
    let made = bootstrap::bootstrap(store, config).await.map_err(refused)?;
    env.set("SCRIP_URL", &config.issuer)?;
    env.set("SCRIP_ROOT", &made.root)?;
    if let Some(secret) = made.operator_secret {
        env.set("SCRIP_OPERATOR_ID", bootstrap::OPERATOR)?;
        env.set("SCRIP_OPERATOR_SECRET", secret.expose_secret())?;
    }
    if let Some(secret) = make_client(store, config, DEMO).await? {
        env.set("SCRIP_CLIENT_ID", DEMO.0)?;
        env.set("SCRIP_CLIENT_SECRET", secret.expose_secret())?;
    }
    if let Some(secret) = make_client(store, config, VERIFIER).await? {
        env.set("SCRIP_VERIFIER_ID", VERIFIER.0)?;
        env.set("SCRIP_VERIFIER_SECRET", secret.expose_secret())?;
    }
    Ok(())
}

/// A client with its policy of the same name; its secret, where it was made now.
async fn make_client(
    store: &Store,
    config: &Config,
    (id, policy): (&str, &str),
) -> Result<Option<SecretString>, Failure> {
    let policy = Policy::from_toml(policy.as_bytes())
        .map_err(|error| Failure::Rejected(error.to_string()))?;
    let policy = serde_json::to_string(&policy).map_err(std::io::Error::from)?;
    let make = async {
        let signer = Signer::open(&config.keys_dir)?;
        let mut tx = store.begin(Lock::Admin).await?;
        let created = tx.now_ms(clock::now_ms()).await? / 1000;
        let digest_key = bootstrap::digest_key(&mut tx, &signer).await?;
        let Some(digest_key) = digest_key else { return Ok(None) };
        let secret = bootstrap::make_embedded(&mut tx, &digest_key, id, id, created).await?;
        if secret.is_some() {
            policies::insert(&mut tx, id, "dev", created, &policy).await?;
        }
        tx.commit().await?;
        Ok::<_, BootstrapError>(secret)
    };
    make.await.map_err(refused)
}

/// `dev.env`: variables for a shell, mode 0600.
struct Environment(PathBuf);

impl Environment {
    /// Sets one variable; the file is replaced whole.
    fn set(&self, name: &str, value: &str) -> Result<(), Failure> {
        let before = match std::fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let prefix = format!("{name}=");
        let mut text: String = before
            .lines()
            .filter(|line| !line.starts_with(&prefix))
            .fold(String::new(), |all, l| all + l + "\n");
        let _ = writeln!(text, "{name}={value}");
        let folder = self.0.parent().unwrap_or(Path::new("."));
        // A temporary file has mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.0).map_err(|error| error.error)?;
        Ok(())
    }
}

/// The story, as commands that work when pasted.
fn story(env: &Path, data_dir: &Path) -> String {
    let scrip =
        std::env::current_exe().map_or_else(|_| "scrip".into(), |path| path.display().to_string());
    let (env, data_dir) = (env.display(), data_dir.display());
    format!(
        r#"
Scrip is running and keeps everything in {data_dir}. Paste this into a second terminal, in the same folder:

# 0. The credentials of a demo client, an operator and a verifier
set -a; . "{env}"; set +a

# 1. Exchange the demo client's master credential for a token that lives for five minutes
REPLY=$(curl -sS -u "$SCRIP_CLIENT_ID:$SCRIP_CLIENT_SECRET" "$SCRIP_URL/oauth2/token" \
  -d grant_type=client_credentials -d models=gpt-4o-mini -d budget_tokens=2000); echo "$REPLY"
TOKEN=$(echo "$REPLY" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
JTI=$(echo "$REPLY" | sed 's/.*"jti":"\([^"]*\)".*/\1/')

# 2. Verify it as a gateway does: offline, by a copy of the deny list
verify() {{ echo "$TOKEN" | SCRIP_CLIENT_ID=$SCRIP_VERIFIER_ID SCRIP_CLIENT_SECRET=$SCRIP_VERIFIER_SECRET \
  "{scrip}" token verify --follow --audience llm-gateway --env dev \
  --scope llm:chat --model gpt-4o-mini --request-tokens 500; }}
verify

# 3. Revoke it, as the security team does
curl -sS -u "$SCRIP_OPERATOR_ID:$SCRIP_OPERATOR_SECRET" "$SCRIP_URL/v1/revocations" \
  -H 'content-type: application/json' -d '{{"selector":{{"jti":"'"$JTI"'"}},"reason":"leaked"}}'; echo

# 4. Verify it again: refused, with the reason
verify

Ctrl-C stops it; the same command continues with what is there.
"#
    )
}
