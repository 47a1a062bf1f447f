//! Why a request was not approved.

use std::net::IpAddr;

use scrip_token::limits::{MAX_MINTED_BYTES, MIN_LIFETIME};
use scrip_token::{Cidr, ModelPattern};

use crate::mint::request::echo;
use crate::prices::{Money, Unpriced};

/// What a policy does not grant. Its text is an `error_description` (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The policy belongs to another tenant than the client.
    #[error("the policy of this client belongs to another tenant")]
    ForeignPolicy,
    /// Asked from outside the policy's `mint_from`.
    #[error("this client may not ask from {address}")]
    MintFrom {
        /// Where the request came from.
        address: IpAddr,
    },
    /// An audience that the policy does not name.
    #[error("audience{} is not granted", echo(.asked))]
    Audience {
        /// The one that was asked for.
        asked: String,
    },
    /// No audience was asked for, and the policy names several.
    #[error("audience is required: the policy grants several")]
    NoAudience,
    /// A scope that the policy does not grant.
    #[error("scope `{scope}` is not granted")]
    Scope {
        /// The first such scope.
        scope: String,
    },
    /// No scope was asked for, and the policy has neither defaults nor exact scopes.
    #[error("scope is required: the policy grants patterns only")]
    NoScope,
    /// A model or pattern that no pattern of the policy covers.
    #[error("model `{model}` is not granted", model = .model.as_str())]
    Model {
        /// The first such pattern.
        model: ModelPattern,
    },
    /// No models were asked for, and the policy has neither defaults nor exact models.
    #[error("models is required: the policy grants patterns only")]
    NoModels,
    /// A budget above the policy's.
    #[error("budget {member} {asked} is above the {most} that the policy grants")]
    Budget {
        /// The member of the budget.
        member: &'static str,
        /// Asked for.
        asked: u64,
        /// Granted at most.
        most: u64,
    },
    /// No budget of tokens was asked for, and the policy, which has a quota, has none to give.
    #[error("a budget of tokens is required: the policy has a quota")]
    NoBudget,
    /// A network that does not lie inside the policy's.
    #[error("network {cidr} does not lie inside those that the policy grants")]
    Cidr {
        /// The first such network.
        cidr: Cidr,
    },
    /// The policy binds tokens to their caller, and the networks asked for are elsewhere.
    #[error("the token is bound to {here}, which lies outside the networks asked for")]
    Bound {
        /// Where the request came from.
        here: Cidr,
    },
    /// A lifetime that the policy, or no token, can have. In seconds.
    #[error("ttl {asked} is outside {MIN_LIFETIME} to {most} seconds")]
    Ttl {
        /// Asked for.
        asked: u64,
        /// Granted at most.
        most: u64,
    },
    /// All is granted, but the token would be longer than any may be.
    #[error("the token would be {} bytes longer than the {MAX_MINTED_BYTES} allowed", .bytes.saturating_sub(MAX_MINTED_BYTES))]
    TooLong {
        /// How long it would be.
        bytes: usize,
    },
    /// The token may cost more than there is in any window.
    #[error("the token would take {asked} {currency}, above the {most} of the quota")]
    TooDear {
        /// What it may cost.
        asked: Money,
        /// All that there is.
        most: Money,
        /// What both are in.
        currency: String,
    },
    /// Nobody knows what it may cost.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
}

impl Denial {
    /// The `error` of the reply: RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 9396 section 5.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ForeignPolicy | Self::MintFrom { .. } => "unauthorized_client",
            Self::Audience { .. } | Self::NoAudience => "invalid_target",
            Self::Scope { .. } | Self::NoScope => "invalid_scope",
            Self::Model { .. }
            | Self::NoModels
            | Self::Budget { .. }
            | Self::NoBudget
            | Self::Cidr { .. }
            | Self::Bound { .. }
            | Self::Ttl { .. }
            | Self::TooDear { .. }
            | Self::Unpriced(_) => "invalid_authorization_details",
            Self::TooLong { .. } => "invalid_request",
        }
    }
}
