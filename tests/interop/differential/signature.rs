//! Signatures of another form, and none at all.

use super::forge::Draft;
use super::mutation::Mutation;
use super::spelling::{replace_segment, segments};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use scrip_token::compact::{base64url, from_base64url};
use serde_json::json;
use std::cmp::Ordering;

pub(super) const ALL: &[Mutation] = &[
    Mutation::refused_by_all("signature: none", &["malformed", "unknown-alg"], |rng, draft| {
        let alg = *rng.pick(&["none", "None", "nOnE", "NONE", ""]);
        let header = draft.header.clone().with("alg", json!(alg)).text();
        let end = *rng.pick(&["", "AA", "bm9uZQ"]);
        replace_segment(&draft.headed(header), 2, end)
    }),
    Mutation::refused_by_all(
        "signature: HMAC with what is public",
        &["unknown-alg"],
        |rng, draft| {
            let alg = *rng.pick(&[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]);
            let header = draft.header.clone().with("alg", json!(format!("{alg:?}"))).text();
            let secret = *rng.pick(&["", &draft.signer.kid, &draft.signer.jwk]);
            let token = draft.headed(header);
            let input = token.rsplit_once('.').expect("three segments").0;
            let key = EncodingKey::from_secret(secret.as_bytes());
            let mac = crypto::sign(input.as_bytes(), &key, alg).expect("any key will do");
            format!("{input}.{mac}")
        },
    ),
    Mutation::refused_by_all(
        "signature: bytes more, fewer or twice",
        &["malformed", "bad-signature"],
        |rng, draft| {
            let which = rng.below(6);
            with_signature(draft, |signature| match which {
                0 => [&[0], signature].concat(),
                1 => [signature, &[0]].concat(),
                2 => signature[1..].to_vec(),
                3 => signature[..signature.len() / 2].to_vec(),
                4 => [signature, signature].concat(),
                _ => vec![0; signature.len()],
            })
        },
    ),
    Mutation::refused_by_all(
        "signature: the other of the same r",
        &["bad-signature"],
        |_, draft| {
            with_signature(draft, |signature| match draft.signer.alg {
                // (r, n - s) is as valid as (r, s), by the definition of ECDSA.
                Algorithm::ES256 => {
                    [&signature[..32], &difference(&P256_ORDER, &signature[32..])].concat()
                }
                // S + L is not (RFC 8032 section 5.1.7).
                Algorithm::EdDSA => {
                    [&signature[..32], &sum(&signature[32..], &ED25519_ORDER)].concat()
                }
                _ => signature.iter().map(|byte| !byte).collect(),
            })
        },
    ),
    Mutation::refused_by_all("signature: in DER", &["bad-signature"], |_, draft| {
        with_signature(draft, |signature| {
            let halves = signature[..64].chunks(32).map(|half| {
                let zeros = half.iter().take_while(|byte| **byte == 0).count();
                let sign: &[u8] = if half[zeros] & 0x80 == 0 { &[] } else { &[0] };
                let integer = [sign, &half[zeros..]].concat();
                [&[2, integer.len() as u8], &integer[..]].concat()
            });
            let body = halves.collect::<Vec<_>>().concat();
            [&[0x30, body.len() as u8], &body[..]].concat()
        })
    }),
];

/// SEC 2 section 2.4.2, big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// RFC 8032 section 5.1, little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn with_signature(draft: &Draft, change: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let token = draft.signed();
    let signature = from_base64url(segments(&token)[2]).expect("as it was signed");
    replace_segment(&token, 2, &base64url(change(&signature)))
}

/// Of big-endian numbers, the first being the greater.
fn difference(from: &[u8], less: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let digits = from.iter().zip(less).rev().map(|(from, less)| {
        let digit = i16::from(*from) - i16::from(*less) - borrow;
        borrow = i16::from(digit.cmp(&0) == Ordering::Less);
        digit.rem_euclid(256) as u8
    });
    let mut digits: Vec<u8> = digits.collect();
    digits.reverse();
    digits
}

/// Of little-endian numbers.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let digits = a.iter().zip(b).map(|(a, b)| {
        let digit = u16::from(*a) + u16::from(*b) + carry;
        carry = digit >> 8;
        digit as u8
    });
    digits.collect()
}
