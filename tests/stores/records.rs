use super::{Fresh, HOSTILE, id, jti};
use scrip::store::{
    Lock, StoreError, Tenants, audit, clients, idempotency, keys_documents, revocations,
    signing_keys,
};
use scrip_token::Digest;

on_both![
    n50_a_key_is_taken_once,
    n50_keys_of_a_group_are_taken_once,
    n50_two_groups_take_their_keys_in_one_order,
    idempotency_keys_are_pruned,
    events_come_back_newest_first,
    the_log_is_filtered,
    mints_are_found_by_the_policy_of_who_asked,
    keys_come_back_as_they_were,
    keys_documents_are_all_kept,
    revocations_come_back_newest_first,
];

fn used(key: &str, at: i64) -> idempotency::Used {
    idempotency::Used {
        caller: "acme/a".to_owned(),
        route: "POST /oauth2/token".to_owned(),
        key: key.to_owned(),
        digest: Digest::from_bytes([1; 32]),
        at,
        jti: (at == 1).then(|| jti(1, 1)),
        reply: (at != 1).then(|| "{}".to_owned()),
    }
}

async fn n50_a_key_is_taken_once(store: &Fresh) {
    let first = used("k", 1);
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    assert!(idempotency::insert(&mut tx, &first).await.unwrap());
    assert!(!idempotency::insert(&mut tx, &used("k", 2)).await.unwrap());
    for text in HOSTILE {
        assert!(idempotency::insert(&mut tx, &used(text, 2)).await.unwrap());
    }
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    let route = "POST /oauth2/token";
    let found = idempotency::find(&mut reader, "acme/a", route, "k").await.unwrap();
    assert_eq!(found, Some(first));
    assert_eq!(idempotency::find(&mut reader, "acme/b", route, "k").await.unwrap(), None);
    assert_eq!(idempotency::find(&mut reader, "acme/a", "/", "k").await.unwrap(), None);
    for text in HOSTILE {
        let found = idempotency::find(&mut reader, "acme/a", route, text).await.unwrap();
        assert_eq!(found, Some(used(text, 2)));
    }
}

async fn n50_keys_of_a_group_are_taken_once(store: &Fresh) {
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    assert!(idempotency::insert_many(&mut tx, &[]).await.unwrap().is_empty());
    assert!(idempotency::insert(&mut tx, &used("old", 1)).await.unwrap());
    let group = ["z", "old", "a", "z", HOSTILE[0]].map(|key| used(key, 1));
    let of_another = idempotency::Used { caller: "acme/b".to_owned(), ..used("old", 2) };
    let twice = used("a", 2);
    let group = [&group[..], &[of_another.clone(), twice][..]].concat();
    let taken = idempotency::insert_many(&mut tx, &group).await.unwrap();
    assert_eq!(taken, [true, false, true, false, true, true, false]);
    // More than one statement has room for on SQLite.
    let many: Vec<_> = (0..2500).map(|n| used(&format!("k{}", n % 2400), 2)).collect();
    let taken = idempotency::insert_many(&mut tx, &many).await.unwrap();
    assert_eq!(taken, (0..2500).map(|n| n < 2400).collect::<Vec<_>>());
    tx.commit().await.unwrap();

    let route = "POST /oauth2/token";
    let asked = [("acme/a", "a"), ("acme/a", "none"), ("acme/b", "old"), ("acme/c", "a")];
    let mut reader = store.read().await.unwrap();
    let mut found = idempotency::find_many(&mut reader, route, &asked).await.unwrap();
    found.sort_by(|a, b| a.caller.cmp(&b.caller));
    assert_eq!(found, [used("a", 1), of_another]);
    assert_eq!(idempotency::find_many(&mut reader, "/", &asked).await.unwrap(), []);
    assert_eq!(idempotency::find_many(&mut reader, route, &[]).await.unwrap(), []);
    let asked: Vec<_> = many.iter().map(|used| (&*used.caller, &*used.key)).collect();
    let found = idempotency::find_many(&mut reader, route, &asked[..2400]).await.unwrap();
    assert_eq!(found.len(), 2400);
}

async fn n50_two_groups_take_their_keys_in_one_order(store: &Fresh) {
    let keys: Vec<_> = (0..500).map(|n| used(&format!("k{n}"), 1)).collect();
    let reversed: Vec<_> = keys.iter().rev().cloned().collect();
    let take = async |keys: &[idempotency::Used]| {
        let mut tx = store.begin(Lock::Mint).await.unwrap();
        let taken = idempotency::insert_many(&mut tx, keys).await.unwrap();
        tx.commit().await.unwrap();
        taken.iter().filter(|taken| **taken).count()
    };
    let (one, other) = tokio::join!(take(&keys), take(&reversed));
    assert_eq!(one.max(other), 500);
    assert_eq!(one.min(other), 0);
}

async fn idempotency_keys_are_pruned(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
        idempotency::insert(&mut tx, &used(key, n as i64)).await.unwrap();
    }
    assert_eq!(idempotency::prune(&mut tx, 2, 1).await.unwrap(), 1);
    assert_eq!(idempotency::prune(&mut tx, 2, 9).await.unwrap(), 1);
    assert_eq!(idempotency::prune(&mut tx, 2, 9).await.unwrap(), 0);
    let left = idempotency::find(&mut tx, "acme/a", "POST /oauth2/token", "c").await.unwrap();
    assert!(left.is_some());
}

fn event(second: i64, n: u16) -> audit::Event {
    let every = |k: u16, text: &str| n.is_multiple_of(k).then(|| text.to_owned());
    audit::Event {
        id: id(second, n),
        at_ms: second * 1000,
        action: if n.is_multiple_of(2) { "mint" } else { "revoke" }.to_owned(),
        outcome: "ok".to_owned(),
        actor: every(2, "acme/a"),
        tenant: every(3, "acme"),
        target: every(4, "acme/b"),
        jti: (n == 6).then(|| jti(1, 6)),
        address: every(5, "10.0.0.1"),
        request_id: format!("r{n}"),
        detail: HOSTILE[usize::from(n) % HOSTILE.len()].to_owned(),
    }
}

async fn record(store: &Fresh, events: &[audit::Event]) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    audit::insert_many(&mut tx, events).await.unwrap();
    tx.commit().await.unwrap();
}

async fn events_come_back_newest_first(store: &Fresh) {
    let mut events: Vec<_> = (0..2200).map(|n| event(1, n)).collect();
    record(store, &events).await;
    record(store, &[]).await;
    events.reverse();

    let mut reader = store.read().await.unwrap();
    let all = audit::Filter::default();
    let first = audit::list(&mut reader, Tenants::All, &all, None, 1500).await.unwrap();
    assert!(first == events[..1500]);
    let rest =
        audit::list(&mut reader, Tenants::All, &all, Some(first[1499].id), 1500).await.unwrap();
    assert!(rest == events[1500..]);
}

async fn the_log_is_filtered(store: &Fresh) {
    let events: Vec<_> = (0..12).map(|n| event(i64::from(n), n)).collect();
    record(store, &events).await;

    let mut reader = store.read().await.unwrap();
    let f = audit::Filter::default;
    let (all, acme) = (Tenants::All, Tenants::One("acme"));
    for (tenants, filter, expected) in [
        (all, audit::Filter { actor: Some("acme/a"), ..f() }, vec![10, 8, 6, 4, 2, 0]),
        (all, audit::Filter { action: Some("revoke"), ..f() }, vec![11, 9, 7, 5, 3, 1]),
        (acme, f(), vec![9, 6, 3, 0]),
        (Tenants::Nobody, f(), vec![]),
        (all, audit::Filter { jti: Some(jti(1, 6)), ..f() }, vec![6]),
        (all, audit::Filter { since_ms: Some(10_000), ..f() }, vec![11, 10]),
        (
            acme,
            audit::Filter {
                actor: Some("acme/a"),
                action: Some("mint"),
                jti: None,
                since_ms: Some(1),
            },
            vec![6],
        ),
        (all, audit::Filter { actor: Some("' OR 1=1 --"), ..f() }, vec![]),
    ] {
        let found = audit::list(&mut reader, tenants, &filter, None, 99).await.unwrap();
        let seconds: Vec<_> = found.iter().map(|e| e.at_ms / 1000).collect();
        assert_eq!(seconds, expected, "{filter:?}");
    }
}

async fn mints_are_found_by_the_policy_of_who_asked(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for (id, policy) in [("acme/a", "acme/x"), ("acme/b", "acme/y"), ("acme/c", "acme/x")] {
        let client = clients::Client::new(&id.parse().unwrap(), policy, "embedded", 60, 1);
        clients::insert(&mut tx, &client).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mint = |second: i64, actor: &str, action: &str, outcome: &str| audit::Event {
        action: action.to_owned(),
        outcome: outcome.to_owned(),
        actor: Some(actor.to_owned()),
        tenant: actor.split_once('/').map(|(tenant, _)| tenant.to_owned()),
        ..event(second, 1)
    };
    record(
        store,
        &[
            mint(1, "acme/a", "mint", "granted"),
            mint(2, "acme/b", "mint", "granted"),
            mint(3, "acme/c", "mint", "invalid_scope"),
            mint(4, "acme/a", "mint", "repeated"),
            mint(5, "acme/a", "token.revoke", "done"),
            mint(6, "umbrella/a", "mint", "granted"),
            mint(7, "acme/a", "mint", "granted"),
        ],
    )
    .await;
    let found = async |policy: &str, looked_at, limit| -> Vec<i64> {
        let mut reader = store.read().await.unwrap();
        let found = audit::mints_under(&mut reader, "acme", policy, looked_at, limit).await;
        found.unwrap().iter().map(|event| event.at_ms / 1000).collect()
    };
    assert_eq!(found("acme/x", 99, 99).await, [7, 3, 1]);
    assert_eq!(found("acme/x", 99, 2).await, [7, 3]);
    assert_eq!(found("acme/x", 4, 99).await, [7, 3], "no more than so many are looked at");
    assert_eq!(found("acme/y", 99, 99).await, [2]);
    assert_eq!(found("' OR 1=1 --", 99, 99).await, [0_i64; 0]);
}

async fn keys_come_back_as_they_were(store: &Fresh) {
    let key = |kid: &str, purpose: &str, published| signing_keys::SigningKey {
        kid: kid.to_owned(),
        alg: "ES256".to_owned(),
        purpose: purpose.to_owned(),
        jwk: "{}".to_owned(),
        published,
        active_from: None,
        retire_at: None,
        revoked_at: None,
    };
    let (first, next) = (key("K", "token", 1), key("L", "feed", 2));
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    signing_keys::insert(&mut tx, &next).await.unwrap();
    signing_keys::insert(&mut tx, &first).await.unwrap();
    assert_eq!(signing_keys::all(&mut tx).await.unwrap(), [first.clone(), next]);

    let times = signing_keys::Times { active_from: Some(5), ..Default::default() };
    let active = signing_keys::set_times(&mut tx, "K", times).await.unwrap();
    assert_eq!(active, Some(signing_keys::SigningKey { active_from: Some(5), ..first.clone() }));
    for revoked_at in [7, 8] {
        let times = signing_keys::Times {
            retire_at: Some(6),
            revoked_at: Some(revoked_at),
            ..Default::default()
        };
        let revoked = signing_keys::set_times(&mut tx, "K", times).await.unwrap().unwrap();
        assert_eq!((revoked.active_from, revoked.retire_at), (Some(5), Some(6)));
        assert_eq!(revoked.revoked_at, Some(7));
    }
    assert_eq!(signing_keys::set_times(&mut tx, "M", times).await.unwrap(), None);
    let again = signing_keys::insert(&mut tx, &first).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
}

async fn keys_documents_are_all_kept(store: &Fresh) {
    let document =
        |version| keys_documents::KeysDocument { version, at: version, jws: format!("v{version}") };
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(keys_documents::latest(&mut tx).await.unwrap(), None);
    for version in 1..=12 {
        keys_documents::insert(&mut tx, &document(version)).await.unwrap();
    }
    assert_eq!(keys_documents::latest(&mut tx).await.unwrap(), Some(document(12)));
    assert_eq!(keys_documents::version(&mut tx, 1).await.unwrap(), Some(document(1)));
    assert_eq!(keys_documents::version(&mut tx, 13).await.unwrap(), None);
    let again = keys_documents::insert(&mut tx, &document(12)).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
}

async fn revocations_come_back_newest_first(store: &Fresh) {
    let revocation = |n: u16| revocations::Revocation {
        id: id(1, n),
        epoch: (n != 2).then(|| "E".to_owned()),
        seq: (n != 2).then_some(7),
        selector: "{}".to_owned(),
        subject: if n == 1 { "kid:K" } else { "client:acme/a" }.to_owned(),
        tenant: (n != 1).then(|| "acme".to_owned()),
        before: Some(5),
        reason: "leaked".to_owned(),
        note: HOSTILE[usize::from(n)].to_owned(),
        by_whom: "ops/admin".to_owned(),
        at_ms: 1000,
        until: (n != 1).then_some(910),
        known: n != 2,
    };
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    let all = [revocation(0), revocation(1), revocation(2)];
    revocations::insert_many(&mut tx, &all).await.unwrap();
    revocations::insert_many(&mut tx, &[]).await.unwrap();
    tx.commit().await.unwrap();

    let mut reader = store.read_reserved().await.unwrap();
    let first = revocations::list(&mut reader, Tenants::All, None, 2).await.unwrap();
    assert_eq!(first, [revocation(2), revocation(1)]);
    let rest = revocations::list(&mut reader, Tenants::All, Some(first[1].id), 2).await.unwrap();
    assert_eq!(rest, [revocation(0)]);
    for (tenants, expected) in [
        (Tenants::One("acme"), vec![revocation(2), revocation(0)]),
        (Tenants::One("beta"), vec![]),
        (Tenants::Nobody, vec![]),
    ] {
        assert_eq!(revocations::list(&mut reader, tenants, None, 9).await.unwrap(), expected);
    }
    assert_eq!(revocations::by_id(&mut reader, id(1, 1)).await.unwrap(), Some(revocation(1)));
    assert_eq!(revocations::by_id(&mut reader, id(1, 9)).await.unwrap(), None);
    let subjects = ["client:acme/a", "client:acme/b"];
    assert_eq!(revocations::latest(&mut reader, &subjects).await.unwrap(), [revocation(2)]);
    assert_eq!(revocations::latest(&mut reader, &[]).await.unwrap(), []);
}
