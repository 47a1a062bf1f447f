//! Signing, and what a signature may look like.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use scrip_token::compact::{Compact, Header, Typ, from_base64url};
use scrip_token::signature::{Alg, KeyError, SigningKey, VerifyingKey};
use serde_json::json;

const ALGS: [Alg; 3] = [Alg::ES256, Alg::EdDSA, Alg::RS256];

fn pkcs8(alg: Alg) -> Vec<u8> {
    match alg {
        Alg::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .unwrap()
            .to_pkcs8v1()
            .unwrap()
            .as_ref()
            .to_vec(),
        Alg::EdDSA => Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap().as_ref().to_vec(),
        Alg::RS256 => {
            RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref().to_vec()
        }
    }
}

#[test]
fn each_algorithm_signs_and_verifies_and_notices_a_changed_bit() {
    for alg in ALGS {
        let key = SigningKey::from_pkcs8(alg, &pkcs8(alg)).unwrap();
        let public = VerifyingKey::new(key.public()).unwrap();
        assert_eq!((key.alg(), public.alg()), (alg, alg));

        let jws = key.sign(Typ::Keys, b"payload").unwrap();
        let jws = Compact::parse(jws.as_bytes(), 1024).unwrap();
        assert_eq!(jws.payload, b"payload");
        assert!(public.verify(jws.signing_input, &jws.signature));
        assert!(!public.verify(&jws.signing_input[1..], &jws.signature));
        for length in [0, jws.signature.len() - 1] {
            assert!(!public.verify(jws.signing_input, &jws.signature[..length]));
        }
        for at in 0..jws.signature.len() {
            let mut flipped = jws.signature.clone();
            flipped[at] ^= 1;
            assert!(!public.verify(jws.signing_input, &flipped), "{alg} {at}");
        }
    }
}

#[test]
fn a_header_says_who_signed_what_and_how() {
    for alg in ALGS {
        let key = SigningKey::from_pkcs8(alg, &pkcs8(alg)).unwrap();
        assert_eq!((key.kid(), key.kid().len()), (&*key.public().material.thumbprint(), 43));
        for typ in
            [Typ::AccessToken, Typ::DenyBatch, Typ::DenyHeartbeat, Typ::DenySnapshot, Typ::Keys]
        {
            let jws = key.sign(typ, b"{}").unwrap();
            let header = Compact::parse(jws.as_bytes(), 1024).unwrap().header;
            let (name, kid) = (typ.as_str(), key.kid());
            let expected = format!(r#"{{"alg":"{alg}","typ":"{name}","kid":"{kid}"}}"#);
            assert_eq!(String::from_utf8_lossy(&header), expected);
            let read = Header::parse(&header, typ).unwrap();
            assert_eq!((&*read.alg, &*read.typ, &*read.kid), (alg.as_str(), name, kid));
        }
    }
}

#[test]
fn n134_a_signing_key_shows_its_name_alone() {
    for alg in ALGS {
        let key = SigningKey::from_pkcs8(alg, &pkcs8(alg)).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({alg} {})", key.kid()));
    }
}

#[test]
fn a_private_key_is_of_the_algorithm_that_it_is_read_for() {
    for alg in ALGS {
        let pkcs8 = pkcs8(alg);
        for other in ALGS {
            let read = SigningKey::from_pkcs8(other, &pkcs8).map(|key| key.alg());
            assert_eq!(read, if alg == other { Ok(alg) } else { Err(KeyError::Rejected(other)) });
        }
        let cut = SigningKey::from_pkcs8(alg, &pkcs8[..pkcs8.len() - 1]);
        assert_eq!(cut.unwrap_err(), KeyError::Rejected(alg));
    }
}

#[test]
fn n1_n3_an_algorithm_has_one_name_and_one_spelling_to_be_read() {
    for alg in ALGS {
        assert_eq!(alg.to_string(), alg.as_str());
        assert_eq!(alg.as_str().parse(), Ok(alg));
        assert_eq!(json!(alg), json!(alg.as_str()));
        for other in ALGS {
            assert_eq!(alg.is_spelt(other.as_str()), alg == other);
        }
    }
    assert!(Alg::is_known("Ed25519") && Alg::EdDSA.is_spelt("Ed25519"));
    assert!(!Alg::ES256.is_spelt("Ed25519") && "Ed25519".parse::<Alg>().is_err());
    for none in ["none", "", "HS256", "es256", "ES256 ", "ES384", "PS256", "ED25519", "Ed448"] {
        assert!(!Alg::is_known(none) && none.parse::<Alg>().is_err(), "{none}");
    }
}

#[test]
fn n4_n5_ecdsa_signatures_are_64_bytes_in_range() {
    let key = SigningKey::from_pkcs8(Alg::ES256, &pkcs8(Alg::ES256)).unwrap();
    let public = VerifyingKey::new(key.public()).unwrap();
    let order = from_base64url("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap();
    let (mut one, mut below) = ([0; 32], order.clone());
    one[31] = 1;
    below[31] -= 1;
    for r in [&[0; 32][..], &one, &below, &order] {
        for s in [&[0; 32][..], &one, &below, &order] {
            assert!(!public.verify(b"message", &[r, s].concat()));
        }
    }
    for length in [0, 63, 65, 70, 512] {
        assert!(!public.verify(b"message", &vec![1; length]));
    }
}
