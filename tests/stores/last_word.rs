//! Whether a database may be quoted: nobody else has taken over from it.

use super::{Fresh, connect, migrated};
use crate::harness::postgres::Cluster;
use crate::harness::wire::{Weather, Wire};
use scrip::store::{Store, StoreError, installation};

on_both![who_has_no_standby_has_the_last_word];

async fn has_last_word(store: &Store) -> Result<(), StoreError> {
    installation::has_last_word(&mut store.read_reserved().await.unwrap()).await
}

async fn who_has_no_standby_has_the_last_word(store: &Fresh) {
    for _ in 0..3 {
        has_last_word(store).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n112_a_standby_and_whom_it_has_replaced_do_not_have_the_last_word() {
    let primary = Cluster::start(&[]).await;
    let url = primary.database().await;
    let old = migrated(&url).await;
    let link = Wire::to(primary.address()).await;
    let standby = primary.standby(&link.address()).await;
    let new = connect(&url.replace(&primary.address(), &standby.address())).await.unwrap();
    let refused = has_last_word(&new).await;
    assert!(matches!(refused, Err(StoreError::Unsafe(_))), "{refused:?}");

    primary.waits_for_standby().await;
    has_last_word(&old).await.unwrap();
    link.turn(Weather::Silent);
    standby.promote().await;
    has_last_word(&new).await.unwrap();
    let refused = has_last_word(&old).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    // It does answer, and would have been believed.
    installation::read(&mut old.read_reserved().await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_primary_that_takes_no_writes_does_not_have_the_last_word() {
    let store = Fresh::postgres().await;
    has_last_word(&store).await.unwrap();
    let (_, name) = store.url.rsplit_once('/').unwrap();
    store.sql(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let retired = connect(&store.url).await.unwrap();
    let refused = has_last_word(&retired).await;
    assert!(matches!(refused, Err(StoreError::Unsafe(_))), "{refused:?}");
}
