//! What must exist before the first request. Straight into the database, on the service's host.
//!
//! Makes what has no row, and nothing else: run again, it changes nothing. A row whose key file is
//! missing is an error, never a new key.

use scrip_token::deny::first_head;
use scrip_token::{Alg, Jti, QualifiedName};
use secrecy::SecretString;
use serde_json::json;

use crate::audit::Event;
use crate::caller::embedded_version;
use crate::config::Config;
use crate::deny::PublishError;
use crate::policy::{OPERATOR_ENV, OPERATOR_SCOPES, Policy, SELF_AUDIENCE};
use crate::secret::{self, DigestKey};
use crate::signer::{self, HomeError, Key, Purpose, Signer, SignerError, State, rotation};
use crate::store::clients::Client;
use crate::store::credentials::Credential;
use crate::store::signing_keys::SigningKey;
use crate::store::{Lock, Store, StoreError, Tx};
use crate::store::{audit, clients, credentials, installation, policies, signing_keys};
use crate::{clock, random};

/// The operator that exists from the start.
pub const OPERATOR: &str = "ops/admin";
/// Its policy.
const OPERATOR_POLICY: &str = "ops/operator";
/// Overlap of rotated secrets where nothing else is said, in seconds.
pub const OVERLAP: i64 = 86_400;

/// What was made.
pub struct Bootstrapped {
    /// The operator's secret, where the operator was made now. Shown once.
    pub operator_secret: Option<SecretString>,
    /// The thumbprint of the root key, for followers to pin.
    pub root: String,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key, or its file.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The files of the keys.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The keys document.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The database was set up for another issuer, whose name every token carries.
    #[error("this database belongs to the issuer {0}")]
    OtherIssuer(String),
    /// A name or policy that is built in does not parse, which does not happen.
    #[error("built in and malformed: {0}")]
    BuiltIn(String),
}

/// Migrates, then makes what is absent.
///
/// # Errors
/// [`BootstrapError`]; nothing is half done then.
pub async fn bootstrap(store: &Store, config: &Config) -> Result<Bootstrapped, BootstrapError> {
    store.migrate().await?;
    store.check().await?;
    let signer = Signer::open(&config.keys_dir)?;
    let mut tx = store.begin(Lock::Revoke).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let now = clock::seconds(now_ms);

    let epoch = Jti::new(now_ms.unsigned_abs(), random::bytes());
    let row = installation::Installation {
        issuer: config.issuer.clone(),
        epoch: epoch.to_string(),
        seq: 0,
        head: first_head(epoch),
        keys_version: 0,
        created: now.cast_signed(),
    };
    installation::create(&mut tx, &row).await?;
    let row = installation::lock(&mut tx).await?.unwrap_or(row);
    if row.issuer != config.issuer {
        return Err(BootstrapError::OtherIssuer(row.issuer));
    }

    let keys = signer::keys(&mut tx).await?;
    signer.load(&keys, now)?;
    let root = make_keys(&mut tx, &signer, config, &keys, now).await?;
    let digest_key = match digest_key(&mut tx, &signer).await? {
        Some(key) => key,
        None => make_digest_key(&mut tx, &signer, now).await?,
    };
    make_policy(&mut tx, now).await?;
    let operator_secret = make_operator(&mut tx, &digest_key, now_ms).await?;
    tx.commit().await?;
    Ok(Bootstrapped { operator_secret, root })
}

/// An active and a next key for each algorithm in use, a root and a feed key; returns the root's
/// thumbprint.
async fn make_keys(
    tx: &mut Tx,
    signer: &Signer,
    config: &Config,
    keys: &[Key],
    now: u64,
) -> Result<String, BootstrapError> {
    let mut made = false;
    for purpose in [Purpose::Root, Purpose::Feed] {
        if signer::single(keys, purpose, now).is_none() {
            rotation::make(tx, signer, Alg::EdDSA, purpose, Some(now), now).await?;
            made = true;
        }
    }
    for alg in config.algs() {
        let has = |state| {
            keys.iter().any(|key| {
                key.purpose == Purpose::Token && key.jwk.alg == alg && key.state(now) == state
            })
        };
        // Only an algorithm's very first key signs at once: nobody can have cached the set yet.
        if !has(State::Active) {
            rotation::make(tx, signer, alg, Purpose::Token, Some(now), now).await?;
            made = true;
        }
        if !has(State::Next) {
            rotation::make(tx, signer, alg, Purpose::Token, None, now).await?;
            made = true;
        }
    }
    if made {
        signer::publish_keys(tx, signer, &config.issuer, now).await?;
    }
    let keys = signer::keys(tx).await?;
    let root = signer::single(&keys, Purpose::Root, now).ok_or(PublishError::NotSetUp)?;
    Ok(root.jwk.kid.clone())
}

/// The key of the digests of embedded credentials; `None` before bootstrap.
///
/// # Errors
/// [`BootstrapError`] where its file cannot be used.
pub async fn digest_key(
    session: &mut impl crate::store::Session,
    signer: &Signer,
) -> Result<Option<DigestKey>, BootstrapError> {
    let rows = signing_keys::all(session).await?;
    let Some(row) = rows.iter().find(|row| row.purpose == DIGEST) else { return Ok(None) };
    Ok(Some(DigestKey::new(&*signer.home().read_digest_key(&row.kid)?)))
}

const DIGEST: &str = "digest";

async fn make_digest_key(
    tx: &mut Tx,
    signer: &Signer,
    now: u64,
) -> Result<DigestKey, BootstrapError> {
    let (name, key) = signer::generate_digest_key();
    signer.home().write_digest_key(&name, &key)?;
    let row = SigningKey {
        kid: name,
        alg: "HS256".to_owned(),
        purpose: DIGEST.to_owned(),
        jwk: "{}".to_owned(),
        published: now.cast_signed(),
        active_from: Some(now.cast_signed()),
        retire_at: None,
        revoked_at: None,
    };
    signing_keys::insert(tx, &row).await?;
    Ok(DigestKey::new(&key))
}

async fn make_policy(tx: &mut Tx, now: u64) -> Result<(), BootstrapError> {
    if policies::latest(tx, OPERATOR_POLICY).await?.is_some() {
        return Ok(());
    }
    // All scopes, because nobody can grant what they do not hold, and somebody has to register
    // verifiers. It serves no gateways: `self` is the service.
    let policy = json!({
        "name": OPERATOR_POLICY, "audiences": [SELF_AUDIENCE], "scopes": OPERATOR_SCOPES,
        "serves": [SELF_AUDIENCE], "env": OPERATOR_ENV, "ttl": {"default": 300, "max": 900},
    });
    let built_in = |error: &dyn std::fmt::Display| BootstrapError::BuiltIn(error.to_string());
    let policy = Policy::from_json(policy.to_string().as_bytes()).map_err(|e| built_in(&e))?;
    let body = serde_json::to_string(&policy).map_err(|e| built_in(&e))?;
    policies::insert(tx, OPERATOR_POLICY, "bootstrap", now.cast_signed(), &body).await?;
    Ok(())
}

async fn make_operator(
    tx: &mut Tx,
    digest_key: &DigestKey,
    now_ms: i64,
) -> Result<Option<SecretString>, BootstrapError> {
    let created = now_ms / 1000;
    let secret = make_embedded(tx, digest_key, OPERATOR, OPERATOR_POLICY, created).await?;
    if secret.is_some() {
        let event = Event::new("bootstrap", "done").tenant("ops").target(OPERATOR);
        audit::insert_many(tx, &[event.at(now_ms)]).await?;
    }
    Ok(secret)
}

/// Makes a client whose secret is kept as a digest; returns the secret, where it was made now.
///
/// # Errors
/// [`BootstrapError`].
pub async fn make_embedded(
    tx: &mut Tx,
    digest_key: &DigestKey,
    id: &str,
    policy: &str,
    created: i64,
) -> Result<Option<SecretString>, BootstrapError> {
    if clients::by_id(tx, id).await?.is_some() {
        return Ok(None);
    }
    let name =
        QualifiedName::parse(id).map_err(|error| BootstrapError::BuiltIn(error.to_string()))?;
    let client = Client::new(&name, policy, "embedded", OVERLAP, created);
    clients::insert(tx, &client).await?;
    let secret = secret::generate(name.tenant());
    let credential = Credential {
        client: id.to_owned(),
        version: embedded_version(1, created),
        created,
        digest: Some(digest_key.digest(&secret)),
        ended: None,
    };
    credentials::insert(tx, &credential).await?;
    Ok(Some(secret))
}
