//! Continuity: whether the database still has what was published, and a new epoch where it has not.
//!
//! A database that was restored from a backup, or failed over to a copy that lagged, has forgotten
//! revocations that were acknowledged. What they were is unknown: a new epoch begins by refusing
//! every token there is, and followers keep what they knew.
//!
//! Before anything of the feed is signed, the numbering row is compared with what this process
//! knows, which costs a query only where another replica was first. Heads of batches are kept for 7
//! days after they were followed: a witness that is older is passed over where another one has seen
//! more, as long as no key that it saw revoked signs again.

use std::collections::BTreeSet;

use scrip_token::compact::{Compact, Header};
use scrip_token::deny::{Batch, Entry, MAX_BATCH_BYTES, True, first_head};
use scrip_token::jwk::Jwk;
use scrip_token::limits::HORIZON;
use scrip_token::{Digest, Jti, Typ, VerifyingKey};
use serde_json::json;

use super::{Appended, DenyList, PublishError};
use crate::audit::Event;
use crate::signer::{self, Purpose, root, rotation};
use crate::store::installation::{self, Installation};
use crate::store::{self, Lock, Session, Store, StoreError, Tx};
use crate::store::{audit, deny_batches, deny_entries};
use crate::witness::Testimony;
use crate::{clock, random};

/// How many keys documents may have been published without any witness. A new epoch leaves out as
/// many versions: a follower that has one of them takes in no lower one.
const UNSEEN: i64 = 64;

/// Whether a database is the one that something was published from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It has all of it, or has begun a later epoch, which made up for whatever was lost before.
    Shown,
    /// The database has gone on for longer than heads are kept, so that nothing can be compared.
    /// All that was revoked by then is over, except for keys, and those it has.
    Forgotten,
    /// It does not have all of it.
    Lost,
}

/// Whether the database has all that is `known` to have been published.
///
/// # Errors
/// [`StoreError`].
pub async fn continuity(
    session: &mut impl Session,
    row: &Installation,
    known: &Testimony,
) -> Result<Continuity, StoreError> {
    let shown = |is_shown| if is_shown { Continuity::Shown } else { Continuity::Lost };
    if row.keys_version < known.keys || row.epoch < known.epoch {
        return Ok(Continuity::Lost);
    }
    if row.epoch > known.epoch {
        return Ok(shown(has_revoked(session, &known.revoked).await?));
    }
    if row.seq == known.seq {
        return Ok(shown(row.head == known.head));
    }
    if known.seq == 0 {
        return Ok(Continuity::Shown);
    }
    match deny_batches::one(session, &row.epoch, known.seq).await? {
        Some(batch) => Ok(shown(batch.head == known.head)),
        None if row.seq > known.seq && has_revoked(session, &known.revoked).await? => {
            Ok(Continuity::Forgotten)
        }
        None => Ok(Continuity::Lost),
    }
}

/// Whether all of these keys are revoked, so that none of them signs again.
async fn has_revoked(
    session: &mut impl Session,
    kids: &BTreeSet<String>,
) -> Result<bool, StoreError> {
    let keys = signer::keys(session).await?;
    let mut named = keys.iter().filter(|key| kids.contains(&key.jwk.kid));
    Ok(named.all(|key| key.revoked_at.is_some()))
}

/// At start: goes on where the database has what every witness saw, and begins an epoch where it
/// has not. A witness that was left behind long ago is passed over as long as another one has seen
/// more. Without any witness Postgres is believed; an embedded database in which something was
/// revoked is not.
///
/// # Errors
/// [`PublishError`].
pub async fn resume(
    store: &Store,
    list: &DenyList,
    witnesses: &[Testimony],
) -> Result<(), PublishError> {
    let mut session = store.read_reserved().await?;
    let row = installation::read(&mut session).await?.ok_or(PublishError::NotSetUp)?;
    if witnesses.is_empty() && store.is_embedded() && row.seq > 0 {
        begin(store, list, None, Cause::NoWitness).await?;
    }
    let furthest = witnesses.iter().map(Testimony::place).max();
    for witness in witnesses {
        let has_gone_on = match continuity(&mut session, &row, witness).await? {
            Continuity::Shown => true,
            Continuity::Forgotten => furthest > Some(witness.place()),
            Continuity::Lost => false,
        };
        if !has_gone_on {
            begin(store, list, Some(witness), Cause::Lost).await?;
            break;
        }
    }
    list.attest_keys(store).await
}

/// While running: begins an epoch where the database does not have what was published.
///
/// # Errors
/// [`PublishError`].
pub async fn renew(store: &Store, list: &DenyList) -> Result<(), PublishError> {
    begin(store, list, Some(&list.witness().known()), Cause::Lost).await?;
    list.attest_keys(store).await
}

/// What became of a batch that a follower holds against us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It is ours, and the database does not have it: a new epoch has begun.
    Begun,
    /// The database has it, or has begun a later epoch.
    Known,
    /// Heads of that age are not kept any more.
    Forgotten,
    /// No batch that a feed key of ours signed for this issuer.
    Unproven,
}

/// Judges a batch that a follower says it was sent, and begins an epoch where the database should
/// have it and has not. One signature is checked, of a key that is published and not revoked.
///
/// # Errors
/// [`PublishError`].
pub async fn contradicted(
    store: &Store,
    list: &DenyList,
    jws: &str,
) -> Result<Evidence, PublishError> {
    let mut session = store.read_reserved().await?;
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    let keys = signer::keys(&mut session).await?;
    let published = signer::published_jwks(&keys, Purpose::Feed, now);
    let Some((batch, head)) = proven(jws, published, &list.issuer) else {
        return Ok(Evidence::Unproven);
    };

    let revoked = batch.entries.iter().filter_map(|entry| match entry {
        Entry::Kid { kid } => Some(kid.clone()),
        _ => None,
    });
    let seen = Testimony {
        epoch: batch.epoch.to_string(),
        seq: batch.seq.cast_signed(),
        head,
        at: batch.iat,
        revoked: revoked.collect(),
        ..list.witness().known()
    };
    let row = installation::read(&mut session).await?.ok_or(PublishError::NotSetUp)?;
    match continuity(&mut session, &row, &seen).await? {
        Continuity::Shown => return Ok(Evidence::Known),
        Continuity::Forgotten => return Ok(Evidence::Forgotten),
        Continuity::Lost => drop(session),
    }
    begin(store, list, Some(&seen), Cause::Evidence).await?;
    list.attest_keys(store).await?;
    Ok(Evidence::Begun)
}

/// The batch and the digest of its payload, where one of `keys` signed it.
fn proven<'k>(
    jws: &str,
    mut keys: impl Iterator<Item = &'k Jwk>,
    issuer: &str,
) -> Option<(Batch, Digest)> {
    let compact = Compact::parse(jws.as_bytes(), 2 * MAX_BATCH_BYTES).ok()?;
    let header = Header::parse(&compact.header, Typ::DenyBatch).ok()?;
    let key = VerifyingKey::new(keys.find(|key| *key.kid == *header.kid)?).ok()?;
    let signed =
        key.alg().is_spelt(&header.alg) && key.verify(compact.signing_input, &compact.signature);
    let batch = signed.then(|| Batch::parse(&compact.payload).ok()).flatten()?;
    (batch.iss == issuer).then(|| (batch, Digest::of(&compact.payload)))
}

/// Takes a stolen feed key out of use: revokes it, has another one sign, and begins an epoch,
/// because the thief may have shown followers what never was. Belongs to a transaction under
/// `Lock::Revoke`; to be acknowledged, with [`DenyList::attest_keys`], after its commit.
///
/// # Errors
/// [`PublishError`]; the transaction must be given up then.
pub async fn withdraw_feed_key(
    tx: &mut Tx,
    list: &DenyList,
    kid: &str,
    now_ms: i64,
) -> Result<Appended, PublishError> {
    let row = list.lock(tx).await?;
    let mut known = list.witness().known();
    known.revoked.insert(kid.to_owned());
    replace(tx, list, &row, &known, Cause::StolenFeedKey, now_ms).await
}

/// Why an epoch begins.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Lost,
    NoWitness,
    Evidence,
    StolenFeedKey,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "the database does not have what was published",
            Self::NoWitness => "no witness tells what was published",
            Self::Evidence => "a follower has a batch that the database does not have",
            Self::StolenFeedKey => "a feed key was revoked",
        }
    }
}

/// Begins an epoch because the database does not have what is `missing`. By one compare-and-set, so
/// that of several replicas which find the same one begins it. `missing` is nothing where there is
/// no witness.
async fn begin(
    store: &Store,
    list: &DenyList,
    missing: Option<&Testimony>,
    cause: Cause,
) -> Result<(), PublishError> {
    let mut tx = store.begin(Lock::Revoke).await?;
    let row = installation::lock(&mut tx).await?.ok_or(PublishError::NotSetUp)?;
    let mut known = list.witness().known();
    if let Some(missing) = missing {
        if continuity(&mut tx, &row, missing).await? == Continuity::Shown {
            return Ok(());
        }
        known.add(missing.clone());
    }
    if !matches!(cause, Cause::Lost) {
        known.keys = known.keys.max(row.keys_version) + UNSEEN;
    }
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let appended = replace(&mut tx, list, &row, &known, cause, now_ms).await?;
    tx.commit().await?;
    list.witness().add(known);
    list.acknowledge(appended).await
}

/// Ends the epoch of `row` and begins the next, above all that is known. Everything minted so far
/// is refused, every revoked key is named and withdrawn, and keys documents go on from the greater
/// version.
async fn replace(
    tx: &mut Tx,
    list: &DenyList,
    row: &Installation,
    known: &Testimony,
    cause: Cause,
    now_ms: i64,
) -> Result<Appended, PublishError> {
    let malformed = |_| StoreError::Corrupt("an epoch that is no UUIDv7".to_owned());
    let newest = Jti::parse(known.epoch.as_str().max(&row.epoch)).map_err(malformed)?;
    let now_ms = now_ms.max(known.at.cast_signed() * 1000);
    let now = clock::seconds(now_ms);
    let epoch = Jti::new(now_ms.unsigned_abs().max(newest.milliseconds() + 1), random::bytes());
    let head = first_head(epoch);
    installation::begin_epoch(tx, &row.epoch, &epoch.to_string(), &head, known.keys).await?;

    root::adopt(tx, &list.signer, &list.issuer, &known.root, now).await?;
    for kid in &known.revoked {
        let keys = signer::keys(tx).await?;
        if let Some(key) = keys.iter().find(|key| key.jwk.kid == *kid && key.revoked_at.is_none()) {
            rotation::revoke(tx, &list.signer, &keys, key, now).await?;
        }
    }
    let keys = signer::keys(tx).await?;
    let revoked = keys.iter().filter(|key| key.revoked_at.is_some()).map(|key| &key.jwk.kid);
    let revoked: BTreeSet<&String> = revoked.chain(&known.revoked).collect();

    let latest = deny_entries::latest_cut(tx, now.cast_signed()).await?.unwrap_or_default();
    let before = now.max(latest.unsigned_abs());
    let all = Entry::All { all: True, before, until: before + HORIZON };
    let kids = revoked.into_iter().map(|kid| Entry::Kid { kid: kid.clone() });
    let entries: Vec<Entry> = std::iter::once(all).chain(kids).collect();
    let row = installation::lock(tx).await?.ok_or(PublishError::NotSetUp)?;
    let appended = list.extend(tx, row, now_ms, &entries).await?;
    signer::publish_keys(tx, &list.signer, &list.issuer, now).await?;

    let detail = json!({"cause": cause.as_str(), "before": before, "keys": entries.len() - 1});
    let event = Event::new("epoch.begin", "alert").target(epoch.to_string()).detail(&detail);
    audit::insert_many(tx, &[event.at(now_ms)]).await?;
    metrics::counter!("scrip_epochs_total").increment(1);
    metrics::counter!("scrip_alerts_total", "of" => "epoch.begin").increment(1);
    tracing::error!(%epoch, cause = cause.as_str(), "a new epoch begins: every token is to be minted again");
    Ok(appended)
}
