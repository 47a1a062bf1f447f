//! Records of tokens are kept for as long as is set.

use std::time::Duration;

use scrip::clock;
use scrip::store::tokens::{self, Matching, Span};
use scrip::store::{Lock, Store, partitions};
use scrip_token::Jti;
use secrecy::SecretString;

use super::api::{Api, Client, run};
use crate::harness::service::{Installation, Operator};
use crate::harness::until::until;

const DAY: i64 = 86_400;

#[tokio::test]
async fn n124_records_are_kept_for_as_long_as_is_set_on_sqlite() {
    records_are_kept_for_as_long_as_is_set(Installation::on_sqlite()).await;
}

#[tokio::test]
async fn n124_records_are_kept_for_as_long_as_is_set_on_postgres() {
    records_are_kept_for_as_long_as_is_set(Installation::on_postgres().await).await;
}

async fn records_are_kept_for_as_long_as_is_set(installation: Installation) {
    let Operator { id, secret } = installation.bootstrap().await;
    let url = SecretString::from(installation.setting("SCRIP_DATABASE_URL").as_str());
    let api = Api::over(installation, Client { id, secret }).await;
    let minted = api.token(&api.billing().await).await;
    let Api { installation, service, operator, .. } = api;
    service.stop().await;

    // As if it had been running for a while.
    let now = clock::now_seconds().cast_signed();
    let store = Store::connect(&url).await.unwrap();
    let jti = Jti::parse(&minted.jti).unwrap();
    let newest = tokens::by_jti(&mut store.read().await.unwrap(), jti).await.unwrap().unwrap();
    let aged = |days: i64| {
        let at = now - days * DAY;
        let jti = Jti::new((at * 1000).unsigned_abs(), [7; 10]);
        tokens::Token { jti, iat: at, exp: at + 300, ..newest.clone() }
    };
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    tx.insert(|all| tokens::push(all, &[aged(1), aged(8), aged(9)])).await.unwrap();
    tx.commit().await.unwrap();
    let is_on_postgres = !store.is_embedded();
    store.close().await;
    drop(store);

    let kept = installation.set("SCRIP_TOKEN_RETENTION", "7");
    let service = kept.serve().await;
    let operator = kept
        .clone()
        .set("SCRIP_URL", &kept.url())
        .set("SCRIP_CLIENT_ID", &operator.id)
        .set("SCRIP_CLIENT_SECRET", &operator.secret);
    if is_on_postgres {
        // They lie in the partition of what there was before, and go with it on its day.
        let store = Store::connect(&url).await.unwrap();
        until("the days ahead have partitions", Duration::from_secs(60), async || {
            let known = partitions::all(&mut store.read().await.unwrap()).await.unwrap();
            partitions::missing(&known, now + 2 * DAY, 1).len().le(&2).then_some(())
        })
        .await;
        let mut reader = store.read().await.unwrap();
        let all =
            tokens::list(&mut reader, Matching::All, Span::default(), None, 99).await.unwrap();
        assert!(all.len() > 3, "nothing is deleted one by one");
    } else {
        until("what is older is gone", Duration::from_secs(60), async || {
            let (_, list) = run(&operator, &["token", "list", "--client", "acme/billing"]).await;
            let [one, eight, nine] =
                [1, 8, 9].map(|days| list.contains(&aged(days).jti.to_string()));
            assert!(one && list.contains(&minted.jti), "{list}");
            (!eight && !nine).then_some(())
        })
        .await;
    }
    service.stop().await;
    for wrong in ["0", "3651", "-1", "x"] {
        let (started, why) =
            run(&kept.clone().set("SCRIP_TOKEN_RETENTION", wrong), &["serve"]).await;
        assert!(
            !started && why.to_lowercase().replace('-', "_").contains("token_retention"),
            "{why}"
        );
    }
}
