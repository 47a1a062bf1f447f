//! A token seen for the first time: what stands around the check of its signature.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use scrip_verify::token::compact::Compact;
use scrip_verify::token::{Alg, Claims};
use scrip_verify::{DenySet, Trust};

use crate::fixture::{FRESH, ISS, issuer, jwks, presented, signing_key, token, verifier};
use crate::rounds::{Timing, ratio, rounds};

/// So many tokens in turn, through a cache of a quarter as many: each is verified in full, kept,
/// and displaced before it comes again.
const TOKENS: u64 = 1024;

pub(crate) fn run() {
    for (alg, name) in [(Alg::ES256, "es256"), (Alg::EdDSA, "eddsa"), (Alg::RS256, "rs256")] {
        let key = signing_key(alg);
        let tokens: Vec<String> = (0..TOKENS).map(|n| token(&key, n)).collect();
        let issuer = issuer(&[&key], DenySet::default());
        let trust = Trust::one(&issuer, FRESH);
        let verifier = verifier().cache(TOKENS as usize / 4, 1 << 20);
        let public = issuer.keys().by_kid(key.kid()).expect("the key");
        let parts: Vec<Compact<'_>> = tokens
            .iter()
            .map(|token| Compact::parse(token.as_bytes(), 8192).expect("a JWS"))
            .collect();

        let title =
            format!("{alg}, tokens of {} bytes, each seen for the first time", tokens[0].len());
        let (mut raw, mut ours, mut theirs) =
            (parts.iter().cycle(), tokens.iter().cycle(), tokens.iter().cycle());
        let mut plainly = plainly(alg, &jwks(&[&key]));
        let [raw, ours, _] = rounds(
            &title,
            [
                Timing::new("raw signature check, key parsed", || {
                    let part = raw.next().expect("a cycle");
                    assert!(public.verify(part.signing_input, &part.signature));
                }),
                Timing::new("scrip-verify, all twelve checks", || {
                    let token = ours.next().expect("a cycle");
                    verifier.verify(&presented(token), &trust).expect("a good token")
                }),
                Timing::new("jsonwebtoken 11, used plainly", || {
                    plainly(theirs.next().expect("a cycle"))
                }),
            ],
        );
        let what = "all twelve checks, over the raw signature check of the same bytes";
        ratio(&format!("verify_cold_{name}"), ours.median / raw.median, what);
    }
}

/// The other library, used as its documentation shows: the key is found in the set by `kid`, and
/// `aud` and `iss` are compared. Not `exp`, because for that it reads the clock itself.
fn plainly(alg: Alg, jwks: &str) -> impl FnMut(&str) -> Claims + use<> {
    let set: JwkSet = serde_json::from_str(jwks).expect("a key set");
    let algorithm = match alg {
        Alg::ES256 => Algorithm::ES256,
        Alg::EdDSA => Algorithm::EdDSA,
        Alg::RS256 => Algorithm::RS256,
    };
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&["llm-gateway"]);
    validation.set_issuer(&[ISS]);
    validation.validate_exp = false;
    move |token| {
        let header = jsonwebtoken::decode_header(token).expect("a header");
        let key = set.find(header.kid.as_deref().expect("a kid")).expect("its key");
        let key = DecodingKey::from_jwk(key).expect("a usable key");
        jsonwebtoken::decode::<Claims>(token, &key, &validation).expect("a good token").claims
    }
}
