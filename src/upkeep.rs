//! The periodic work: keys of others, retirement, pruning, credentials that have ended.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use scrip_token::QualifiedName;
use scrip_token::keys::PublishedKeys;
use scrip_token::limits::HORIZON;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::audit::Event;
use crate::caller::{embedded_version, embedded_versions};
use crate::deny::PublishError;
use crate::lifecycle::endings::{end, unrevoked};
use crate::lifecycle::{self, DAY};
use crate::outbox::KEPT;
use crate::publish::Jwks;
use crate::receipts::{self, REMEMBERED};
use crate::revoke::NotRevoked;
use crate::signer::{self, Purpose};
use crate::store::clients::Client;
use crate::store::credentials::Credential;
use crate::store::{
    self, Lock, StoreError, Tx, acks, audit, client_addresses, clients, credentials,
};
use crate::store::{
    deny_batches, deny_entries, deny_unissued, escrows, idempotency, keys_documents, ledgers,
};
use crate::store::{outbox, partitions, quotas, rate_grants, readers, sightings, tokens};
use crate::store::{usage as counts, verifiers};
use crate::usage;
use crate::vault::{Ended, Version};
use crate::{clock, rates};

/// How often keys are looked at: a key that another replica made signs here at most this late.
const KEYS: Duration = Duration::from_secs(5);
/// How often replicas tell each other what they granted.
const EXCHANGE: Duration = Duration::from_secs(1);
/// How often somebody is told of guessing.
const TELL: Duration = Duration::from_secs(1);
/// How often those who follow are looked at: whoever may do so no more is sent away this much later.
const FOLLOWERS: Duration = Duration::from_secs(15);
/// How often verifiers are counted.
const MEASURE: Duration = Duration::from_secs(5);
/// How often something is pruned.
const PRUNE: Duration = Duration::from_secs(60);
/// Most rows of one table in one go: who writes to SQLite waits for it.
const SLICE: u32 = 1_000;
/// Batches are kept whole for so many seconds, and their heads for so many.
const BATCHES: i64 = 15 * 60;
const HEADS: i64 = 7 * 86_400;
/// An entry is kept for so many seconds after it is over: never early, and longer than a snapshot
/// that has it takes to be made.
const OVER: i64 = 5 * 60;
/// What was answered to an `Idempotency-Key`.
const ANSWERS: i64 = DAY;
/// Windows of quotas.
const WINDOWS: i64 = 400 * DAY;
/// How long to wait after an ended version could not be put on record, and most versions that wait
/// for it.
const AGAIN: Duration = Duration::from_secs(1);
const MOST_ENDED: usize = 1024;
/// Clients whose credentials are looked at in one go.
const PAGE: u32 = 1000;

/// Runs all of it side by side until shutdown: Vault may take its time, and nothing waits for that.
pub async fn run(app: Arc<App>, ended: mpsc::Receiver<Ended>) {
    let refresh = app.config.vault.as_ref().map_or(PRUNE, |vault| vault.refresh);
    // The database gives up what is left half-way.
    let work = async {
        tokio::join!(
            every(&app, KEYS, look_at_keys),
            every(&app, PRUNE, prune_all),
            every(&app, MEASURE, async |app| {
                receipts::measure(app).await;
                Ok::<_, Infallible>(())
            }),
            every(&app, EXCHANGE, async |app| rates::exchange(&app.store, &app.rates).await),
            every(&app, TELL, async |app| rates::tell_of_guessing(&app.store, &app.rates).await),
            every(&app, refresh, look_at_credentials),
            every(&app, FOLLOWERS, async |app| app.admissions.review(app).await),
            end_versions(&app, ended),
            usage::keep_settling(&app),
        )
    };
    tokio::join!(
        app.shutdown.run_until_cancelled(work),
        // Vault does not: what has begun to write it ends by itself.
        every(&app, refresh, lifecycle::watch),
    );
}

async fn every<E: Display>(app: &App, period: Duration, work: impl AsyncFn(&App) -> Result<(), E>) {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while app.shutdown.run_until_cancelled(interval.tick()).await.is_some() {
        log(work(app).await);
    }
}

/// Each ended version is told of once, or later where there is no room here. One that cannot be put
/// on record is tried until it is, because Vault may have forgotten it by then.
async fn end_versions(app: &App, mut told: mpsc::Receiver<Ended>) {
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            Some(ended) = told.recv(), if waiting.len() < MOST_ENDED => waiting.push_front(ended),
            () = tokio::time::sleep(AGAIN), if !waiting.is_empty() => {}
        }
        let Some(ended) = waiting.pop_front() else { continue };
        let Ended { client, version } = &ended;
        match end_version(app, client, version).await {
            Err(NotRevoked::Publish(error)) => {
                tracing::warn!(%client, %version, %error, "its end is not on record yet");
                waiting.push_back(ended);
            }
            done => log(done),
        }
    }
}

fn log(done: Result<(), impl Display>) {
    if let Err(error) = done {
        tracing::warn!(%error, "upkeep");
    }
}

/// Loads keys that another replica has made, and publishes the document anew where a key has
/// retired since the last one.
async fn look_at_keys(app: &App) -> Result<(), PublishError> {
    let mut session = app.store.read().await?;
    // What is served while the database is away is this old at most, whether anybody asks or not.
    let (jwks, keys, now) = Jwks::read_with_keys(&mut session).await?;
    app.last_jwks.store(Some(Arc::new(jwks)));
    app.signer.load(&keys, now).map_err(signer::SignerError::from)?;
    let published = [Purpose::Root, Purpose::Feed, Purpose::Token]
        .map(|purpose| signer::published_jwks(&keys, purpose, now).count());
    let Some(document) = keys_documents::latest(&mut session).await? else { return Ok(()) };
    drop(session);
    if names(&document.jws).is_some_and(|named| named == published) {
        return Ok(());
    }
    let mut tx = app.store.begin(Lock::Revoke).await?;
    app.deny.lock(&mut tx).await?;
    let now = clock::seconds(tx.now_ms(clock::now_ms()).await?);
    signer::publish_keys(&mut tx, &app.signer, &app.config.issuer, now).await?;
    tx.commit().await?;
    app.deny.attest_keys(&app.store).await
}

/// How many roots, feed keys and keys of tokens a document of ours names.
fn names(jws: &str) -> Option<[usize; 3]> {
    let payload = scrip_token::compact::from_base64url(jws.split('.').nth(1)?)?;
    let document = PublishedKeys::parse(&payload).ok()?;
    Some([document.roots, document.feed_keys, document.token_keys].map(|set| set.keys.len()))
}

/// The days ahead get their partitions, and what is to be kept no longer goes with its own. Several
/// replicas may do so at once.
async fn turn_partitions(app: &App) -> Result<(), StoreError> {
    if app.store.is_embedded() {
        return Ok(());
    }
    let mut session = app.store.read().await?;
    let known = partitions::all(&mut session).await?;
    let now = store::now_ms(&mut session, clock::now_ms()).await? / 1000;
    drop(session);
    // Some forty partitions at most, however long tokens are kept: a statement without a time opens
    // all of them.
    let days = u64::from(app.config.token_retention.div_ceil(32));
    for partition in partitions::missing(&known, now, days) {
        let mut tx = app.store.begin(Lock::Admin).await?;
        if partitions::make(&mut tx, partition).await? {
            tx.commit().await?;
        }
    }
    for partition in partitions::outdated(&known, now - kept(app)) {
        let mut tx = app.store.begin(Lock::Admin).await?;
        if partitions::drop(&mut tx, partition).await? {
            tx.commit().await?;
            tracing::info!(?partition, "records of tokens are kept no longer");
        }
    }
    Ok(())
}

/// For how many seconds the record of a token is kept.
fn kept(app: &App) -> i64 {
    i64::from(app.config.token_retention) * DAY
}

/// A slice of each table at a time, so that others have their turn in between, until nothing is left to
/// prune. One that cannot be pruned is no reason to keep the others.
async fn prune_all(app: &App) -> Result<(), StoreError> {
    // Where that fails, tokens lie in the default partition and are deleted there.
    log(turn_partitions(app).await);
    let kept = kept(app);
    loop {
        let now = store::now_ms(&mut app.store.read().await?, clock::now_ms()).await? / 1000;
        macro_rules! slice {
            ($prune:path, $before:expr) => {
                slice(app, stringify!($prune), async |tx| $prune(tx, $before, SLICE).await).await
            };
        }
        let is_full = [
            slice!(deny_entries::prune, now - OVER),
            slice!(deny_unissued::prune, now),
            slice!(deny_batches::prune_to_heads, now - BATCHES),
            slice!(deny_batches::prune, now - HEADS),
            slice!(tokens::prune, now - kept),
            slice!(idempotency::prune, now - ANSWERS),
            slice!(verifiers::prune, (now - REMEMBERED) * 1000),
            slice!(acks::prune, (now - REMEMBERED) * 1000),
            slice!(sightings::prune, now - REMEMBERED),
            slice!(readers::prune, now - REMEMBERED),
            slice!(outbox::prune, now * 1000 - KEPT),
            slice!(rate_grants::prune, now * 1000 - rates::FORGOTTEN),
            slice!(escrows::prune, now - kept),
            slice!(counts::prune, now - kept),
            slice!(ledgers::prune, now - kept),
            slice!(quotas::prune, now - WINDOWS),
            slice!(client_addresses::prune, now - DAY),
        ];
        if !is_full.contains(&true) {
            return Ok(());
        }
    }
}

/// Prunes some of a table, in a transaction of its own: however long it takes there, or fails, the
/// others have theirs. Says whether more may be left.
async fn slice(
    app: &App,
    what: &str,
    prune: impl AsyncFnOnce(&mut Tx) -> Result<u64, StoreError>,
) -> bool {
    let pruned = async {
        let mut tx = app.store.begin(Lock::Admin).await?;
        let rows = prune(&mut tx).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(rows)
    };
    match pruned.await {
        Ok(rows) => rows >= u64::from(SLICE),
        Err(error) => {
            tracing::warn!(what, %error, "upkeep");
            false
        }
    }
}

/// Looks at the credentials of clients with live tokens, off the path of any request, and ends
/// what a version minted once its overlap is over. What is wrong with one keeps no other waiting.
async fn look_at_credentials(app: &App) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let mut session = app.store.read().await?;
        let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
        let page = tokens::clients_with_live(&mut session, now.cast_signed(), &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(last);
        let names: Vec<&str> = page.iter().map(String::as_str).collect();
        let held = clients::by_ids(&mut session, &names).await?;
        drop(session);
        if let Some(vault) = &app.vault {
            let in_vault = held.iter().filter(|client| client.source == "vault");
            let names: Vec<QualifiedName> =
                in_vault.filter_map(|client| client.id.parse().ok()).collect();
            vault.refresh(names, now).await;
        }
        let mut rows: HashMap<String, Vec<Credential>> = HashMap::new();
        for row in credentials::of_clients(&mut app.store.read().await?, &names).await? {
            rows.entry(row.client.clone()).or_default().push(row);
        }
        for client in held {
            let rows = rows.remove(&client.id).unwrap_or_default();
            if let Err(error) = end_replaced(app, &client, &rows, now).await {
                tracing::warn!(client = client.id, %error, "its replaced secrets are not ended yet");
            }
        }
    }
}

async fn end_replaced(
    app: &App,
    client: &Client,
    rows: &[Credential],
    now: u64,
) -> Result<(), NotRevoked> {
    let Ok(name) = client.id.parse::<QualifiedName>() else { return Ok(()) };
    let versions = match (client.source.as_str(), &app.vault) {
        ("embedded", _) => Some(embedded_versions(rows)),
        (_, Some(vault)) => vault.versions(&name),
        (_, None) => None,
    };
    let overlap = Duration::from_secs(client.overlap.unsigned_abs());
    let name_of = |version: &Version| match client.source.as_str() {
        "embedded" => embedded_version(version.number, version.created.timestamp()),
        _ => version.name().to_string(),
    };
    let versions = versions.unwrap_or_default();
    // What was replaced longer ago has no live token.
    let replaced = versions.replaced(overlap, now).filter(|(_, over)| over + HORIZON >= now);
    let replaced: Vec<String> = replaced.map(|(version, _)| name_of(version)).collect();
    if replaced.is_empty() {
        return Ok(());
    }
    for version in unrevoked(&mut app.store.read().await?, &name, &replaced).await? {
        end_version(app, &name, version).await?;
    }
    Ok(())
}

/// Ends a version for ever and kills what it minted: one transaction.
async fn end_version(
    app: &App,
    client: &QualifiedName,
    version: &impl ToString,
) -> Result<(), NotRevoked> {
    let version = version.to_string();
    let mut tx = app.store.begin(Lock::Revoke).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let note = "the version has ended: replaced for longer than the overlap, or gone from Vault";
    let ended = [version.clone()];
    let Some(appended) = end(app, &mut tx, client, &ended, note, now_ms).await? else {
        tx.commit().await?;
        // It may have been put on record here, and without a witness.
        return Ok(app.deny.witness().sync().await.map_err(PublishError::from)?);
    };
    let event = Event::new("credential.end", "done")
        .tenant(client.tenant())
        .target(client.as_str())
        .detail(&json!({"version": version, "seq": appended.position.seq}));
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;
    app.deny.acknowledge(appended).await?;
    tracing::info!(%client, version, "a version of a credential has ended");
    Ok(())
}
