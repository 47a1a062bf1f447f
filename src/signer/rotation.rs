//! Making, promoting and revoking keys of tokens and of the feed. Each function belongs to a
//! transaction under `Lock::Revoke` and leaves publishing the next keys document to its caller.

use scrip_token::Alg;

use super::lifecycle::{Key, Purpose, State};
use super::{Signer, SignerError, active, generate, single};
use crate::store::Tx;
use crate::store::signing_keys::{self, Times};

/// Makes a key: its file is synced before its row can be committed. A file without a row is
/// harmless; a row without a file is an error at every start.
///
/// # Errors
/// [`SignerError`].
pub async fn make(
    tx: &mut Tx,
    signer: &Signer,
    alg: Alg,
    purpose: Purpose,
    active_from: Option<u64>,
    now: u64,
) -> Result<Key, SignerError> {
    let (private, pkcs8) = generate(alg)?;
    signer.home().write(private.kid(), &pkcs8)?;
    let key = Key {
        jwk: private.public().clone(),
        purpose,
        published: now,
        active_from,
        retire_at: None,
        revoked_at: None,
    };
    signing_keys::insert(tx, &key.to_row()?).await?;
    signer.adopt(private);
    Ok(key)
}

/// What became of a rotation.
pub enum Rotated {
    /// The keys that are active and next now.
    Done {
        /// Signs from now on.
        active: Box<Key>,
        /// Just published.
        next: Box<Key>,
    },
    /// The next key has not been published for long enough; it may sign from this time on.
    TooEarly(u64),
    /// No key of this algorithm is in use.
    Unused,
}

/// Promotes the next key of an algorithm and publishes another. The one that signed so far
/// retires when everything it signed has expired.
///
/// # Errors
/// [`SignerError`].
pub async fn rotate(
    tx: &mut Tx,
    signer: &Signer,
    keys: &[Key],
    alg: Alg,
    lead: u64,
    now: u64,
) -> Result<Rotated, SignerError> {
    let Some(next) = next(keys, alg, now) else { return Ok(Rotated::Unused) };
    if next.ripe_at(lead) > now {
        return Ok(Rotated::TooEarly(next.ripe_at(lead)));
    }
    if let Some(active) = active(keys, alg, now) {
        let times = Times { retire_at: Some(Key::retirement(now).cast_signed()), ..times(active) };
        signing_keys::set_times(tx, &active.jwk.kid, times).await?;
    }
    let active = promote(tx, next, now).await?;
    let next = make(tx, signer, alg, Purpose::Token, None, now).await?;
    Ok(Rotated::Done { active: Box::new(active), next: Box::new(next) })
}

/// How long what a feed key signed may still be used: batches are kept for 15 minutes, snapshots
/// served for 5, and a minute is for whoever is slow.
const FEED_OVERLAP: u64 = 16 * 60;

/// Publishes another feed key, which signs from `lead` seconds on: by then whoever follows has
/// fetched it, because heartbeats tell that there are newer keys. The one that signs so far goes on
/// until then, and stays published as long as something that it signed is served. `Unused` where
/// there is no feed key.
///
/// # Errors
/// [`SignerError`].
pub async fn rotate_feed(
    tx: &mut Tx,
    signer: &Signer,
    keys: &[Key],
    lead: u64,
    now: u64,
) -> Result<Rotated, SignerError> {
    let coming =
        keys.iter().find(|key| key.purpose == Purpose::Feed && key.state(now) == State::Next);
    if let Some(from) = coming.and_then(|key| key.active_from) {
        return Ok(Rotated::TooEarly(from));
    }
    let Some(active) = single(keys, Purpose::Feed, now) else { return Ok(Rotated::Unused) };
    let retire_at = now + lead + FEED_OVERLAP;
    let times = Times { retire_at: Some(retire_at.cast_signed()), ..times(active) };
    signing_keys::set_times(tx, &active.jwk.kid, times).await?;
    let active = Key { retire_at: Some(retire_at), ..active.clone() };
    let next = make(tx, signer, active.jwk.alg, Purpose::Feed, Some(now + lead), now).await?;
    Ok(Rotated::Done { active: Box::new(active), next: Box::new(next) })
}

/// Revokes a key of tokens or of the feed. Where it signed, the next one takes over whatever its
/// age, because a stolen key is worse than verifiers that have to fetch; where there is none, one
/// is made. A root is not revoked but replaced: nobody would believe it.
///
/// # Errors
/// [`SignerError`].
pub async fn revoke(
    tx: &mut Tx,
    signer: &Signer,
    keys: &[Key],
    key: &Key,
    now: u64,
) -> Result<(), SignerError> {
    if key.purpose == Purpose::Root {
        return Ok(());
    }
    let state = key.state(now);
    let times = Times { revoked_at: Some(now.cast_signed()), ..times(key) };
    signing_keys::set_times(tx, &key.jwk.kid, times).await?;
    let alg = key.jwk.alg;
    if key.purpose == Purpose::Feed {
        // A key that is to be replaced does not count as heir: its successor may be the stolen one.
        let heir = keys.iter().find(|other| {
            other.purpose == Purpose::Feed
                && other.jwk.kid != key.jwk.kid
                && matches!(other.state(now), State::Active | State::Next)
        });
        match heir {
            Some(heir) if heir.state(now) == State::Next => drop(promote(tx, heir, now).await?),
            Some(_) => {}
            None => drop(make(tx, signer, alg, Purpose::Feed, Some(now), now).await?),
        }
        return Ok(());
    }
    match (state, next(keys, alg, now)) {
        (State::Active, Some(next)) => {
            promote(tx, next, now).await?;
        }
        (State::Active, None) => {
            make(tx, signer, alg, Purpose::Token, Some(now), now).await?;
        }
        (State::Next, _) => {}
        (State::Retiring | State::Retired, _) => return Ok(()),
    }
    make(tx, signer, alg, Purpose::Token, None, now).await?;
    Ok(())
}

async fn promote(tx: &mut Tx, key: &Key, now: u64) -> Result<Key, SignerError> {
    let times = Times { active_from: Some(now.cast_signed()), ..times(key) };
    signing_keys::set_times(tx, &key.jwk.kid, times).await?;
    Ok(Key { active_from: Some(now), ..key.clone() })
}

/// The key of an algorithm that will sign next.
#[must_use]
pub fn next(keys: &[Key], alg: Alg, now: u64) -> Option<&Key> {
    keys.iter().find(|key| {
        key.purpose == Purpose::Token && key.jwk.alg == alg && key.state(now) == State::Next
    })
}

/// The times that a key has, to be written back with a change.
pub(crate) fn times(key: &Key) -> Times {
    let time = |seconds: Option<u64>| seconds.map(u64::cast_signed);
    Times {
        active_from: time(key.active_from),
        retire_at: time(key.retire_at),
        revoked_at: time(key.revoked_at),
    }
}
