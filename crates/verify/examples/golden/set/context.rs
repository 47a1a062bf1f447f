//! Checks 6 and 7: for whom, from whom, where and when.

use super::case::{Case, believed};
use super::claims::{Claims, EXP, IAT, NOW, OTHER_ISS, quoted};
use super::keys::Keys;

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = issuers(keys);
    cases.extend(audiences(keys));
    cases.extend(environments(keys));
    cases.extend(seconds(keys));
    cases.extend(lifetimes(keys));
    cases
}

fn issuers(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "`iss` is the key's issuer, byte by byte (RFC 8725 section 3.8)";
    let both = format!("{{{}, {}}}", believed("main", NOW, 0, ""), believed("other", NOW, 0, ""));
    let other = Claims::new().with("iss", quoted(OTHER_ISS));
    let mut cases: Vec<Case> = [
        ("iss-with-slash", "https://sts.example/"),
        ("iss-over-http", "http://sts.example"),
        ("iss-in-upper-case", "https://STS.example"),
        ("iss-longer", "https://sts.example.net"),
        ("iss-shorter", "https://sts.exampl"),
        ("iss-with-port", "https://sts.example:443"),
        ("iss-of-another", OTHER_ISS),
    ]
    .map(|(name, iss)| {
        let token = keys.eddsa.token(&Claims::new().with("iss", quoted(iss)));
        Case::refused("wrong-issuer", name, WHY, token)
    })
    .into();
    cases.extend([
        Case::accepted("first-of-two-issuers", WHY, keys.eddsa.token(&Claims::new()))
            .given("trust", &both),
        Case::accepted("second-of-two-issuers", WHY, keys.other.token(&other))
            .given("trust", &both),
        Case::refused(
            "wrong-issuer",
            "one-believed-issuer-posing-as-another",
            "no issuer vouches for the tokens of another",
            keys.other.token(&Claims::new()),
        )
        .given("trust", &both),
    ]);
    cases
}

fn audiences(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "`aud` is the verifier's own, byte by byte (RFC 7519 section 4.1.3)";
    let mut cases: Vec<Case> = [
        ("aud-of-another", "search"),
        ("aud-longer", "llm-gateway2"),
        ("aud-shorter", "llm-gatewa"),
        ("aud-in-upper-case", "LLM-GATEWAY"),
        ("aud-with-slash", "llm-gateway/"),
        ("aud-of-two-in-one-text", "llm-gateway,search"),
    ]
    .map(|(name, aud)| {
        let token = keys.eddsa.token(&Claims::new().with("aud", quoted(aud)));
        Case::refused("wrong-audience", name, WHY, token)
    })
    .into();
    cases.extend([
        Case::refused(
            "wrong-audience",
            "verifier-of-another-audience",
            WHY,
            keys.eddsa.token(&Claims::new()),
        )
        .given("audience", quoted("search")),
        Case::accepted(
            "aud-with-escape",
            "what is compared is the text, not how it was escaped (RFC 8259 section 8.3)",
            keys.eddsa.token(&Claims::new().with("aud", r#""llm\u002dgatewa\u0079""#)),
        ),
    ]);
    cases
}

fn environments(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "`env` is the verifier's own, byte by byte";
    let wrong = |name, env| {
        let token = keys.eddsa.token(&Claims::new().with("env", quoted(env)));
        Case::refused("wrong-env", name, WHY, token)
    };
    vec![
        wrong("env-of-another", "staging"),
        wrong("env-longer", "prod2"),
        wrong("env-shorter", "pro"),
        Case::refused(
            "wrong-env",
            "verifier-of-another-env",
            WHY,
            keys.eddsa.token(&Claims::new()),
        )
        .given("env", quoted("staging")),
    ]
}

fn seconds(keys: &Keys) -> Vec<Case> {
    const BEGIN: &str = "`iat` and `nbf` are at most 5 s ahead (RFC 7519 section 4.1.5)";
    const END: &str = "`now` is before `exp` and 5 s more (RFC 7519 section 4.1.4)";
    let token = || keys.eddsa.token(&Claims::new());
    vec![
        Case::refused("not-yet-valid", "6-seconds-before-iat", BEGIN, token()).at(IAT - 6),
        Case::accepted("5-seconds-before-iat", BEGIN, token()).at(IAT - 5),
        Case::accepted("at-iat", BEGIN, token()).at(IAT),
        Case::accepted("a-second-before-exp", END, token()).at(EXP - 1),
        Case::accepted("at-exp", END, token()).at(EXP),
        Case::accepted("4-seconds-after-exp", END, token()).at(EXP + 4),
        Case::refused("expired", "5-seconds-after-exp", END, token()).at(EXP + 5),
        Case::refused("expired", "a-year-after-exp", END, token()).at(EXP + 31_536_000),
        Case::refused("not-yet-valid", "at-the-epoch", BEGIN, token()).at(0),
    ]
}

fn lifetimes(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "`exp` is at most 900 s after `iat`, and at most the verifier's own limit";
    let living =
        |seconds: u64| keys.eddsa.token(&Claims::new().with("exp", (IAT + seconds).to_string()));
    let endless = Claims::new().with("exp", "9007199254740991");
    vec![
        Case::accepted("living-900-seconds", WHY, living(900)),
        Case::refused("lives-too-long", "living-901-seconds", WHY, living(901)),
        Case::refused("lives-too-long", "living-a-day", WHY, living(86_400)),
        Case::refused(
            "lives-too-long",
            "exp-of-2-to-the-53-less-one",
            WHY,
            keys.eddsa.token(&endless),
        ),
        Case::accepted("living-300-of-300-seconds", WHY, living(300)).given("max_lifetime", 300),
        Case::refused("lives-too-long", "living-300-of-299-seconds", WHY, living(300))
            .given("max_lifetime", 299),
    ]
}
