//! What a gateway knows about one request, and whether a token permits it.

use std::net::IpAddr;

use scrip_token::claims::{Claims, Confirmation};
use scrip_token::model::ModelPattern;

use crate::rejection::{Rejection, excerpt};

/// One request. Every part has to be written down: what is not known is said to be unknown, and
/// refused wherever the token limits it.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'t> {
    /// The token's bytes, without `Bearer`.
    pub token: &'t [u8],
    /// Seconds since the epoch.
    pub now: u64,
    /// Where the request comes from.
    pub address: Address,
    /// What is asked for.
    pub asked: Asked<'t>,
    /// Which key the sender has proved to hold.
    pub proof: Proof<'t>,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// This address. IPv4-mapped IPv6 counts as the IPv4 address in it.
    Known(IpAddr, Derived),
    /// There is none, as on a Unix socket: refused for a token with `cidrs`.
    Unknown,
}

/// How an address was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived {
    /// It is the peer of the connection.
    Peer,
    /// A proxy that the operator trusts has named it (`X-Forwarded-For`, `PROXY`).
    Forwarded,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'t> {
    /// The one scope that the request needs.
    pub scope: &'t str,
    /// The model that it names.
    pub model: Model<'t>,
    /// The most LLM tokens that it can cost.
    pub size: Size,
}

/// The model of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model<'t> {
    /// This one, to the byte.
    Named(&'t str),
    /// The request names no model: refused for a token with `models`.
    None,
}

/// How many LLM tokens a request can cost: its input and the limit of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// At most so many.
    Known(u64),
    /// Nobody can say: refused for a token with `budget.request_tokens`.
    Unknown,
}

/// Which key the sender has proved to hold. The caller establishes the proof; a verifier compares
/// base64url SHA-256 thumbprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof<'t> {
    /// None: refused for a token with `cnf`.
    None,
    /// The key of a valid DPoP proof (RFC 9449 section 6.1).
    DpopKey(&'t str),
    /// The client certificate of the TLS connection (RFC 8705 section 3.1).
    Certificate(&'t str),
}

impl Presented<'_> {
    /// Checks 9 to 12.
    pub(crate) fn permitted_by(&self, claims: &Claims) -> Result<(), Rejection> {
        self.proof.meets(claims.cnf.as_ref())?;
        self.address.lies_within(claims)?;
        if !claims.scope.contains(self.asked.scope) {
            return Err(Rejection::InsufficientScope { asked: excerpt(self.asked.scope) });
        }
        self.asked.model.is_among(&claims.models)?;
        self.asked.size.fits(claims)
    }
}

impl Proof<'_> {
    fn meets(&self, cnf: Option<&Confirmation>) -> Result<(), Rejection> {
        match (cnf, self) {
            (None, _) => Ok(()),
            (Some(_), Self::None) => Err(Rejection::ProofMissing),
            (Some(Confirmation::Jkt(bound)), Self::DpopKey(shown))
            | (Some(Confirmation::X5tS256(bound)), Self::Certificate(shown))
                if bound == shown =>
            {
                Ok(())
            }
            (Some(_), Self::DpopKey(shown) | Self::Certificate(shown)) => {
                Err(Rejection::WrongProof { shown: excerpt(shown) })
            }
        }
    }
}

impl Address {
    fn lies_within(self, claims: &Claims) -> Result<(), Rejection> {
        let Some(cidrs) = &claims.cidrs else { return Ok(()) };
        match self {
            Self::Unknown => Err(Rejection::AddressUnknown),
            Self::Known(address, _) if cidrs.iter().any(|cidr| cidr.contains(address)) => Ok(()),
            Self::Known(address, derived) => Err(Rejection::WrongAddress { address, derived }),
        }
    }
}

impl Model<'_> {
    fn is_among(&self, models: &[ModelPattern]) -> Result<(), Rejection> {
        match self {
            Self::None if models.is_empty() => Ok(()),
            Self::None => Err(Rejection::ModelUnnamed),
            Self::Named(name) => {
                if models.iter().any(|pattern| pattern.allows(name)) {
                    Ok(())
                } else {
                    Err(Rejection::WrongModel { asked: excerpt(name) })
                }
            }
        }
    }
}

impl Size {
    /// The limit of one request. Totals over the life of the token belong to a ledger.
    fn fits(self, claims: &Claims) -> Result<(), Rejection> {
        let Some(most) = claims.budget.and_then(|budget| budget.request_tokens) else {
            return Ok(());
        };
        match self {
            Self::Unknown => Err(Rejection::SizeUnknown { most: most.get() }),
            Self::Known(asked) if asked <= most.get() => Ok(()),
            Self::Known(asked) => Err(Rejection::TooLarge { asked, most: most.get() }),
        }
    }
}
