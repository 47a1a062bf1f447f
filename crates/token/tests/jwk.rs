//! Hostile keys.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use scrip_token::compact::{base64url, from_base64url};
use scrip_token::jwk::{Jwk, Material, Odd};
use scrip_token::signature::{Alg, KeyError, VerifyingKey};
use serde_json::{Value, json};

use crate::jose::load;
use crate::vectors::{hex, list, read, text};

/// RFC 8037 appendix A.2.
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
pub(crate) const KID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

pub(crate) fn okp() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": X})
}

/// RFC 7517 appendix A.1.
pub(crate) fn ec() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
}

/// A modulus of so many bits. Nobody knows its factors, and nobody needs to.
pub(crate) fn rsa(bits: usize) -> Value {
    let mut n = vec![0xa5; bits.div_ceil(8)];
    n[0] = 0x80 >> (n.len() * 8 - bits);
    json!({"kty": "RSA", "n": base64url(n), "e": "AQAB"})
}

pub(crate) fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
    jwk[member] = value.into();
    jwk
}

fn verdict(jwk: &Value) -> Result<Alg, Odd> {
    load(jwk).map(|key| key.alg())
}

#[test]
fn an_rsa_modulus_has_2048_to_4096_bits() {
    for bits in [2048, 2049, 2056, 3072, 4095, 4096] {
        assert_eq!(verdict(&rsa(bits)), Ok(Alg::RS256), "{bits}");
    }
    for bits in [8, 512, 1024, 2040, 2047, 4097, 4104, 8192, 16384] {
        assert_eq!(verdict(&rsa(bits)), Err(Odd::Key), "{bits}");
    }
}

#[test]
fn an_rsa_modulus_is_odd_and_in_its_shortest_form() {
    let modulus = |bytes: &[u8]| with(rsa(2048), "n", base64url(bytes));
    let mut n = vec![0xa5; 256];
    assert_eq!(verdict(&modulus(&n)), Ok(Alg::RS256));
    assert_eq!(verdict(&modulus(&[&[0], &n[..]].concat())), Err(Odd::Key));
    assert_eq!(verdict(&modulus(&[&[0, 0], &n[..]].concat())), Err(Odd::Key));
    n[255] = 0xa4;
    assert_eq!(verdict(&modulus(&n)), Err(Odd::Key));
    assert_eq!(verdict(&modulus(&[0; 256])), Err(Odd::Key));
    assert_eq!(verdict(&modulus(&[])), Err(Odd::Key));
}

#[test]
fn an_rsa_exponent_is_odd_and_of_17_to_32_bits() {
    let exponent = |bytes: &[u8]| verdict(&with(rsa(2048), "e", base64url(bytes)));
    for good in [&[1, 0, 1][..], &[1, 0, 3], &[1, 0, 0, 1], &[0xff; 4]] {
        assert_eq!(exponent(good), Ok(Alg::RS256), "{good:?}");
    }
    for bad in [
        &[][..],
        &[0],
        &[1],
        &[2],
        &[3],
        &[17],
        &[0xff, 0xff],
        &[1, 0, 0],
        &[1, 0, 2],
        &[0, 1, 0, 1],
        &[0, 3],
        &[1, 0, 0, 0, 1],
        &[0xa5; 256],
    ] {
        assert_eq!(exponent(bad), Err(Odd::Key), "{bad:?}");
    }
}

#[test]
fn a_p256_point_is_on_the_curve_and_reduced() {
    const FIVE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAU";
    const FIVE_AND_P: &str = "_____wAAAAEAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAQ";
    const Y_OF_FIVE: &str = "RZJDuapYGAb-kTvOmYF63hHKUDxk2aPFM0FcCDJI-8w";
    const X_OF_FIVE: &str = "1zJddkbNYNgKknOM6zRfhEz_rzWEECLKsXb2kt6N4dc";
    let zero = base64url([0; 32]);
    let p = "_____wAAAAEAAAAAAAAAAAAAAAD_______________8";
    for (x, y, expected) in [
        (FIVE, Y_OF_FIVE, Ok(Alg::ES256)),
        (FIVE_AND_P, Y_OF_FIVE, Err(Odd::Key)),
        (X_OF_FIVE, FIVE, Ok(Alg::ES256)),
        (X_OF_FIVE, FIVE_AND_P, Err(Odd::Key)),
        (Y_OF_FIVE, FIVE, Err(Odd::Key)),
        (FIVE, FIVE, Err(Odd::Key)),
        (&zero, &zero, Err(Odd::Key)),
        (p, p, Err(Odd::Key)),
        (&base64url([0xff; 32]), &base64url([0xff; 32]), Err(Odd::Key)),
        // As long as RFC 7518 section 6.2.1.2 has them.
        (&base64url([0; 31]), Y_OF_FIVE, Err(Odd::Malformed)),
        (FIVE, &base64url([0; 33]), Err(Odd::Malformed)),
        ("", "", Err(Odd::Malformed)),
        ("BQ", Y_OF_FIVE, Err(Odd::Malformed)),
    ] {
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        assert_eq!(verdict(&jwk), expected, "{x} {y}");
    }
}

#[test]
fn n7_an_ed25519_point_is_canonical_and_of_full_order() {
    // All encodings of the eight points whose order divides 8, canonical or not.
    for x in [
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_IU",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o",
        "7P_______________________________________38",
        "7P________________________________________8",
        "7f_______________________________________38",
        "7f________________________________________8",
        "7v_______________________________________38",
        "7v________________________________________8",
    ] {
        assert_eq!(verdict(&with(okp(), "x", x)), Err(Odd::Key), "{x}");
    }
    let [p_minus_2, second_byte_less, last_but_one_less] =
        [(0, 0xeb), (1, 0xfe), (30, 0xfe)].map(|(at, byte)| {
            let mut y = [0xff; 32];
            (y[31], y[at]) = (0x7f, byte);
            base64url(y)
        });
    for (y, x, expected) in [
        ("p - 2", &*p_minus_2, Ok(Alg::EdDSA)),
        ("p + 18 - 2^8", &*second_byte_less, Ok(Alg::EdDSA)),
        ("p + 18 - 2^240", &*last_but_one_less, Ok(Alg::EdDSA)),
        ("3", "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Ok(Alg::EdDSA)),
        ("3 + p", "8P_______________________________________38", Err(Odd::Key)),
        ("3 + p, odd x", "8P________________________________________8", Err(Odd::Key)),
        ("18 + p", "_________________________________________38", Err(Odd::Key)),
    ] {
        assert_eq!(verdict(&with(okp(), "x", x)), expected, "{y}");
    }
}

#[test]
fn n7_an_ed25519_signature_has_an_r_of_full_order() {
    // Who knows the private key of RFC 8037 appendix A.1 can make R the neutral element: with
    // S = H(R, A, M) * a it satisfies the equation of RFC 8032 section 5.1.7, and the primitive.
    let signature = from_base64url(
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSCi4lsPEVR6muKthI7Xcxx3-Z8ahxLTY0VdNE2zOsBA",
    )
    .unwrap();
    let primitive = UnparsedPublicKey::new(&ED25519, from_base64url(X).unwrap());
    assert!(primitive.verify(b"message", &signature).is_ok());
    assert!(!load(&okp()).unwrap().verify(b"message", &signature));
}

#[test]
fn n7_an_ed25519_key_that_is_no_point_verifies_nothing() {
    let no_point = load(&with(okp(), "x", "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).unwrap();
    let file = read("wycheproof_ed25519_test.json");
    for test in list(&file, "testGroups").iter().flat_map(|group| list(group, "tests")) {
        assert!(!no_point.verify(&hex(text(test, "msg")), &hex(text(test, "sig"))));
    }
    // With A of small order, R = S * B would do.
    let base = [&[0x58][..], &[0x66; 31]].concat();
    let one = [&[1][..], &[0; 31]].concat();
    assert!(!no_point.verify(b"", &[base, one].concat()));
}

#[test]
fn n13_what_a_key_is_for_is_respected() {
    let ops = |count: usize| {
        (1..count).map(|n| n.to_string()).chain(["verify".into()]).collect::<Value>()
    };
    for (jwk, expected) in [
        (with(okp(), "use", "sig"), Ok(Alg::EdDSA)),
        (with(okp(), "use", "enc"), Err(Odd::Purpose)),
        (with(okp(), "use", "SIG"), Err(Odd::Purpose)),
        (with(okp(), "use", ""), Err(Odd::Purpose)),
        (with(okp(), "use", Value::Null), Err(Odd::Malformed)),
        (with(okp(), "use", json!(["sig"])), Err(Odd::Malformed)),
        (with(okp(), "key_ops", json!(["verify"])), Ok(Alg::EdDSA)),
        (with(okp(), "key_ops", json!(["sign", "verify"])), Ok(Alg::EdDSA)),
        (with(okp(), "key_ops", json!(["sign"])), Err(Odd::Purpose)),
        (with(okp(), "key_ops", json!(["Verify"])), Err(Odd::Purpose)),
        (with(okp(), "key_ops", json!([])), Err(Odd::Purpose)),
        // RFC 7517 section 4.3.
        (with(okp(), "key_ops", json!(["verify", "verify"])), Err(Odd::Malformed)),
        (with(okp(), "key_ops", json!(["sign", "verify", "sign"])), Err(Odd::Malformed)),
        (with(okp(), "key_ops", ops(8)), Ok(Alg::EdDSA)),
        (with(okp(), "key_ops", ops(9)), Err(Odd::Malformed)),
        (with(okp(), "key_ops", json!(["verify", 1])), Err(Odd::Malformed)),
        (with(okp(), "key_ops", "verify"), Err(Odd::Malformed)),
        (with(okp(), "key_ops", Value::Null), Err(Odd::Malformed)),
        (with(with(okp(), "use", "sig"), "key_ops", json!(["encrypt"])), Err(Odd::Purpose)),
        (with(with(okp(), "use", "enc"), "key_ops", json!(["verify"])), Err(Odd::Purpose)),
        (with(okp(), "alg", "EdDSA"), Ok(Alg::EdDSA)),
        (with(okp(), "alg", "Ed25519"), Ok(Alg::EdDSA)),
        (with(okp(), "alg", "ES256"), Err(Odd::Contradiction)),
        (with(okp(), "alg", "Ed448"), Err(Odd::Unsupported)),
        (with(okp(), "alg", "eddsa"), Err(Odd::Unsupported)),
        (with(okp(), "alg", "none"), Err(Odd::Unsupported)),
        (with(okp(), "alg", Value::Null), Err(Odd::Malformed)),
        (with(ec(), "alg", "ES256"), Ok(Alg::ES256)),
        (with(ec(), "alg", "ES384"), Err(Odd::Unsupported)),
        (with(ec(), "alg", "Ed25519"), Err(Odd::Contradiction)),
        (with(rsa(2048), "alg", "RS256"), Ok(Alg::RS256)),
        (with(rsa(2048), "alg", "PS256"), Err(Odd::Unsupported)),
        (with(rsa(2048), "alg", "RSA-OAEP"), Err(Odd::Unsupported)),
        (with(ec(), "crv", "P-384"), Err(Odd::Unsupported)),
        (with(ec(), "crv", "secp256k1"), Err(Odd::Unsupported)),
        (with(ec(), "kty", "OKP"), Err(Odd::Unsupported)),
        (with(okp(), "crv", "X25519"), Err(Odd::Unsupported)),
        (with(okp(), "kty", "okp"), Err(Odd::Unsupported)),
        (with(rsa(2048), "crv", "P-256"), Err(Odd::Unsupported)),
        (json!({"crv": "Ed25519", "x": X}), Err(Odd::Malformed)),
        (json!({"kty": "OKP", "crv": "Ed25519"}), Err(Odd::Malformed)),
        (json!({}), Err(Odd::Malformed)),
    ] {
        assert_eq!(verdict(&jwk), expected, "{jwk}");
    }
}

#[test]
fn n103_private_and_symmetric_material_is_named_whatever_else_is_wrong() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        for jwk in [
            okp(),
            ec(),
            rsa(2048),
            rsa(1024),
            with(okp(), "use", "enc"),
            with(okp(), "alg", "none"),
            with(okp(), "x", 7),
            json!({"kty": "AKP"}),
            json!({}),
        ] {
            for value in [json!("AQAB"), json!(""), Value::Null, json!([{"r": "AQAB"}])] {
                let jwk = with(jwk.clone(), member, value);
                assert_eq!(verdict(&jwk), Err(Odd::Private), "{member}");
            }
        }
    }
    for jwk in [json!({"kty": "oct"}), json!({"kty": "oct", "use": "enc"})] {
        assert_eq!(verdict(&jwk), Err(Odd::Private));
    }
}

#[test]
fn n17_material_has_one_spelling() {
    assert_eq!(verdict(&okp()), Ok(Alg::EdDSA));
    for x in [
        format!("{X}="),
        format!("{X} "),
        format!("{X}\n"),
        format!(" {X}"),
        X.replace("YA", "Y\nA"),
        X.replace('_', "/"),
        X.replace('o', "p"), // the last character carries two bits that are not used
        X.replace('r', "+"),
        X.replace('r', "\u{e9}"),
        X[..42].to_owned(),
    ] {
        assert_eq!(verdict(&with(okp(), "x", x.as_str())), Err(Odd::Malformed), "{x:?}");
    }
    for (member, odd) in [("n", "AQAB="), ("n", "AQA+"), ("e", "AQAC="), ("e", "AR"), ("e", "AQ A")]
    {
        let jwk = with(rsa(2048), member, odd);
        assert_eq!(verdict(&jwk), Err(Odd::Malformed), "{member} {odd}");
    }
}

#[test]
fn n3_a_key_is_for_the_algorithm_of_its_material() {
    let rsa = |n: &[u8], e: &[u8]| Material::Rsa { n: n.to_vec(), e: e.to_vec() };
    let (n, e) = (&[0xa5; 256][..], &[1, 0, 1][..]);
    let ed25519 = Material::Ed25519 { x: from_base64url(X).unwrap().try_into().unwrap() };
    for (alg, material, expected) in [
        (Alg::EdDSA, ed25519.clone(), None),
        (Alg::ES256, ed25519.clone(), Some(KeyError::Rejected(Alg::ES256))),
        (Alg::RS256, ed25519, Some(KeyError::Rejected(Alg::RS256))),
        (Alg::RS256, rsa(n, e), None),
        (Alg::EdDSA, rsa(n, e), Some(KeyError::Rejected(Alg::EdDSA))),
        (Alg::RS256, rsa(&n[1..], e), Some(KeyError::RsaSize)),
        (Alg::RS256, rsa(n, &[3]), Some(KeyError::RsaExponent)),
    ] {
        let jwk = Jwk { alg, kid: material.thumbprint(), material };
        assert_eq!(VerifyingKey::new(&jwk).err(), expected, "{jwk:?}");
    }
}
