use super::{Fresh, HOSTILE};
use scrip::store::{
    self, Lock, StoreError, Tenants, client_addresses, client_warnings, clients, credentials,
    policies, standing,
};
use std::collections::HashSet;

on_both![
    a_client_comes_back_as_it_was,
    a_name_is_taken_for_ever,
    only_what_is_named_changes,
    the_list_has_pages_newest_first,
    use_adds_up,
    n151_hostile_text_is_text,
    n123_a_nul_is_stored_or_refused,
    a_credential_ends_once,
    only_who_is_enabled_stands,
    policies_have_versions,
    stale_clients_are_those_that_were_asked_for,
    a_warning_is_given_once,
    addresses_are_counted_and_bounded,
];

/// Of any id, also one that no client can have.
fn client(id: &str, created: i64) -> clients::Client {
    let any = "acme/any".parse().unwrap();
    clients::Client {
        id: id.to_owned(),
        tenant: id.split('/').next().unwrap().to_owned(),
        rotate_by: Some(1_800_000_000),
        ..clients::Client::new(&any, "acme/chat", "embedded", 86400, created)
    }
}

async fn a_client_comes_back_as_it_was(store: &Fresh) {
    let billing = client("acme/billing", 10);
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    clients::insert(&mut tx, &billing).await.unwrap();
    assert_eq!(clients::by_id(&mut tx, "acme/billing").await.unwrap().as_ref(), Some(&billing));
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    assert_eq!(clients::by_id(&mut reader, "acme/billing").await.unwrap(), Some(billing.clone()));
    assert_eq!(clients::by_id(&mut reader, "acme/other").await.unwrap(), None);
    let both = clients::by_ids(&mut reader, &["acme/billing", "acme/other"]).await.unwrap();
    assert_eq!(both, [billing]);
    assert_eq!(clients::by_ids(&mut reader, &[]).await.unwrap(), []);

    // With the time of the database, where that has a clock of its own.
    let before = store::now_ms(&mut reader, 0).await.unwrap();
    let governed = clients::by_ids_with_policies(&mut reader, &["acme/billing"]).await.unwrap();
    let after = store::now_ms(&mut reader, 0).await.unwrap();
    let clock_ms = (!store.is_embedded()).then(|| governed[0].clock_ms.unwrap());
    assert_eq!(governed[0].clock_ms, clock_ms);
    assert!(clock_ms.is_none_or(|clock_ms| (before..=after).contains(&clock_ms)), "{clock_ms:?}");
}

async fn a_name_is_taken_for_ever(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    clients::insert(&mut tx, &client("acme/billing", 10)).await.unwrap();
    let gone = clients::Change { deleted: Some(20), ..Default::default() };
    clients::update(&mut tx, "acme/billing", &gone).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let again = clients::insert(&mut tx, &client("acme/billing", 30)).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
}

async fn only_what_is_named_changes(store: &Fresh) {
    let before = client("acme/billing", 10);
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    clients::insert(&mut tx, &before).await.unwrap();

    let nothing = clients::Change::default();
    let same = clients::update(&mut tx, "acme/billing", &nothing).await.unwrap();
    assert_eq!(same.as_ref(), Some(&before));
    assert_eq!(clients::update(&mut tx, "acme/other", &nothing).await.unwrap(), None);

    let change = clients::Change {
        policy: Some("acme/other"),
        enabled: Some(false),
        overlap: Some(0),
        rotate_by: Some(None),
        rotated: Some(11),
        deleted: Some(12),
        refused: Some(Some(13)),
        version: Some("vault:2.11"),
    };
    let changed = clients::update(&mut tx, "acme/billing", &change).await.unwrap().unwrap();
    let expected = clients::Client {
        policy: "acme/other".to_owned(),
        enabled: false,
        overlap: 0,
        rotate_by: None,
        rotated: Some(11),
        deleted: Some(12),
        refused: Some(13),
        version: Some("vault:2.11".to_owned()),
        ..before
    };
    assert_eq!(changed, expected);

    let later = clients::Change { deleted: Some(99), ..Default::default() };
    let still = clients::update(&mut tx, "acme/billing", &later).await.unwrap().unwrap();
    assert_eq!(still.deleted, Some(12));
}

fn of(tenants: Tenants<'_>) -> clients::Filter<'_> {
    clients::Filter { tenants, stale: None }
}

async fn the_list_has_pages_newest_first(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for (name, created) in
        [("acme/a", 1), ("acme/b", 2), ("acme/c", 2), ("beta/d", 3), ("acme/e", 4)]
    {
        clients::insert(&mut tx, &client(name, created)).await.unwrap();
    }
    let gone = clients::Change { deleted: Some(5), ..Default::default() };
    clients::update(&mut tx, "acme/e", &gone).await.unwrap();
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    let mut seen = Vec::new();
    loop {
        let after = seen.last().map(String::as_str);
        let page = clients::list(&mut reader, &of(Tenants::All), after, 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|c| c.id));
    }
    assert_eq!(seen, ["beta/d", "acme/c", "acme/b", "acme/a"]);

    let acme =
        clients::list(&mut reader, &of(Tenants::One("acme")), Some("acme/c"), 10).await.unwrap();
    assert_eq!(acme.iter().map(|c| &c.id).collect::<Vec<_>>(), ["acme/b", "acme/a"]);
    for (tenants, after) in [
        (Tenants::All, Some("no/such")),
        (Tenants::Nobody, None),
        // One that is there, in a list that it is not in.
        (Tenants::One("acme"), Some("beta/d")),
    ] {
        assert_eq!(clients::list(&mut reader, &of(tenants), after, 10).await.unwrap(), []);
    }
}

async fn use_adds_up(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for name in ["acme/a", "acme/b"] {
        clients::insert(&mut tx, &client(name, 1)).await.unwrap();
    }
    let used = |id, mints, at, address| clients::Use { id, mints, at, address };
    clients::mark_used(&mut tx, &[]).await.unwrap();
    clients::mark_used(
        &mut tx,
        &[used("acme/b", 2, 7, Some("10.0.0.1")), used("acme/a", 1, 7, None)],
    )
    .await
    .unwrap();
    clients::mark_used(&mut tx, &[used("acme/b", 2, 9, Some("10.0.0.2"))]).await.unwrap();
    // Of another replica, which has written later what was earlier.
    clients::mark_used(&mut tx, &[used("acme/b", 1, 8, Some("10.0.0.3"))]).await.unwrap();

    let a = clients::by_id(&mut tx, "acme/a").await.unwrap().unwrap();
    assert_eq!((a.mints, a.last_used, a.last_address), (1, Some(7), None));
    let b = clients::by_id(&mut tx, "acme/b").await.unwrap().unwrap();
    assert_eq!((b.mints, b.last_used, b.last_address), (5, Some(9), Some("10.0.0.2".to_owned())));

    for (at, last_used) in [(8, 9), (12, 12)] {
        clients::mark_seen(&mut tx, "acme/b", at).await.unwrap();
        let b = clients::by_id(&mut tx, "acme/b").await.unwrap().unwrap();
        assert_eq!((b.mints, b.last_used), (5, Some(last_used)));
    }
}

async fn n151_hostile_text_is_text(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for (n, text) in HOSTILE.iter().enumerate() {
        let mut hostile = client(text, n as i64);
        hostile.policy = (*text).to_owned();
        hostile.last_address = Some((*text).to_owned());
        clients::insert(&mut tx, &hostile).await.unwrap();
        assert_eq!(clients::by_id(&mut tx, text).await.unwrap(), Some(hostile));
    }
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    for text in HOSTILE {
        let of_it = of(Tenants::One(text));
        let only = clients::list(&mut reader, &of_it, None, 100).await.unwrap();
        assert_eq!(only.iter().map(|c| c.tenant.as_str()).collect::<Vec<_>>(), [text]);
        assert_eq!(clients::by_ids(&mut reader, &[text]).await.unwrap().len(), 1);
    }
    let all = clients::list(&mut reader, &of(Tenants::All), None, 100).await.unwrap();
    assert_eq!(all.len(), HOSTILE.len());
}

async fn n123_a_nul_is_stored_or_refused(store: &Fresh) {
    let nul = client("acme/\0", 1);
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    match clients::insert(&mut tx, &nul).await {
        Err(StoreError::Unstorable(_)) => assert!(store.is_postgres()),
        Ok(()) => assert_eq!(clients::by_id(&mut tx, &nul.id).await.unwrap(), Some(nul)),
        other => panic!("{other:?}"),
    }
}

async fn a_credential_ends_once(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    clients::insert(&mut tx, &client("acme/a", 1)).await.unwrap();
    let version = |version: &str, created, digest| credentials::Credential {
        client: "acme/a".to_owned(),
        version: version.to_owned(),
        created,
        digest,
        ended: None,
    };
    let (old, new) = (version("embedded:1.10", 10, Some([7; 32])), version("vault:2.20", 20, None));
    credentials::insert(&mut tx, &old).await.unwrap();
    credentials::insert(&mut tx, &new).await.unwrap();
    let both = credentials::of_client(&mut tx, "acme/a").await.unwrap();
    assert!(both == [new.clone(), old.clone()], "{both:?}");
    assert!(!format!("{both:?}").contains("7, 7"), "a digest is not for logs");

    assert!(credentials::end(&mut tx, "acme/a", "embedded:1.10", 30).await.unwrap());
    assert!(!credentials::end(&mut tx, "acme/a", "embedded:1.10", 40).await.unwrap());
    assert!(!credentials::end(&mut tx, "acme/a", "embedded:9.9", 40).await.unwrap());
    credentials::insert(&mut tx, &old).await.unwrap();
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    let both = credentials::of_client(&mut reader, "acme/a").await.unwrap();
    assert_eq!(both[1].ended, Some(30), "what has ended stays so when it is recorded again");
}

async fn only_who_is_enabled_stands(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let is_off = |name: &str| clients::Client { enabled: false, ..client(name, 1) };
    let is_gone = |name: &str| clients::Client { deleted: Some(2), ..client(name, 1) };
    for one in [client("acme/a", 1), is_off("acme/off"), is_gone("acme/gone"), client("acme/b", 1)]
    {
        clients::insert(&mut tx, &one).await.unwrap();
    }
    for (n, text) in HOSTILE.iter().enumerate() {
        clients::insert(&mut tx, &client(text, n as i64)).await.unwrap();
    }
    credentials::end_for_good(&mut tx, "acme/a", "embedded:1.10", 30).await.unwrap();
    credentials::end_for_good(&mut tx, "acme/b", "embedded:1.10", 30).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.begin(Lock::Mint).await.unwrap();
    let asked = ["acme/a", "acme/off", "acme/gone", "acme/nobody"];
    let standing = standing::read(&mut tx, &asked, &[], 0).await.unwrap();
    assert_eq!(standing.enabled, HashSet::from(["acme/a".to_owned()]));
    let ended = ("acme/a".to_owned(), "embedded:1.10".to_owned());
    assert_eq!(standing.ended, HashSet::from([ended]));
    for text in HOSTILE {
        let standing = standing::read(&mut tx, &[text], &[text], 0).await.unwrap();
        assert_eq!(standing.enabled, HashSet::from([text.to_owned()]));
        assert!(standing.ended.is_empty() && standing.cuts.is_empty(), "{standing:?}");
    }
}

async fn policies_have_versions(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for (name, at) in [("acme/a", 1), ("acme/b", 2), ("acme/a", 3), ("acme-2/c", 3)] {
        policies::insert(&mut tx, name, "ops/admin", at, &format!("{{\"at\":{at}}}"))
            .await
            .unwrap();
    }
    assert_eq!(policies::insert(&mut tx, "acme/b", "ops/admin", 9, "{}").await.unwrap(), 2);
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    let latest = policies::latest(&mut reader, "acme/a").await.unwrap().unwrap();
    assert_eq!((latest.version, latest.at, latest.body.as_str()), (2, 3, "{\"at\":3}"));
    assert_eq!(policies::version(&mut reader, "acme/a", 1).await.unwrap().unwrap().at, 1);
    assert_eq!(policies::version(&mut reader, "acme/a", 3).await.unwrap(), None);
    let versions = async |name: &str, after, limit| -> Vec<i64> {
        let mut reader = store.read().await.unwrap();
        let page = policies::versions(&mut reader, name, after, limit).await.unwrap();
        page.into_iter().map(|policy| policy.version).collect()
    };
    assert_eq!(versions("acme/a", None, 9).await, [2, 1]);
    assert_eq!(versions("acme/a", None, 1).await, [2]);
    assert_eq!(versions("acme/a", Some(2), 9).await, [1]);
    assert_eq!(versions("acme/x", None, 9).await, [0_i64; 0]);
    assert_eq!(policies::latest(&mut reader, "acme/x").await.unwrap(), None);

    let names =
        |page: Vec<policies::Policy>| -> Vec<String> { page.into_iter().map(|p| p.name).collect() };
    let first = policies::list(&mut reader, Tenants::All, None, 2).await.unwrap();
    let last = &first[1];
    let rest =
        policies::list(&mut reader, Tenants::All, Some((last.at, &last.name)), 2).await.unwrap();
    let (first, rest) = (names(first.clone()), names(rest));
    assert_eq!(first[0], "acme/b");
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert!(!first.contains(&rest[0]));
    let acme = policies::list(&mut reader, Tenants::One("acme"), None, 9).await.unwrap();
    assert_eq!(names(acme), ["acme/b", "acme/a"]);
    assert_eq!(policies::list(&mut reader, Tenants::Nobody, None, 9).await.unwrap(), []);

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for (name, policy) in [("acme/x", "acme/a"), ("acme/y", "acme/none"), ("acme/z", "acme/a")] {
        let policy = policy.to_owned();
        clients::insert(&mut tx, &clients::Client { policy, ..client(name, 1) }).await.unwrap();
    }
    let off = clients::Change { enabled: Some(false), ..Default::default() };
    clients::update(&mut tx, "acme/z", &off).await.unwrap();
    assert_eq!(policies::of_client(&mut tx, "acme/x").await.unwrap(), Some(latest));
    for none in ["acme/y", "acme/z", "acme/nobody"] {
        assert_eq!(policies::of_client(&mut tx, none).await.unwrap(), None, "{none}");
    }
}

async fn stale_clients_are_those_that_were_asked_for(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let used = |id: &str, last_used| clients::Client { last_used, ..client(id, 10) };
    let off = clients::Client { enabled: false, ..used("acme/off", None) };
    for client in [
        used("acme/never", None),
        clients::Client { created: 90, ..used("acme/new", None) },
        used("acme/unused", Some(20)),
        used("acme/used", Some(80)),
        used("acme/shared", Some(80)),
        off,
    ] {
        clients::insert(&mut tx, &client).await.unwrap();
    }
    client_warnings::raise(&mut tx, "acme/shared", "shared", 80).await.unwrap();
    client_warnings::raise(&mut tx, "acme/off", "shared", 80).await.unwrap();
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    let mut stale = async |never_used_since, unused_since, warned_of: &[&str]| {
        let stale = clients::Stale { never_used_since, unused_since, warned_of };
        let filter = clients::Filter { tenants: Tenants::One("acme"), stale: Some(stale) };
        let found = clients::list(&mut reader, &filter, None, 10).await.unwrap();
        let mut ids: Vec<String> = found.into_iter().map(|client| client.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(stale(Some(50), None, &[]).await, ["acme/never"]);
    assert_eq!(stale(None, Some(50), &[]).await, ["acme/unused"]);
    assert_eq!(stale(None, None, &["shared", "past-due"]).await, ["acme/shared"]);
    let all = stale(Some(95), Some(50), &["past-due", "shared"]).await;
    assert_eq!(all, ["acme/never", "acme/new", "acme/shared", "acme/unused"]);
    assert_eq!(stale(None, None, &[]).await, [""; 0]);

    let names = async |after: &str| -> Vec<String> {
        let mut reader = store.read().await.unwrap();
        let page = clients::by_name(&mut reader, after, 3).await.unwrap();
        page.into_iter().map(|client| client.id).collect()
    };
    assert_eq!(names("").await, ["acme/never", "acme/new", "acme/off"]);
    assert_eq!(names("acme/off").await, ["acme/shared", "acme/unused", "acme/used"]);
    assert_eq!(names("acme/used").await, [""; 0]);
}

async fn a_warning_is_given_once(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for name in ["acme/a", "acme/b"] {
        assert!(client_warnings::raise(&mut tx, name, "past-due", 5).await.unwrap());
    }
    assert!(client_warnings::raise(&mut tx, "acme/a", "unused", 6).await.unwrap());
    assert!(!client_warnings::raise(&mut tx, "acme/a", "past-due", 7).await.unwrap());
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    let warning = |kind: &str, at| client_warnings::Warning {
        client: "acme/a".to_owned(),
        kind: kind.to_owned(),
        at,
    };
    let of_a = client_warnings::of_clients(&mut reader, &["acme/a", "acme/x"]).await.unwrap();
    assert_eq!(of_a, [warning("past-due", 5), warning("unused", 6)]);
    assert_eq!(client_warnings::of_clients(&mut reader, &[]).await.unwrap(), []);
    let mut counted = client_warnings::count(&mut reader).await.unwrap();
    counted.sort();
    assert_eq!(counted, [("past-due".to_owned(), 2), ("unused".to_owned(), 1)]);
    drop(reader);

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    client_warnings::lift(&mut tx, "acme/a", &["past-due", "refused"]).await.unwrap();
    assert!(client_warnings::raise(&mut tx, "acme/a", "past-due", 9).await.unwrap());
}

async fn addresses_are_counted_and_bounded(store: &Fresh) {
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    let seen = |client: &str, n: i64| (client.to_owned(), format!("10.0.{}.{}", n / 256, n % 256));
    client_addresses::note(&mut tx, &[], 5).await.unwrap();
    client_addresses::note(&mut tx, &[seen("acme/a", 1), seen("acme/b", 1)], 10).await.unwrap();
    client_addresses::note(&mut tx, &[seen("acme/a", 1), seen("acme/a", 2)], 20).await.unwrap();
    client_addresses::note(&mut tx, &[seen("acme/a", 1)], 15).await.unwrap();
    let mut count = async |since| {
        let ids = ["acme/a", "acme/b", "acme/x"];
        let mut counted = client_addresses::count(&mut tx, &ids, since).await.unwrap();
        counted.sort();
        counted
    };
    let of = |client: &str, places| (client.to_owned(), places);
    assert_eq!(count(0).await, [of("acme/a", 2), of("acme/b", 1)]);
    assert_eq!(count(20).await, [of("acme/a", 2)], "what is known is dated anew, never back");
    assert_eq!(count(21).await, []);

    for n in 0..client_addresses::MOST + 10 {
        client_addresses::note(&mut tx, &[seen("acme/b", n)], 30).await.unwrap();
    }
    let counted = client_addresses::count(&mut tx, &["acme/b"], 0).await.unwrap();
    assert_eq!(counted, [of("acme/b", client_addresses::MOST)]);
    assert_eq!(client_addresses::prune(&mut tx, 30, 1).await.unwrap(), 1);
    assert_eq!(client_addresses::prune(&mut tx, 30, 10).await.unwrap(), 1);
    assert_eq!(client_addresses::prune(&mut tx, 30, 10).await.unwrap(), 0);
}
