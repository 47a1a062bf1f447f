//! Signing and verifying with keys that are parsed once.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde::{Deserialize, Serialize};

use crate::compact::{Header, Typ, base64url};
use crate::jwk::{Jwk, Material};

/// Signature algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Alg {
    /// ECDSA on P-256 with SHA-256: the default, verified almost everywhere.
    ES256,
    /// Ed25519: the fast profile.
    EdDSA,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for peers that know nothing else.
    RS256,
}

impl Alg {
    /// The header's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
        }
    }

    /// Whether a header's `alg` is a spelling of this one. `Ed25519` (RFC 9864) is read as
    /// `EdDSA`, and never written: too many libraries refuse it today.
    #[must_use]
    pub fn is_spelt(self, alg: &str) -> bool {
        alg == self.as_str() || (self == Self::EdDSA && alg == "Ed25519")
    }

    /// Whether any algorithm is spelt so.
    #[must_use]
    pub fn is_known(alg: &str) -> bool {
        [Self::ES256, Self::EdDSA, Self::RS256].iter().any(|known| known.is_spelt(alg))
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Alg {
    type Err = crate::name::Malformed;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::ES256, Self::EdDSA, Self::RS256]
            .into_iter()
            .find(|alg| alg.as_str() == text)
            .ok_or(crate::name::Malformed { kind: "algorithm (ES256, EdDSA or RS256)" })
    }
}

/// A private key with its thumbprint. `Debug` shows no part of it.
pub struct SigningKey {
    pair: Pair,
    public: Jwk,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// Why a key cannot be used, or did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a key of this algorithm.
    #[error("not a usable {0} key")]
    Rejected(Alg),
    /// RSA outside 2048 to 4096 bits.
    #[error("RSA modulus is not 2048 to 4096 bits")]
    RsaSize,
    /// An RSA exponent that is even, below 2^16 or not below 2^32.
    #[error("RSA exponent is not odd and of 17 to 32 bits")]
    RsaExponent,
    /// The primitive failed.
    #[error("signing failed")]
    Signing,
}

impl SigningKey {
    /// Reads a PKCS#8 document (RFC 5958).
    ///
    /// # Errors
    /// [`KeyError`] where it is not a key of `alg`, or its public half is none that
    /// [`VerifyingKey::new`] takes.
    pub fn from_pkcs8(alg: Alg, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let rejected = KeyError::Rejected(alg);
        let (pair, material) = match alg {
            Alg::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| rejected)?;
                let material =
                    Material::from_p256_point(pair.public_key().as_ref()).ok_or(rejected)?;
                (Pair::Es256(pair), material)
            }
            Alg::EdDSA => {
                let pair =
                    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| rejected)?;
                let material = Material::ed25519(pair.public_key().as_ref());
                (Pair::EdDsa(pair), material)
            }
            Alg::RS256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| rejected)?;
                let public = pair.public_key();
                let material = Material::rsa(
                    public.modulus().big_endian_without_leading_zero(),
                    public.exponent().big_endian_without_leading_zero(),
                );
                (Pair::Rs256(pair), material)
            }
        };
        let public = Jwk { alg, kid: material.thumbprint(), material };
        VerifyingKey::new(&public)?; // what nobody would verify is not signed
        Ok(Self { pair, public })
    }

    /// The algorithm.
    #[must_use]
    pub fn alg(&self) -> Alg {
        self.public.alg
    }

    /// RFC 7638 SHA-256 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// Signs a payload into a JWS in compact form (RFC 7515 section 5.1).
    ///
    /// # Errors
    /// [`KeyError::Signing`] where the primitive fails.
    pub fn sign(&self, typ: Typ, payload: &[u8]) -> Result<String, KeyError> {
        let header = Header::written(self.alg(), typ, self.kid());
        let mut jws = format!("{}.{}", base64url(header), base64url(payload));
        let signature = self.sign_bytes(jws.as_bytes())?;
        jws.push('.');
        jws.push_str(&base64url(signature));
        Ok(jws)
    }

    fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the primitive's interface asks for a handle"
        )]
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Es256(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| KeyError::Signing)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| KeyError::Signing)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.alg(), self.kid())
    }
}

/// A public key, parsed and checked once.
#[derive(Debug)]
pub struct VerifyingKey {
    alg: Alg,
    key: ParsedPublicKey,
}

impl VerifyingKey {
    /// Parses public key material for its algorithm.
    ///
    /// # Errors
    /// [`KeyError`] for a P-256 point off the curve, a small-order or non-canonical Ed25519 point,
    /// an RSA modulus that is even or outside 2048 to 4096 bits (RFC 7518 section 3.3 sets the
    /// lower bound), and an RSA exponent that is even, below 2^16 (FIPS 186-5 appendix A.1.1) or
    /// not below 2^32 (which would make a verification as dear as its author likes). 32 bytes that
    /// encode no Ed25519 point are accepted as a key, but verify nothing.
    pub fn new(jwk: &Jwk) -> Result<Self, KeyError> {
        let rejected = KeyError::Rejected(jwk.alg);
        let key = match (&jwk.material, jwk.alg) {
            (Material::P256 { x, y }, Alg::ES256) => {
                let point = [&[4][..], x, y].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| rejected)?
            }
            (Material::Ed25519 { x }, Alg::EdDSA) if !is_degenerate(x) => {
                ParsedPublicKey::new(&ED25519, x).map_err(|_| rejected)?
            }
            (Material::Rsa { n, e }, Alg::RS256) => {
                if !(2048..=4096).contains(&bits(n)) {
                    return Err(KeyError::RsaSize);
                }
                if !(17..=32).contains(&bits(e)) || is_even(e) {
                    return Err(KeyError::RsaExponent);
                }
                if is_even(n) {
                    return Err(rejected);
                }
                RsaPublicKeyComponents { n, e }
                    .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                    .map_err(|_| rejected)?
            }
            _ => return Err(rejected),
        };
        Ok(Self { alg: jwk.alg, key })
    }

    /// The algorithm. It comes from the key; a token's header has only to agree.
    #[must_use]
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        if self.alg == Alg::EdDSA && signature.first_chunk().is_none_or(is_degenerate) {
            return false;
        }
        self.key.verify_sig(message, signature).is_ok()
    }
}

fn is_even(integer: &[u8]) -> bool {
    integer.last().is_none_or(|last| last % 2 == 0)
}

/// The length of a big-endian integer in bits; 0 where it is not in its shortest form.
fn bits(integer: &[u8]) -> usize {
    match integer.first() {
        None | Some(0) => 0,
        Some(first) => integer.len() * 8 - first.leading_zeros() as usize,
    }
}

/// Whether an encoded Ed25519 point is of small order or not canonical (y >= p). With such a key,
/// or such an R, one signature can be valid for many messages (RFC 8032 section 8, "Taming the
/// many EdDSAs" section 3).
fn is_degenerate(point: &[u8; 32]) -> bool {
    /// The y coordinates of the points of order 4, 2, 1 and 8 (two of them), little-endian.
    const SMALL_ORDER: [[u8; 32]; 5] = [
        [0; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        {
            let mut minus_one = [0xff; 32];
            minus_one[0] = 0xec;
            minus_one[31] = 0x7f;
            minus_one
        },
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *point;
    y[31] &= 0x7f;
    let canonical = y[31] != 0x7f || y[1..31].iter().any(|&b| b != 0xff) || y[0] < 0xed;
    !canonical || SMALL_ORDER.contains(&y)
}
