//! The golden set of `crates/token/golden`, read as its README tells an implementer to.

mod read;
#[path = "../examples/golden/set/mod.rs"]
mod set;

use std::collections::{BTreeSet, HashMap};

use scrip_verify::Verifier;
use scrip_verify::token::compact::Compact;
use scrip_verify::token::limits::{HORIZON, LEEWAY, MAX_MINTED_BYTES};
use scrip_verify::token::{Claims, Typ};
use serde_json::Value;

use self::read::{Answer, Case, FILE, File, Golden, Published, file};

#[test]
fn golden_tokens_get_their_verdicts() {
    let wrong = Golden::read().disagreements();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_golden_token_with_another_verdict_would_be_noticed() {
    let spoilt: [fn(&mut Case); 3] = [
        |case| case.verdict = format!("not-{}", case.verdict),
        |case| case.check = case.check.xor(Some(13)),
        |case| case.status += 1,
    ];
    for spoil in spoilt {
        let mut golden = Golden::read();
        golden.cases.iter_mut().for_each(spoil);
        assert_eq!(golden.disagreements().len(), golden.cases.len());
    }
}

/// What identifies the sender decides up to check 8, and nothing else does.
#[test]
fn golden_tokens_are_authentic_as_far_as_check_8() {
    let golden = Golden::read();
    for case in &golden.cases {
        let (verifier, token) = (case.verifier(), case.token.as_bytes());
        let authentic =
            golden.believing(case, |trust| verifier.authenticate(token, case.now, trust));
        match case.check {
            Some(1..=8) => {
                let given = Answer::from(authentic.map(|_| ()));
                assert_eq!(given, case.expected(), "{}", case.name);
            }
            _ => assert!(authentic.is_ok(), "{}", case.name),
        }
    }
}

/// Whatever a verifier may remember of tokens, and of whom it met them with, changes no verdict.
#[test]
fn n37_golden_verdicts_stay_the_same_and_end_with_the_token() {
    let golden = Golden::read();
    let mut verifiers: HashMap<_, Verifier> = HashMap::new();
    let expired = Answer { verdict: "expired".to_owned(), check: Some(7), status: 401 };
    for case in golden.cases.iter().chain(golden.cases.iter().rev()) {
        let settings = (&case.audience, &case.env, case.max_lifetime, case.freshness);
        let verifier = verifiers.entry(settings).or_insert_with(|| case.verifier());
        let (name, expected) = (&case.name, case.expected());
        for _ in 0..2 {
            assert_eq!(golden.judge(verifier, case, case.now), expected, "{name}");
        }
        let over = golden.judge(verifier, case, case.now + LEEWAY + HORIZON);
        match case.check {
            Some(1..=6) => assert_eq!(over, expected, "{name}"),
            Some(7) => assert_ne!(over.verdict, "accepted", "{name}"),
            _ => assert_eq!(over, expired, "{name}"),
        }
        assert_eq!(golden.judge(verifier, case, case.now), expected, "{name}, after its end");
    }
}

#[test]
fn golden_tokens_show_every_reason_and_every_check() {
    let golden = Golden::read();
    let verdicts: BTreeSet<&str> = golden.cases.iter().map(|case| case.verdict.as_str()).collect();
    let reasons = crate::rejection::all().into_iter().map(|(rejection, ..)| rejection.code());
    let all: BTreeSet<&str> = reasons.chain(["accepted"]).collect();
    assert_eq!(verdicts, all);
    let checks: BTreeSet<_> = golden.cases.iter().map(|case| case.check).collect();
    assert_eq!(checks, [None].into_iter().chain((1..=12).map(Some)).collect());
}

#[test]
fn golden_tokens_have_names_of_their_own_and_reasons() {
    let golden = Golden::read();
    assert_eq!(file().version, 1);
    assert!(file().about.contains("PUBLIC TEST KEYS"));
    let mut names = BTreeSet::new();
    for Case { name, why, .. } in &golden.cases {
        let kebab = name.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
        assert!(kebab && names.insert(name), "{name}");
        assert!(!why.is_empty() && !why.contains('\n'), "{name}");
    }
    assert!(names.len() >= 90, "{}", names.len());
}

/// The three plain tokens are to the byte what the mint writes; ECDSA signatures are random.
#[test]
fn golden_tokens_are_as_minted() {
    let golden = Golden::read();
    let keys = file().signing_keys;
    for (name, key) in [("eddsa", "main-eddsa"), ("rs256", "main-rs256"), ("es256", "main-es256")] {
        let case = golden.cases.iter().find(|case| case.name == name).unwrap();
        let compact = Compact::parse(case.token.as_bytes(), MAX_MINTED_BYTES).unwrap();
        let claims = Claims::parse(&compact.payload).unwrap();
        let minted = keys[key].read().sign(Typ::AccessToken, &serde_json::to_vec(&claims).unwrap());
        let minted = minted.unwrap();
        let (input, _) = minted.rsplit_once('.').unwrap();
        assert_eq!(input.as_bytes(), compact.signing_input, "{name}");
        assert!(minted == case.token || name == "es256", "{name}");
    }
}

/// No case comes twice, so no two contradict each other.
#[test]
fn golden_tokens_differ_in_what_is_judged() {
    let mut judged: HashMap<String, Value> = HashMap::new();
    for mut case in file().tokens {
        let name = case["name"].clone();
        case.retain(|member, _| {
            !["name", "why", "verdict", "check", "status"].contains(&&**member)
        });
        let twin = judged.insert(serde_json::to_string(&case).unwrap(), name.clone());
        assert_eq!(twin, None, "{name}");
    }
}

/// Also the signatures that are random: the table keeps those, and only those, that are valid.
#[test]
fn the_golden_file_is_what_its_table_writes() {
    assert!(set::text(FILE) == FILE, "run `cargo run -p scrip-verify --example golden`");
    let anew = set::text("");
    assert!(anew != FILE, "ECDSA signatures are random");
    assert!(set::text(&anew) == anew, "and made once");
}

#[test]
fn golden_keys_are_what_they_say() {
    let File { issuers, signing_keys, .. } = file();
    let mut published: BTreeSet<String> = BTreeSet::new();
    for Published { jwks, .. } in issuers.values() {
        for jwk in jwks["keys"].as_array().unwrap() {
            published.extend(jwk["kid"].as_str().map(str::to_owned));
        }
    }
    for (name, key) in &signing_keys {
        let kid = &key.kid;
        assert_eq!(key.read().kid(), kid, "{name}");
        let usable = name.starts_with("main-") || name.starts_with("other-") || name == "odd-good";
        assert!(published.contains(kid) || !usable, "{name}");
    }
}
