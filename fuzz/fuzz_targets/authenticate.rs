#![no_main]
//! The whole verifier. An input is tried as a token, and then as a header and a payload, a line
//! each, that the issuer's own key signs: an attacker who may write whatever he likes. What is
//! accepted is read a second time, by other means, and has to keep every rule. A verifier that
//! remembers says what one says that forgets, now and at other times.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use scrip_fuzz::{sole_meaning, two_lines};
use scrip_verify::token::compact::base64url;
use scrip_verify::token::jwk::KeySet;
use scrip_verify::{
    Address, Asked, DenySet, Derived, Information, Issuer, Keys, Model, Presented, Proof,
    Rejection, Size, Trust, Verified, Verifier,
};
use serde_json::{Value, json};

const ISS: &str = "https://sts.example";
const NOW: u64 = 1_795_000_100;
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
const REVOKED: &str = "01a1ee56-5e7b-7fff-bfff-ffffffffffff";

/// Remembers four tokens, so that new ones displace others all the time.
static WARM: LazyLock<Verifier> = LazyLock::new(|| verifier().cache(4, 1 << 16));
static COLD: LazyLock<Verifier> = LazyLock::new(|| verifier().cache(0, 0));

/// Its thumbprint is in the dictionary, for headers to be made of.
static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let x = base64url(KEY.public_key());
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).to_string();
    let deny = json!([
        {"jti": REVOKED, "until": NOW + 900},
        {"client": "acme/gone", "before": NOW - 50, "until": NOW + 900},
        {"sub": {"tenant": "acme", "id": "gone"}, "before": NOW - 50, "until": NOW + 900},
        {"tenant": "gone", "before": NOW - 50, "until": NOW + 900},
        {"cred": {"client": "acme/billing", "version": "gone"}, "until": NOW + 900},
    ]);
    Issuer::new(
        ISS,
        Keys::from(KeySet::parse(jwks.as_bytes()).unwrap()),
        DenySet::default().with(&serde_json::from_value::<Vec<_>>(deny).unwrap()),
    )
});

fuzz_target!(|input: &[u8]| {
    if judge(input).is_ok() {
        // Ed25519 is deterministic: the one signature that counts is the one that the key makes.
        let signed = input.rsplitn(2, |b| *b == b'.').nth(1).unwrap();
        assert_eq!(sign(signed), input);
    }
    let Some((header, payload)) = two_lines(input) else { return };
    let token = sign([base64url(header), base64url(payload)].join(".").as_bytes());
    if let Ok(verified) = judge(&token) {
        let header = sole_meaning(header).unwrap();
        assert!(header == json!({"alg": header["alg"], "typ": "at+jwt", "kid": verified.kid()}));
        assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519");
        keeps_the_rules(&sole_meaning(payload).unwrap());
    }
});

fn sign(input: &[u8]) -> Vec<u8> {
    let signature = base64url(KEY.sign(input));
    [input, signature.as_bytes()].join(&b'.')
}

fn verifier() -> Verifier {
    Verifier::new("llm-gateway", "prod")
}

fn judge(token: &[u8]) -> Result<Verified, Rejection> {
    let trust = Trust::one(&ISSUER, Information::Followed { as_of: NOW, silence: 0 });
    let presented = |now: u64| Presented {
        token,
        now,
        address: Address::Known(ADDRESS, Derived::Peer),
        asked: Asked { scope: "llm:chat", model: Model::Named("gpt-4"), size: Size::Known(1000) },
        proof: Proof::None,
    };
    let verdict = WARM.verify(&presented(NOW), &trust);
    match &verdict {
        Ok(_) => {
            for now in [NOW - 200, NOW, NOW + 50, NOW + 900] {
                let [warm, cold] = [&WARM, &COLD].map(|verifier| {
                    verifier
                        .verify(&presented(now), &trust)
                        .map(|verified| verified.claims().clone())
                });
                assert_eq!(warm, cold);
            }
        }
        Err(rejection) => {
            assert_eq!(COLD.verify(&presented(NOW), &trust).err().as_ref(), Some(rejection));
            let text = str::from_utf8(token).unwrap_or_default();
            assert!(text.len() < 200 || !rejection.to_string().contains(text));
        }
    }
    verdict
}

fn keeps_the_rules(said: &Value) {
    let time = |claim: &str| said[claim].as_u64().unwrap();
    let items = |claim: &str| said[claim].as_array().cloned().unwrap_or_default();
    assert_eq!((&said["iss"], &said["aud"]), (&json!(ISS), &json!("llm-gateway")));
    assert_eq!((&said["env"], &said["ver"]), (&json!("prod"), &json!(1)));
    assert!(time("iat") <= NOW + 5 && NOW < time("exp") + 5);
    assert!(time("exp") - time("iat") <= 900 && time("nbf") == time("iat"));

    assert!(said["jti"] != REVOKED && !items("lin").contains(&json!(REVOKED)));
    let gone = said["client_id"] == "acme/gone"
        || said["tenant"] == "gone"
        || (said["tenant"] == "acme" && said["sub"] == "gone");
    assert!(!gone || time("iat") > NOW - 50);
    assert!(said["client_id"] != "acme/billing" || said["cred"] != "gone");

    assert!(said["cnf"].is_null());
    assert!(said["scope"].as_str().unwrap().split(' ').any(|scope| scope == "llm:chat"));
    let allows = |pattern: &Value| {
        let pattern = pattern.as_str().unwrap();
        pattern.strip_suffix('*').map_or(pattern == "gpt-4", |prefix| "gpt-4".starts_with(prefix))
    };
    assert!(items("models").iter().any(allows));
    let holds = |cidr: &Value| cidr.as_str().unwrap().parse::<IpNet>().unwrap().contains(&ADDRESS);
    assert!(said.get("cidrs").is_none() || items("cidrs").iter().any(holds));
    let most = said["budget"].get("request_tokens");
    assert!(most.is_none_or(|most| most.as_u64().unwrap() >= 1000));
}
