//! The golden set of `crates/token/golden`, read as its README tells an implementer to.

#[path = "../examples/golden/set/mod.rs"]
mod set;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use scrip_verify::token::deny::Entry;
use scrip_verify::token::jwk::KeySet;
use scrip_verify::token::limits::{HORIZON, LEEWAY};
use scrip_verify::token::{Alg, SigningKey};
use scrip_verify::{
    Address, Asked, DenySet, Derived, Freshness, Information, Issuer, Keys, Model, Presented,
    Proof, Rejection, Size, StalePolicy, Trust, Verifier,
};
use serde::Deserialize;
use serde_json::{Map, Value};

const FILE: &str = include_str!("../../token/golden/golden.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    about: String,
    issuers: BTreeMap<String, Published>,
    signing_keys: BTreeMap<String, Private>,
    defaults: Map<String, Value>,
    tokens: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    iss: String,
    jwks: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Private {
    alg: Alg,
    kid: String,
    pkcs8: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    token: String,
    now: u64,
    audience: String,
    env: String,
    max_lifetime: u64,
    freshness: Bounds,
    trust: BTreeMap<String, Known>,
    address: Option<IpAddr>,
    derived: From,
    asked: Request,
    proof: Option<Thumbprint>,
    #[serde(flatten)]
    expected: Answer,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Answer {
    verdict: String,
    check: Option<u8>,
    status: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    max_staleness: u64,
    max_offline: u64,
    policy: Policy,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
enum Policy {
    #[serde(rename = "deny")]
    Deny,
    #[serde(rename = "deny-and-alert")]
    DenyAndAlert,
    #[serde(rename = "allow_for")]
    AllowFor(u64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    #[serde(deserialize_with = "Option::deserialize")]
    information: Option<Heard>,
    deny: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heard {
    as_of: u64,
    silence: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    Peer,
    Forwarded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    scope: String,
    #[serde(deserialize_with = "Option::deserialize")]
    model: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    size: Option<u64>,
}

#[derive(Deserialize)]
enum Thumbprint {
    #[serde(rename = "jkt")]
    Jkt(String),
    #[serde(rename = "x5t#S256")]
    X5tS256(String),
}

/// The set, ready to be judged.
struct Golden {
    issuers: BTreeMap<String, (String, Keys)>,
    cases: Vec<Case>,
}

impl Golden {
    fn read() -> Self {
        let File { issuers, defaults, tokens, .. } = file();
        let keys = |jwks: Value| Keys::from(KeySet::parse(jwks.to_string().as_bytes()).unwrap());
        let laid_over_defaults = |case: Map<String, Value>| {
            let mut whole = defaults.clone();
            whole.extend(case);
            serde_json::from_value(Value::Object(whole)).unwrap()
        };
        Self {
            issuers: issuers.into_iter().map(|(name, p)| (name, (p.iss, keys(p.jwks)))).collect(),
            cases: tokens.into_iter().map(laid_over_defaults).collect(),
        }
    }

    fn judge(&self, verifier: &Verifier, case: &Case, now: u64) -> Answer {
        let issuers: Vec<(Issuer, Information)> = case
            .trust
            .iter()
            .map(|(name, known)| {
                let (iss, keys) = &self.issuers[name];
                let deny = DenySet::default().with(&known.deny);
                (Issuer::new(iss, keys.clone(), deny), known.information())
            })
            .collect();
        let sources: Vec<(&Issuer, Information)> = issuers.iter().map(|(i, at)| (i, *at)).collect();
        let trust = match *sources {
            [(issuer, information)] => Trust::one(issuer, information),
            _ => Trust::several(&sources).unwrap(),
        };
        verifier.verify(&case.presented(now), &trust).map_or_else(
            |rejection| Answer {
                verdict: rejection.code().to_owned(),
                check: Some(check(&rejection)),
                status: rejection.outside().status(),
            },
            |_| Answer { verdict: "accepted".to_owned(), check: None, status: 200 },
        )
    }
}

impl Case {
    fn verifier(&self) -> Verifier {
        let Bounds { max_staleness, max_offline, policy } = self.freshness;
        let policy = match policy {
            Policy::Deny => StalePolicy::Deny,
            Policy::DenyAndAlert => StalePolicy::DenyAndAlert,
            Policy::AllowFor(seconds) => StalePolicy::AllowFor(seconds),
        };
        Verifier::new(&self.audience, &self.env)
            .max_lifetime(self.max_lifetime)
            .freshness(Freshness::new(max_staleness, max_offline, policy).unwrap())
    }

    fn presented(&self, now: u64) -> Presented<'_> {
        let derived = match self.derived {
            From::Peer => Derived::Peer,
            From::Forwarded => Derived::Forwarded,
        };
        Presented {
            token: self.token.as_bytes(),
            now,
            address: self.address.map_or(Address::Unknown, |ip| Address::Known(ip, derived)),
            asked: Asked {
                scope: &self.asked.scope,
                model: self.asked.model.as_deref().map_or(Model::None, Model::Named),
                size: self.asked.size.map_or(Size::Unknown, Size::Known),
            },
            proof: match &self.proof {
                None => Proof::None,
                Some(Thumbprint::Jkt(print)) => Proof::DpopKey(print),
                Some(Thumbprint::X5tS256(print)) => Proof::Certificate(print),
            },
        }
    }
}

impl Known {
    fn information(&self) -> Information {
        match self.information {
            Some(Heard { as_of, silence }) => Information::Followed { as_of, silence },
            None => Information::Unfollowed,
        }
    }
}

/// The number of the check that gives this reason.
fn check(rejection: &Rejection) -> u8 {
    use Rejection as R;
    match rejection {
        R::Malformed(_) => 1,
        R::BadHeader(_) | R::UnknownAlg { .. } => 2,
        R::UnknownKid { .. } | R::WrongAlg { .. } => 3,
        R::BadSignature { .. } => 4,
        R::BadClaims(_) => 5,
        R::WrongIssuer { .. } | R::WrongAudience { .. } | R::WrongEnvironment { .. } => 6,
        R::Expired { .. } | R::NotYetValid { .. } | R::LivesTooLong { .. } => 7,
        R::Stale { .. } | R::Offline { .. } | R::Revoked(_) => 8,
        R::ProofMissing | R::WrongProof { .. } => 9,
        R::AddressUnknown | R::WrongAddress { .. } => 10,
        R::InsufficientScope { .. } | R::ModelUnnamed | R::WrongModel { .. } => 11,
        R::SizeUnknown { .. } | R::TooLarge { .. } => 12,
    }
}

fn file() -> File {
    serde_json::from_str(FILE).unwrap()
}

#[test]
fn golden_tokens_get_their_verdicts() {
    let golden = Golden::read();
    let wrong: Vec<String> = golden
        .cases
        .iter()
        .filter_map(|case| {
            let Case { name, why, expected, .. } = case;
            let given = golden.judge(&case.verifier(), case, case.now);
            (given != *expected).then(|| format!("{name} ({why}): {given:?}, not {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
        for _ in 0..2 {
            let given = golden.judge(verifier, case, case.now);
            assert_eq!(given, case.expected, "{}", case.name);
        }
        let over = golden.judge(verifier, case, case.now + LEEWAY + HORIZON);
        match case.expected.check {
            Some(1..=6) => assert_eq!(over, case.expected, "{}", case.name),
            Some(7) => assert_ne!(over.verdict, "accepted", "{}", case.name),
            _ => assert_eq!(over, expired, "{}", case.name),
        }
        let given = golden.judge(verifier, case, case.now);
        assert_eq!(given, case.expected, "{} after its end", case.name);
    }
}

/// What a case says about its request is what decides: a refusal that needs more than the token
/// does not come about without it.
#[test]
fn golden_refusals_depend_on_what_is_given() {
    let golden = Golden::read();
    let File { defaults, tokens, .. } = file();
    for (case, written) in golden.cases.iter().zip(tokens) {
        let given = defaults.keys().any(|member| written.contains_key(member));
        if case.expected.verdict == "accepted" || !given {
            continue;
        }
        let mut bare = defaults.clone();
        bare.extend(written.into_iter().filter(|(member, _)| !defaults.contains_key(member)));
        let bare: Case = serde_json::from_value(Value::Object(bare)).unwrap();
        let without = golden.judge(&bare.verifier(), &bare, bare.now);
        assert_ne!(without, case.expected, "{}", case.name);
    }
}

#[test]
fn golden_tokens_show_every_reason_and_every_check() {
    let golden = Golden::read();
    let verdicts: BTreeSet<&str> =
        golden.cases.iter().map(|case| case.expected.verdict.as_str()).collect();
    let reasons = crate::rejection::all().into_iter().map(|(rejection, ..)| rejection.code());
    let all: BTreeSet<&str> = reasons.chain(["accepted"]).collect();
    assert_eq!(verdicts, all);
    let checks: BTreeSet<_> = golden.cases.iter().map(|case| case.expected.check).collect();
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

/// Also the signatures that are random: the table keeps those, and only those, that are valid.
#[test]
fn the_golden_file_is_what_its_table_writes() {
    assert!(set::text(FILE) == FILE, "run `cargo run -p scrip-verify --example golden`");
    assert!(set::text("") != FILE, "ECDSA signatures are random");
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
    for (name, Private { alg, kid, pkcs8 }) in &signing_keys {
        let key = SigningKey::from_pkcs8(*alg, pem::parse(pkcs8).unwrap().contents()).unwrap();
        assert_eq!(key.kid(), kid, "{name}");
        assert_eq!(published.contains(kid), name != "stranger", "{name}");
    }
}
