//! The judgement itself. No clock, no I/O: all that decides is in the arguments.

use std::num::NonZeroU64;

use scrip_token::claims::VERSION;
use scrip_token::limits::{MAX_MINTED_BYTES, MIN_LIFETIME};
use scrip_token::{Budget, Cidr, Claims, Jti, ModelPattern, QualifiedName, Scopes};

use super::{Denial, Policy, SELF_AUDIENCE, ScopeGrant, Terms};
use crate::caller::Caller;
use crate::escrow::Quota;
use crate::mint::request::MintRequest;

/// Holds a request against a policy. What was asked for is granted whole or refused, never cut;
/// what was left out is the policy's default, else the grant's exact values.
///
/// # Errors
/// [`Denial`] with the first member that disagrees.
pub fn judge(
    caller: &Caller,
    request: &MintRequest,
    policy: &Policy,
    issuer: &str,
) -> Result<Approved, Denial> {
    let Policy(terms) = policy;
    if terms.name.tenant() != caller.client.tenant() {
        return Err(Denial::ForeignPolicy);
    }
    // A token that is bound to where it was asked for must be good there.
    let bound = terms.cidrs.as_ref().filter(|_| terms.bind_to_caller);
    let elsewhere = |networks: &Vec<Cidr>| !networks.iter().any(|n| n.contains(caller.address));
    if terms.mint_from.as_ref().is_some_and(elsewhere) || bound.is_some_and(elsewhere) {
        return Err(Denial::MintFrom { address: caller.address });
    }
    let aud = audience(request, terms, issuer)?;
    let scope = scopes(request, terms)?;
    let models = models(request, terms)?;
    let budget = budget(request, terms)?;
    let escrow = escrow(budget, terms)?;
    let cidrs = cidrs(caller, request, terms)?;
    let lifetime = lifetime(request, terms)?;

    let approved = Approved {
        lifetime,
        escrow,
        claims: Claims {
            iss: issuer.to_owned(),
            sub: format!("client:{}", caller.client),
            aud,
            client_id: caller.client.clone(),
            iat: WIDEST_TIME,
            nbf: WIDEST_TIME,
            exp: WIDEST_TIME,
            jti: Jti::new(0, [0; 10]),
            ver: VERSION,
            scope,
            models,
            budget: Some(budget).filter(|budget| !budget.is_unlimited()),
            cidrs,
            tenant: caller.client.tenant().to_owned(),
            env: terms.env.clone(),
            lin: Vec::new(),
            act: None,
            cnf: None,
            cred: Some(caller.cred.clone()),
        },
    };
    approved.fits(EC_SIGNATURE_BYTES)?;
    Ok(approved)
}

/// What a caller may have: everything that a token says except when and under which id. Only
/// [`judge()`] makes one, and turning it into claims uses it up.
#[derive(Debug)]
pub struct Approved {
    /// Complete but for `iat`, `nbf`, `exp` and `jti`, which stand at the width they will have, so
    /// that what [`Approved::fits`] measures is what is signed.
    claims: Claims,
    lifetime: u64,
    escrow: Option<(Quota, u64)>,
}

impl Approved {
    /// The claims of the token issued at `iat`, in seconds. The time of `jti` must be `iat`.
    #[must_use]
    pub fn into_claims(self, iat: u64, jti: Jti) -> Claims {
        Claims { iat, nbf: iat, exp: iat.saturating_add(self.lifetime), jti, ..self.claims }
    }

    /// Who asked.
    #[must_use]
    pub fn client(&self) -> &QualifiedName {
        &self.claims.client_id
    }

    /// On whose behalf it acts: the `sub` claim.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// Who accepts it: the `aud` claim, with `self` replaced by the issuer's URL.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.claims.aud
    }

    /// The models that it may be used with: the `models` claim.
    #[must_use]
    pub fn models(&self) -> &[ModelPattern] {
        &self.claims.models
    }

    /// Which version of the credential it is traded for.
    #[must_use]
    pub fn cred(&self) -> &str {
        self.claims.cred.as_deref().unwrap_or_default()
    }

    /// Life of the token, in seconds.
    #[must_use]
    pub fn lifetime(&self) -> u64 {
        self.lifetime
    }

    /// How many LLM tokens are to be moved from which quota into escrow; `None` where the policy has
    /// no quota.
    #[must_use]
    pub fn escrow(&self) -> Option<(&Quota, u64)> {
        self.escrow.as_ref().map(|(quota, tokens)| (quota, *tokens))
    }

    /// Checks the length of the token under a signature of so many bytes: 64 for ES256 and EdDSA
    /// (which [`judge()`] has checked), the modulus for RS256. To be asked before anything is
    /// recorded.
    ///
    /// # Errors
    /// [`Denial::TooLong`] above [`MAX_MINTED_BYTES`].
    pub fn fits(&self, signature_bytes: usize) -> Result<(), Denial> {
        let payload = serde_json::to_vec(&self.claims).map_or(usize::MAX, |json| json.len());
        let segments = [HEADER.len(), payload, signature_bytes];
        let bytes = segments.iter().map(|n| n.saturating_mul(4).div_ceil(3)).sum::<usize>() + 2;
        if bytes > MAX_MINTED_BYTES { Err(Denial::TooLong { bytes }) } else { Ok(()) }
    }
}

/// As many digits as a time has until the year 2286.
const WIDEST_TIME: u64 = 9_999_999_999;
/// An ES256 or Ed25519 signature (RFC 7518 section 3.4, RFC 8032 section 5.1.6).
const EC_SIGNATURE_BYTES: usize = 64;
/// A header of the length that every header has: all names of algorithms have five characters, a
/// `kid` has 43.
const HEADER: &str =
    r#"{"alg":"ES256","typ":"at+jwt","kid":"0000000000000000000000000000000000000000000"}"#;

fn audience(request: &MintRequest, terms: &Terms, issuer: &str) -> Result<String, Denial> {
    let resolve = |name: &str| (if name == SELF_AUDIENCE { issuer } else { name }).to_owned();
    match (&request.audience, terms.audiences.as_slice()) {
        (Some(asked), granted) => {
            let asked = resolve(asked);
            if granted.iter().any(|name| resolve(name) == asked) {
                return Ok(asked);
            }
            Err(Denial::Audience { asked })
        }
        (None, [only]) => Ok(resolve(only)),
        (None, _) => Err(Denial::NoAudience),
    }
}

fn scopes(request: &MintRequest, terms: &Terms) -> Result<Scopes, Denial> {
    if let Some(asked) = &request.scope {
        let granted = |scope: &&str| terms.scopes.iter().any(|grant| grant.covers(scope));
        return match asked.iter().find(|scope| !granted(scope)) {
            Some(scope) => Err(Denial::Scope { scope: scope.to_owned() }),
            None => Ok(asked.clone()),
        };
    }
    let scopes = terms.defaults.scopes.as_ref().unwrap_or(&terms.scopes);
    let exact: Vec<&str> =
        scopes.iter().filter(|grant| grant.is_exact()).map(ScopeGrant::as_str).collect();
    Scopes::parse(&exact.join(" ")).map_err(|_| Denial::NoScope)
}

fn models(request: &MintRequest, terms: &Terms) -> Result<Vec<ModelPattern>, Denial> {
    if let Some(asked) = &request.models {
        let granted = |model: &&ModelPattern| terms.models.iter().any(|grant| grant.covers(model));
        return match asked.iter().find(|model| !granted(model)) {
            Some(model) => Err(Denial::Model { model: model.clone() }),
            None => Ok(asked.clone()),
        };
    }
    if let Some(models) = &terms.defaults.models {
        return Ok(models.clone());
    }
    let exact: Vec<_> = terms.models.iter().filter(|model| model.is_exact()).cloned().collect();
    if exact.is_empty() && !terms.models.is_empty() {
        return Err(Denial::NoModels);
    }
    Ok(exact)
}

fn budget(request: &MintRequest, terms: &Terms) -> Result<Budget, Denial> {
    let asked = request.budget;
    let most = terms.budget;
    let default = terms.defaults.budget;
    Ok(Budget {
        tokens: amount("tokens", asked.tokens, default.tokens, most.tokens)?,
        request_tokens: amount(
            "request_tokens",
            asked.request_tokens,
            default.request_tokens,
            most.request_tokens,
        )?,
        requests: amount("requests", asked.requests, default.requests, most.requests)?,
    })
}

/// One member of the budget; `None` is no limit.
fn amount(
    member: &'static str,
    asked: Option<NonZeroU64>,
    default: Option<NonZeroU64>,
    most: Option<NonZeroU64>,
) -> Result<Option<NonZeroU64>, Denial> {
    match (asked, most) {
        (Some(asked), Some(most)) if asked > most => {
            Err(Denial::Budget { member, asked: asked.get(), most: most.get() })
        }
        _ => Ok(asked.or(default).or(most)),
    }
}

/// A policy with a quota needs a budget, which is what a token takes of the quota; more than all of
/// it would never be available.
fn escrow(budget: Budget, terms: &Terms) -> Result<Option<(Quota, u64)>, Denial> {
    let Some(quota) = &terms.quota else { return Ok(None) };
    let asked = budget.tokens.ok_or(Denial::NoBudget)?;
    if let Some(most) = quota.tokens.filter(|most| asked > *most) {
        let (asked, most) = (asked.get(), most.get());
        return Err(Denial::Budget { member: "tokens", asked, most });
    }
    Ok(Some((quota.clone(), asked.get())))
}

fn cidrs(
    caller: &Caller,
    request: &MintRequest,
    terms: &Terms,
) -> Result<Option<Vec<Cidr>>, Denial> {
    let granted = |cidr: &&Cidr| match &terms.cidrs {
        Some(grants) => grants.iter().any(|grant| grant.covers(cidr)),
        None => true,
    };
    let asked = request.cidrs.as_ref();
    if let Some(&cidr) = asked.and_then(|asked| asked.iter().find(|cidr| !granted(cidr))) {
        return Err(Denial::Cidr { cidr });
    }
    if !terms.bind_to_caller {
        return Ok(asked.or(terms.defaults.cidrs.as_ref()).or(terms.cidrs.as_ref()).cloned());
    }
    let here = Cidr::host(caller.address);
    if asked.is_some_and(|asked| !asked.iter().any(|cidr| cidr.covers(&here))) {
        return Err(Denial::Bound { here });
    }
    Ok(Some(vec![here]))
}

fn lifetime(request: &MintRequest, terms: &Terms) -> Result<u64, Denial> {
    let asked = request.ttl.unwrap_or(terms.ttl.default);
    if !(MIN_LIFETIME..=terms.ttl.max).contains(&asked) {
        return Err(Denial::Ttl { asked, most: terms.ttl.max });
    }
    Ok(asked)
}

#[cfg(test)]
mod tests;
