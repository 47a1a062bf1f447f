//! Versions of secrets that have ended: for ever, and with what they minted.

use scrip_token::QualifiedName;
use scrip_token::deny::Credential;

use crate::app::App;
use crate::caller::Reach;
use crate::clock;
use crate::deny::{Appended, subject};
use crate::revoke::{Draft, Grounds, NotRevoked, Selector, Target, enact};
use crate::store::{Session, StoreError, Tx, credentials, revocations};

/// Ends versions of a client's secret, and kills what they minted, as any revocation does: on record,
/// so that it can be asked who enforces it. Belongs to a transaction under `Lock::Revoke`. `None`:
/// there was nothing left to kill.
///
/// # Errors
/// [`NotRevoked`]; the transaction must be given up then.
pub(crate) async fn end(
    app: &App,
    tx: &mut Tx,
    client: &QualifiedName,
    versions: &[String],
    note: &str,
    now_ms: i64,
) -> Result<Option<Appended>, NotRevoked> {
    for version in versions {
        credentials::end_for_good(tx, client.as_str(), version, now_ms / 1000).await?;
    }
    let mut drafts = Vec::new();
    for version in unrevoked(tx, client, versions).await? {
        let version = Credential { client: client.clone(), version: version.clone() };
        let selector = Selector { target: Target::Cred(version), before: None };
        let found = selector.resolve(tx, &Reach::EVERYWHERE, clock::seconds(now_ms)).await?;
        let grounds = Grounds { reason: "rotated".to_owned(), note: note.to_owned() };
        drafts.push(Draft::new(selector, found, client, grounds, now_ms));
    }
    if drafts.is_empty() {
        return Ok(None);
    }
    Ok(enact(tx, &app.deny, drafts, now_ms).await?.1)
}

/// Those whose tokens may be alive: that a version authenticates no more says nothing of them.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn unrevoked<'v>(
    session: &mut impl Session,
    client: &QualifiedName,
    versions: &'v [String],
) -> Result<Vec<&'v String>, StoreError> {
    let of = |version: &String| subject::of_cred(client.as_str(), version);
    let subjects: Vec<String> = versions.iter().map(of).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    let known = revocations::latest(session, &subjects).await?;
    let is_new = |subject: &str| known.iter().all(|known| known.subject != subject);
    let versions = versions.iter().zip(&subjects);
    Ok(versions.filter(|(_, subject)| is_new(subject)).map(|(version, _)| version).collect())
}
