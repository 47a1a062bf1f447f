//! Scrip is a resource server of its own tokens: everything under `/v1/` takes one.

use std::net::IpAddr;
use std::time::Instant;

use axum::http::{HeaderMap, header};
use scrip_token::compact::{Compact, Header};
use scrip_token::jwk::KeySet;
use scrip_token::{Claims, Typ, VerifyingKey, limits};
use scrip_verify::{
    Address, Asked, DenySet, Derived, Information, Issuer, Model, Presented, Proof, Size, Trust,
    Verifier,
};

use super::{Caller, Operator, Pass, Unproved, authenticate_basic, policy_of};
use crate::app::App;
use crate::policy::OPERATOR_ENV;
use crate::receipts::Sighting;
use crate::store::{self, Reader, StoreError};
use crate::{clock, deny, signer};

/// How an operator may prove itself at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// With an access token, which is looked up over the connections of operators.
    Token,
    /// The same, over those of ledgers and upkeep.
    LedgersToken,
    /// With an access token, or with the credential of an `embedded` client whose policy grants
    /// the scope: following, revoking and replacing a key work while nothing can be minted. Either
    /// is checked over the connections that are kept for this.
    TokenOrSecret,
}

/// Proves an operator who may do what `scope` allows.
///
/// # Errors
/// [`Unproved`].
pub async fn operator(
    app: &App,
    headers: &HeaderMap,
    address: IpAddr,
    arrival: Instant,
    scope: &'static str,
    means: Means,
) -> Result<Operator, Unproved> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Unproved::Token("not exactly one Authorization header".into()));
    };
    let scheme = value.as_bytes().split(|b| *b == b' ').next().unwrap_or_default();
    if means == Means::TokenOrSecret && scheme.eq_ignore_ascii_case(b"basic") {
        return by_secret(app, headers, address, arrival, scope).await;
    }
    match value.as_bytes().split_at_checked(scheme.len() + 1) {
        Some((_, token)) if scheme.eq_ignore_ascii_case(b"bearer") => {
            let is_signed = is_ours(app, token, scope)?;
            // What names a key that is not here, anybody can make.
            let _place = if is_signed {
                None
            } else {
                Some(app.strangers.try_acquire().map_err(|_| Unproved::Crowded)?)
            };
            let session = match means {
                Means::TokenOrSecret if is_signed => app.store.read_reserved().await?,
                Means::LedgersToken if is_signed => app.store.read().await?,
                _ => app.store.read_for_operator().await?,
            };
            by_token(app, token, address, scope, session).await
        }
        _ => Err(Unproved::Token("not a bearer token".into())),
    }
}

/// Proves an operator who may do what either of the scopes allows.
///
/// # Errors
/// [`Unproved`]; the first scope is the one that is asked for.
pub async fn operator_with_either(
    app: &App,
    headers: &HeaderMap,
    address: IpAddr,
    arrival: Instant,
    [scope, other]: [&'static str; 2],
    means: Means,
) -> Result<Operator, Unproved> {
    match operator(app, headers, address, arrival, scope, means).await {
        Err(Unproved::Scope(scope)) => operator(app, headers, address, arrival, other, means)
            .await
            .map_err(|why| if let Unproved::Scope(_) = why { Unproved::Scope(scope) } else { why }),
        proved => proved,
    }
}

/// How far this machine's clock may be from the database's, by which tokens are judged.
const SLACK: u64 = 60;

/// Whether a key that is here has signed a token; if not, another replica's may have. Refuses whatever
/// is found wrong without the database: neither strangers nor those who hold a token for something
/// else, their own or a stolen one, take a connection from whoever has to revoke. All of it is judged
/// again, by the database's clock and keys.
fn is_ours(app: &App, token: &[u8], scope: &'static str) -> Result<bool, Unproved> {
    let refused = |why: &str| Unproved::Token(why.to_owned());
    let parts = Compact::parse(token, limits::MAX_TOKEN_BYTES).map_err(|_| refused("malformed"))?;
    let header =
        Header::parse(&parts.header, Typ::AccessToken).map_err(|_| refused("malformed"))?;
    let is_signed = app.signer.has_signed(&header.kid, parts.signing_input, &parts.signature);
    if is_signed == Some(false) {
        return Err(refused("not signed here"));
    }
    let claims = Claims::parse(&parts.payload).map_err(|_| refused("malformed"))?;
    if claims.aud != app.config.issuer || claims.env != OPERATOR_ENV {
        return Err(refused("not made for this API"));
    }
    if claims.exp + limits::LEEWAY + SLACK <= clock::now_seconds() {
        return Err(refused("expired"));
    }
    match is_signed {
        Some(_) if !claims.scope.contains(scope) => Err(Unproved::Scope(scope)),
        _ => Ok(is_signed.is_some()),
    }
}

async fn by_secret(
    app: &App,
    headers: &HeaderMap,
    address: IpAddr,
    arrival: Instant,
    scope: &'static str,
) -> Result<Operator, Unproved> {
    let proved = authenticate_basic(app, headers, address, arrival).await?;
    if !proved.policy.grants(scope) {
        return Err(Unproved::Scope(scope));
    }
    if !proved.embedded {
        return Err(Unproved::InVault(scope));
    }
    // A token would neither be minted for this address nor be taken from it.
    if !proved.policy.admits(address) {
        return Err(Unproved::Elsewhere);
    }
    app.sightings.note(Sighting::Use(proved.caller.client.clone()));
    let pass = Pass::by_secret(&proved.caller, scope);
    Ok(Operator::new(proved.caller, pass, &proved.policy))
}

async fn by_token(
    app: &App,
    token: &[u8],
    address: IpAddr,
    scope: &'static str,
    mut session: Reader,
) -> Result<Operator, Unproved> {
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    let keys = app.token_keys(&mut session, now).await?;
    let issuer = Issuer::new(app.config.issuer.clone(), keys, DenySet::default());
    // The list is asked below, in the database itself: there is no staleness to judge.
    let trust = Trust::one(&issuer, Information::Followed { as_of: now, silence: 0 });
    let asked = Asked { scope, model: Model::None, size: Size::Known(0) };
    let presented = Presented {
        token,
        now,
        address: Address::Known(address, Derived::Forwarded),
        asked,
        proof: Proof::None,
    };
    let verified = Verifier::new(&app.config.issuer, OPERATOR_ENV)
        .verify(&presented, &trust)
        .map_err(|rejection| match rejection {
            scrip_verify::Rejection::InsufficientScope { .. } => Unproved::Scope(scope),
            other => Unproved::Token(other.to_string()),
        })?;
    let claims = verified.claims();
    if deny::is_denied(&mut session, claims, verified.kid(), now).await? {
        return Err(Unproved::Token("revoked".into()));
    }
    let client = claims.client_id.clone();
    // The policy as it is now: a token from before it confined the client must not let the client
    // out. A policy that no longer grants the scope confines nobody, and therefore opens nothing.
    let policy = policy_of(&mut session, &client).await?;
    let policy = policy.filter(|policy| policy.grants(scope)).ok_or(Unproved::Scope(scope))?;
    let cred = claims.cred.clone().unwrap_or_default();
    let caller = Caller { client, cred, address };
    let pass = Pass::by_token(&caller, scope, &verified, now);
    Ok(Operator::new(caller, pass, &policy))
}

impl App {
    /// The keys whose tokens are accepted now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn token_keys(
        &self,
        session: &mut impl crate::store::Session,
        now: u64,
    ) -> Result<scrip_verify::Keys, StoreError> {
        let keys = signer::keys(session).await?;
        let published = signer::published_jwks(&keys, signer::Purpose::Token, now);
        let usable = published.filter_map(|jwk| Some((jwk.clone(), VerifyingKey::new(jwk).ok()?)));
        Ok(KeySet { keys: usable.collect(), odd: Vec::new() }.into())
    }
}
