use super::{Fresh, HOSTILE};
use scrip::store::acks::{self, Arrival};
use scrip::store::deny_batches::{self, Batch, Head};
use scrip::store::verifiers::{self, Count, Verifier};
use scrip::store::{Lock, readers, sightings};
use scrip_token::Digest;

on_both![
    a_verifier_never_moves_back,
    two_replicas_take_the_same_verifiers,
    verifiers_are_found_counted_and_forgotten,
    hostile_names_are_names,
    the_first_ack_at_or_beyond_a_batch_counts,
    acks_are_pruned_by_age,
    whoever_was_seen_is_remembered,
    readers_are_silent_until_they_acknowledge,
    heads_are_read_in_one_go,
];

const OLD: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const EPOCH: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

fn at(client: &str, verifier: &str, epoch: &str, seq: i64, ms: i64) -> Verifier {
    Verifier {
        client: client.to_owned(),
        verifier: verifier.to_owned(),
        epoch: epoch.to_owned(),
        seq,
        moved_ms: ms,
        acked_ms: ms,
        as_of: ms / 1000,
        max_staleness: 60,
        max_offline: 900,
        policy: "deny".to_owned(),
        allow_for: 0,
    }
}

async fn put(store: &Fresh, rows: &[Verifier]) {
    let mut tx = store.begin(Lock::Feed).await.unwrap();
    verifiers::put_many(&mut tx, rows).await.unwrap();
    acks::insert_many(&mut tx, rows).await.unwrap();
    tx.commit().await.unwrap();
}

async fn all(store: &Fresh) -> Vec<Verifier> {
    verifiers::all(&mut store.read_reserved().await.unwrap()).await.unwrap()
}

async fn a_verifier_never_moves_back(store: &Fresh) {
    put(store, &[]).await;
    put(store, &[at("acme/gw", "a", EPOCH, 7, 5000)]).await;

    let later = Verifier { max_staleness: 10, as_of: 4, ..at("acme/gw", "a", EPOCH, 7, 6000) };
    put(store, std::slice::from_ref(&later)).await;
    let stays = Verifier { moved_ms: 5000, as_of: 5, ..later };
    let rows = all(store).await;
    assert_eq!(rows, std::slice::from_ref(&stays), "the same batch: its first ack, its new terms");

    for behind in [at("acme/gw", "a", EPOCH, 6, 9000), at("acme/gw", "a", OLD, 99, 9000)] {
        put(store, &[behind]).await;
        assert_eq!(all(store).await, std::slice::from_ref(&stays));
    }
    put(store, &[at("acme/gw", "a", EPOCH, 8, 5500)]).await;
    let moved = Verifier { acked_ms: 6000, ..at("acme/gw", "a", EPOCH, 8, 5500) };
    assert_eq!(all(store).await, [moved], "further, by a clock that was set back");
}

async fn two_replicas_take_the_same_verifiers(store: &Fresh) {
    let replica = async |from: i64| {
        for seq in from..from + 20 {
            let row = |n: i64| at("acme/gw", &format!("gw-{n:03}"), EPOCH, seq, seq * 1000);
            put(store, &(0..100).map(row).collect::<Vec<_>>()).await;
        }
    };
    tokio::join!(replica(1), replica(2));
    let rows = all(store).await;
    assert_eq!(rows.len(), 100);
    assert!(rows.iter().all(|row| (row.seq, row.moved_ms) == (21, 21_000)), "{rows:?}");
}

async fn verifiers_are_found_counted_and_forgotten(store: &Fresh) {
    let rows = [
        at("acme/a", "z", EPOCH, 1, 1000),
        at("acme/a", "z-1", EPOCH, 1, 3000),
        at("acme/b", "a", EPOCH, 1, 2000),
    ];
    put(store, &rows).await;
    assert_eq!(all(store).await, rows, "in order of names");

    let mut tx = store.begin(Lock::Feed).await.unwrap();
    let names = [("acme/b", "a"), ("acme/b", "z"), ("acme/a", "z")];
    let mut found = verifiers::by_names(&mut tx, &names).await.unwrap();
    found.sort_by(|a, b| a.name().cmp(&b.name()));
    assert_eq!(found, [rows[0].clone(), rows[2].clone()]);
    assert_eq!(verifiers::by_names(&mut tx, &[]).await.unwrap(), []);

    let mut counted = verifiers::count(&mut tx).await.unwrap();
    counted.sort_by(|a, b| a.client.cmp(&b.client));
    let count = |client: &str, verifiers| Count { client: client.to_owned(), verifiers };
    assert_eq!(counted, [count("acme/a", 2), count("acme/b", 1)]);

    assert_eq!(verifiers::prune(&mut tx, 3000, 1).await.unwrap(), 1);
    assert_eq!(verifiers::prune(&mut tx, 3000, 9).await.unwrap(), 1);
    assert_eq!(verifiers::prune(&mut tx, 3000, 9).await.unwrap(), 0);
    assert_eq!(verifiers::all(&mut tx).await.unwrap(), rows[1..2]);
}

async fn hostile_names_are_names(store: &Fresh) {
    let rows: Vec<Verifier> = HOSTILE.iter().map(|text| at(text, text, EPOCH, 1, 1000)).collect();
    put(store, &rows).await;
    let mut tx = store.begin(Lock::Feed).await.unwrap();
    for text in HOSTILE {
        let found = verifiers::by_names(&mut tx, &[(text, text)]).await.unwrap();
        assert_eq!(found, [at(text, text, EPOCH, 1, 1000)]);
        readers::note_many(&mut tx, &[(text, text)], 1).await.unwrap();
        sightings::note(&mut tx, "feed", text, 1).await.unwrap();
    }
    assert!(!readers::any_silent(&mut tx, 0).await.unwrap());
    assert_eq!(verifiers::all(&mut tx).await.unwrap().len(), HOSTILE.len());
}

async fn the_first_ack_at_or_beyond_a_batch_counts(store: &Fresh) {
    for (seq, ms) in [(2, 2000), (5, 5000), (9, 9000)] {
        put(store, &[at("acme/gw", "a", EPOCH, seq, ms)]).await;
    }
    put(store, &[at("acme/gw", "b", OLD, 90, 1000)]).await;
    let mut reader = store.read_reserved().await.unwrap();
    let of = |verifier: &str, at_ms| Arrival {
        client: "acme/gw".to_owned(),
        verifier: verifier.to_owned(),
        at_ms,
    };
    for (epoch, seq, expected) in [
        (EPOCH, 0, vec![of("a", 2000)]),
        (EPOCH, 2, vec![of("a", 2000)]),
        (EPOCH, 3, vec![of("a", 5000)]),
        (EPOCH, 9, vec![of("a", 9000)]),
        (EPOCH, 10, vec![]),
        (OLD, 7, vec![of("a", 2000), of("b", 1000)]),
        (OLD, 91, vec![of("a", 2000)]),
    ] {
        let arrivals = acks::arrivals(&mut reader, epoch, seq).await.unwrap();
        assert_eq!(arrivals, expected, "{epoch} {seq}");
    }
    // The same again, from another replica: the first stands.
    put(store, &[at("acme/gw", "a", EPOCH, 9, 9500)]).await;
    assert_eq!(acks::arrivals(&mut reader, EPOCH, 9).await.unwrap(), [of("a", 9000)]);
}

async fn acks_are_pruned_by_age(store: &Fresh) {
    for seq in [1, 2, 3] {
        put(store, &[at("acme/gw", "a", EPOCH, seq, seq * 1000)]).await;
    }
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(acks::prune(&mut tx, 3000, 1).await.unwrap(), 1);
    assert_eq!(acks::prune(&mut tx, 3000, 9).await.unwrap(), 1);
    assert_eq!(acks::prune(&mut tx, 3000, 9).await.unwrap(), 0);
    let left = acks::arrivals(&mut tx, EPOCH, 0).await.unwrap();
    assert_eq!(left.iter().map(|one| one.at_ms).collect::<Vec<_>>(), [3000]);
}

async fn whoever_was_seen_is_remembered(store: &Fresh) {
    let mut tx = store.begin(Lock::Feed).await.unwrap();
    assert!(!sightings::any(&mut tx, 0).await.unwrap());
    sightings::note(&mut tx, "feed", "acme/gw", 100).await.unwrap();
    assert!(sightings::any(&mut tx, 100).await.unwrap());
    assert!(!sightings::any(&mut tx, 101).await.unwrap());
    sightings::note(&mut tx, "feed", "acme/gw", 200).await.unwrap();
    sightings::note(&mut tx, "feed", "acme/gw", 150).await.unwrap();
    assert!(sightings::any(&mut tx, 200).await.unwrap(), "the latest time counts");

    verifiers::put_many(&mut tx, &[at("acme/gw", "a", EPOCH, 1, 1000)]).await.unwrap();
    assert!(sightings::any(&mut tx, 200).await.unwrap(), "another one of the client's does not");
    sightings::note(&mut tx, "keys", "", 300).await.unwrap();
    assert!(sightings::any(&mut tx, 300).await.unwrap(), "whoever it was");

    assert_eq!(sightings::prune(&mut tx, 300, 9).await.unwrap(), 1);
    assert_eq!(sightings::prune(&mut tx, 301, 9).await.unwrap(), 1);
    assert!(!sightings::any(&mut tx, 0).await.unwrap());
}

async fn readers_are_silent_until_they_acknowledge(store: &Fresh) {
    let mut tx = store.begin(Lock::Feed).await.unwrap();
    readers::note_many(&mut tx, &[], 100).await.unwrap();
    assert!(!readers::any_silent(&mut tx, 0).await.unwrap());
    readers::note_many(&mut tx, &[("acme/gw", "a"), ("acme/gw", "b")], 200).await.unwrap();
    readers::note_many(&mut tx, &[("acme/gw", "a")], 100).await.unwrap();
    assert!(readers::any_silent(&mut tx, 200).await.unwrap(), "the latest time counts");
    assert!(!readers::any_silent(&mut tx, 201).await.unwrap());

    verifiers::put_many(&mut tx, &[at("acme/gw", "a", EPOCH, 1, 1000)]).await.unwrap();
    assert!(readers::any_silent(&mut tx, 200).await.unwrap(), "b may never hear of it");
    verifiers::put_many(&mut tx, &[at("acme/other", "b", EPOCH, 1, 1000)]).await.unwrap();
    assert!(readers::any_silent(&mut tx, 200).await.unwrap(), "nobody speaks for another client's");
    verifiers::put_many(&mut tx, &[at("acme/gw", "b", EPOCH, 1, 1000)]).await.unwrap();
    assert!(!readers::any_silent(&mut tx, 0).await.unwrap());

    assert_eq!(readers::with_names(&mut tx, 2).await.unwrap(), ["acme/gw"]);
    assert_eq!(readers::with_names(&mut tx, 3).await.unwrap(), [""; 0]);
    assert_eq!(readers::prune(&mut tx, 201, 1).await.unwrap(), 1);
    assert_eq!(readers::prune(&mut tx, 201, 9).await.unwrap(), 1);
    assert_eq!(readers::prune(&mut tx, 201, 9).await.unwrap(), 0);
}

async fn heads_are_read_in_one_go(store: &Fresh) {
    let head = |seq: i64| Digest::from_bytes([seq as u8; 32]);
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    for seq in [1, 2, 3] {
        let epoch = EPOCH.to_owned();
        let batch = Batch { epoch, seq, at: seq, head: head(seq), jws: Some("jws".to_owned()) };
        deny_batches::insert(&mut tx, &batch).await.unwrap();
    }
    let mut heads = deny_batches::heads(&mut tx, EPOCH, &[3, 1, 4]).await.unwrap();
    heads.sort_by_key(|batch| batch.seq);
    assert_eq!(heads, [Head { seq: 1, head: head(1) }, Head { seq: 3, head: head(3) }]);
    assert_eq!(deny_batches::heads(&mut tx, OLD, &[1]).await.unwrap(), []);
    assert_eq!(deny_batches::heads(&mut tx, EPOCH, &[]).await.unwrap(), []);
}
