//! Master credentials as texts: how they look, and the digests that are kept of them.

use std::fmt;

use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::random;
use crate::vault::MIN_SECRET_CHARS;

const PREFIX: &str = "scrip_mc_";

/// `scrip_mc_<tenant>_<43 base64url characters>_<checksum>`: a new master credential. Scanners
/// find the prefix in code; the checksum tells a typing error from a wrong secret.
#[must_use]
pub fn generate(tenant: &str) -> SecretString {
    let random = Zeroizing::new(random::bytes::<32>());
    let random = Zeroizing::new(scrip_token::compact::base64url(random.as_slice()));
    let body = Zeroizing::new(format!("{PREFIX}{tenant}_{}", random.as_str()));
    SecretString::from(format!("{}_{}", body.as_str(), checksum(&body)))
}

/// Whether a text claims to be one of ours and its checksum is wrong: it was mistyped, and no
/// look-up can help.
#[must_use]
pub fn is_mistyped(text: &str) -> bool {
    text.starts_with(PREFIX)
        && text.rsplit_once('_').is_none_or(|(body, given)| given != checksum(body))
}

/// Whether a master credential stands somewhere in a text, which must then not be repeated.
#[must_use]
pub fn is_in(text: &str) -> bool {
    text.contains(PREFIX)
}

/// A text up to where a master credential begins in it.
#[must_use]
pub fn before(text: &str) -> &str {
    text.find(PREFIX).map_or(text, |at| &text[..at])
}

/// Whether a name may be a secret that stands in the wrong place: one of ours, or as many letters and
/// digits in a row as a secret of somebody else's must have, which are no word.
#[must_use]
pub fn may_be(name: &str) -> bool {
    let mut runs = name.split(|c: char| !c.is_ascii_alphanumeric());
    is_in(name) || runs.any(|run| run.len() >= MIN_SECRET_CHARS)
}

/// CRC-32 of everything before, as six base62 characters.
fn checksum(body: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let crc = crc32fast::hash(body.as_bytes());
    (0..6).rev().map(|place| char::from(DIGITS[(crc / 62_u32.pow(place) % 62) as usize])).collect()
}

/// Makes and compares keyed digests of embedded credentials (HMAC-SHA-256). They have 256 random
/// bits, so a slow password hash would protect nothing and slow every mint down.
#[derive(Clone)]
pub struct DigestKey(hmac::Key);

impl DigestKey {
    /// A key of 32 bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The key itself, for whoever keeps digests of its own.
    #[must_use]
    pub fn hmac(&self) -> &hmac::Key {
        &self.0
    }

    /// The digest that the database keeps.
    #[must_use]
    pub fn digest(&self, secret: &SecretString) -> [u8; 32] {
        let tag = hmac::sign(&self.0, secret.expose_secret().as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        digest
    }

    /// Whether `digest` is `secret`'s, in constant time.
    #[must_use]
    pub fn matches(&self, secret: &SecretString, digest: &[u8; 32]) -> bool {
        hmac::verify(&self.0, secret.expose_secret().as_bytes(), digest).is_ok()
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_told_from_a_wrong_secret() {
        let secret = generate("acme");
        let text = secret.expose_secret();
        assert!(text.starts_with("scrip_mc_acme_") && text.len() == "scrip_mc_acme_".len() + 50);
        assert!(!is_mistyped(text));
        let last = if text.ends_with('0') { "1" } else { "0" };
        assert!(is_mistyped(&format!("{}{last}", &text[..text.len() - 1])));
        assert!(!is_mistyped("put-into-vault-by-somebody-else-32"));
    }

    #[test]
    fn a_name_is_told_from_a_secret_that_stands_in_its_place() {
        for name in ["billing", "document-summaries-production-eu-west-1", &"a1-".repeat(21)] {
            assert!(!may_be(name), "{name}");
        }
        let hex = "0123456789abcdef".repeat(2);
        let generated = generate("acme");
        for secret in [hex.as_str(), &format!("old-{hex}"), generated.expose_secret()] {
            assert!(may_be(secret), "{secret}");
        }
    }

    #[test]
    fn n41_digests_differ_by_key_and_secret() {
        let (one, two) = (DigestKey::new(&[1; 32]), DigestKey::new(&[2; 32]));
        let (a, b) = (SecretString::from("a"), SecretString::from("b"));
        assert!(one.matches(&a, &one.digest(&a)));
        assert!(!one.matches(&b, &one.digest(&a)) && !two.matches(&a, &one.digest(&a)));
        assert!(!format!("{one:?} {a:?}").contains('1'));
    }
}
