//! Ten thousand mutations of good tokens.

use super::case::Case;
use super::forge::{AUD, Draft, ENV, ISS, NOW, Rng};
use super::golden::Golden;
use super::{claims, header, signature, spelling};
use scrip_token::jwk::KeySet;
use scrip_verify::{DenySet, Information, Issuer, Keys, Rejection, Trust, Verifier};
use std::sync::Arc;

/// One way to change a good token.
pub(super) struct Mutation {
    name: &'static str,
    verdict: Verdict,
    make: fn(&mut Rng, &Draft) -> String,
}

/// What a change leads to; codes are those of our rejections.
enum Verdict {
    Harmless,
    RefusedByAll(&'static [&'static str]),
    RefusedByUs(&'static [&'static str], &'static str),
}

impl Mutation {
    /// The token stays what it was.
    pub(super) const fn harmless(name: &'static str, make: fn(&mut Rng, &Draft) -> String) -> Self {
        Self { name, verdict: Verdict::Harmless, make }
    }

    /// The token is refused, where the change made a difference at all; a library that accepts it is broken.
    pub(super) const fn refused_by_all(
        name: &'static str,
        codes: &'static [&'static str],
        make: fn(&mut Rng, &Draft) -> String,
    ) -> Self {
        Self { name, verdict: Verdict::RefusedByAll(codes), make }
    }

    /// The token breaks this rule, which some libraries do not have.
    pub(super) const fn refused_by_us(
        name: &'static str,
        codes: &'static [&'static str],
        rule: &'static str,
        make: fn(&mut Rng, &Draft) -> String,
    ) -> Self {
        Self { name, verdict: Verdict::RefusedByUs(codes, rule), make }
    }

    fn codes(&self) -> &'static [&'static str] {
        match self.verdict {
            Verdict::Harmless => &[],
            Verdict::RefusedByAll(codes) | Verdict::RefusedByUs(codes, _) => codes,
        }
    }

    fn rule(&self) -> Option<&'static str> {
        match self.verdict {
            Verdict::Harmless | Verdict::RefusedByAll(_) => None,
            Verdict::RefusedByUs(_, rule) => Some(rule),
        }
    }
}

/// As many of each mutation, judged by our verifier. The same ones every time, but for the signatures of ECDSA.
pub(super) fn cases(number: usize) -> Vec<Case> {
    let all: Vec<&Mutation> =
        [spelling::ALL, signature::ALL, header::ALL, claims::ALL].into_iter().flatten().collect();
    let jwks: Arc<str> = Golden::read().jwks().into();
    let keys = Keys::from(KeySet::parse(jwks.as_bytes()).expect("a key set"));
    let issuer = Issuer::new(ISS, keys, DenySet::default());
    let trust = Trust::one(&issuer, Information::Unfollowed);
    let verifier = Verifier::new(AUD, ENV);

    let case = |(number, mutation): (usize, &&Mutation)| {
        let mut rng = Rng(number as u64);
        let draft = Draft::any(&mut rng);
        let token = (mutation.make)(&mut rng, &draft);
        let verdict = verifier.authenticate(token.as_bytes(), NOW, &trust);
        let refused = verdict.as_ref().err().map(Rejection::code);
        assert!(
            refused.is_none_or(|code| mutation.codes().contains(&code)),
            "mutation {number}, {}: {verdict:?}\n{token}",
            mutation.name
        );
        Case {
            name: mutation.name.to_owned(),
            token,
            jwks: Arc::clone(&jwks),
            iss: ISS.to_owned(),
            aud: AUD.to_owned(),
            now: NOW,
            refused: refused.map(str::to_owned),
            rule: mutation.rule().map(str::to_owned),
        }
    };
    let cases: Vec<Case> = all.iter().cycle().take(number).enumerate().map(case).collect();
    for mutation in all.iter().filter(|mutation| !mutation.codes().is_empty()) {
        let refused = |case: &Case| case.name == mutation.name && case.refused.is_some();
        assert!(cases.iter().any(refused), "{} never was refused", mutation.name);
    }
    cases
}
