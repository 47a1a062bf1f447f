//! Algorithms and signatures: who may have signed, and how.

use aws_lc_rs::hmac;
use scrip_verify::token::Alg;
use scrip_verify::token::compact::{base64url, from_base64url};
use scrip_verify::{Information, Trust};
use serde_json::json;

use crate::fixture::*;

/// `good` with another last segment.
fn resigned(good: &str, signature: &[u8]) -> String {
    format!("{}.{}", good.rsplit_once('.').unwrap().0, base64url(signature))
}

fn signature(good: &str) -> Vec<u8> {
    from_base64url(good.rsplit_once('.').unwrap().1).unwrap()
}

#[test]
fn each_algorithm_is_accepted_and_says_what_it_was_told() {
    for signer in [&*ES256, &*EDDSA, &*RS256] {
        let verified = judge(signer.token(&claims())).unwrap();
        assert_eq!(verified.claims(), &parsed(&claims()));
        assert_eq!((verified.kid(), verified.information_age()), (signer.kid(), Some(0)));

        let token = signer.token(&claims());
        let trust = Trust::one(&ISSUER, Information::Unfollowed);
        let authentic = verifier().authenticate(token.as_bytes(), NOW, &trust).unwrap();
        assert_eq!(authentic.claims(), verified.claims());
        assert_eq!((authentic.kid(), authentic.information_age()), (signer.kid(), None));
    }
}

#[test]
fn n1_alg_none_is_refused_in_every_spelling() {
    let good = EDDSA.token(&claims());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = header(&EDDSA).replace("EdDSA", alg);
        assert_eq!(verdict(EDDSA.forge(&header, claims().to_string().as_bytes())), "unknown-alg");
        let unsigned =
            format!("{}.{}.", base64url(&header), base64url(claims().to_string().as_bytes()));
        assert_eq!(verdict(unsigned), "malformed");
    }
    assert_eq!(verdict(resigned(&good, b"")), "malformed");
    assert_eq!(verdict(good), "ok");
}

#[test]
fn n2_a_public_key_is_no_hmac_secret() {
    let jwk = RS256.jwk();
    let spki = RS256.spki();
    let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", spki.clone()));
    let secrets = [
        pem.clone().into_bytes(),
        format!("\u{feff}{pem}").into_bytes(),
        spki,
        jwk.to_string().into_bytes(),
        json!({"keys": [jwk]}).to_string().into_bytes(),
        Vec::new(),
    ];
    for secret in secrets {
        for (alg, expected) in [("HS256", "unknown-alg"), ("RS256", "bad-signature")] {
            let header = header(&RS256).replace("RS256", alg);
            let input = format!("{}.{}", base64url(header), base64url(claims().to_string()));
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let tag = hmac::sign(&key, input.as_bytes());
            assert_eq!(verdict(format!("{input}.{}", base64url(tag))), expected);
        }
    }
}

#[test]
fn n3_the_key_decides_the_algorithm_and_the_header_must_agree() {
    let forged = |signer: &Signer, alg: &str| {
        let header = header(signer).replace(signer.key.alg().as_str(), alg);
        verdict(EDDSA.forge(&header, claims().to_string().as_bytes()))
    };
    assert_eq!(forged(&EDDSA, "EdDSA"), "ok");
    assert_eq!(forged(&EDDSA, "Ed25519"), "ok");
    for (signer, alg, expected) in [
        (&*EDDSA, "ES256", "wrong-alg"),
        (&*EDDSA, "RS256", "wrong-alg"),
        (&*ES256, "EdDSA", "wrong-alg"),
        (&*ES256, "Ed25519", "wrong-alg"),
        (&*RS256, "ES256", "wrong-alg"),
        (&*RS256, "PS512", "unknown-alg"),
        (&*RS256, "PS256", "unknown-alg"),
        (&*RS256, "RS512", "unknown-alg"),
        (&*ES256, "ES384", "unknown-alg"),
        (&*ES256, "es256", "unknown-alg"),
        (&*ES256, "ES256", "bad-signature"),
    ] {
        assert_eq!(forged(signer, alg), expected, "{} {alg}", signer.key.alg());
    }
}

#[test]
fn n4_ecdsa_signatures_are_64_bytes_in_range() {
    let good = ES256.token(&claims());
    assert_eq!(verdict(&good), "ok");
    let order = from_base64url("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap();
    let zero = vec![0; 32];
    let (mut one, mut below) = (zero.clone(), order.clone());
    one[31] = 1;
    below[31] -= 1;
    for r in [&zero, &one, &below, &order] {
        for s in [&zero, &one, &below, &order] {
            let forged = resigned(&good, &[&r[..], s].concat());
            assert_eq!(verdict(forged), "bad-signature");
        }
    }
    let signature = signature(&good);
    for odd in [&signature[..63], &[&signature[..], &[0]].concat(), &signature.repeat(8)] {
        assert_eq!(verdict(resigned(&good, odd)), "bad-signature");
    }
}

#[test]
fn n5_an_ecdsa_signature_in_der_is_refused() {
    let good = ES256.token(&claims());
    let integer = |bytes: &[u8]| {
        let sign = if bytes[0] & 0x80 == 0 { &[][..] } else { &[0][..] };
        let length = u8::try_from(sign.len() + bytes.len()).unwrap();
        [&[2, length], sign, bytes].concat()
    };
    let raw = signature(&good);
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat();
    assert_eq!(verdict(resigned(&good, &der)), "bad-signature");
}

#[test]
fn n7_ed25519_takes_one_signature_for_one_message() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let good = EDDSA.token(&claims());
    let signature = signature(&good);
    let (r, s) = signature.split_at(32);

    let mut carry = 0;
    let s_plus_order: Vec<u8> = s
        .iter()
        .zip(ORDER)
        .map(|(s, l)| {
            let sum = u16::from(*s) + u16::from(l) + carry;
            carry = sum >> 8;
            (sum & 0xff) as u8
        })
        .collect();
    assert_eq!(verdict(resigned(&good, &[r, &s_plus_order].concat())), "bad-signature");

    let mut identity = [0; 32];
    identity[0] = 1;
    let mut not_canonical = [0xff; 32];
    not_canonical[31] = 0x7f;
    for r in [[0; 32], identity, not_canonical] {
        for s in [s, &[0; 32]] {
            assert_eq!(verdict(resigned(&good, &[&r, s].concat())), "bad-signature");
        }
    }
    assert_eq!(verdict(good), "ok");
}

#[test]
fn another_key_of_the_same_algorithm_is_refused() {
    let other = Signer::generate(Alg::EdDSA);
    let forged = other.forge(&header(&EDDSA), claims().to_string().as_bytes());
    assert_eq!(verdict(forged), "bad-signature");
}
