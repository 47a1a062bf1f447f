//! The claims of a Scrip token, RFC 9068 profile.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::json::{self, JsonError, present};
use crate::jti::Jti;
use crate::limits::{
    MAX_ACTORS, MAX_CIDRS, MAX_INTEGER, MAX_LINEAGE, MAX_MODELS, MAX_SUBJECT_BYTES,
};
use crate::model::ModelPattern;
use crate::name::{QualifiedName, Scopes, is_label};

/// Version of the table of claims, the `ver` claim. A verifier refuses any other, so that a
/// constraint added later can never be ignored.
pub const VERSION: u64 = 1;

/// What a token says. Times are integer seconds since the epoch (RFC 7519 `NumericDate`).
///
/// Members without a value are absent from the JSON. Unknown claims are ignored: a new constraint
/// comes with a new `ver`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer URL, byte-exact.
    pub iss: String,
    /// On whose behalf: `client:<tenant>/<client>`, or the principal of a federated workload.
    pub sub: String,
    /// Exactly one gateway group.
    pub aud: String,
    /// Who authenticated at the token endpoint (RFC 8693 section 4.3).
    pub client_id: QualifiedName,
    /// Issued at.
    pub iat: u64,
    /// Not before: equal to `iat`.
    pub nbf: u64,
    /// Expires at.
    pub exp: u64,
    /// The token's id; its time is `iat`.
    pub jti: Jti,
    /// [`VERSION`].
    pub ver: u64,
    /// What it may do.
    pub scope: Scopes,
    /// Models it may use. Missing or empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelPattern>,
    /// LLM-token budget. Absent: not limited by this token.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Networks it may be used from. Absent: any address; empty: none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cidrs: Option<Vec<Cidr>>,
    /// Isolation bubble.
    pub tenant: String,
    /// Environment, such as `prod`; the verifier compares it with its own.
    pub env: String,
    /// Ancestors of a delegated token, root first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lin: Vec<Jti>,
    /// Who acts for `sub` (RFC 8693 section 4.1).
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// Sender constraint (RFC 7800). Present: the proof is mandatory.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// Which version of the master credential it was traded for: `<source>:<version>.<created>`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cred: Option<String>,
}

/// Limits on LLM tokens and requests. Absent members do not limit; `{}` is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// LLM tokens in all, over the life of the token.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tokens: Option<NonZeroU64>,
    /// Most LLM tokens for one request.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub request_tokens: Option<NonZeroU64>,
    /// Requests in all, over the life of the token.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub requests: Option<NonZeroU64>,
}

impl Budget {
    /// Whether no member limits anything; such a budget is written as no budget.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// The limits that it has.
    pub fn amounts(&self) -> impl Iterator<Item = u64> {
        [self.tokens, self.request_tokens, self.requests].into_iter().flatten().map(NonZeroU64::get)
    }
}

/// The actor of a delegated token. Only the outermost decides anything; nested ones are history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Who acts.
    pub sub: String,
    /// Who acted before.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

impl Actor {
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |actor| actor.act.as_deref())
    }
}

/// The key that the sender must prove to hold: a base64url SHA-256 thumbprint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Confirmation {
    /// Thumbprint of a DPoP key (RFC 9449 section 6.1).
    #[serde(rename = "jkt")]
    Jkt(String),
    /// Thumbprint of a client certificate (RFC 8705 section 3.1).
    #[serde(rename = "x5t#S256")]
    X5tS256(String),
}

/// Why claims were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not JSON, ambiguous, a claim missing or of the wrong type.
    #[error("claims: {0}")]
    Json(#[from] JsonError),
    /// A `ver` that this build does not know.
    #[error("claims: version {0} is not known")]
    Version(u64),
    /// A claim is outside its bounds.
    #[error("claims: `{claim}` {rule}")]
    Bounds {
        /// Which claim.
        claim: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

impl Claims {
    /// Reads the claims of a token and checks everything about them that needs no context.
    ///
    /// # Errors
    /// [`ClaimsError`]; the version is judged before the other claims.
    pub fn parse(payload: &[u8]) -> Result<Self, ClaimsError> {
        let claims: Self = match json::read(payload) {
            Ok(claims) => claims,
            Err(error) => {
                return Err(match json::read(payload) {
                    Ok(Version { ver }) if ver != VERSION => ClaimsError::Version(ver),
                    _ => ClaimsError::Json(error),
                });
            }
        };
        if claims.ver != VERSION {
            return Err(ClaimsError::Version(claims.ver));
        }
        claims.check()?;
        Ok(claims)
    }

    /// Checks the bounds of every claim; used before signing and after reading.
    ///
    /// # Errors
    /// [`ClaimsError::Bounds`] naming the claim and its rule.
    pub fn check(&self) -> Result<(), ClaimsError> {
        let rule = |holds: bool, claim, rule| {
            if holds { Ok(()) } else { Err(ClaimsError::Bounds { claim, rule }) }
        };
        let date = |seconds: u64| seconds < MAX_INTEGER;
        let text = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let thumbprint = |text: &str| text.len() == 43 && crate::compact::is_base64url(text);

        rule(text(&self.iss, 512), "iss", "is 1 to 512 printable ASCII characters")?;
        rule(text(&self.sub, MAX_SUBJECT_BYTES), "sub", "is 1 to 160 printable ASCII characters")?;
        rule(text(&self.aud, 256), "aud", "is 1 to 256 printable ASCII characters")?;
        rule(date(self.iat), "iat", "is an integer below 2^53")?;
        rule(date(self.exp), "exp", "is an integer below 2^53")?;
        rule(self.nbf == self.iat, "nbf", "equals `iat`")?;
        rule(self.exp > self.iat, "exp", "is later than `iat`")?;
        rule(self.jti.seconds() == self.iat, "jti", "carries the time of `iat`")?;
        rule(self.models.len() <= MAX_MODELS, "models", "has at most 64 patterns")?;
        rule(is_label(&self.tenant), "tenant", "matches [a-z0-9][a-z0-9-]{0,62}")?;
        rule(is_label(&self.env), "env", "matches [a-z0-9][a-z0-9-]{0,62}")?;
        rule(self.lin.len() <= MAX_LINEAGE, "lin", "has at most 4 ancestors")?;
        if let Some(budget) = &self.budget {
            rule(!budget.is_unlimited(), "budget", "has at least one member")?;
            rule(budget.amounts().all(|n| n < MAX_INTEGER), "budget", "has integers below 2^53")?;
        }
        if let Some(cidrs) = &self.cidrs {
            rule(cidrs.len() <= MAX_CIDRS, "cidrs", "has at most 32 networks")?;
        }
        if let Some(actor) = &self.act {
            rule(actor.chain().count() <= MAX_ACTORS, "act", "is at most 4 deep")?;
            let named = actor.chain().all(|actor| text(&actor.sub, MAX_SUBJECT_BYTES));
            rule(named, "act", "names each actor in 1 to 160 printable ASCII characters")?;
        }
        if let Some(Confirmation::Jkt(print) | Confirmation::X5tS256(print)) = &self.cnf {
            rule(thumbprint(print), "cnf", "is a base64url SHA-256 thumbprint")?;
        }
        if let Some(cred) = &self.cred {
            rule(text(cred, 128), "cred", "is 1 to 128 printable ASCII characters")?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Version {
    ver: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn valid() -> Value {
        json!({
            "iss": "https://sts.example", "sub": "client:acme/billing", "aud": "llm-gateway",
            "client_id": "acme/billing", "iat": 1_795_000_000, "nbf": 1_795_000_000,
            "exp": 1_795_000_300, "jti": Jti::new(1_795_000_000_123, [9; 10]).to_string(),
            "ver": 1, "scope": "llm:chat", "models": ["gpt-4o-mini"], "tenant": "acme",
            "budget": {"tokens": 5000}, "cidrs": ["10.20.0.0/16"], "env": "prod",
        })
    }

    fn parse(value: &Value) -> Result<Claims, ClaimsError> {
        Claims::parse(value.to_string().as_bytes())
    }

    fn with(claim: &str, value: Value) -> Result<Claims, ClaimsError> {
        let mut claims = valid();
        claims[claim] = value;
        parse(&claims)
    }

    fn without(claim: &str) -> Result<Claims, ClaimsError> {
        let mut claims = valid();
        claims.as_object_mut().unwrap().remove(claim);
        parse(&claims)
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let claims = parse(&valid()).unwrap();
        assert_eq!(serde_json::to_value(&claims).unwrap(), valid());
    }

    #[test]
    fn required_claims_are_required_and_the_others_are_not() {
        for claim in [
            "iss",
            "sub",
            "aud",
            "client_id",
            "iat",
            "nbf",
            "exp",
            "jti",
            "ver",
            "scope",
            "tenant",
            "env",
        ] {
            assert!(without(claim).is_err(), "{claim}");
        }
        for claim in ["models", "budget", "cidrs"] {
            assert!(without(claim).is_ok(), "{claim}");
        }
        assert!(with("later", json!({"any": "thing"})).is_ok());
    }

    #[test]
    fn n20_n21_dates_are_integers_below_2_53() {
        for claim in ["exp", "nbf", "iat"] {
            for odd in [
                json!("1795000300"),
                json!(1.5),
                json!(1e19),
                json!(-1),
                json!(0),
                Value::Null,
                json!(true),
                json!([]),
                json!({}),
                json!(1_u64 << 53),
                json!(1_u64 << 63),
                json!(u64::MAX),
                json!(1_795_000_300.0),
            ] {
                assert!(with(claim, odd.clone()).is_err(), "{claim} {odd}");
            }
        }
        let text = valid().to_string().replace("1795000300", "1e400");
        assert!(Claims::parse(text.as_bytes()).is_err());
        assert!(with("exp", json!(1_795_000_000)).is_err());
    }

    #[test]
    fn n24_n25_n26_texts_are_bounded_single_strings() {
        for claim in ["iss", "aud", "sub", "jti"] {
            for odd in [Value::Null, json!(7), json!({}), json!([]), json!(["x", 1]), json!("")] {
                assert!(with(claim, odd.clone()).is_err(), "{claim} {odd}");
            }
        }
        assert!(with("sub", json!("s".repeat(161))).is_err());
        assert!(with("sub", json!("client:acme/\u{202e}")).is_err());
        let other = Jti::new(1_795_000_001_000, [9; 10]).to_string();
        assert!(with("jti", json!(other)).is_err());
    }

    #[test]
    fn n28_no_models_and_an_empty_list_are_the_same() {
        assert_eq!(with("models", json!([])).unwrap(), without("models").unwrap());
        assert!(with("models", Value::Null).is_err());
        assert!(with("models", json!(vec!["m"; 65])).is_err());
    }

    #[test]
    fn n29_budget_members_are_positive_integers() {
        for odd in [
            json!({}),
            Value::Null,
            json!({"tokens": -1}),
            json!({"tokens": 0}),
            json!({"tokens": 1_u64 << 63}),
            json!({"tokens": 1.5}),
            json!({"tokens": "100"}),
            json!({"tokens": null}),
            json!({"dollars": 5}),
            json!({"tokens": 5, "x": 1}),
            json!([]),
        ] {
            assert!(with("budget", odd.clone()).is_err(), "{odd}");
        }
        assert_eq!(without("budget").unwrap().budget, None);
    }

    #[test]
    fn n30_cidrs_are_canonical_bounded_and_null_is_not_absent() {
        assert_eq!(with("cidrs", json!([])).unwrap().cidrs, Some(vec![]));
        for odd in [json!(["010.0.0.0/8"]), Value::Null, json!(vec!["10.0.0.0/8"; 33])] {
            assert!(with("cidrs", odd.clone()).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_unknown_version_is_told_from_broken_claims() {
        assert_eq!(with("ver", json!(2)), Err(ClaimsError::Version(2)));
        let mut future = valid();
        future["ver"] = json!(2);
        future["scope"] = json!(["llm:chat"]);
        assert_eq!(parse(&future), Err(ClaimsError::Version(2)));
        assert!(matches!(with("ver", json!("1")), Err(ClaimsError::Json(_))));
        assert!(matches!(with("scope", json!(["llm:chat"])), Err(ClaimsError::Json(_))));
    }

    #[test]
    fn confirmation_has_exactly_one_known_member() {
        let print = "A".repeat(43);
        assert!(with("cnf", json!({"jkt": print})).is_ok());
        assert!(with("cnf", json!({"x5t#S256": print})).is_ok());
        for odd in [
            json!({}),
            json!({"jkt": print, "x5t#S256": print}),
            json!({"kid": "k"}),
            json!({"jkt": "short"}),
            Value::Null,
            json!("jkt"),
        ] {
            assert!(with("cnf", odd.clone()).is_err(), "{odd}");
        }
    }

    #[test]
    fn n52_actors_and_lineage_are_bounded() {
        let nest =
            |n: usize| (0..n).fold(json!({"sub": "a"}), |act, _| json!({"sub": "a", "act": act}));
        assert!(with("act", nest(3)).is_ok());
        assert!(with("act", nest(4)).is_err());
        assert!(with("act", nest(50)).is_err());
        let ancestor = Jti::new(1_794_999_999_000, [1; 10]).to_string();
        assert!(with("lin", json!(vec![ancestor.clone(); 4])).is_ok());
        assert!(with("lin", json!(vec![ancestor; 5])).is_err());
    }
}
