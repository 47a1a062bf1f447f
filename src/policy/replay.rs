//! What a policy would have answered to requests that were really made.
//!
//! The audit event of a mint, and that of a refusal, says what was asked beside what was granted; a
//! request that is too long for any token is not on record. What is replayed are the requests of
//! the clients that have the policy now.

use serde::Serialize;

use super::{Approved, Denial, Outcome, Policy};
use crate::caller::Caller;
use crate::mint::request::MintRequest;

/// Most examples of one kind.
const MOST_EXAMPLES: usize = 5;

/// A request that was made.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Who asked.
    pub caller: Caller,
    /// For what.
    pub request: MintRequest,
    /// The `X-Request-Id` of its answer.
    pub request_id: String,
}

/// What comes out differently under another policy.
#[derive(Debug, Default)]
pub struct Replay {
    /// How many requests come out as before.
    pub unchanged: usize,
    /// The others, by kind; a kind that there is not is not listed.
    pub changes: Vec<Changes>,
}

/// Requests that come out differently in the same way.
#[derive(Debug)]
pub struct Changes {
    /// The way in which they differ.
    pub kind: Kind,
    /// How many.
    pub count: usize,
    /// Some of them, in the order they were given, no two of one client that ask the same.
    pub examples: Vec<Example>,
}

/// A request that comes out differently.
#[derive(Debug)]
pub struct Example {
    /// The request.
    pub asked: Asked,
    /// What it comes to under the old policy.
    pub was: Outcome,
    /// What it comes to under the new one.
    pub is: Outcome,
}

/// How an outcome differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Was refused.
    Granted,
    /// Was granted.
    Refused,
    /// Granted as before, and the token says something else.
    AnotherToken,
    /// Refused as before, for another reason.
    AnotherRefusal,
}

/// Judges each request under both policies. `judge` is the judgement that mints use.
pub fn replay(
    requests: impl IntoIterator<Item = Asked>,
    old: &Policy,
    new: &Policy,
    judge: impl Fn(&Caller, &MintRequest, &Policy) -> Result<Approved, Denial>,
) -> Replay {
    let mut replay = Replay::default();
    for asked in requests {
        let outcome = |policy| Outcome::from(judge(&asked.caller, &asked.request, policy));
        let (was, is) = (outcome(old), outcome(new));
        let kind = match (&was, &is) {
            _ if was == is => {
                replay.unchanged += 1;
                continue;
            }
            (Outcome::Refused(_), Outcome::Granted(_)) => Kind::Granted,
            (Outcome::Granted(_), Outcome::Refused(_)) => Kind::Refused,
            (Outcome::Granted(_), Outcome::Granted(_)) => Kind::AnotherToken,
            (Outcome::Refused(_), Outcome::Refused(_)) => Kind::AnotherRefusal,
        };
        replay.count(kind, Example { asked, was, is });
    }
    replay
}

impl Replay {
    fn count(&mut self, kind: Kind, example: Example) {
        let known = self.changes.iter().position(|changes| changes.kind == kind);
        let at = known.unwrap_or_else(|| {
            self.changes.push(Changes { kind, count: 0, examples: Vec::new() });
            self.changes.len() - 1
        });
        let Changes { count, examples, .. } = &mut self.changes[at];
        *count += 1;
        let same = |other: &Example| {
            other.asked.caller.client == example.asked.caller.client
                && other.asked.request == example.asked.request
        };
        if examples.len() < MOST_EXAMPLES && !examples.iter().any(same) {
            examples.push(example);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::judge;
    use scrip_token::QualifiedName;
    use serde_json::{Value, json};
    use std::borrow::Cow;

    fn policy(members: &Value) -> Policy {
        let mut policy = json!({
            "name": "acme/billing", "audiences": ["gw"], "scopes": ["llm:chat"], "env": "prod",
        });
        for (member, value) in members.as_object().unwrap() {
            policy[member] = value.clone();
        }
        Policy::from_json(policy.to_string().as_bytes()).unwrap()
    }

    fn asked(at_ms: i64, form: &str) -> Asked {
        let grant = (Cow::from("grant_type"), Cow::from("client_credentials"));
        let form = form_urlencoded::parse(form.as_bytes()).chain([grant]);
        Asked {
            at_ms,
            caller: Caller {
                client: QualifiedName::parse("acme/billing").unwrap(),
                cred: "vault:3.1795000000".into(),
                address: "10.20.30.7".parse().unwrap(),
            },
            request: MintRequest::parse(form).unwrap(),
            request_id: at_ms.to_string(),
        }
    }

    #[test]
    fn each_change_has_a_kind_and_examples_that_differ() {
        let old = policy(&json!({"ttl": {"default": 300, "max": 600}, "budget": {"tokens": 50}}));
        let new = policy(&json!({
            "scopes": ["llm:chat", "llm:embed"], "ttl": {"default": 300, "max": 300},
            "budget": {"tokens": 40},
        }));
        let mut requests = vec![
            asked(1, "scope=llm:chat&budget_tokens=5"),
            asked(2, "scope=llm:embed&budget_tokens=5"),
            asked(3, "scope=llm:chat"),
            asked(4, "budget_tokens=60"),
            asked(5, "scope=tool:a"),
        ];
        requests.extend((10..20).map(|n| asked(n, "ttl=600&budget_tokens=1")));
        requests.extend((20..30).map(|n| asked(n, &format!("ttl=600&budget_tokens={n}"))));
        let replay = replay(requests, &old, &new, |caller, request, policy| {
            judge(caller, request, policy, "https://sts.example")
        });
        assert_eq!(replay.unchanged, 2);
        let found: Vec<_> = replay
            .changes
            .iter()
            .map(|changes| {
                let examples = changes.examples.iter().map(|example| example.asked.at_ms);
                (changes.kind, changes.count, examples.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(
            found,
            [
                (Kind::Granted, 1, vec![2]),
                (Kind::AnotherToken, 1, vec![3]),
                (Kind::AnotherRefusal, 1, vec![4]),
                (Kind::Refused, 20, vec![10, 20, 21, 22, 23]),
            ]
        );
        let token = &replay.changes[1].examples[0];
        let outcome = |outcome: &Outcome| json!(outcome)["granted"]["budget"]["tokens"].clone();
        assert_eq!((outcome(&token.was), outcome(&token.is)), (json!(50), json!(40)));
        let refused = json!(replay.changes[3].examples[0].is);
        assert_eq!(refused["refused"]["error"], "invalid_authorization_details");
    }
}
