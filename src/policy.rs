//! What a client may obtain: pure judgement of a request under a policy.
//!
//! A [`Policy`] is read from a file or from the API and is checked whole before it exists;
//! [`judge()`] holds a request against it, and [`Approved::charge`] what was approved against prices.

mod beyond;
mod charge;
mod denial;
mod difference;
mod judge;
mod outcome;
#[cfg(test)]
mod properties;
mod read;
mod replay;
mod rotate;
mod rules;
mod scope;
mod whole;

use std::net::IpAddr;

use scrip_token::json::present;
use scrip_token::{Budget, Cidr, ModelPattern, QualifiedName};
use serde::{Deserialize, Serialize};

pub use beyond::Beyond;
pub use charge::Charge;
pub use denial::Denial;
pub use difference::{Difference, Effect, differences};
pub use judge::{Approved, judge};
pub use outcome::{Granted, Outcome, Refused};
pub use read::{MAX_POLICY_BYTES, PolicyError};
pub use replay::{Asked, Changes, Example, Kind, Replay, replay};
pub use rotate::Rotate;
pub use rules::{OPERATOR_ENV, SELF_AUDIENCE};
pub use scope::{OPERATOR_SCOPES, ScopeGrant};

use crate::escrow::Quota;
use crate::rates::Rate;
use crate::strict::{budget, object, object_if_present};
use scrip_token::limits::{DEFAULT_LIFETIME, MAX_LIFETIME};

/// A policy that keeps every rule. Serializes as the JSON that [`Policy::from_json`] reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Policy(Terms);

impl Policy {
    /// Its name, `<tenant>/<name>`.
    #[must_use]
    pub fn name(&self) -> &QualifiedName {
        &self.0.name
    }

    /// Whether it grants this scope. The `scrip:` scopes are granted by their exact names alone.
    #[must_use]
    pub fn grants(&self, scope: &str) -> bool {
        self.0.scopes.iter().any(|grant| grant.covers(scope))
    }

    /// The one tenant that its `scrip:` scopes hold for; `None`: all of them.
    #[must_use]
    pub fn admin_tenant(&self) -> Option<&str> {
        self.0.admin_tenant.as_deref()
    }

    /// What it grants, as written.
    #[must_use]
    pub fn scopes(&self) -> &[ScopeGrant] {
        &self.0.scopes
    }

    /// Whether a client may ask from `address`, and could use its token there.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        [&self.0.mint_from, &self.0.cidrs]
            .into_iter()
            .flatten()
            .all(|networks| networks.iter().any(|network| network.contains(address)))
    }

    /// How often a client may mint.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.0.rate
    }

    /// How much its clients' tokens may use together.
    #[must_use]
    pub fn quota(&self) -> Option<&Quota> {
        self.0.quota.as_ref()
    }

    /// The audiences that its verifiers and ledgers serve; empty unless it grants `scrip:feed` or
    /// `scrip:usage`.
    #[must_use]
    pub fn serves(&self) -> &[String] {
        &self.0.serves
    }

    /// How long a client's secret may be in use, where that is limited.
    #[must_use]
    pub fn rotate(&self) -> Option<Rotate> {
        self.0.rotate
    }
}

/// The members of a policy, of the right types and nothing more; [`rules::check`] does the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    name: QualifiedName,
    audiences: Vec<String>,
    scopes: Vec<ScopeGrant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    models: Vec<ModelPattern>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    cidrs: Option<Vec<Cidr>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    mint_from: Option<Vec<Cidr>>,
    /// The token's `cidrs` are the address that asked for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bind_to_caller: bool,
    env: String,
    #[serde(default, deserialize_with = "object")]
    ttl: Ttl,
    #[serde(default, deserialize_with = "budget", skip_serializing_if = "Budget::is_unlimited")]
    budget: Budget,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    serves: Vec<String>,
    #[serde(
        default,
        deserialize_with = "object_if_present",
        skip_serializing_if = "Option::is_none"
    )]
    rotate: Option<Rotate>,
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Defaults::is_empty")]
    defaults: Defaults,
    #[serde(
        default,
        deserialize_with = "object_if_present",
        skip_serializing_if = "Option::is_none"
    )]
    quota: Option<Quota>,
    #[serde(
        default,
        deserialize_with = "object_if_present",
        skip_serializing_if = "Option::is_none"
    )]
    rate: Option<Rate>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    admin_tenant: Option<String>,
}

/// Life of a token in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ttl {
    default: u64,
    max: u64,
}

impl Default for Ttl {
    fn default() -> Self {
        Self { default: DEFAULT_LIFETIME, max: MAX_LIFETIME }
    }
}

/// What an omitted parameter gets. An absent member: the grant's exact values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<ScopeGrant>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    models: Option<Vec<ModelPattern>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    cidrs: Option<Vec<Cidr>>,
    #[serde(default, deserialize_with = "budget", skip_serializing_if = "Budget::is_unlimited")]
    budget: Budget,
}

impl Defaults {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
