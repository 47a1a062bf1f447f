//! Checks 3 and 4: whose key, and whether it signed.

use aws_lc_rs::signature::RSA_PKCS1_SHA512;
use scrip_verify::token::compact::{base64url, from_base64url};

use super::case::{Case, believed, trust};
use super::claims::{Claims, NOW, ODD_ISS, OTHER_ISS, quoted};
use super::keys::{Key, Keys, hmac_signed};

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = key_sets(keys);
    cases.extend(algorithms(keys));
    cases.extend(ecdsa(keys));
    cases.extend(ed25519(keys));
    cases.extend(rsa(keys));
    cases.extend(others(keys));
    cases
}

/// What counts as a key of an issuer.
fn key_sets(keys: &Keys) -> Vec<Case> {
    const MEMBER: &str =
        "an odd member of a JWKS is left out and spoils no other (RFC 7517 section 5)";
    const EMPTY: &str = "an issuer that has published no key changes nothing for another";
    let odd = trust("odd", NOW, 0, "");
    let beside_empty =
        format!("{{{}, {}}}", believed("empty", NOW, 0, ""), believed("main", NOW, 0, ""));
    let claims = Claims::new().with("iss", quoted(ODD_ISS));
    let other = Claims::new().with("iss", quoted(OTHER_ISS));
    let refused =
        |name, why, key: &Key| Case::refused("unknown-kid", name, why, key.token(&claims));
    let under_its_kid = keys.odd_kid.forge(&keys.stranger.header(), claims.text());
    let mut cases: Vec<Case> = [
        Case::accepted("good-key-among-odd-ones", MEMBER, keys.odd_good.token(&claims)),
        refused("key-for-encryption", "`use` is not `sig` (RFC 7517 section 4.2)", &keys.odd_use),
        refused(
            "key-without-verify",
            "`key_ops` lacks `verify` (RFC 7517 section 4.3)",
            &keys.odd_key_ops,
        ),
        refused(
            "key-of-another-alg",
            "`alg` contradicts `kty` and `crv` (RFC 7517 section 4.4)",
            &keys.odd_alg,
        ),
        refused(
            "key-with-its-private-half",
            "a private key that is published is everybody's",
            &keys.odd_private,
        ),
        refused("key-by-its-thumbprint", "its JWK claims another `kid`", &keys.odd_kid),
        Case::refused(
            "unknown-kid",
            "key-by-a-kid-that-is-no-thumbprint",
            "a `kid` that is not the key's thumbprint names no key (RFC 7638)",
            under_its_kid,
        ),
    ]
    .map(|case| case.given("trust", &odd))
    .into();
    cases.extend([
        Case::refused(
            "unknown-kid",
            "key-of-nobody",
            "a key that no issuer has published",
            keys.stranger.token(&Claims::new()),
        ),
        Case::refused(
            "no-keys",
            "no-issuer-has-a-key",
            "an empty key set is a fault of whoever keeps the keys, not of the token",
            keys.eddsa.token(&Claims::new()),
        )
        .given("trust", trust("empty", NOW, 0, "")),
        Case::refused(
            "no-keys",
            "no-issuer-at-all",
            "where nobody is believed there is no key either",
            keys.eddsa.token(&Claims::new()),
        )
        .given("trust", "{}"),
        Case::accepted("beside-an-issuer-without-keys", EMPTY, keys.eddsa.token(&Claims::new()))
            .given("trust", &beside_empty),
        Case::refused(
            "unknown-kid",
            "key-of-nobody-beside-an-issuer-without-keys",
            EMPTY,
            keys.stranger.token(&Claims::new()),
        )
        .given("trust", &beside_empty),
        Case::refused(
            "unknown-kid",
            "issuer-not-believed",
            "a key of an issuer that is not believed, however well it signs",
            keys.other.token(&other),
        ),
    ]);
    cases
}

fn algorithms(keys: &Keys) -> Vec<Case> {
    const WHY: &str =
        "the key decides the algorithm and the header must agree (RFC 8725 section 3.1)";
    let Keys { es256, eddsa, rs256, .. } = keys;
    [
        ("es256-for-an-ed25519-key", eddsa, "ES256"),
        ("rs256-for-an-ed25519-key", eddsa, "RS256"),
        ("eddsa-for-a-p256-key", es256, "EdDSA"),
        ("ed25519-for-a-p256-key", es256, "Ed25519"),
        ("es256-for-an-rsa-key", rs256, "ES256"),
        ("eddsa-for-an-rsa-key", rs256, "EdDSA"),
    ]
    .map(|(name, key, alg)| {
        let header = key.header().replace(key.alg().as_str(), alg);
        Case::refused("wrong-alg", name, WHY, key.forge(&header, Claims::new().text()))
    })
    .into()
}

fn ecdsa(keys: &Keys) -> Vec<Case> {
    const RANGE: &str = "r and s are 1 to n - 1 (FIPS 186-5 section 6.4.2; CVE-2022-21449)";
    const LENGTH: &str = "64 bytes, r then s (RFC 7518 section 3.4)";
    const ORDER: &str = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE";
    let good = keys.es256.token(&Claims::new());
    let signature = signature(&good);
    let (r, s) = signature.split_at(32);
    let order = from_base64url(ORDER).expect("the order is base64url");
    let zero = [0; 32];
    let mirrored = [r, &minus(&order, s)].concat();
    let refused = |name, why, signature: &[u8]| {
        Case::refused("bad-signature", name, why, resigned(&good, signature))
    };
    vec![
        Case::accepted(
            "es256-mirrored",
            "ECDSA signatures come in pairs, (r, s) and (r, n - s): no token is known by its hash",
            resigned(&good, &mirrored),
        ),
        refused("ecdsa-r-and-s-zero", RANGE, &[0; 64]),
        refused("ecdsa-r-zero", RANGE, &[&zero, s].concat()),
        refused("ecdsa-s-zero", RANGE, &[r, &zero].concat()),
        refused("ecdsa-r-and-s-of-the-order", RANGE, &order.repeat(2)),
        refused("ecdsa-r-of-the-order", RANGE, &[&order, s].concat()),
        refused("ecdsa-in-der", LENGTH, &der(r, s)),
        refused("ecdsa-one-byte-short", LENGTH, &signature[..63]),
        refused("ecdsa-one-byte-long", LENGTH, &[&signature[..], &[0]].concat()),
        refused("ecdsa-s-before-r", LENGTH, &[s, r].concat()),
    ]
}

fn ed25519(keys: &Keys) -> Vec<Case> {
    const ONE: &str = "one signature for one message: S below the order (RFC 8032 section 8.4), R of large \
        order";
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let good = keys.eddsa.token(&Claims::new());
    let signature = signature(&good);
    let (r, s) = signature.split_at(32);
    let mut identity = [0; 64];
    identity[0] = 1;
    let refused = |name, why, signature: &[u8]| {
        Case::refused("bad-signature", name, why, resigned(&good, signature))
    };
    vec![
        refused("ed25519-s-above-the-order", ONE, &[r, &plus(s, &ORDER)].concat()),
        refused("ed25519-r-the-identity", ONE, &identity),
        refused("ed25519-zeros", ONE, &[0; 64]),
        refused("ed25519-one-byte-short", "64 bytes (RFC 8032 section 5.1.6)", &signature[..63]),
        refused("ed25519-twice", "64 bytes (RFC 8032 section 5.1.6)", &signature.repeat(2)),
    ]
}

fn rsa(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3, RFC 8017 section 8.2)";
    let key = &keys.rs256;
    let good = key.token(&Claims::new());
    let input = good.rsplit_once('.').expect("a token has segments").0;
    let spki = pem::encode(&pem::Pem::new("PUBLIC KEY", key.spki()));
    let other_digest = key.sign_rsa(&RSA_PKCS1_SHA512, input);
    let signature = signature(&good);
    let mut cases: Vec<Case> = [
        ("rsa-with-sha-512", other_digest),
        ("rsa-zeros", vec![0; 256]),
        ("rsa-one", [vec![0; 255], vec![1]].concat()),
        ("rsa-one-byte-short", signature[1..].to_vec()),
        ("rsa-one-byte-long", [vec![0], signature].concat()),
    ]
    .map(|(name, signature)| Case::refused("bad-signature", name, WHY, resigned(&good, &signature)))
    .into();
    cases.push(Case::refused(
        "bad-signature",
        "rsa-hmac-with-the-public-key",
        "a public key is no secret (RFC 8725 section 2.1)",
        hmac_signed(&key.header(), &Claims::new(), spki.as_bytes()),
    ));
    cases
}

fn others(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "the signature covers the bytes received (RFC 7515 section 5.2)";
    let Keys { eddsa, stranger, other, .. } = keys;
    let good = eddsa.token(&Claims::new());
    let wider = eddsa.token(&Claims::new().with("models", r#"["*"]"#));
    let respelt = eddsa.header().replace(',', ", ");
    let payload = Claims::new().text();
    [
        ("signed-by-a-stranger", stranger.forge(&eddsa.header(), &payload)),
        ("signed-by-another-issuer", other.forge(&eddsa.header(), &payload)),
        ("signature-of-another-token", resigned(&wider, &signature(&good))),
        ("header-written-anew", good.replacen(&base64url(eddsa.header()), &base64url(respelt), 1)),
        (
            "payload-written-anew",
            good.replacen(&base64url(&payload), &base64url(payload.replace(',', ", ")), 1),
        ),
    ]
    .map(|(name, token)| Case::refused("bad-signature", name, WHY, token))
    .into()
}

fn signature(token: &str) -> Vec<u8> {
    let (_, signature) = token.rsplit_once('.').expect("a token has segments");
    from_base64url(signature).expect("a signature is base64url")
}

/// `token` with another last segment.
fn resigned(token: &str, signature: &[u8]) -> String {
    let (input, _) = token.rsplit_once('.').expect("a token has segments");
    format!("{input}.{}", base64url(signature))
}

/// r and s as an `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3).
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let sign = if bytes[0] & 0x80 == 0 { &[][..] } else { &[0][..] };
        [&[2, (sign.len() + bytes.len()) as u8], sign, bytes].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8], &body[..]].concat()
}

/// `a - b`, big-endian.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut difference = a.to_vec();
    let mut borrow = false;
    for (a, b) in difference.iter_mut().zip(b).rev() {
        let (low, below) = a.overflowing_sub(*b);
        let (low, further) = low.overflowing_sub(u8::from(borrow));
        (*a, borrow) = (low, below || further);
    }
    difference
}

/// `a + b`, little-endian.
fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut sum = a.to_vec();
    let mut carry = false;
    for (a, b) in sum.iter_mut().zip(b) {
        let (low, above) = a.overflowing_add(*b);
        let (low, further) = low.overflowing_add(u8::from(carry));
        (*a, carry) = (low, above || further);
    }
    sum
}
