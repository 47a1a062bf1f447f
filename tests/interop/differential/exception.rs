//! What we accept and others refuse.

use super::library::NAMES;

pub(super) struct Exception {
    libraries: &'static [&'static str],
    cases: &'static [&'static str],
}

pub(super) const EXCEPTIONS: &[Exception] = &[
    // RFC 9864's spelling, which we read and never write. Few know it; here all are told of `EdDSA`.
    Exception { libraries: &NAMES, cases: &["alg-spelt-ed25519", "header: alg Ed25519"] },
    // Nimbus wants `now` to be later than `nbf` less the leeway, where RFC 7519 lets it be equal.
    Exception {
        libraries: &["Nimbus"],
        cases: &["claims: around the first moment", "5-seconds-before-iat"],
    },
    // A key that cannot be read spoils its neighbours; golang-jwt has its keys from go-jose.
    Exception {
        libraries: &["jose", "golang-jwt", "go-jose", "Nimbus"],
        cases: &["good-key-among-odd-ones"],
    },
];

impl Exception {
    pub(super) fn covers(&self, (library, case): (&str, &str)) -> bool {
        self.libraries.contains(&library) && self.cases.contains(&case)
    }

    /// Each library and each case that it refuses.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let Self { libraries, cases } = *self;
        libraries.iter().flat_map(|library| cases.iter().map(|case| (*library, *case)))
    }
}
