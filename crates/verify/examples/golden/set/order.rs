//! Tokens with two faults: the check that comes first decides.

use super::case::{Case, trust};
use super::claims::{Claims, IAT, JTI, NOW, OTHER_ISS, PRINT, quoted};
use super::keys::Keys;

const WHY: &str = "of two faults the one of the earlier check is named";

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = of_the_token(keys);
    cases.extend(of_the_request(keys));
    cases
}

fn of_the_token(keys: &Keys) -> Vec<Case> {
    let Keys { eddsa, stranger, .. } = keys;
    let new = Claims::new;
    let good = new().text();
    let unknown_alg = stranger.header().replace("EdDSA", "none");
    let other_alg = eddsa.header().replace("EdDSA", "RS256");
    let expired = IAT - 1000;
    let old = || {
        let jti = JTI.replace("01a1ee56-5e7b", "01a1ee47-1c3b");
        let times = new().with("iat", expired.to_string()).with("nbf", expired.to_string());
        times.with("jti", quoted(&jti))
    };
    let refused = |reason, name, token| Case::refused(reason, name, WHY, token);
    vec![
        refused("malformed", "form-before-header", format!("{}\n", eddsa.forge("{}", &good))),
        refused(
            "bad-header",
            "typ-before-key",
            stranger.forge(&stranger.header().replace("at+jwt", "JWT"), &good),
        ),
        refused("unknown-alg", "alg-before-key", stranger.forge(&unknown_alg, &good)),
        refused("unknown-kid", "key-before-signature", eddsa.forge(&stranger.header(), &good)),
        refused("unknown-kid", "key-before-claims", stranger.token(&new().with("ver", "2"))),
        refused("wrong-alg", "alg-of-the-key-before-signature", stranger.forge(&other_alg, &good)),
        refused("bad-signature", "signature-before-claims", stranger.forge(&eddsa.header(), "{}")),
        refused(
            "bad-claims",
            "claims-before-issuer",
            eddsa.token(&new().with("iss", quoted(OTHER_ISS)).and("exp", "1")),
        ),
        refused(
            "bad-claims",
            "version-before-audience",
            eddsa.token(&new().with("ver", "2").with("aud", quoted("search"))),
        ),
        refused(
            "wrong-issuer",
            "issuer-before-audience",
            eddsa.token(&new().with("iss", quoted(OTHER_ISS)).with("aud", quoted("search"))),
        ),
        refused(
            "wrong-audience",
            "audience-before-environment",
            eddsa.token(&new().with("aud", quoted("search")).with("env", quoted("staging"))),
        ),
        refused(
            "wrong-env",
            "environment-before-time",
            eddsa.token(&old().with("env", quoted("staging")).with("exp", (IAT - 700).to_string())),
        ),
        refused(
            "expired",
            "end-before-lifetime",
            eddsa.token(&old().with("exp", (IAT - 50).to_string())),
        ),
        refused(
            "not-yet-valid",
            "begin-before-lifetime",
            eddsa.token(&new().with("exp", (IAT + 5000).to_string())),
        )
        .at(IAT - 100),
    ]
}

fn of_the_request(keys: &Keys) -> Vec<Case> {
    let new = Claims::new;
    let denied = format!(r#"{{"jti": "{JTI}", "until": {}}}"#, IAT + 905);
    let known = |as_of: u64| trust("main", as_of, 0, &denied);
    let bound = || new().with("cnf", format!(r#"{{"jkt":"{PRINT}"}}"#));
    let asking = |scope, model, size| {
        format!(r#"{{"scope": "{scope}", "model": "{model}", "size": {size}}}"#)
    };
    let (outside, nothing_right) = (quoted("192.0.2.7"), asking("tool:payments", "o3", 9000));
    let refused =
        |reason, name, claims: Claims| Case::refused(reason, name, WHY, keys.eddsa.token(&claims));
    vec![
        refused("expired", "time-before-deny-list", new())
            .given("now", IAT + 400)
            .given("trust", known(0)),
        refused("lives-too-long", "lifetime-before-age-of-the-deny-list", new())
            .given("max_lifetime", 299)
            .given("trust", known(0)),
        refused("stale", "age-of-the-deny-list-before-its-entries", new())
            .given("trust", known(NOW - 100)),
        refused("offline", "endless-age-of-the-deny-list-before-its-entries", new())
            .given("trust", known(0)),
        refused("revoked", "deny-list-before-proof", bound()).given("trust", known(NOW)),
        refused("proof-missing", "proof-before-address", bound()).given("address", &outside),
        refused("wrong-address", "address-before-scope", new())
            .given("address", &outside)
            .given("asked", &nothing_right),
        refused("address-unknown", "no-address-before-scope", new())
            .given("address", "null")
            .given("asked", &nothing_right),
        refused("insufficient-scope", "scope-before-model", new()).given("asked", &nothing_right),
        refused("wrong-model", "model-before-size", new())
            .given("asked", asking("llm:chat", "o3", 9000)),
    ]
}
