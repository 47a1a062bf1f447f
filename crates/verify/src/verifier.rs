//! The twelve checks, in order.

use scrip_token::claims::Claims;
use scrip_token::compact::{Compact, Header, Typ};
use scrip_token::limits::{LEEWAY, MAX_LIFETIME, MAX_TOKEN_BYTES};
use scrip_token::signature::Alg;

use crate::freshness::{Freshness, Information};
use crate::presented::Presented;
use crate::rejection::{Rejection, excerpt};
use crate::trust::{Issuer, Trust};

/// What one gateway expects of every token. Built once.
#[derive(Debug, Clone)]
pub struct Verifier {
    audience: Box<str>,
    env: Box<str>,
    max_lifetime: u64,
    freshness: Freshness,
}

impl Verifier {
    /// A verifier for one audience (the `aud` claim, byte-exact) in one environment (`env`), with
    /// the longest lifetime of [`MAX_LIFETIME`] and the default [`Freshness`].
    #[must_use]
    pub fn new(audience: &str, env: &str) -> Self {
        Self {
            audience: audience.into(),
            env: env.into(),
            max_lifetime: MAX_LIFETIME,
            freshness: Freshness::default(),
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
        let (claims, kid, issuer, information) = self.identify(token, trust)?;
        self.check_time(&claims, now)?; // 7
        self.freshness.admit(information, claims.iat, now)?; // 8
        if let Some(denied) = issuer.deny().denies(&claims, &kid) {
            return Err(Rejection::Revoked(denied));
        }
        Ok(Authentic { claims, kid, information_age: information.age(now) })
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
        presented.permitted_by(&authentic.claims)?; // 9 to 12
        Ok(Verified(authentic))
    }

    /// Checks 1 to 6: all that depends on nothing but the token and its issuer's keys.
    fn identify<'i>(
        &self,
        token: &[u8],
        trust: &Trust<'i>,
    ) -> Result<(Claims, String, &'i Issuer, Information), Rejection> {
        let compact = Compact::parse(token, MAX_TOKEN_BYTES)?; // 1

        let Header { alg, kid, .. } = Header::parse(&compact.header, Typ::AccessToken)?; // 2
        if !Alg::is_known(&alg) {
            return Err(Rejection::UnknownAlg { alg: excerpt(&alg) });
        }

        let Some((issuer, information, key)) = trust.key(&kid) else {
            return Err(Rejection::UnknownKid { kid }); // 3
        };
        if !key.alg().is_spelt(&alg) {
            return Err(Rejection::WrongAlg { alg: excerpt(&alg), key: key.alg() });
        }

        if !key.verify(compact.signing_input, &compact.signature) {
            return Err(Rejection::BadSignature { kid }); // 4
        }

        let claims = Claims::parse(&compact.payload)?; // 5

        if claims.iss != issuer.iss() {
            let expected = issuer.iss().to_owned();
            return Err(Rejection::WrongIssuer { token: claims.iss, expected }); // 6
        }
        if *claims.aud != *self.audience {
            let expected = self.audience.to_string();
            return Err(Rejection::WrongAudience { token: claims.aud, expected });
        }
        if *claims.env != *self.env {
            let expected = self.env.to_string();
            return Err(Rejection::WrongEnvironment { token: claims.env, expected });
        }
        Ok((claims, kid, issuer, information))
    }

    /// Check 7. That `nbf` equals `iat`, that `jti` carries its time and that `exp` is later, the
    /// claims have shown when they were read.
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

/// A token that is genuine, current and not revoked. It says who holds it, not what they may do
/// here. Made by [`Verifier::authenticate`] alone.
#[derive(Debug)]
pub struct Authentic {
    claims: Claims,
    kid: String,
    information_age: Option<u64>,
}

impl Authentic {
    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The key that signed it: an RFC 7638 SHA-256 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// How old the deny list was that it was judged by, in seconds; `None` where no feed is
    /// followed ([`Information::Unfollowed`]).
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
