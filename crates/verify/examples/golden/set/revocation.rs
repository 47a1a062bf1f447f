//! Check 8: how old the deny list may be, and what it refuses.

use super::case::{Case, believed};
use super::claims::{Claims, IAT, JTI, NOW, OTHER_ISS, PARENT, ROOT, quoted};
use super::keys::Keys;

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = freshness(keys);
    cases.extend(policies(keys));
    cases.extend(entries(keys));
    cases.extend(lineage(keys));
    cases.extend(issuers(keys));
    cases
}

fn freshness(keys: &Keys) -> Vec<Case> {
    const AGE: &str = "an age of 60 s is allowed to every token; the age is the greater of `now - as_of` \
        and `silence`";
    const MINTED: &str = "a token minted within 60 s is fresh proof, up to an age of 900 s";
    const AHEAD: &str = "information dated more than 5 s ahead never counts";
    let token = || keys.eddsa.token(&Claims::new());
    let accepted = |name, why| Case::accepted(name, why, token());
    let refused = |reason, name, why| Case::refused(reason, name, why, token());
    vec![
        accepted("information-60-seconds-old", AGE).heard(NOW - 60, 0),
        refused("stale", "information-61-seconds-old", AGE).heard(NOW - 61, 0),
        accepted("silence-of-60-seconds", AGE).heard(NOW, 60),
        refused("stale", "silence-of-61-seconds", AGE).heard(NOW, 61),
        refused("stale", "information-900-seconds-old", AGE).heard(NOW - 900, 0),
        refused("offline", "information-901-seconds-old", AGE).heard(NOW - 901, 0),
        refused("offline", "silence-of-901-seconds", AGE).heard(NOW, 901),
        refused("offline", "information-of-the-epoch", AGE).heard(0, 0),
        accepted("minted-60-seconds-ago-information-900-seconds-old", MINTED)
            .given("now", IAT + 60)
            .heard(IAT - 840, 0),
        refused("stale", "minted-61-seconds-ago-information-61-seconds-old", MINTED)
            .given("now", IAT + 61)
            .heard(IAT, 0),
        refused("offline", "minted-just-now-information-901-seconds-old", MINTED)
            .given("now", IAT)
            .heard(IAT - 901, 0),
        accepted("information-5-seconds-ahead", AHEAD).heard(NOW + 5, 0),
        refused("offline", "information-6-seconds-ahead", AHEAD).heard(NOW + 6, 0),
        accepted("feed-not-followed", "freshness is not judged where nobody follows the feed")
            .given("trust", r#"{"main": {"information": null, "deny": []}}"#),
    ]
}

fn policies(keys: &Keys) -> Vec<Case> {
    const TIGHT: &str = r#"{"max_staleness": 10, "max_offline": 20, "policy": "deny"}"#;
    const ALERT: &str = r#"{"max_staleness": 60, "max_offline": 900, "policy": "deny-and-alert"}"#;
    const LATER: &str = r#"{"max_staleness": 60, "max_offline": 900, "policy": {"allow_for": 30}}"#;
    const LATEST: &str =
        r#"{"max_staleness": 60, "max_offline": 900, "policy": {"allow_for": 1000}}"#;
    const OWN: &str = "the bounds are the verifier's own";
    const ADDED: &str = "`allow_for` is added to `max_staleness`";
    let accepted = |name, why, freshness, age: u64| {
        Case::accepted(name, why, keys.eddsa.token(&Claims::new()))
            .given("freshness", freshness)
            .heard(NOW - age, 0)
    };
    let refused = |reason, name, why, freshness, age: u64| {
        Case::refused(reason, name, why, keys.eddsa.token(&Claims::new()))
            .given("freshness", freshness)
            .heard(NOW - age, 0)
    };
    vec![
        accepted("10-of-10-seconds-old", OWN, TIGHT, 10),
        refused("stale", "11-of-10-seconds-old", OWN, TIGHT, 11),
        refused("offline", "21-of-20-seconds-old", OWN, TIGHT, 21),
        refused("stale", "stale-and-alert", "an alert changes no verdict", ALERT, 61),
        accepted("allowed-for-30-seconds", ADDED, LATER, 90),
        refused("stale", "allowed-for-30-seconds-and-one", ADDED, LATER, 91),
        accepted("allowed-for-longer-than-offline", ADDED, LATEST, 1060),
        refused("offline", "allowed-for-longer-than-offline-and-one", ADDED, LATEST, 1061),
    ]
}

/// Every selector, each with entries that refuse the token and entries that nearly do.
fn entries(keys: &Keys) -> Vec<Case> {
    const CUT: &str = "refuses tokens with `iat <= before`";
    const OTHER: &str = "an entry refuses what it names and nothing else";
    let (kid, another) = (keys.eddsa.kid(), keys.es256.kid());
    let until = IAT + 905;
    let before = |selector: &str, before: u64| {
        format!(r#"{{{selector}, "before": {before}, "until": {until}}}"#)
    };
    let jti = |jti: &str| format!(r#"{{"jti": "{jti}", "until": {until}}}"#);
    let cred = |client, version| {
        format!(r#"{{"cred": {{"client": "{client}", "version": "{version}"}}, "until": {until}}}"#)
    };
    let subject = |tenant, id| format!(r#""sub": {{"tenant": "{tenant}", "id": "{id}"}}"#);
    let all = r#""all": true"#;
    let (tenant, client) = (r#""tenant": "acme""#, r#""client": "acme/billing""#);
    let sub = subject("acme", "client:acme/billing");
    let denied: Vec<(&str, &str, String)> = vec![
        ("denied-jti", "an entry for this very token", jti(JTI)),
        ("denied-kid", "all that a key signed, for ever", format!(r#"{{"kid": "{kid}"}}"#)),
        ("denied-all", CUT, before(all, IAT)),
        ("denied-tenant", CUT, before(tenant, IAT)),
        ("denied-client", CUT, before(client, IAT)),
        ("denied-sub", CUT, before(&sub, IAT)),
        (
            "denied-cred",
            "all that was traded for a version",
            cred("acme/billing", "vault:3.1795000000"),
        ),
        (
            "denied-by-the-last-of-several",
            OTHER,
            [jti(ROOT), before(r#""tenant": "other""#, NOW), before(client, IAT)].join(", "),
        ),
        (
            "denied-by-the-later-of-two-cuts",
            "of two entries for one thing the wider counts",
            [before(client, IAT), before(client, IAT - 1)].join(", "),
        ),
        ("denied-twice", "an entry may come twice", [jti(JTI), jti(JTI)].join(", ")),
    ];
    let spared: Vec<(&str, &str, String)> = vec![
        ("spared-by-another-jti", OTHER, jti(&JTI.replace("090909090909", "090909090908"))),
        ("spared-by-another-kid", OTHER, format!(r#"{{"kid": "{another}"}}"#)),
        ("spared-by-a-cut-for-all-a-second-before", CUT, before(all, IAT - 1)),
        ("spared-by-a-cut-for-its-tenant-a-second-before", CUT, before(tenant, IAT - 1)),
        ("spared-by-a-cut-for-its-client-a-second-before", CUT, before(client, IAT - 1)),
        ("spared-by-a-cut-for-its-subject-a-second-before", CUT, before(&sub, IAT - 1)),
        ("spared-by-another-tenant", OTHER, before(r#""tenant": "acm""#, NOW)),
        ("spared-by-another-client", OTHER, before(r#""client": "acme/billing2""#, NOW)),
        (
            "spared-by-a-client-of-another-tenant",
            OTHER,
            before(r#""client": "other/billing""#, NOW),
        ),
        ("spared-by-another-subject", OTHER, before(&subject("acme", "acme/billing"), NOW)),
        (
            "spared-by-a-subject-of-another-tenant",
            OTHER,
            before(&subject("other", "client:acme/billing"), NOW),
        ),
        ("spared-by-another-version", OTHER, cred("acme/billing", "vault:2.1795000000")),
        ("spared-by-a-version-of-another-client", OTHER, cred("acme/search", "vault:3.1795000000")),
    ];
    let token = || keys.eddsa.token(&Claims::new());
    let denied = denied
        .into_iter()
        .map(|(name, why, entries)| Case::refused("revoked", name, why, token()).denying(&entries));
    let spared = spared
        .into_iter()
        .map(|(name, why, entries)| Case::accepted(name, why, token()).denying(&entries));
    denied.chain(spared).collect()
}

fn lineage(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "an entry for an ancestor refuses all that was delegated from it";
    let until = IAT + 905;
    let token = || {
        let lineage = format!(r#"["{ROOT}","{PARENT}"]"#);
        let claims = Claims::new()
            .with("client_id", r#""acme/agent""#)
            .with("lin", lineage)
            .with("act", r#"{"sub":"client:acme/agent"}"#);
        keys.eddsa.token(&claims)
    };
    let of = |jti: &str| format!(r#"{{"jti": "{jti}", "until": {until}}}"#);
    let client = format!(r#"{{"client": "acme/billing", "before": {NOW}, "until": {until}}}"#);
    let parent = keys.eddsa.token(&Claims::new().with("jti", quoted(PARENT)));
    vec![
        Case::accepted("delegated", "a token with ancestors and an actor (RFC 8693)", token()),
        Case::refused("revoked", "denied-root", WHY, token()).denying(&of(ROOT)),
        Case::refused("revoked", "denied-parent", WHY, token()).denying(&of(PARENT)),
        Case::accepted("spared-by-its-child", "an entry for a token spares its ancestors", parent)
            .denying(&of(JTI)),
        Case::accepted(
            "spared-by-its-subject-as-client",
            "`client` names who authenticated, `client_id`, not on whose behalf",
            token(),
        )
        .denying(&client),
    ]
}

fn issuers(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "deny entries and freshness belong to one issuer each";
    let until = IAT + 905;
    let all = format!(r#"{{"all": true, "before": {NOW}, "until": {until}}}"#);
    let token = || keys.eddsa.token(&Claims::new());
    let other = keys.other.token(&Claims::new().with("iss", quoted(OTHER_ISS)));
    let (main, denying) = (believed("main", NOW, 0, ""), believed("other", NOW, 0, &all));
    let silent = believed("other", 0, 0, "");
    vec![
        Case::accepted("spared-by-another-issuer", WHY, token())
            .given("trust", format!("{{{main}, {denying}}}")),
        Case::refused("revoked", "denied-by-the-second-of-two-issuers", WHY, other.clone())
            .given("trust", format!("{{{main}, {denying}}}")),
        Case::accepted("fresh-beside-a-silent-issuer", WHY, token())
            .given("trust", format!("{{{main}, {silent}}}")),
        Case::refused("offline", "silent-beside-a-fresh-issuer", WHY, other)
            .given("trust", format!("{{{main}, {silent}}}")),
        Case::refused(
            "revoked",
            "denied-though-not-followed",
            "entries count, wherever they came from",
            token(),
        )
        .given("trust", format!(r#"{{"main": {{"information": null, "deny": [{all}]}}}}"#)),
    ]
}
