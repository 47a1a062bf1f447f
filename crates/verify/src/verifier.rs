//! The twelve checks, in order.

use std::sync::Arc;

use arc_swap::Guard;
use scrip_token::claims::Claims;
use scrip_token::compact::{Compact, Header, Typ};
use scrip_token::limits::{LEEWAY, MAX_LIFETIME, MAX_TOKEN_BYTES};
use scrip_token::signature::Alg;

use crate::cache::{Cache, Held};
use crate::freshness::Freshness;
use crate::genuine::Genuine;
use crate::presented::Presented;
use crate::rejection::{Rejection, excerpt};
use crate::trust::{Published, Trust, Trusted};

/// What one gateway expects of every token. Built once.
#[derive(Debug, Clone)]
pub struct Verifier {
    audience: Box<str>,
    env: Box<str>,
    max_lifetime: u64,
    freshness: Freshness,
    cache: Arc<Cache>,
}

impl Verifier {
    /// A verifier for one audience (the `aud` claim, byte-exact) in one environment (`env`), with
    /// the longest lifetime of [`MAX_LIFETIME`], the default [`Freshness`] and a cache of 32,768
    /// tokens in at most 128 MiB.
    #[must_use]
    pub fn new(audience: &str, env: &str) -> Self {
        Self {
            audience: audience.into(),
            env: env.into(),
            max_lifetime: MAX_LIFETIME,
            freshness: Freshness::default(),
            cache: Arc::new(Cache::new(1 << 15, 1 << 27)),
        }
    }

    /// Refuses tokens that live longer than `seconds` from `iat` to `exp`. [`MAX_LIFETIME`] cannot
    /// be exceeded: deny entries are forgotten after it, so a longer life would outlive its
    /// revocation.
    #[must_use]
    pub fn max_lifetime(self, seconds: u64) -> Self {
        Self { max_lifetime: seconds.min(MAX_LIFETIME), ..self }
    }

    /// Sets how old the deny list may be.
    #[must_use]
    pub fn freshness(self, freshness: Freshness) -> Self {
        Self { freshness, ..self }
    }

    /// Remembers about so many tokens, each in at most `bytes / entries` of memory; larger ones are
    /// verified anew each time. Zero: none. The table of places is laid out when the first token
    /// is kept; clones of a verifier share it.
    ///
    /// A token that is found again is spared what cannot have changed, checks 1 to 6, and nothing
    /// else; whether its key still counts, and for the same issuer, is looked at again. With twice
    /// as many entries as there are live tokens hardly one is displaced.
    #[must_use]
    pub fn cache(self, entries: usize, bytes: usize) -> Self {
        Self { cache: Arc::new(Cache::new(entries, bytes)), ..self }
    }

    /// Who holds this token: checks 1 to 8. For introspection and logs; permits nothing by itself.
    ///
    /// `now` is in seconds since the epoch.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub fn authenticate(
        &self,
        token: &[u8],
        now: u64,
        trust: &Trust<'_>,
    ) -> Result<Authentic, Rejection> {
        if let Some(known) = self.cache.find(token) {
            return self.judge(known, now, trust);
        }
        let genuine = Arc::new(self.read(token, trust)?);
        let authentic = self.judge(Guard::from_inner(Arc::clone(&genuine)), now, trust)?;
        self.cache.keep(&genuine, now);
        Ok(authentic)
    }

    /// Whether this request may pass: all twelve checks.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub fn verify(
        &self,
        presented: &Presented<'_>,
        trust: &Trust<'_>,
    ) -> Result<Verified, Rejection> {
        let authentic = self.authenticate(presented.token, presented.now, trust)?;
        presented.permitted_by(authentic.claims())?; // 9 to 12
        Ok(Verified(authentic))
    }

    /// Checks 1 to 6.
    fn read(&self, token: &[u8], trust: &Trust<'_>) -> Result<Genuine, Rejection> {
        let compact = Compact::parse(token, MAX_TOKEN_BYTES)?; // 1

        let Trusted { issuer, published, .. } = match trust.by_header(&compact.header) {
            Some(trusted) => trusted,
            None => by_parts_of(&compact.header, trust)?, // 2, 3
        };
        let Published { kid, key, .. } = published;

        if !key.verify(compact.signing_input, &compact.signature) {
            return Err(Rejection::BadSignature { kid: kid.to_string() }); // 4
        }

        let claims = Claims::parse(&compact.payload)?; // 5
        issuer.check(&claims.iss)?; // 6
        if *claims.aud != *self.audience {
            let expected = self.audience.to_string();
            return Err(Rejection::WrongAudience { token: claims.aud, expected });
        }
        if *claims.env != *self.env {
            let expected = self.env.to_string();
            return Err(Rejection::WrongEnvironment { token: claims.env, expected });
        }
        let (iss, kid) = (issuer.shared_iss(), Arc::clone(kid));
        Ok(Genuine { token: token.into(), iss, kid, claims })
    }

    /// Checks 7 and 8, and once more whose key it is: what may have changed since a token was read.
    fn judge(&self, held: Held, now: u64, trust: &Trust<'_>) -> Result<Authentic, Rejection> {
        let Genuine { iss, kid, claims, .. } = &**held;
        let Trusted { issuer, information, .. } = trust.by_kid(kid)?; // 3
        issuer.check(iss)?; // 6

        self.check_time(claims, now)?; // 7

        self.freshness.admit(information, claims.iat, now)?; // 8
        if let Some(denied) = issuer.deny().denies(claims, kid) {
            return Err(Rejection::Revoked(denied));
        }
        Ok(Authentic { held, information_age: information.age(now) })
    }

    /// Check 7. Reading the claims has shown already that `nbf` equals `iat`, that `jti` carries
    /// its time and that `exp` is later.
    fn check_time(&self, claims: &Claims, now: u64) -> Result<(), Rejection> {
        let Claims { iat, exp, .. } = *claims;
        if now >= exp.saturating_add(LEEWAY) {
            return Err(Rejection::Expired { exp, now });
        }
        if iat > now.saturating_add(LEEWAY) {
            return Err(Rejection::NotYetValid { iat, now });
        }
        let lifetime = exp.saturating_sub(iat);
        if lifetime > self.max_lifetime {
            return Err(Rejection::LivesTooLong { lifetime, most: self.max_lifetime });
        }
        Ok(())
    }
}

/// Checks 2 and 3 of a header that is not written as Scrip writes it, or whose key is not known.
fn by_parts_of<'a>(header: &[u8], trust: &Trust<'a>) -> Result<Trusted<'a>, Rejection> {
    let Header { alg, kid, .. } = Header::parse(header, Typ::AccessToken)?;
    if !Alg::is_known(&alg) {
        return Err(Rejection::UnknownAlg { alg: excerpt(&alg) });
    }
    let trusted = trust.by_kid(&kid)?;
    let key = trusted.published.key.alg();
    if !key.is_spelt(&alg) {
        return Err(Rejection::WrongAlg { alg: excerpt(&alg), key });
    }
    Ok(trusted)
}

/// A token that is genuine, current and not revoked. It says who holds it, not what they may do
/// here. Made by [`Verifier::authenticate`] alone.
#[derive(Debug)]
pub struct Authentic {
    held: Held,
    information_age: Option<u64>,
}

impl Authentic {
    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.held.claims
    }

    /// The key that signed it: an RFC 7638 SHA-256 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.held.kid
    }

    /// How old the deny list was that it was judged by, in seconds; `None` where no feed is
    /// followed ([`Unfollowed`](crate::Information::Unfollowed)).
    #[must_use]
    pub fn information_age(&self) -> Option<u64> {
        self.information_age
    }
}

/// Proof that one request passed all twelve checks. Made by [`Verifier::verify`] alone.
#[derive(Debug)]
pub struct Verified(Authentic);

impl Verified {
    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        self.0.claims()
    }

    /// The key that signed it: an RFC 7638 SHA-256 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.0.kid()
    }

    /// As [`Authentic::information_age`].
    #[must_use]
    pub fn information_age(&self) -> Option<u64> {
        self.0.information_age()
    }
}
