//! What becomes of escrows whose tokens were delegated from others.

use super::epochs::SetUp;
use super::quotas::{escrow, put};
use super::tokens::{store_all, token};
use super::{Fresh, jti};
use scrip::clock;
use scrip::store::escrows::{self, Due, Escrow};
use scrip::store::tokens::Token;
use scrip::store::{Lock, StoreError};
use scrip::usage::Reading;
use scrip_token::Jti;
use scrip_token::deny::Entry;
use std::collections::BTreeSet;

on_both![what_is_delegated_from_a_revoked_token_is_settled_early_with_it];

async fn what_is_delegated_from_a_revoked_token_is_settled_early_with_it(store: &Fresh) {
    let set_up = SetUp::of(store).await;
    let list = set_up.list().await;
    let now = clock::now_seconds().cast_signed();
    let [root, child, grandchild, sibling, stranger] = [1, 2, 3, 4, 5].map(|n| jti(now, n));
    let lineages = [
        (1, "acme/agent", vec![]),
        (2, "acme/tool", vec![root]),
        (3, "other/tool", vec![root, child]),
        (4, "acme/tool", vec![root]),
        (5, "acme/tool", vec![jti(now - 1, 9)]),
    ];
    let minted: Vec<Token> = lineages
        .into_iter()
        .map(|(n, client, lin)| Token { lin, ..token(now, n, client) })
        .collect();
    store_all(store, &minted).await;
    let out = |token: &Token| Escrow { jti: token.jti, ..escrow(7, "gw", token.exp) };
    put(store, &minted.iter().map(out).collect::<Vec<_>>()).await;

    let mut reading = Reading::default();
    let mut due = async || -> Result<BTreeSet<Jti>, StoreError> {
        reading.go_on(store, clock::now_ms).await?;
        let row = set_up.row().await;
        let mut tx = store.begin(Lock::Admin).await?;
        let due = escrows::take(&mut tx, "gw", Due::Denied(&row.epoch, row.seq), 99).await?;
        Ok(due.into_iter().map(|escrow| escrow.jti).collect())
    };
    let end = |jti: Jti| Entry::Jti { jti, until: now.unsigned_abs() + 300 };
    assert_eq!(due().await.unwrap(), BTreeSet::new());
    set_up.revoke(&list, end(child)).await;
    assert_eq!(due().await.unwrap(), [child, grandchild].into());
    set_up.revoke(&list, end(root)).await;
    assert_eq!(due().await.unwrap(), [root, child, grandchild, sibling].into());
    assert!(!due().await.unwrap().contains(&stranger));
}
