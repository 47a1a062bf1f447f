//! Checks 9 to 12: whether the token permits this request.

use super::case::Case;
use super::claims::{Claims, PRINT, quoted};
use super::keys::Keys;

pub(super) fn cases(keys: &Keys) -> Vec<Case> {
    let mut cases = proofs(keys);
    cases.extend(addresses(keys));
    cases.extend(scopes(keys));
    cases.extend(models(keys));
    cases.extend(sizes(keys));
    cases
}

fn proofs(keys: &Keys) -> Vec<Case> {
    const DPOP: &str = "the key of a DPoP proof (RFC 9449 section 6.1)";
    const MTLS: &str = "the client certificate (RFC 8705 section 3.1)";
    const KIND: &str = "a thumbprint of one kind is none of the other";
    let jkt = |print: &str| format!(r#"{{"jkt": "{print}"}}"#);
    let x5t = |print: &str| format!(r##"{{"x5t#S256": "{print}"}}"##);
    let other = PRINT.replace('0', "1");
    let bound = |cnf: String| keys.eddsa.token(&Claims::new().with("cnf", cnf));
    let to_key = || bound(format!(r#"{{"jkt":"{PRINT}"}}"#));
    let to_certificate = || bound(format!(r##"{{"x5t#S256":"{PRINT}"}}"##));
    vec![
        Case::accepted("proof-of-its-key", DPOP, to_key()).given("proof", jkt(PRINT)),
        Case::accepted("proof-of-its-certificate", MTLS, to_certificate())
            .given("proof", x5t(PRINT)),
        Case::refused("proof-missing", "no-proof-of-its-key", DPOP, to_key()),
        Case::refused("proof-missing", "no-proof-of-its-certificate", MTLS, to_certificate()),
        Case::refused("wrong-proof", "proof-of-another-key", DPOP, to_key())
            .given("proof", jkt(&other)),
        Case::refused("wrong-proof", "proof-of-another-certificate", MTLS, to_certificate())
            .given("proof", x5t(&other)),
        Case::refused("wrong-proof", "proof-in-lower-case", DPOP, to_key())
            .given("proof", jkt(&PRINT.to_lowercase())),
        Case::refused("wrong-proof", "certificate-for-a-key", KIND, to_key())
            .given("proof", x5t(PRINT)),
        Case::refused("wrong-proof", "key-for-a-certificate", KIND, to_certificate())
            .given("proof", jkt(PRINT)),
        Case::accepted(
            "proof-that-nobody-asked-for",
            "a token without `cnf` is bound to no key",
            keys.eddsa.token(&Claims::new()),
        )
        .given("proof", jkt(PRINT)),
    ]
}

fn addresses(keys: &Keys) -> Vec<Case> {
    const WITHIN: &str = "the address lies within one of `cidrs` (RFC 4632)";
    const MAPPED: &str =
        "an IPv4-mapped address is the IPv4 address in it (RFC 4291 section 2.5.5.2)";
    const FAMILY: &str = "a network of one family holds no address of the other";
    const UNKNOWN: &str = "an address that is not known lies within no network";
    let (two, none) = (r#"["10.0.0.0/8","2001:db8::/32"]"#, "[]");
    let (any4, any6) = (r#"["0.0.0.0/0"]"#, r#"["::/0"]"#);
    let (host4, host6) = (r#"["192.0.2.7/32"]"#, r#"["2001:db8::7/128"]"#);
    let (quarter, half6) = (r#"["192.0.2.64/26"]"#, r#"["2001:db8:8000::/33"]"#);
    let within = [
        ("first-address-of-a-network", WITHIN, two, "10.0.0.0"),
        ("last-address-of-a-network", WITHIN, two, "10.255.255.255"),
        ("v6-address", WITHIN, two, "2001:db8::7"),
        ("last-v6-address-of-a-network", WITHIN, two, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("v4-mapped-address", MAPPED, two, "::ffff:10.1.2.3"),
        ("the-one-address", WITHIN, host4, "192.0.2.7"),
        ("the-one-v6-address", WITHIN, host6, "2001:db8::7"),
        ("any-v4-address", WITHIN, any4, "203.0.113.9"),
        ("any-v6-address", WITHIN, any6, "2001:db8::7"),
        ("last-address-of-a-quarter", WITHIN, quarter, "192.0.2.127"),
        ("first-address-of-the-upper-half", WITHIN, half6, "2001:db8:8000::"),
    ];
    let outside = [
        ("address-before-a-network", WITHIN, two, "9.255.255.255"),
        ("address-after-a-network", WITHIN, two, "11.0.0.0"),
        ("v6-address-after-a-network", WITHIN, two, "2001:db9::"),
        ("v4-mapped-address-outside", MAPPED, two, "::ffff:11.1.2.3"),
        (
            "v4-compatible-address",
            "only the mapped form carries an IPv4 address",
            two,
            "::10.1.2.3",
        ),
        ("address-beside-the-one", WITHIN, host4, "192.0.2.6"),
        ("v6-address-beside-the-one", WITHIN, host6, "2001:db8::6"),
        ("v6-address-for-any-v4", FAMILY, any4, "2001:db8::7"),
        ("v4-address-for-any-v6", FAMILY, any6, "10.1.2.3"),
        ("v4-mapped-address-for-any-v6", FAMILY, any6, "::ffff:10.1.2.3"),
        ("address-before-a-quarter", WITHIN, quarter, "192.0.2.63"),
        ("address-after-a-quarter", WITHIN, quarter, "192.0.2.128"),
        ("address-of-the-lower-half", WITHIN, half6, "2001:db8:7fff::"),
        (
            "no-network-at-all",
            "empty `cidrs` permit no address; absent ones permit any",
            none,
            "10.1.2.3",
        ),
    ];
    let token = |cidrs: &str| keys.eddsa.token(&Claims::new().with("cidrs", cidrs));
    let within = within.map(|(name, why, cidrs, address)| {
        Case::accepted(name, why, token(cidrs)).given("address", quoted(address))
    });
    let outside = outside.map(|(name, why, cidrs, address)| {
        Case::refused("wrong-address", name, why, token(cidrs)).given("address", quoted(address))
    });
    let free = keys.eddsa.token(&Claims::new().without("cidrs"));
    let others = [
        Case::refused("address-unknown", "address-not-known", UNKNOWN, token(two))
            .given("address", "null"),
        Case::refused("address-unknown", "address-not-known-and-no-network", UNKNOWN, token(none))
            .given("address", "null"),
        Case::accepted("address-not-known-and-not-limited", "no `cidrs`, any address", free)
            .given("address", "null"),
        Case::accepted(
            "address-forwarded",
            "how an address was found out decides nothing",
            token(two),
        )
        .given("derived", quoted("forwarded")),
    ];
    within.into_iter().chain(outside).chain(others).collect()
}

fn scopes(keys: &Keys) -> Vec<Case> {
    const WHY: &str =
        "the scope that is asked for is one of the token's, byte by byte (RFC 6750 section 3.1)";
    let asking = |scope: &str| format!(r#"{{"scope": "{scope}", "model": "gpt-4", "size": 1000}}"#);
    let token = || keys.eddsa.token(&Claims::new());
    let mut cases: Vec<Case> = [
        ("scope-of-another", "tool:payments"),
        ("scope-longer", "llm:chats"),
        ("scope-shorter", "llm:cha"),
        ("scope-capitalised", "LLM:chat"),
        ("scope-both-at-once", "llm:chat llm:embed"),
        ("scope-prefix", "llm"),
        ("scope-none", ""),
        ("scope-star", "*"),
        ("scope-followed-by-zero-width-space", r"llm:chat\u200b"),
    ]
    .map(|(name, scope)| {
        Case::refused("insufficient-scope", name, WHY, token()).given("asked", asking(scope))
    })
    .into();
    cases.push(Case::accepted("second-scope", WHY, token()).given("asked", asking("llm:embed")));
    cases
}

fn models(keys: &Keys) -> Vec<Case> {
    const EXACT: &str = "an exact name, byte by byte";
    const PREFIX: &str = "`prefix*` permits what begins with the prefix";
    const NAME: &str =
        "a name outside [A-Za-z0-9._:/@+-]{1,128} is refused whatever the patterns say";
    const NONE: &str = "missing or empty `models` permit no model";
    const UNNAMED: &str = "a token with `models` needs a request that names one";
    let asking =
        |model: &str| format!(r#"{{"scope": "llm:chat", "model": {model}, "size": 1000}}"#);
    let new = || keys.eddsa.token(&Claims::new());
    let any = || keys.eddsa.token(&Claims::new().with("models", r#"["*"]"#));
    let no_models = || keys.eddsa.token(&Claims::new().without("models"));
    let empty = || keys.eddsa.token(&Claims::new().with("models", "[]"));
    let accepted = |name, why, token, model: &str| {
        Case::accepted(name, why, token).given("asked", asking(&quoted(model)))
    };
    let refused = |name, why, token, model: &str| {
        Case::refused("wrong-model", name, why, token).given("asked", asking(&quoted(model)))
    };
    let unnamed = |name, token| {
        Case::refused("model-unnamed", name, UNNAMED, token).given("asked", asking("null"))
    };
    let long = "m".repeat(128);
    vec![
        accepted("model-by-prefix", PREFIX, new(), "claude-haiku-4-5"),
        accepted("model-of-the-prefix-alone", PREFIX, new(), "claude-haiku-"),
        accepted("model-by-star", "`*` permits any model", any(), "vendor/model:7b@eu+fast"),
        accepted("model-of-128-bytes-by-star", NAME, any(), &long),
        refused("model-longer", EXACT, new(), "gpt-4-32k"),
        refused("model-shorter", EXACT, new(), "gpt-"),
        refused("model-in-upper-case", EXACT, new(), "GPT-4"),
        refused("model-with-zero-width-space", NAME, new(), r"gpt-4\u200b"),
        refused("model-with-space", NAME, new(), "gpt-4 "),
        refused("model-shorter-than-the-prefix", PREFIX, new(), "claude-haiku"),
        refused("model-of-another-family", PREFIX, new(), "claude-opus-4-1"),
        refused("model-prefix-in-upper-case", PREFIX, new(), "Claude-haiku-4-5"),
        refused("model-that-is-a-pattern", NAME, new(), "claude-haiku-*"),
        refused("model-star-by-star", NAME, any(), "*"),
        refused("model-by-prefix-with-line-feed", NAME, new(), r"claude-haiku-\n"),
        refused("model-by-prefix-percent-encoded", NAME, new(), "claude-haiku-%2e"),
        refused("model-empty-by-star", NAME, any(), ""),
        refused("model-of-129-bytes-by-star", NAME, any(), &format!("{long}m")),
        refused("model-without-models", NONE, no_models(), "gpt-4"),
        refused("model-with-empty-models", NONE, empty(), "gpt-4"),
        unnamed("model-not-named", new()),
        unnamed("model-not-named-by-star", any()),
        Case::accepted(
            "model-not-named-with-empty-models",
            "a request that names no model needs none",
            empty(),
        )
        .given("asked", asking("null")),
    ]
}

fn sizes(keys: &Keys) -> Vec<Case> {
    const WHY: &str = "one request costs at most `budget.request_tokens`";
    const TOTAL: &str =
        "totals belong to a ledger; one token alone does not limit a request by them";
    let asking =
        |size: &str| format!(r#"{{"scope": "llm:chat", "model": "gpt-4", "size": {size}}}"#);
    let new = || keys.eddsa.token(&Claims::new());
    let totals = Claims::new().with("budget", r#"{"tokens":1,"requests":1}"#);
    let largest = Claims::new().with("budget", r#"{"request_tokens":9007199254740991}"#);
    vec![
        Case::accepted("size-of-nothing", WHY, new()).given("asked", asking("0")),
        Case::refused("too-large", "size-one-too-many", WHY, new()).given("asked", asking("1001")),
        Case::refused("too-large", "size-of-2-to-the-63", WHY, new())
            .given("asked", asking("9223372036854775808")),
        Case::refused("size-unknown", "size-not-known", WHY, new()).given("asked", asking("null")),
        Case::accepted("size-beyond-totals", TOTAL, keys.eddsa.token(&totals)),
        Case::accepted("size-not-known-with-totals", TOTAL, keys.eddsa.token(&totals))
            .given("asked", asking("null")),
        Case::accepted("largest-budget", WHY, keys.eddsa.token(&largest))
            .given("asked", asking("9007199254740991")),
        Case::accepted(
            "no-budget",
            "absent limits do not limit",
            keys.eddsa.token(&Claims::new().without("budget")),
        )
        .given("asked", asking("1000000")),
    ]
}
