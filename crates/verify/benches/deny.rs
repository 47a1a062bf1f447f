//! What a large deny set weighs, and what it costs whoever is not in it.

use std::collections::HashSet;
use std::hint::black_box;

use foldhash::fast::RandomState;
use scrip_verify::token::blob::Blob;
use scrip_verify::token::deny::{Entry, MAX_BATCH_ENTRIES};
use scrip_verify::token::limits::HORIZON;
use scrip_verify::token::{Alg, Claims, Jti};
use scrip_verify::{DenySet, Trust};
use serde_json::json;

use crate::fixture::{FRESH, IAT, ISS, NOW, issuer, presented, signing_key, token, verifier};
use crate::rounds::{Timing, now, ratio, rounds};

const MILLION: u64 = 1_000_000;

pub(crate) fn run() {
    weight(); // first, while no memory has been used and freed
    start();
    growth();
}

/// Random bits that are the same in each run (splitmix64).
fn random(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The `n`th id: of some moment within the time that entries are kept.
fn jti(n: u64) -> Jti {
    let moment = IAT * 1000 + n.wrapping_mul(7919) % (HORIZON * 1000);
    let mut bytes = [0; 10];
    let drawn = random(2 * n).to_be_bytes().into_iter().chain(random(2 * n + 1).to_be_bytes());
    bytes.iter_mut().zip(drawn).for_each(|(to, from)| *to = from);
    Jti::new(moment, bytes)
}

/// The snapshot of so many revoked tokens.
pub(crate) fn blob(count: u64) -> Blob {
    let until = u32::try_from(NOW + 900).expect("a date of this century");
    let mut jtis: Vec<_> = (0..count).map(|n| (jti(n), until)).collect();
    jtis.sort_unstable();
    Blob { jtis, rules: Vec::new() }
}

fn weight() {
    let blob = blob(10 * MILLION);
    let before = resident();
    let set = DenySet::from_blob(&blob);
    let weight = (resident() - before) as f64 / set.len() as f64;
    drop(blob);
    ratio("deny_bytes_10m", weight, "bytes of resident memory an entry, 10 M entries");

    let mut claims = claims(jti(0));
    let others: Vec<Jti> = (0..MILLION).map(|n| jti(n + 20 * MILLION)).collect();
    let plain: HashSet<u64, RandomState> = (0..10 * MILLION).map(random).collect();
    let (mut turn, mut number) = (others.iter().cycle(), 10 * MILLION);
    let [single, absent] = rounds(
        "10 M tokens are denied; a look-up of one that is not",
        [
            Timing::new("one plain HashSet<u64> of as many", || {
                number += 1;
                assert!(!black_box(&plain).contains(&random(number)));
            }),
            Timing::new("DenySet::denies", || {
                claims.jti = *turn.next().expect("a cycle");
                assert!(black_box(&set).denies(&claims, "kid").is_none());
            }),
        ],
    );
    let what = "ns, a token that is not among 10 M denied ones";
    ratio("deny_absent_10m", absent.median, what);
    let what = "the same, over a look-up in one plain HashSet<u64> of 10 M";
    ratio("deny_absent_over_plain", absent.median / single.median, what);
}

/// From the bytes of a snapshot to a deny set, and what a full batch then adds to it while readers
/// keep the one they have.
fn start() {
    let bytes = blob(MILLION).encode().expect("a snapshot");
    let begun = now();
    let set = DenySet::from_blob(&Blob::decode(&bytes).expect("a snapshot"));
    let took = begun.elapsed();
    assert_eq!(set.len() as u64, MILLION);
    let what = "ms, from the bytes of a snapshot to a deny set of 1 M";
    ratio("deny_start_1m", took.as_secs_f64() * 1000.0, what);

    let entry = |n| Entry::Jti { jti: jti(n), until: NOW + 900 };
    let batch: Vec<_> = (MILLION..).map(entry).take(MAX_BATCH_ENTRIES).collect();
    let [one, full] = rounds(
        "1 M tokens are denied; what a batch adds",
        [
            Timing::new("one token", || black_box(&set).with(&batch[..1])),
            Timing::new("1,024 tokens of as many seconds", || black_box(&set).with(&batch)),
        ],
    );
    ratio("deny_extend_1m_by_1", one.median / 1e6, "ms, another set with one more than 1 M");
    ratio("deny_extend_1m_by_1024", full.median / 1e6, "ms, another set with 1,024 more");
}

/// The same verification, with nobody denied and with a million.
fn growth() {
    let key = signing_key(Alg::EdDSA);
    let tokens: Vec<String> = (0..1024).map(|n| token(&key, n)).collect();
    let (none, many) = (DenySet::default(), DenySet::from_blob(&blob(MILLION)));
    let (none, many) = (issuer(&[&key], none), issuer(&[&key], many));
    let (none, many) = (Trust::one(&none, FRESH), Trust::one(&many, FRESH));
    let verifier = verifier().cache(0, 0);
    let (mut first, mut second) = (tokens.iter().cycle(), tokens.iter().cycle());
    let verify = |token: Option<&String>, trust| {
        let presented = presented(token.expect("a cycle"));
        verifier.verify(&presented, trust).expect("a good token")
    };
    let [empty, full] = rounds(
        "EdDSA, not cached",
        [
            Timing::new("nobody is denied", || verify(first.next(), &none)),
            Timing::new("a million tokens are", || verify(second.next(), &many)),
        ],
    );
    ratio(
        "verify_growth_1m",
        full.median / empty.median,
        "1 M denied over none denied, not cached",
    );
}

fn claims(jti: Jti) -> Claims {
    let iat = jti.seconds();
    let claims = json!({
        "iss": ISS, "sub": "s", "aud": "a", "client_id": "acme/billing", "iat": iat, "nbf": iat,
        "exp": iat + 300, "jti": jti, "ver": 1, "scope": "llm:chat", "tenant": "acme", "env": "prod",
    });
    Claims::parse(claims.to_string().as_bytes()).expect("claims")
}

/// Memory of this process, in bytes (Linux `proc(5)`).
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kilobytes: usize = line.trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes * 1024
}
