use super::Fresh;
use scrip::store::prices::{self, Prices};
use scrip::store::{Lock, StoreError};

on_both![every_version_of_the_prices_is_kept];

async fn every_version_of_the_prices_is_kept(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(prices::latest(&mut tx).await.unwrap(), None);
    assert_eq!(prices::current(&mut tx).await.unwrap(), None);
    assert_eq!(prices::versions(&mut tx, None, 9).await.unwrap(), []);
    let body = |dollars: u32| {
        let price = format!(r#"{{"model":"*","input":"{dollars}","output":"{dollars}"}}"#);
        format!(r#"{{"currency":"USD","models":[{price}]}}"#)
    };
    for version in 1..=3 {
        let inserted = prices::insert(&mut tx, "acme/ops", 100, &body(version)).await.unwrap();
        assert_eq!(inserted, i64::from(version));
    }
    tx.commit().await.unwrap();

    let mut reader = store.read().await.unwrap();
    let row = |version: u32| Prices {
        version: version.into(),
        author: "acme/ops".to_owned(),
        at: 100,
        body: body(version),
    };
    assert_eq!(prices::latest(&mut reader).await.unwrap(), Some(row(3)));
    assert_eq!(prices::version(&mut reader, 1).await.unwrap(), Some(row(1)));
    assert_eq!(prices::version(&mut reader, 4).await.unwrap(), None);
    assert_eq!(prices::current(&mut reader).await.unwrap(), Some(row(3).list().unwrap()));
    let all = prices::versions(&mut reader, None, 9).await.unwrap();
    assert_eq!(all, [row(3), row(2), row(1)]);
    assert_eq!(prices::versions(&mut reader, Some(3), 1).await.unwrap(), [row(2)]);
    assert_eq!(prices::versions(&mut reader, Some(1), 1).await.unwrap(), []);
    let rate = row(2).list().unwrap().dearest(&[]).unwrap();
    assert_eq!(rate.to_string(), "2");
    let odd = Prices { body: "{}".to_owned(), ..row(1) };
    assert!(matches!(odd.list(), Err(StoreError::Corrupt(_))));
}
