use super::{Fresh, HOSTILE, jti};
use scrip::store::tokens::{self, Matching, Span, Token};
use scrip::store::{Lock, Reader, StoreError, clients};
use std::collections::BTreeMap;

on_both![
    a_group_comes_back_as_it_was,
    a_group_is_stored_whole_or_not_at_all,
    a_large_group_is_stored,
    the_inventory_has_pages_newest_first,
    what_is_live_is_counted,
    n124_pruning_is_bounded_and_takes_the_oldest,
];

const ALWAYS: Span = Span { from: None, until: None };

pub fn token(iat: i64, n: u16, client: &str) -> Token {
    Token {
        jti: jti(iat, n),
        tenant: client.split('/').next().unwrap().to_owned(),
        client: client.to_owned(),
        sub: format!("client:{client}"),
        aud: "llm-gateway".to_owned(),
        kid: "K".to_owned(),
        cred: n.is_multiple_of(2).then(|| "vault:1.1".to_owned()),
        iat,
        exp: iat + 300,
        lin: Vec::new(),
        claims: format!("{{\"n\":{n}}}"),
    }
}

pub async fn store_all(store: &Fresh, tokens: &[Token]) {
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    tx.insert(|all| tokens::push(all, tokens)).await.unwrap();
    tx.commit().await.unwrap();
}

/// How many tokens that match are live, for each client that has any; read so many at a time.
async fn live_by_client(
    reader: &mut Reader,
    which: Matching<'_>,
    now: i64,
    page: u32,
) -> Vec<(String, i64)> {
    let (mut counted, mut after) = (BTreeMap::new(), None);
    loop {
        let live = tokens::live(reader, which, after, now, page).await.unwrap();
        let Some(last) = live.last() else { return counted.into_iter().collect() };
        after = Some(last.jti);
        for token in live {
            *counted.entry(token.client).or_default() += 1;
        }
    }
}

async fn a_group_comes_back_as_it_was(store: &Fresh) {
    let mut group = vec![token(100, 1, "acme/a"), token(100, 2, "acme/b")];
    for (n, text) in (3..).zip(HOSTILE) {
        let mut hostile = token(100, n, text);
        hostile.cred = Some(text.to_owned());
        hostile.claims = text.to_owned();
        group.push(hostile);
    }
    store_all(store, &group).await;
    store_all(store, &[]).await;

    let mut reader = store.read().await.unwrap();
    for token in group {
        assert_eq!(tokens::by_jti(&mut reader, token.jti).await.unwrap(), Some(token));
    }
    assert_eq!(tokens::by_jti(&mut reader, jti(100, 99)).await.unwrap(), None);
}

async fn a_group_is_stored_whole_or_not_at_all(store: &Fresh) {
    store_all(store, &[token(100, 1, "acme/a")]).await;
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    let again = [token(100, 2, "acme/a"), token(100, 1, "acme/a")];
    let refused = tx.insert(|all| tokens::push(all, &again)).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    drop(tx);

    let mut reader = store.read().await.unwrap();
    assert_eq!(tokens::by_jti(&mut reader, jti(100, 2)).await.unwrap(), None);
}

async fn a_large_group_is_stored(store: &Fresh) {
    let group: Vec<_> = (0..2500).map(|n| token(100, n, "acme/a")).collect();
    store_all(store, &group).await;
    let mut reader = store.read().await.unwrap();
    let live = live_by_client(&mut reader, Matching::All, 100, 1000).await;
    assert_eq!(live, [("acme/a".to_owned(), 2500)]);
}

async fn the_inventory_has_pages_newest_first(store: &Fresh) {
    let group = [token(1, 1, "acme/a"), token(2, 2, "acme/b"), token(3, 3, "acme/a")];
    let beta = token(4, 4, "beta/a");
    store_all(store, &group).await;
    store_all(store, std::slice::from_ref(&beta)).await;

    let mut reader = store.read().await.unwrap();
    let first = tokens::list(&mut reader, Matching::All, ALWAYS, None, 3).await.unwrap();
    assert_eq!(first, [beta.clone(), group[2].clone(), group[1].clone()]);
    let rest =
        tokens::list(&mut reader, Matching::All, ALWAYS, Some(group[1].jti), 3).await.unwrap();
    assert_eq!(rest, [group[0].clone()]);

    let client =
        tokens::list(&mut reader, Matching::Client("acme/a"), ALWAYS, None, 9).await.unwrap();
    assert_eq!(client, [group[2].clone(), group[0].clone()]);
    let tenant =
        tokens::list(&mut reader, Matching::Tenant("beta"), ALWAYS, None, 9).await.unwrap();
    assert_eq!(tenant, [beta]);
    assert_eq!(tokens::list(&mut reader, Matching::None, ALWAYS, None, 9).await.unwrap(), []);

    for (from, until, after, seconds) in [
        (Some(2), None, None, vec![4, 3, 2]),
        (None, Some(3), None, vec![2, 1]),
        (Some(2), Some(4), None, vec![3, 2]),
        (Some(2), Some(9), Some(jti(3, 3)), vec![2]),
        (Some(2), Some(3), Some(jti(4, 4)), vec![2]),
        (Some(3), Some(3), None, vec![]),
        (Some(i64::MIN), Some(i64::MAX), None, vec![4, 3, 2, 1]),
    ] {
        let span = Span { from, until };
        let found = tokens::list(&mut reader, Matching::All, span, after, 9).await.unwrap();
        assert_eq!(found.iter().map(|t| t.iat).collect::<Vec<_>>(), seconds, "{span:?} {after:?}");
    }
}

async fn what_is_live_is_counted(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for name in ["acme/a", "acme/b", "acme/idle"] {
        let client = clients::Client::new(&name.parse().unwrap(), "acme/p", "vault", 0, 1);
        clients::insert(&mut tx, &client).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut other_key = token(1000, 3, "acme/b");
    other_key.kid = "L".to_owned();
    let group = [
        token(500, 0, "acme/a"),
        token(800, 1, "acme/a"),
        token(900, 2, "acme/a"),
        other_key,
        token(100, 4, "acme/idle"),
    ];
    store_all(store, &group).await;

    let mut reader = store.read().await.unwrap();
    let now = 1000;
    let live = |client: &str, n| vec![(client.to_owned(), n)];
    let expected = [
        (Matching::Client("acme/a"), Some(900), live("acme/a", 2)),
        (Matching::Cred { client: "acme/a", version: "vault:1.1" }, Some(900), live("acme/a", 1)),
        (Matching::Sub { tenant: "acme", id: "client:acme/b" }, Some(1000), live("acme/b", 1)),
        (Matching::Sub { tenant: "beta", id: "client:acme/b" }, None, vec![]),
        (Matching::Kid("L"), Some(1000), live("acme/b", 1)),
        (Matching::Tenant("beta"), None, vec![]),
        (Matching::All, Some(1000), [live("acme/a", 2), live("acme/b", 1)].concat()),
        (Matching::Client("acme/b"), Some(1000), live("acme/b", 1)),
        (Matching::Client("acme/none"), None, vec![]),
    ];
    for (which, _, count) in &expected {
        assert_eq!(live_by_client(&mut reader, *which, now, 1).await, *count, "{which:?}");
    }
    let which: Vec<_> = expected.iter().map(|(which, ..)| *which).collect();
    let newest: Vec<_> = expected.iter().map(|(_, newest, _)| *newest).collect();
    assert_eq!(tokens::newest_iats(&mut reader, &which, now).await.unwrap(), newest);
    assert_eq!(tokens::newest_iats(&mut reader, &[], now).await.unwrap(), []);
    let too_old = tokens::newest_iats(&mut reader, &which[..1], 1806).await.unwrap();
    assert_eq!(too_old, [None]);
    let clients = tokens::clients_with_live(&mut reader, now, "", 9).await.unwrap();
    assert_eq!(clients, ["acme/a", "acme/b"]);
    let first = tokens::clients_with_live(&mut reader, now, "", 1).await.unwrap();
    assert_eq!(first, ["acme/a"]);
    let rest = tokens::clients_with_live(&mut reader, now, "acme/a", 9).await.unwrap();
    assert_eq!(rest, ["acme/b"]);
    let at_the_end = tokens::clients_with_live(&mut reader, 1300, "", 9).await.unwrap();
    assert!(at_the_end.is_empty(), "a token is over at its exp");
}

async fn n124_pruning_is_bounded_and_takes_the_oldest(store: &Fresh) {
    // So late that on Postgres no partition takes them.
    let start = 4_000_000_000;
    let group: Vec<_> = (0..5).map(|n| token(start + i64::from(n), n, "acme/a")).collect();
    store_all(store, &group).await;
    let prune = async |limit| {
        let mut tx = store.begin(Lock::Admin).await.unwrap();
        let gone = tokens::prune(&mut tx, start + 3, limit).await.unwrap();
        tx.commit().await.unwrap();
        gone
    };
    assert_eq!(prune(2).await, 2);
    let mut reader = store.read().await.unwrap();
    let left = tokens::list(&mut reader, Matching::All, ALWAYS, None, 9).await.unwrap();
    assert_eq!(left.iter().map(|t| t.iat - start).collect::<Vec<_>>(), [4, 3, 2]);
    assert_eq!(prune(9).await, 1);
    assert_eq!(prune(9).await, 0);
}
