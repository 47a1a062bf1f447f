//! Making keys: EC and Ed25519 by ring, RSA by aws-lc-rs.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use ring::rand::SecureRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use scrip_token::signature::KeyError;
use scrip_token::{Alg, SigningKey};
use zeroize::Zeroizing;

use crate::random;

/// Makes a key; returns it with its PKCS#8 document.
///
/// # Errors
/// [`KeyError::Rejected`] where the primitive fails.
pub fn generate(alg: Alg) -> Result<(SigningKey, Zeroizing<Vec<u8>>), KeyError> {
    let failed = KeyError::Rejected(alg);
    let source: &dyn SecureRandom = &random::source();
    let pkcs8 = match alg {
        Alg::ES256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, source)
            .map_err(|_| failed)?
            .as_ref()
            .to_vec(),
        Alg::EdDSA => Ed25519KeyPair::generate_pkcs8(source).map_err(|_| failed)?.as_ref().to_vec(),
        Alg::RS256 => KeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| Ok(pair.as_der()?.as_ref().to_vec()))
            .map_err(|_| failed)?,
    };
    let pkcs8 = Zeroizing::new(pkcs8);
    Ok((SigningKey::from_pkcs8(alg, &pkcs8)?, pkcs8))
}

/// Makes the key of the digests of embedded credentials; its name is the digest of the key.
#[must_use]
pub fn generate_digest_key() -> (String, Zeroizing<[u8; 32]>) {
    let key = Zeroizing::new(random::bytes());
    (digest_key_name(&key), key)
}

/// The name under which a digest key is on record. It has 256 random bits, so its digest tells
/// nothing.
#[must_use]
pub(super) fn digest_key_name(key: &[u8; 32]) -> String {
    scrip_token::compact::base64url(scrip_token::Digest::of(key).as_bytes())
}
