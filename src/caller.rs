//! Who asks: proved from a master credential (Basic or form) or from a token of our own.

mod address;
mod admissions;
mod bearer;
mod presented;
mod reach;
mod register;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use chrono::DateTime;
use scrip_token::QualifiedName;
use secrecy::SecretString;

use crate::app::App;
use crate::policy::Policy;
use crate::rates::{Failures, TooOften};
use crate::secret::{self, DigestKey};
use crate::store::clients::Client;
use crate::store::credentials::Credential;
use crate::store::{Lane, Session, StoreError, policies};
use crate::vault::{MasterCredentials, Proof, Version, Versions};

pub use address::client_address;
pub use admissions::{Admission, Admissions, Pass};
pub use bearer::{Means, operator, operator_with_either};
use presented::Presented;
pub use presented::{Form, FormError};
pub use reach::{Operator, Reach};
use register::Entry;
pub use register::{Register, Unread};

/// A client that has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its name.
    pub client: QualifiedName,
    /// Which version of its credential it proved: `<source>:<version>.<created unix seconds>`.
    pub cred: String,
    /// Where it asks from.
    pub address: IpAddr,
}

/// What is on record about a caller.
#[derive(Debug, Clone)]
pub struct Proved {
    /// Who.
    pub caller: Caller,
    /// Its policy, as it counts now.
    pub policy: Arc<Policy>,
    /// Whether its secret is kept here, and so does not depend on Vault.
    pub embedded: bool,
}

/// Why nobody has been proved.
#[derive(Debug, thiserror::Error)]
pub enum Unproved {
    /// No credential, an unknown or disabled client, or a wrong secret: indistinguishable.
    #[error("client authentication failed")]
    Wrong,
    /// The secret is right, and past due for so long that the policy has it refused. To the outside
    /// it looks like [`Unproved::Wrong`].
    #[error("the credential of {0} is past due")]
    PastDue(QualifiedName),
    /// RFC 6749 section 2.3: more than one way of authenticating.
    #[error("two ways of authenticating in one request")]
    Ambiguous,
    /// Vault is away, so that nobody can be told that a credential is wrong.
    #[error("Vault is away")]
    Away,
    /// There were too many failures before; this attempt was not looked at.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// Too many failures beside this one, which was.
    #[error(transparent)]
    OneTooMany(TooOften),
    /// Too many are looked up of whom nothing is known.
    #[error("too many are waiting")]
    Crowded,
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client could not be looked up.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// A bearer token is missing or refused.
    #[error("access token refused: {0}")]
    Token(String),
    /// The token, or the client, may not do this.
    #[error("needs the scope `{0}`")]
    Scope(&'static str),
    /// The client may, and Vault keeps its secret, which opens nothing but the token endpoint.
    #[error("needs a token with the scope `{0}`: the secret is in Vault")]
    InVault(&'static str),
    /// The operator is confined to a tenant, and this is everybody's.
    #[error("confined to a tenant")]
    Confined,
    /// The policy has networks, and the request comes from elsewhere.
    #[error("asked from outside the policy's networks")]
    Elsewhere,
}

/// Every failed authentication is answered this long after its arrival, whatever the cause. Until then
/// Vault has time to say that it is right.
pub(crate) const FAILURE_TIME: Duration = Duration::from_millis(250);

/// Proves a client from the credential of a request to an OAuth endpoint, over the connections of
/// `lane`.
///
/// # Errors
/// [`Unproved`].
pub async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    form: &Form,
    address: IpAddr,
    arrival: Instant,
    lane: Lane,
) -> Result<Proved, Unproved> {
    let presented = Presented::from_request(headers, form)?;
    prove(app, presented, address, arrival, lane).await
}

/// Proves a client whose credential stands in a Basic header, over the connections that are kept for
/// revocation and the feed.
///
/// # Errors
/// As [`authenticate`].
pub async fn authenticate_basic(
    app: &App,
    headers: &HeaderMap,
    address: IpAddr,
    arrival: Instant,
) -> Result<Proved, Unproved> {
    prove(app, Presented::from_basic(headers), address, arrival, Lane::Reserved).await
}

async fn prove(
    app: &App,
    presented: Option<Presented>,
    address: IpAddr,
    arrival: Instant,
    lane: Lane,
) -> Result<Proved, Unproved> {
    let (failures, register) = match lane {
        Lane::Reserved => (&app.rates.reserved_failures, &app.reserved_register),
        _ => (&app.rates.failures, &app.register),
    };
    let is_away = || app.vault.as_ref().is_some_and(MasterCredentials::is_away);
    let Some(presented) = presented else {
        return Err(if is_away() { Unproved::Away } else { Unproved::Wrong });
    };
    let client = &presented.client;
    failures.may_try(client, address, arrival)?;
    let proved = look_up(app, &presented, address, arrival, failures, register).await;
    // As many may have failed meanwhile as there may be.
    let judged = match &proved {
        Ok(_) => failures.may_try(client, address, arrival),
        Err(Unproved::Wrong | Unproved::PastDue(_) | Unproved::Away) if is_away() => {
            return Err(Unproved::Away);
        }
        Err(Unproved::Wrong | Unproved::PastDue(_)) => failures.note(client, address, arrival),
        Err(Unproved::Away) => failures.note_unjudged(client, address, arrival),
        Err(_) => Ok(()),
    };
    judged.map_err(Unproved::OneTooMany)?;
    proved
}

/// The version of a policy that counts now; `None` where there is no such policy.
///
/// # Errors
/// [`StoreError`].
pub async fn current_policy(
    session: &mut impl Session,
    name: &str,
) -> Result<Option<Policy>, StoreError> {
    policies::latest(session, name).await?.map(|row| row.terms()).transpose()
}

/// The policy that counts now for an enabled client; `None` for any other.
///
/// # Errors
/// [`StoreError`].
pub async fn policy_of(
    session: &mut impl Session,
    client: &QualifiedName,
) -> Result<Option<Policy>, StoreError> {
    policies::of_client(session, client.as_str()).await?.map(|row| row.terms()).transpose()
}

/// The client, if the secret is a good version's. Whoever does not exist, is disabled or has another
/// secret takes the same path: the same reading, one comparison, one question to Vault.
async fn look_up(
    app: &App,
    presented: &Presented,
    address: IpAddr,
    arrival: Instant,
    failures: &Failures,
    register: &Register,
) -> Result<Proved, Unproved> {
    let name = QualifiedName::parse(&presented.client).map_err(|_| Unproved::Wrong)?;
    if secret::is_mistyped(presented.secret()) {
        return Err(Unproved::Wrong);
    }
    let entry = register.find(&name).await?;

    // By the database's clock, which was read together with the client: upkeep ends versions for
    // good by it, and a replica whose clock is ahead would end one before its time.
    let now = entry.as_ref().map_or(0, |entry| entry.now);
    let overlap = entry.as_ref().map_or(0, |entry| entry.client.overlap.unsigned_abs());
    let overlap = Duration::from_secs(overlap);
    let versions = entry.as_ref().map_or(&[][..], |entry| &entry.credentials);
    let embedded = prove_embedded(&app.digest_key, versions, overlap, &presented.secret, now);

    let may_ask = |client: &Client| client.enabled && client.deleted.is_none();
    let entry = entry.as_ref().filter(|entry| may_ask(&entry.client));
    let is_embedded = entry.is_some_and(|entry| entry.client.source == "embedded");
    let cred = match embedded.filter(|_| is_embedded) {
        Some(cred) => Some(cred),
        None => {
            let kept_there = entry.filter(|_| !is_embedded).map(|_| &name);
            let deadline = arrival + FAILURE_TIME;
            // Who leaves meanwhile has failed: a right secret is seldom asked about, and so is
            // answered sooner.
            let leaving = failures.unless_answered(&presented.client, address, arrival);
            let proof = match (&app.vault, kept_there) {
                (Some(vault), Some(name)) => {
                    vault.prove(name, overlap, &presented.secret, now, deadline).await
                }
                (Some(vault), None) => vault.prove_nobody(now, deadline).await,
                (None, Some(_)) => Proof::Away,
                (None, None) => Proof::Bad,
            };
            leaving.answered();
            match proof {
                Proof::Good { version } => Some(version.to_string()),
                Proof::Bad => None,
                Proof::Away => return Err(Unproved::Away),
            }
        }
    };
    let (Some(entry), Some(cred)) = (entry, cred) else { return Err(Unproved::Wrong) };
    let Entry { client, credentials: versions, policy, .. } = &**entry;
    if versions.iter().any(|known| known.ended.is_some() && known.version == cred) {
        return Err(Unproved::Wrong);
    }
    if client.refused.is_some() {
        return Err(Unproved::PastDue(name));
    }
    let missing = || StoreError::Corrupt(format!("no policy {}", client.policy));
    Ok(Proved {
        caller: Caller { client: name, cred, address },
        policy: policy.clone().ok_or_else(missing)?,
        embedded: is_embedded,
    })
}

/// The version that `secret` belongs to, among those that are still good. Compares with each, and
/// with one that nobody has, so that the work does not tell how many there are.
fn prove_embedded(
    key: &DigestKey,
    rows: &[Credential],
    overlap: Duration,
    secret: &SecretString,
    now: u64,
) -> Option<String> {
    let good = good_versions(rows, overlap, now);
    let digest = |version: &str| rows.iter().find(|row| row.version == version)?.digest;
    let mut found = None;
    for (version, digest) in good.iter().filter_map(|version| Some((version, digest(version)?))) {
        if key.matches(secret, &digest) {
            found = Some(version.clone());
        }
    }
    let _ = key.matches(secret, &[0; 32]);
    found
}

/// Which versions of an embedded credential authenticate at `now`, newest first.
#[must_use]
pub fn good_versions(rows: &[Credential], overlap: Duration, now: u64) -> Vec<String> {
    embedded_versions(rows)
        .good(overlap, now)
        .map(|version| embedded_version(version.number, version.created.timestamp()))
        .collect()
}

/// The versions of an embedded credential, judged like those in Vault.
#[must_use]
pub fn embedded_versions(rows: &[Credential]) -> Versions {
    let time = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let versions = rows.iter().filter(|row| row.digest.is_some()).filter_map(|row| {
        Some(Version {
            number: embedded_number(&row.version)?,
            created: time(row.created),
            deleted: row.ended.map(time),
            destroyed: false,
        })
    });
    Versions::new(versions.collect())
}

/// The `cred` of an embedded credential: `embedded:<number>.<created>`.
#[must_use]
pub fn embedded_version(number: u64, created: i64) -> String {
    format!("embedded:{number}.{created}")
}

/// The number in an embedded credential's `cred`.
#[must_use]
pub fn embedded_number(version: &str) -> Option<u64> {
    version.strip_prefix("embedded:")?.split_once('.')?.0.parse().ok()
}
