use super::{Fresh, HOSTILE, jti};
use scrip::store::deny_batches::{self, Batch};
use scrip::store::deny_entries::{self, Cut, Entry};
use scrip::store::deny_snapshots::{self, Snapshot};
use scrip::store::deny_unissued;
use scrip::store::installation::{self, Installation};
use scrip::store::{Listener, Lock, Numbered, StoreError, standing};
use scrip_token::Digest;
use std::time::Duration;

on_both![
    batches_follow_each_other,
    a_page_of_batches_is_bounded_in_bytes,
    n76_batches_shrink_to_heads_and_the_last_one_stays,
    n76_a_head_is_kept_while_what_followed_it_is_young,
    entries_come_back_in_order,
    a_cut_is_the_latest_that_still_stands,
    n76_entries_are_pruned_when_they_are_over,
    two_snapshots_are_kept,
    the_unissued_are_counted_until_they_are_over,
];

const EPOCH: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn digest(n: i64) -> Digest {
    Digest::from_bytes([n as u8; 32])
}

fn batch(seq: i64) -> Batch {
    let jws = Some(format!("jws {seq}"));
    Batch { epoch: EPOCH.to_owned(), seq, at: seq, head: digest(seq), jws }
}

fn numbering(seq: i64) -> Installation {
    Installation {
        issuer: "https://sts.example".to_owned(),
        epoch: EPOCH.to_owned(),
        seq,
        head: digest(seq),
        keys_version: 0,
        created: 1,
    }
}

async fn batches_follow_each_other(store: &Fresh) {
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    for seq in [1, 2, 3] {
        deny_batches::insert(&mut tx, &batch(seq)).await.unwrap();
    }
    tx.commit().await.unwrap();

    let mut reader = store.read_reserved().await.unwrap();
    let page = deny_batches::after(&mut reader, EPOCH, 1, 9).await.unwrap();
    assert_eq!(page, [batch(2), batch(3)]);
    assert_eq!(deny_batches::after(&mut reader, EPOCH, 0, 1).await.unwrap(), [batch(1)]);
    assert_eq!(deny_batches::after(&mut reader, EPOCH, 3, 9).await.unwrap(), []);
    assert_eq!(deny_batches::after(&mut reader, "' OR 1=1 --", 0, 9).await.unwrap(), []);
    assert_eq!(deny_batches::one(&mut reader, EPOCH, 2).await.unwrap(), Some(batch(2)));
    assert_eq!(deny_batches::one(&mut reader, EPOCH, 4).await.unwrap(), None);

    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    let other = Batch { head: digest(9), ..batch(3) };
    let twice = deny_batches::insert(&mut tx, &other).await;
    assert!(matches!(twice, Err(StoreError::Conflict)), "one content for each number: {twice:?}");
}

async fn a_page_of_batches_is_bounded_in_bytes(store: &Fresh) {
    let large = |seq| Batch { jws: Some("x".repeat(600_000)), ..batch(seq) };
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    for seq in 1..=4 {
        deny_batches::insert(&mut tx, &large(seq)).await.unwrap();
    }
    deny_batches::insert(&mut tx, &Batch { jws: Some("x".repeat(2 << 20)), ..batch(5) })
        .await
        .unwrap();
    for (after, page) in [(0, &[1, 2][..]), (2, &[3, 4]), (4, &[5]), (5, &[])] {
        let found = deny_batches::after(&mut tx, EPOCH, after, 9).await.unwrap();
        assert_eq!(found.iter().map(|batch| batch.seq).collect::<Vec<_>>(), page);
    }
}

async fn n76_batches_shrink_to_heads_and_the_last_one_stays(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    installation::create(&mut tx, &numbering(3)).await.unwrap();
    for seq in [1, 2, 3] {
        deny_batches::insert(&mut tx, &batch(seq)).await.unwrap();
    }
    assert_eq!(deny_batches::prune_to_heads(&mut tx, 3, 1).await.unwrap(), 1);
    assert_eq!(deny_batches::prune_to_heads(&mut tx, 3, 9).await.unwrap(), 1);
    assert_eq!(deny_batches::prune_to_heads(&mut tx, 3, 9).await.unwrap(), 0);
    let kept = deny_batches::after(&mut tx, EPOCH, 0, 9).await.unwrap();
    assert_eq!(kept[0], Batch { jws: None, ..batch(1) });
    assert_eq!(kept[2], batch(3));

    assert_eq!(deny_batches::prune(&mut tx, 99, 1).await.unwrap(), 1);
    assert_eq!(deny_batches::prune(&mut tx, 99, 9).await.unwrap(), 1);
    assert_eq!(deny_batches::prune(&mut tx, 99, 9).await.unwrap(), 0);
    assert_eq!(deny_batches::after(&mut tx, EPOCH, 0, 9).await.unwrap(), [batch(3)]);
}

async fn n76_a_head_is_kept_while_what_followed_it_is_young(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    installation::create(&mut tx, &numbering(3)).await.unwrap();
    for (seq, at) in [(1, 1), (2, 1), (3, 50)] {
        deny_batches::insert(&mut tx, &Batch { at, ..batch(seq) }).await.unwrap();
    }
    // Until the third came, the second was the last: nobody could know any later one.
    assert_eq!(deny_batches::prune(&mut tx, 50, 9).await.unwrap(), 1);
    assert!(deny_batches::one(&mut tx, EPOCH, 2).await.unwrap().is_some());
    assert_eq!(deny_batches::prune(&mut tx, 51, 9).await.unwrap(), 1);
    assert!(deny_batches::one(&mut tx, EPOCH, 2).await.unwrap().is_none());
}

fn entry(seq: i64, ord: i64, subject: &str, before: Option<i64>, until: Option<i64>) -> Entry {
    let kind = subject.split(':').next().unwrap();
    Entry {
        epoch: EPOCH.to_owned(),
        seq,
        ord,
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        jti: (kind == "jti").then(|| jti(seq, ord as u16)),
        before,
        until,
        entry: format!("{{\"of\":{subject:?}}}"),
    }
}

async fn deny(store: &Fresh, entries: &[Entry]) {
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    deny_entries::insert_many(&mut tx, entries).await.unwrap();
    tx.commit().await.unwrap();
}

async fn entries_come_back_in_order(store: &Fresh) {
    let first: Vec<_> =
        (0..1024).map(|ord| entry(1, ord, &format!("jti:{ord}"), None, Some(50))).collect();
    let second = [
        entry(2, 0, "client:acme/a", Some(5), Some(910)),
        entry(2, 1, "kid:K", None, None),
        entry(2, 2, "all:", Some(5), Some(50)),
    ];
    deny(store, &[]).await;
    deny(store, &second).await;
    deny(store, &first).await;

    let mut reader = store.read_reserved().await.unwrap();
    let (mut seen, mut after) = (Vec::new(), (0, -1));
    loop {
        let page = deny_entries::live(&mut reader, EPOCH, 2, 49, after, 500).await.unwrap();
        let Some(last) = page.last() else { break };
        after = (last.seq, last.ord);
        seen.extend(page);
    }
    assert!(seen == [&first[..], &second[..]].concat());

    let later = deny_entries::live(&mut reader, EPOCH, 2, 50, (0, -1), 500).await.unwrap();
    assert_eq!(later, second[..2]);
    let earlier = deny_entries::live(&mut reader, EPOCH, 1, 50, (0, -1), 500).await.unwrap();
    assert_eq!(earlier, []);
}

async fn a_cut_is_the_latest_that_still_stands(store: &Fresh) {
    let mut entries = vec![
        entry(1, 0, "client:acme/a", Some(5), Some(910)),
        entry(1, 1, "client:acme/a", Some(9), Some(914)),
        entry(1, 2, "tenant:acme", Some(9), Some(50)),
        entry(1, 3, "kid:K", None, None),
        entry(1, 4, "client:acme/c", Some(9), Some(914)),
        entry(1, 99, "kid:K", Some(3), None),
    ];
    for (ord, text) in (5..).zip(HOSTILE) {
        let mut hostile = entry(1, ord, text, None, None);
        hostile.kind = "sub".to_owned();
        entries.push(hostile);
    }
    deny(store, &entries).await;

    let cut = |subject: &str, before| Cut { subject: subject.to_owned(), before };
    let asked = ["client:acme/a", "tenant:acme", "kid:K", "client:acme/b"];
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    let cuts = deny_entries::cuts(&mut tx, &asked, 49).await.unwrap();
    let kid = cut("kid:K", None);
    assert_eq!(cuts, [cut("client:acme/a", Some(9)), kid.clone(), cut("tenant:acme", Some(9))]);
    let cuts = deny_entries::cuts(&mut tx, &asked, 50).await.unwrap();
    assert_eq!(cuts, [cut("client:acme/a", Some(9)), kid]);
    assert_eq!(deny_entries::cuts(&mut tx, &[], 50).await.unwrap(), []);
    // What a mint sees; by Postgres' own clock all but what has no end is over.
    let standing = standing::read(&mut tx, &[], &asked, 49_000).await.unwrap();
    let expected = match store.is_postgres() {
        true => vec![("kid:K", None)],
        false => {
            vec![("client:acme/a", Some(9)), ("kid:K", None), ("tenant:acme", Some(9))]
        }
    };
    let expected = expected.into_iter().map(|(subject, before)| (subject.to_owned(), before));
    assert_eq!(standing.cuts, expected.collect());
    for text in HOSTILE {
        assert_eq!(deny_entries::cuts(&mut tx, &[text], 50).await.unwrap(), [cut(text, None)]);
        let standing = standing::read(&mut tx, &[text], &[text], 50_000).await.unwrap();
        assert_eq!(standing.cuts, [(text.to_owned(), None)].into());
    }
}

/// What is told of the commits of other processes.
async fn told(store: &Fresh, listener: &mut Listener) -> Numbered {
    let told = tokio::time::timeout(Duration::from_secs(60), listener.next()).await;
    told.unwrap_or_else(|_| panic!("nothing is told of {}", store.url)).unwrap()
}

#[tokio::test]
async fn on_postgres_commits_are_told_of_in_their_order_and_nothing_else_is() {
    let store = Fresh::postgres().await;
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    installation::create(&mut tx, &numbering(0)).await.unwrap();
    tx.commit().await.unwrap();
    let mut listener = store.listen().await.unwrap();
    let numbered = |seq| Numbered { epoch: EPOCH.to_owned(), seq };

    let mut given_up = store.begin(Lock::Revoke).await.unwrap();
    installation::advance(&mut given_up, 1, &digest(1), 0).await.unwrap();
    drop(given_up);
    for last in [2, 4] {
        let mut tx = store.begin(Lock::Revoke).await.unwrap();
        for seq in last - 1..=last {
            installation::advance(&mut tx, seq, &digest(seq), 0).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    // Had the one that was given up been told of, it would have come first.
    for seq in 1..=4 {
        assert_eq!(told(&store, &mut listener).await, numbered(seq));
    }

    // Whoever has lost its connection is told so, and listens anew.
    let all = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    store.sql(all).await;
    let lost = tokio::time::timeout(Duration::from_secs(60), listener.next()).await.unwrap();
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    let mut listener = store.listen().await.unwrap();
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    installation::advance(&mut tx, 5, &digest(5), 0).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(told(&store, &mut listener).await, numbered(5));
}

async fn n76_entries_are_pruned_when_they_are_over(store: &Fresh) {
    let entries = [
        entry(1, 0, "jti:a", None, Some(10)),
        entry(1, 1, "jti:b", None, Some(20)),
        entry(1, 2, "jti:c", None, Some(30)),
        entry(1, 3, "kid:K", None, None),
    ];
    deny(store, &entries).await;
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(deny_entries::prune(&mut tx, 30, 1).await.unwrap(), 1);
    assert_eq!(deny_entries::prune(&mut tx, 30, 9).await.unwrap(), 1);
    assert_eq!(deny_entries::prune(&mut tx, 30, 9).await.unwrap(), 0);
    let left = deny_entries::live(&mut tx, EPOCH, 1, 0, (0, -1), 9).await.unwrap();
    assert_eq!(left, entries[2..]);
}

async fn the_unissued_are_counted_until_they_are_over(store: &Fresh) {
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    assert_eq!(deny_unissued::live(&mut tx, 0).await.unwrap(), 0);
    deny_unissued::add(&mut tx, &[]).await.unwrap();
    deny_unissued::add(&mut tx, &[(60, 3), (120, 4)]).await.unwrap();
    deny_unissued::add(&mut tx, &[(120, 1), (180, 2)]).await.unwrap();
    let live = async |tx: &mut _, now| deny_unissued::live(tx, now).await.unwrap();
    assert_eq!((live(&mut tx, 59).await, live(&mut tx, 60).await), (10, 7));
    assert_eq!(deny_unissued::prune(&mut tx, 121, 1).await.unwrap(), 1);
    assert_eq!(deny_unissued::prune(&mut tx, 121, 9).await.unwrap(), 1);
    assert_eq!(live(&mut tx, 0).await, 2);
}

async fn two_snapshots_are_kept(store: &Fresh) {
    let snapshot = |seq: i64| Snapshot {
        sha256: digest(seq),
        epoch: EPOCH.to_owned(),
        seq,
        at: seq,
        manifest: format!("manifest {seq}"),
    };
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(deny_snapshots::latest(&mut tx).await.unwrap(), None);
    for seq in [0, 1, 2] {
        deny_snapshots::insert(&mut tx, &snapshot(seq), &vec![seq as u8; 100_000]).await.unwrap();
    }
    assert_eq!(deny_snapshots::latest(&mut tx).await.unwrap(), Some(snapshot(2)));
    assert_eq!(deny_snapshots::prune(&mut tx).await.unwrap(), 1);
    assert_eq!(deny_snapshots::blob(&mut tx, &digest(0)).await.unwrap(), None);
    let blob = deny_snapshots::blob(&mut tx, &digest(1)).await.unwrap();
    assert_eq!(blob, Some(vec![1; 100_000]));

    // Entries came and went, and the blob is what it was before.
    let again = Snapshot { sha256: digest(1), ..snapshot(7) };
    assert!(deny_snapshots::renew(&mut tx, &again).await.unwrap());
    assert_eq!(deny_snapshots::latest(&mut tx).await.unwrap(), Some(again));
    assert!(!deny_snapshots::renew(&mut tx, &snapshot(9)).await.unwrap(), "there is no such blob");
    let later = Snapshot { sha256: digest(1), ..snapshot(8) };
    deny_snapshots::insert(&mut tx, &later, &vec![1; 100_000]).await.unwrap();
    assert_eq!(deny_snapshots::latest(&mut tx).await.unwrap(), Some(later));
    assert_eq!(deny_snapshots::prune(&mut tx).await.unwrap(), 0);
}
