//! Reads the file and judges what stands in it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use scrip_verify::token::deny::Entry;
use scrip_verify::token::jwk::KeySet;
use scrip_verify::token::{Alg, SigningKey};
use scrip_verify::{
    Address, Asked, DenySet, Derived, Freshness, Information, Issuer, Keys, Model, Presented,
    Proof, Rejection, Size, StalePolicy, Trust, Verifier,
};
use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) const FILE: &str = include_str!("../../../token/golden/golden.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) version: u64,
    pub(super) about: String,
    pub(super) issuers: BTreeMap<String, Published>,
    pub(super) signing_keys: BTreeMap<String, Private>,
    defaults: Map<String, Value>,
    pub(super) tokens: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Published {
    iss: String,
    pub(super) jwks: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Private {
    alg: Alg,
    pub(super) kid: String,
    pkcs8: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) why: String,
    pub(super) token: String,
    pub(super) now: u64,
    pub(super) audience: String,
    pub(super) env: String,
    pub(super) max_lifetime: u64,
    pub(super) freshness: Bounds,
    trust: BTreeMap<String, Known>,
    #[serde(deserialize_with = "Option::deserialize")]
    address: Option<IpAddr>,
    derived: Derivation,
    asked: Request,
    #[serde(deserialize_with = "Option::deserialize")]
    proof: Option<Thumbprint>,
    pub(super) verdict: String,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) check: Option<u8>,
    pub(super) status: u16,
}

/// What is compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: String,
    pub(super) check: Option<u8>,
    pub(super) status: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounds {
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
enum Derivation {
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
pub(super) struct Golden {
    issuers: BTreeMap<String, (String, Keys)>,
    pub(super) cases: Vec<Case>,
}

impl Golden {
    pub(super) fn read() -> Self {
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

    /// The verdict on a case at some time.
    pub(super) fn judge(&self, verifier: &Verifier, case: &Case, now: u64) -> Answer {
        let verdict =
            self.believing(case, |trust| verifier.verify(&case.presented(now), trust).map(|_| ()));
        Answer::from(verdict)
    }

    pub(super) fn believing<T>(&self, case: &Case, judge: impl FnOnce(&Trust<'_>) -> T) -> T {
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
        match *sources {
            [(issuer, information)] => judge(&Trust::one(issuer, information)),
            _ => judge(&Trust::several(&sources).unwrap()),
        }
    }

    /// Where a verifier that knows nothing but the case does not say what the case says.
    pub(super) fn disagreements(&self) -> Vec<String> {
        let told = |case: &Case| {
            let (given, expected) = (self.judge(&case.verifier(), case, case.now), case.expected());
            let Case { name, why, .. } = case;
            (given != expected).then(|| format!("{name} ({why}): {given:?}, not {expected:?}"))
        };
        self.cases.iter().filter_map(told).collect()
    }
}

impl Case {
    pub(super) fn verifier(&self) -> Verifier {
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

    pub(super) fn expected(&self) -> Answer {
        Answer { verdict: self.verdict.clone(), check: self.check, status: self.status }
    }

    pub(super) fn presented(&self, now: u64) -> Presented<'_> {
        let derived = match self.derived {
            Derivation::Peer => Derived::Peer,
            Derivation::Forwarded => Derived::Forwarded,
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

impl Private {
    pub(super) fn read(&self) -> SigningKey {
        SigningKey::from_pkcs8(self.alg, pem::parse(&self.pkcs8).unwrap().contents()).unwrap()
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

impl From<Result<(), Rejection>> for Answer {
    fn from(verdict: Result<(), Rejection>) -> Self {
        match verdict {
            Ok(()) => Self { verdict: "accepted".to_owned(), check: None, status: 200 },
            Err(rejection) => Self {
                verdict: rejection.code().to_owned(),
                check: Some(check(&rejection)),
                status: rejection.outside().status(),
            },
        }
    }
}

/// The number of the check that gives this reason.
fn check(rejection: &Rejection) -> u8 {
    use Rejection as R;
    match rejection {
        R::Malformed(_) => 1,
        R::BadHeader(_) | R::UnknownAlg { .. } => 2,
        R::NoKeys | R::UnknownKid { .. } | R::WrongAlg { .. } => 3,
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

pub(super) fn file() -> File {
    serde_json::from_str(FILE).unwrap()
}
