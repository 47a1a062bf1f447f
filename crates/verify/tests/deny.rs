//! The deny list: what each entry refuses, and until when.

use proptest::prelude::*;
use scrip_verify::token::blob::Blob;
use scrip_verify::token::deny::{Credential, Entry, Subject, True};
use scrip_verify::token::limits::{HORIZON, LEEWAY};
use scrip_verify::token::{Claims, Jti};
use scrip_verify::{Denied, DenySet, Rejection, Trust};
use serde_json::json;

use crate::fixture::*;

const UNTIL: u64 = IAT + HORIZON;

fn denied(entry: Entry) -> Option<Denied> {
    DenySet::default().with(&[entry]).denies(&parsed(&claims()), EDDSA.kid())
}

fn client(name: &str, before: u64) -> Entry {
    Entry::Client { client: name.parse().unwrap(), before, until: UNTIL }
}

fn tenant(name: &str, before: u64) -> Entry {
    Entry::Tenant { tenant: name.to_owned(), before, until: UNTIL }
}

fn sub(tenant: &str, id: &str, before: u64) -> Entry {
    let sub = Subject { tenant: tenant.to_owned(), id: id.to_owned() };
    Entry::Sub { sub, before, until: UNTIL }
}

fn cred(client: &str, version: &str) -> Entry {
    let cred = Credential { client: client.parse().unwrap(), version: version.to_owned() };
    Entry::Cred { cred, until: UNTIL }
}

fn kid(kid: &str) -> Entry {
    Entry::Kid { kid: kid.to_owned() }
}

fn all(before: u64) -> Entry {
    Entry::All { all: True, before, until: UNTIL }
}

fn one(jti: Jti) -> Entry {
    Entry::Jti { jti, until: UNTIL }
}

#[test]
fn n23_a_cut_refuses_what_was_issued_until_then() {
    for (before, hit) in [(IAT - 1, false), (IAT, true), (IAT + 1, true)] {
        for (entry, expected) in [
            (all(before), Denied::All { before }),
            (tenant("acme", before), Denied::Tenant { before }),
            (client("acme/billing", before), Denied::Client { before }),
            (sub("acme", "client:acme/billing", before), Denied::Sub { before }),
        ] {
            assert_eq!(denied(entry), hit.then_some(expected));
        }
    }
}

#[test]
fn an_entry_refuses_what_it_selects_and_nothing_else() {
    for (entry, expected) in [
        (tenant("other", NOW), None),
        (client("acme/other", NOW), None),
        (client("other/billing", NOW), None),
        (sub("other", "client:acme/billing", NOW), None),
        (sub("acme", "client:acme/other", NOW), None),
        (cred("acme/billing", "vault:3.1795000000"), Some(Denied::Cred)),
        (cred("acme/billing", "vault:4.1795000000"), None),
        (cred("acme/other", "vault:3.1795000000"), None),
        (kid(EDDSA.kid()), Some(Denied::Kid)),
        (kid(ES256.kid()), None),
        (one(jti(9)), Some(Denied::Jti(jti(9)))),
        (one(jti(8)), None),
        (one(Jti::new(IAT * 1000 + 124, [9; 10])), None),
        (one(Jti::new(IAT * 1000 + 1123, [9; 10])), None),
    ] {
        assert_eq!(denied(entry.clone()), expected, "{entry:?}");
    }
    let untraded = parsed(&without("cred"));
    let set = DenySet::default().with(&[cred("acme/billing", "vault:3.1795000000")]);
    assert_eq!(set.denies(&untraded, EDDSA.kid()), None);
}

#[test]
fn a_token_is_found_whatever_seconds_lie_between() {
    let at = |second: u64| Jti::new((IAT + second) * 1000, [1; 10]);
    let revoked = [0, 2, 3, 7, 8, 9, 100];
    let set = DenySet::default().with(&revoked.map(|second| one(at(second))));
    for second in 0..=101 {
        let token = Claims { jti: at(second), ..parsed(&claims()) };
        let denied = set.denies(&token, EDDSA.kid()).is_some();
        assert_eq!(denied, revoked.contains(&second), "{second}");
    }
}

#[test]
fn a_token_that_differs_in_one_bit_is_another() {
    let random = [0x5a, 0xc3, 0x96, 0x0f, 0xa5, 0x3c, 0x69, 0xf0, 0x5a, 0xc3];
    let revoked = Jti::new(IAT * 1000, random);
    let set = DenySet::default().with(&[one(revoked)]);
    let others = (0..80).map(|bit| {
        let mut random = random;
        random[bit / 8] ^= 1 << (bit % 8);
        Jti::new(IAT * 1000, random)
    });
    let others: Vec<Jti> = others.filter(|other| *other != revoked).collect();
    assert_eq!(others.len(), 74, "all but version and variant");
    for jti in others {
        let token = Claims { jti, ..parsed(&claims()) };
        assert_eq!(set.denies(&token, EDDSA.kid()), None, "{jti}");
    }
}

#[test]
fn an_ancestor_takes_its_descendants_along() {
    let (root, parent) = (Jti::new(IAT * 1000 - 60_000, [1; 10]), jti(2));
    let descendant = parsed(&with("lin", json!([root, parent])));
    for ancestor in [root, parent] {
        let set = DenySet::default().with(&[one(ancestor)]);
        assert_eq!(set.denies(&descendant, EDDSA.kid()), Some(Denied::Ancestor(ancestor)));
        assert_eq!(set.denies(&parsed(&claims()), EDDSA.kid()), None);
    }
}

#[test]
fn the_widest_reason_is_named_first() {
    let entries = [
        kid(EDDSA.kid()),
        all(NOW),
        tenant("acme", NOW),
        client("acme/billing", NOW),
        sub("acme", "client:acme/billing", NOW),
        cred("acme/billing", "vault:3.1795000000"),
        one(jti(2)),
        one(jti(9)),
    ];
    let claims = parsed(&with("lin", json!([jti(2)])));
    let named = |from: usize| {
        DenySet::default().with(&entries[from..]).denies(&claims, EDDSA.kid()).unwrap()
    };
    let order: Vec<Denied> = (0..entries.len()).map(named).collect();
    assert_eq!(
        order,
        [
            Denied::Kid,
            Denied::All { before: NOW },
            Denied::Tenant { before: NOW },
            Denied::Client { before: NOW },
            Denied::Sub { before: NOW },
            Denied::Cred,
            Denied::Ancestor(jti(2)),
            Denied::Jti(jti(9)),
        ]
    );
}

#[test]
fn n34_a_revoked_key_and_a_revoked_token_are_refused_by_the_verifier() {
    let token = EDDSA.token(&claims());
    for (entry, expected) in [(one(jti(9)), Denied::Jti(jti(9))), (kid(EDDSA.kid()), Denied::Kid)] {
        let issuer = issuer(&[&EDDSA, &ES256], DenySet::default().with(&[entry]));
        let trust = Trust::one(&issuer, FRESH);
        let rejection = verifier().verify(&presented(token.as_bytes()), &trust).unwrap_err();
        assert_eq!(rejection, Rejection::Revoked(expected.clone()));
        let rejection = verifier().authenticate(token.as_bytes(), NOW, &trust).unwrap_err();
        assert_eq!(rejection, Rejection::Revoked(expected));
        let other = ES256.token(&with("jti", json!(jti(8))));
        assert!(verifier().verify(&presented(other.as_bytes()), &trust).is_ok());
    }
}

#[test]
fn a_set_is_left_as_it_was_when_a_batch_makes_another() {
    let first = DenySet::default().with(&[one(jti(1)), client("acme/billing", IAT - 9)]);
    let second = first.with(&[one(jti(9)), client("acme/billing", NOW), one(jti(1))]);
    assert_eq!((first.len(), second.len()), (2, 3));
    assert_eq!(first.denies(&parsed(&claims()), EDDSA.kid()), None);
    assert_eq!(
        second.denies(&parsed(&claims()), EDDSA.kid()),
        Some(Denied::Client { before: NOW })
    );
    // An earlier cut, or a repeated one, narrows nothing.
    assert_eq!(second.with(&[client("acme/billing", IAT - 9), one(jti(9))]), second);
    assert!(DenySet::default().is_empty() && !first.is_empty());
    assert_eq!(format!("{second:?}"), "DenySet(3 entries)");
}

#[test]
fn a_set_counts_every_token_and_every_rule() {
    let entries = [
        one(jti(1)),
        one(jti(2)),
        kid(EDDSA.kid()),
        kid(ES256.kid()),
        all(IAT),
        tenant("acme", IAT),
        tenant("other", IAT),
        client("acme/billing", IAT),
        client("acme/chat", IAT),
        sub("acme", "one", IAT),
        sub("acme", "two", IAT),
        sub("other", "one", IAT),
        cred("acme/billing", "v1"),
        cred("acme/billing", "v2"),
        cred("acme/chat", "v1"),
    ];
    for count in 0..=entries.len() {
        assert_eq!(DenySet::default().with(&entries[..count]).len(), count);
    }
}

#[test]
fn pruning_forgets_an_entry_once_nothing_can_be_refused_by_it() {
    for entry in [
        all(IAT),
        tenant("acme", IAT),
        client("acme/billing", IAT),
        sub("acme", "client:acme/billing", IAT),
        cred("acme/billing", "vault:3.1795000000"),
        one(jti(9)),
    ] {
        let set = DenySet::default().with(std::slice::from_ref(&entry));
        assert_eq!(set.pruned(UNTIL + LEEWAY), set, "{entry:?}");
        assert_eq!(set.pruned(UNTIL + LEEWAY + 1), DenySet::default(), "{entry:?}");
    }
    let set = DenySet::default().with(&[kid(EDDSA.kid())]);
    assert_eq!(set.pruned(u64::MAX), set);
}

#[test]
fn n92_an_until_that_is_too_early_forgets_nothing_that_lives() {
    let early = [
        Entry::Jti { jti: jti(9), until: 0 },
        Entry::All { all: True, before: IAT, until: 0 },
        Entry::Client { client: "acme/billing".parse().unwrap(), before: IAT, until: 0 },
    ];
    for entry in early {
        let set = DenySet::default().with(std::slice::from_ref(&entry));
        assert_eq!(set.pruned(IAT + HORIZON + LEEWAY), set, "{entry:?}");
        assert!(set.pruned(IAT + HORIZON + LEEWAY + 1).is_empty(), "{entry:?}");
    }
}

#[test]
fn n92_a_repeated_entry_never_shortens_the_first() {
    let token = |until: u64| Entry::Jti { jti: jti(9), until };
    let trade = |until: u64| {
        let cred = Credential { client: "acme/billing".parse().unwrap(), version: "v".into() };
        Entry::Cred { cred, until }
    };
    let later = UNTIL + 100;
    for (long, short) in [(token(later), token(UNTIL)), (trade(later), trade(UNTIL))] {
        let set = DenySet::default().with(&[long]);
        assert_eq!(set.with(std::slice::from_ref(&short)), set, "{short:?}");
        assert_eq!(set.pruned(later + LEEWAY), set, "{short:?}");
    }
}

/// Few values, so that entries and tokens meet.
fn entries() -> impl Strategy<Value = Entry> {
    let time = || IAT - 2..=IAT + 2;
    let name = || prop_oneof![Just("acme/billing"), Just("acme/chat"), Just("other/billing")];
    prop_oneof![
        (time(), 0u8..4).prop_map(|(second, n)| one(Jti::new(second * 1000, [n; 10]))),
        (name(), time()).prop_map(|(name, before)| client(name, before)),
        (prop_oneof![Just("acme"), Just("other")], time()).prop_map(|(name, t)| tenant(name, t)),
        (name(), time()).prop_map(|(name, before)| sub("acme", name, before)),
        (name(), 0u8..3).prop_map(|(name, version)| cred(name, &version.to_string())),
        time().prop_map(|before| all(before - 2)),
        (0u8..3).prop_map(|n| kid(&n.to_string().repeat(43))),
    ]
}

fn tokens() -> impl Strategy<Value = (Claims, String)> {
    let name = prop_oneof![Just("acme/billing"), Just("acme/chat"), Just("other/billing")];
    (name, IAT - 2..=IAT + 2, 0u8..4, 0u8..4, 0u8..3, 0u8..3).prop_map(
        |(name, iat, n, parent, version, key)| {
            let claims = Claims {
                iat,
                jti: Jti::new(iat * 1000, [n; 10]),
                lin: vec![Jti::new((iat - 1) * 1000, [parent; 10])],
                client_id: name.parse().unwrap(),
                tenant: name.split('/').next().unwrap().to_owned(),
                sub: name.to_owned(),
                cred: Some(version.to_string()),
                ..parsed(&claims())
            };
            (claims, key.to_string().repeat(43))
        },
    )
}

/// Entries one after the other, as their table reads.
fn refuses(entry: &Entry, claims: &Claims, key: &str) -> bool {
    match entry {
        Entry::Jti { jti, .. } => claims.jti == *jti || claims.lin.contains(jti),
        Entry::Client { client, before, .. } => {
            claims.client_id == *client && claims.iat <= *before
        }
        Entry::Sub { sub, before, .. } => {
            claims.tenant == sub.tenant && claims.sub == sub.id && claims.iat <= *before
        }
        Entry::Tenant { tenant, before, .. } => claims.tenant == *tenant && claims.iat <= *before,
        Entry::Cred { cred, .. } => {
            claims.client_id == cred.client && claims.cred.as_ref() == Some(&cred.version)
        }
        Entry::Kid { kid } => kid == key,
        Entry::All { before, .. } => claims.iat <= *before,
    }
}

proptest! {
    #[test]
    fn a_set_refuses_what_its_entries_refuse_in_any_order_and_number(
        entries in prop::collection::vec(entries(), 0..12),
        cut: prop::sample::Index,
        tokens in prop::collection::vec(tokens(), 1..12),
    ) {
        let (first, second) = entries.split_at(cut.index(entries.len() + 1));
        let set = DenySet::default().with(first).with(second);
        prop_assert_eq!(&DenySet::default().with(second).with(first).with(second), &set);
        let blob = Blob::from_entries(entries.iter().cloned()).unwrap();
        prop_assert_eq!(&DenySet::from_blob(&blob), &set);
        prop_assert_eq!(&set.pruned(UNTIL - 2), &set);
        for (claims, key) in &tokens {
            let expected = entries.iter().any(|entry| refuses(entry, claims, key));
            prop_assert_eq!(set.denies(claims, key).is_some(), expected);
        }
    }
}
