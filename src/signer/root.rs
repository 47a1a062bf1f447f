//! Handing over from one root to the next. The document that names both is signed by the old one,
//! the document after it by the new one: whoever trusts the old one walks from one to the other.

use scrip_token::Alg;

use super::lifecycle::{Key, Purpose};
use super::rotation::{make, times};
use super::{Signer, keys, publish_keys, single};
use crate::deny::PublishError;
use crate::store::Tx;
use crate::store::signing_keys::{self, Times};

/// Makes a new root and hands over to it; two keys documents. The transaction holds `Lock::Revoke`.
///
/// # Errors
/// [`PublishError`]; the transaction must be given up then.
pub async fn rotate(
    tx: &mut Tx,
    signer: &Signer,
    issuer: &str,
    now: u64,
) -> Result<Key, PublishError> {
    let new = make(tx, signer, Alg::EdDSA, Purpose::Root, None, now).await?;
    hand_over(tx, signer, issuer, &new, now).await
}

/// Hands over to the root `kid`, which a restored database does not know, but followers believe it
/// and no other. Its private half is still in its file.
///
/// # Errors
/// [`PublishError`], where its file is missing too.
pub async fn adopt(
    tx: &mut Tx,
    signer: &Signer,
    issuer: &str,
    kid: &str,
    now: u64,
) -> Result<(), PublishError> {
    if kid.is_empty() || keys(tx).await?.iter().any(|key| key.jwk.kid == kid) {
        return Ok(());
    }
    let private = signer.home().read(kid, Alg::EdDSA).map_err(super::SignerError::from)?;
    let root = Key {
        jwk: private.public().clone(),
        purpose: Purpose::Root,
        published: now,
        active_from: None,
        retire_at: None,
        revoked_at: None,
    };
    signing_keys::insert(tx, &root.to_row()?).await?;
    signer.adopt(private);
    hand_over(tx, signer, issuer, &root, now).await?;
    Ok(())
}

async fn hand_over(
    tx: &mut Tx,
    signer: &Signer,
    issuer: &str,
    new: &Key,
    now: u64,
) -> Result<Key, PublishError> {
    publish_keys(tx, signer, issuer, now).await?;
    let at = Some(now.cast_signed());
    let known = keys(tx).await?;
    let old = single(&known, Purpose::Root, now).ok_or(PublishError::NotSetUp)?;
    signing_keys::set_times(tx, &old.jwk.kid, Times { retire_at: at, ..times(old) }).await?;
    signing_keys::set_times(tx, &new.jwk.kid, Times { active_from: at, ..times(new) }).await?;
    publish_keys(tx, signer, issuer, now).await?;
    Ok(Key { active_from: Some(now), ..new.clone() })
}
