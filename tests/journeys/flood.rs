use crate::harness::acme::Acme;
use crate::harness::flood::Flood;
use crate::harness::gateway::Gateway;
use crate::harness::service::Installation;
use crate::harness::until::until;
use futures_util::future::join;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::time::Duration;

/// Makes the commit that a heartbeat takes wait for a lock, in the sessions to come.
const SLOW: &str = "
    CREATE SCHEMA slow;
    CREATE FUNCTION slow.pg_logical_emit_message(boolean, text, text) RETURNS pg_lsn
        LANGUAGE plpgsql AS $$BEGIN
            PERFORM pg_advisory_xact_lock_shared(85);
            RETURN pg_catalog.pg_logical_emit_message($1, $2, $3);
        END$$;
    DO $$BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = public, slow, pg_catalog',
            current_database());
    END$$";
/// The heartbeats that wait, each by its session and its beginning.
const WAITING: &str = "
    SELECT string_agg(pid || ' ' || query_start, ', ' ORDER BY pid) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%''last word''%'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n85_gateways_stay_fresh_while_revocations_go_on_without_a_pause() {
    let acme = Acme::found(Installation::on_postgres().await.set("SCRIP_HEARTBEAT", "1")).await;
    let other = acme.installation.replica();
    let service = other.serve().await;
    let (here, there) = (Gateway::start(&acme).await, Gateway::at(&acme, &[&other]).await);
    let flood = Flood::start(&acme.http(), &acme.operator);
    join(here.is_in_step(), there.is_in_step()).await;
    // Whoever begins in the middle of it gets in step too.
    Gateway::at(&acme, &[&other]).await.is_calm().await;
    drop(flood);
    join(here.is_calm(), there.is_calm()).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n85_no_batch_waits_for_a_heartbeat() {
    let installation = Installation::on_postgres().await;
    let mut database =
        PgConnection::connect(installation.setting("SCRIP_DATABASE_URL")).await.unwrap();
    sqlx::raw_sql(SLOW).execute(&mut database).await.unwrap();
    let acme = Acme::found(installation).await;
    let billing = acme.embedded("acme/billing").await;
    let gateway = Gateway::start(&acme).await;
    let arrives = async || {
        let minted = acme.http().mint(&billing, &[], None).await.unwrap().body;
        let revoked = acme.http().revoke(&acme.operator, json!({"jti": minted["jti"]})).await;
        assert_eq!(revoked.unwrap().status, 201);
        gateway.refuses(minted["access_token"].as_str().unwrap()).await;
    };
    // A stream begins with a heartbeat, so it has to be there before they are held up.
    arrives().await;
    sqlx::raw_sql("SELECT pg_advisory_lock(85)").execute(&mut database).await.unwrap();
    // Postgres gives up waiting after a while, so that it may take more than one attempt.
    until("a batch overtakes a heartbeat", Duration::from_secs(20), async || {
        let waiting = || sqlx::query_scalar::<_, Option<String>>(WAITING);
        let before = waiting().fetch_one(&mut database).await.unwrap()?;
        arrives().await;
        (waiting().fetch_one(&mut database).await.unwrap()? == before).then_some(())
    })
    .await;
}
