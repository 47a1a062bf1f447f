//! The keys document: each change of a key signs and stores the next version, in the transaction
//! of the change.

use scrip_token::Typ;
use scrip_token::deny::OBJECT_VERSION;
use scrip_token::jwk::Jwk;
use scrip_token::keys::KeysDocument;

use super::{Purpose, Signer, keys, published_jwks, single};
use crate::deny::PublishError;
use crate::store::{Tx, installation, keys_documents};

/// Signs the next version. The transaction holds `Lock::Revoke`; the numbering row is locked here.
///
/// # Errors
/// [`PublishError`]; the transaction must be given up then.
pub async fn publish_keys(
    tx: &mut Tx,
    signer: &Signer,
    issuer: &str,
    now: u64,
) -> Result<(), PublishError> {
    let row = installation::lock(tx).await?.ok_or(PublishError::NotSetUp)?;
    let keys = keys(tx).await?;
    let root = single(&keys, Purpose::Root, now).ok_or(PublishError::NotSetUp)?;
    let of = |purpose| published_jwks(&keys, purpose, now).cloned().collect::<Vec<Jwk>>();
    let version = row.keys_version + 1;
    let document = KeysDocument {
        ver: OBJECT_VERSION,
        iss: issuer.to_owned(),
        version: version.unsigned_abs(),
        iat: now,
        roots: of(Purpose::Root),
        feed_keys: of(Purpose::Feed),
        token_keys: of(Purpose::Token),
    };
    let payload = serde_json::to_vec(&document)?;
    let jws = signer.sign_object(Typ::Keys, &root.jwk.kid, &payload)?;
    let stored = keys_documents::KeysDocument { version, at: now.cast_signed(), jws };
    keys_documents::insert(tx, &stored).await?;
    installation::set_keys_version(tx, version).await?;
    Ok(())
}
