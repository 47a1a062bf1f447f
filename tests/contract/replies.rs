//! Real replies of every operation, in every status that can be brought about.

mod admin;
mod feed;
mod oauth;
mod refusals;
mod usage;

use super::session::Session;
use crate::harness::api::Api;
use crate::harness::service::Installation;
use crate::harness::vault::DevVault;
use std::collections::BTreeSet;

#[tokio::test]
async fn every_reply_is_documented_and_every_documented_reply_is_given() {
    let vault = DevVault::start().await;
    for name in ["acme/found", "acme/short"] {
        vault.admin.put_secret(&format!("scrip/{name}"), name).await;
    }
    let installation = Installation::on_sqlite().with_vault(&vault.admin).await;
    let operator = installation.bootstrap().await;
    // Keys may be rotated at once.
    let service = installation.clone().set("SCRIP_KEY_LEAD", "0").serve().await;
    let session = Session::new(Api::new(&installation, operator)).await;
    refusals::of_strangers(&session).await;
    refusals::of_credentials(&session).await;
    refusals::of_odd_bodies(&session).await;
    oauth::speaks(&session).await;
    admin::clients(&session).await;
    admin::policies(&session).await;
    admin::prices(&session).await;
    usage::reported(&session).await;
    admin::records(&session).await;
    feed::published(&session).await;
    feed::revocations(&session).await;
    feed::deny_list(&session).await;
    feed::receipts(&session).await;
    admin::operations(&session, &installation.ops_url()).await;
    refusals::of_odd_queries(&session).await;
    admin::keys(&session).await;
    refusals::of_guesses(&session).await;
    service.stop().await;

    let service = installation.serve().await;
    admin::keys_too_young(&session).await;
    service.stop().await;

    // Outages have tests of their own.
    let unseen: BTreeSet<_> =
        session.unseen().into_iter().filter(|(_, status)| *status != 503).collect();
    assert_eq!(unseen, BTreeSet::new(), "documented, and never given");
}
