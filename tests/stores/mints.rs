use super::Fresh;
use super::tokens::{store_all, token};
use scrip::signer::lifecycle::{Key, Purpose, State};
use scrip::store::{Conn, Lock, Session, Tx, signing_keys, standing};
use scrip_token::Alg;
use scrip_token::jwk::{Jwk, Material};

on_both![the_keys_that_stand_are_those_that_sign];

/// A key for each way in which its times may be before, at and after a moment, or not decided.
fn keys() -> Vec<Key> {
    let times = [None, Some(40), Some(60)];
    let mut keys = Vec::new();
    for purpose in [Purpose::Token, Purpose::Feed] {
        for (active_from, retire_at, revoked_at) in
            times.iter().flat_map(|a| times.iter().flat_map(move |b| times.map(|c| (*a, *b, c))))
        {
            let material = Material::Ed25519 { x: [keys.len() as u8; 32] };
            let jwk = Jwk { alg: Alg::EdDSA, kid: material.thumbprint(), material };
            keys.push(Key { jwk, purpose, published: 1, active_from, retire_at, revoked_at });
        }
    }
    keys
}

async fn the_keys_that_stand_are_those_that_sign(store: &Fresh) {
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    for key in keys() {
        signing_keys::insert(&mut tx, &key.to_row().unwrap()).await.unwrap();
    }
    let found = standing::read(&mut tx, &[], &[], 0).await.unwrap().keys;
    assert!(!found.is_empty() && found.iter().all(|key| key.alg == "EdDSA"));
    for now in [39, 40, 59, 60] {
        let mut signing: Vec<String> = keys()
            .into_iter()
            .filter(|key| key.purpose == Purpose::Token && key.state(now) == State::Active)
            .map(|key| key.jwk.kid)
            .collect();
        let standing = found.iter().filter(|key| key.from.unsigned_abs() <= now);
        let mut standing: Vec<String> = standing.map(|key| key.kid.clone()).collect();
        signing.sort_unstable();
        standing.sort_unstable();
        assert_eq!(standing, signing, "at {now}");
    }
}

/// Rows of the inventory that the transaction has read one after the other, not by an index.
async fn read_in_passing(tx: &mut Tx) -> i64 {
    let sql = "SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_xact_user_tables \
               WHERE relname LIKE 'tokens%'";
    let Conn::Postgres(c) = tx.conn() else { unreachable!("this is Postgres") };
    sqlx::query_scalar(sql).fetch_one(c).await.unwrap()
}

/// Postgres keeps the plan of a statement: one that was made while a table was empty, as each day's
/// partition is at first, must do for a full one too.
#[tokio::test]
async fn a_plan_for_an_empty_inventory_does_for_a_full_one() {
    let store = Fresh::postgres().await;
    store.sql("ANALYZE").await;
    for filled in [false, true] {
        for _ in 0..10 {
            let mut tx = store.begin(Lock::Mint).await.unwrap();
            standing::read(&mut tx, &["acme/a"], &["client:acme/a"], 0).await.unwrap();
            assert_eq!(read_in_passing(&mut tx).await, 0, "filled: {filled}");
            tx.commit().await.unwrap();
        }
        let tokens: Vec<_> = (0..2_000).map(|n| token(1_700_000_000, n, "acme/a")).collect();
        if !filled {
            store_all(&store, &tokens).await;
        }
    }
}
