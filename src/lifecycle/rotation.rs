//! Secrets that Vault keeps: replaced ahead of the day they are due, and what somebody else has
//! replaced there is noticed.

use scrip_token::QualifiedName;
use serde_json::json;

use super::{Warning, endings, replaced_from, since};
use crate::app::App;
use crate::audit::Event;
use crate::clock;
use crate::policy::Policy;
use crate::revoke::NotRevoked;
use crate::store::clients::{self, Client};
use crate::store::{Lock, audit, client_warnings, installation};
use crate::vault::{InVault, MasterCredentials, VaultError, Version, VersionName, Versions};

/// How far Vault's clock may be ahead of the database's, in seconds: where the record names no
/// version, one that is newer by more counts as a later one.
const SKEW: i64 = 60;

/// What is known of the secret of a client now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    /// It is as old as the record says.
    AsRecorded,
    /// It has been replaced; the record says so from now on.
    Replaced,
    /// Vault cannot be asked.
    Unknown,
}

/// Looks at what is remembered of Vault, without asking it.
pub(super) async fn notice(
    app: &App,
    vault: &MasterCredentials,
    client: &Client,
    name: &QualifiedName,
) -> Result<Secret, NotRevoked> {
    let Some(versions) = vault.versions(name) else { return Ok(Secret::AsRecorded) };
    match later(client, &versions) {
        Some(version) => record(app, client, &versions, version, "vault").await,
        None => Ok(Secret::AsRecorded),
    }
}

/// Asks Vault, and writes a new secret where Scrip has to replace it by now.
pub(super) async fn settle(
    app: &App,
    vault: &MasterCredentials,
    client: &Client,
    name: &QualifiedName,
    policy: &Policy,
    now: i64,
) -> Result<Secret, NotRevoked> {
    let versions = match vault.vault().every_version(name).await {
        Ok(versions) => versions,
        Err(error) => return Ok(unsettled(client, &error)),
    };
    if let Some(version) = later(client, &versions) {
        return record(app, client, &versions, version, "vault").await;
    }
    let is_due = replaced_from(client, policy).is_some_and(|from| from <= now);
    // What somebody has ended stays ended: a new version would bring the client back.
    let is_alive = versions.newest().is_some_and(|newest| !newest.has_ended(now.unsigned_abs()));
    if !is_due || !is_alive {
        return Ok(Secret::AsRecorded);
    }
    // Vault first, as when an operator rotates. Of two replicas, or one that dies in between and
    // its successor, one writes, and the others find what it has written.
    let InVault { versions, secret } = match InVault::follow(vault.vault(), name, versions).await {
        Ok(written) => written,
        Err(error) => return Ok(unsettled(client, &error)),
    };
    let by = if secret.is_some() { "schedule" } else { "vault" };
    let Some(newest) = versions.newest() else { return Ok(Secret::Unknown) };
    let settled = record(app, client, &versions, newest, by).await?;
    vault.refresh([name.clone()], now.unsigned_abs()).await;
    Ok(settled)
}

/// The newest version, where it is later than the record.
fn later<'v>(client: &Client, versions: &'v Versions) -> Option<&'v Version> {
    let known = client.version.as_deref().and_then(VersionName::parse);
    versions.newest().filter(|newest| match known {
        Some(known) => newest.name().is_after(&known),
        None => newest.created_seconds().cast_signed() > since(client) + SKEW,
    })
}

/// While Vault is away nobody is warned, because the secret may have been replaced; where Vault
/// refuses, somebody has to know.
fn unsettled(client: &Client, error: &VaultError) -> Secret {
    tracing::warn!(client = client.id, %error, "a secret that is due cannot be looked at or replaced");
    match error {
        VaultError::Away(_) => Secret::Unknown,
        _ => Secret::AsRecorded,
    }
}

/// Puts a replaced secret on record, once: another replica may have done so. Where the record has
/// changed since it was read, the next look decides.
async fn record(
    app: &App,
    client: &Client,
    versions: &Versions,
    newest: &Version,
    by: &'static str,
) -> Result<Secret, NotRevoked> {
    // What was refused because it is past due does not come back for the overlap.
    let ends_old = client.refused.is_some();
    let mut tx = app.store.begin(if ends_old { Lock::Revoke } else { Lock::Admin }).await?;
    if ends_old {
        installation::lock(&mut tx).await?;
    }
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let found = clients::update(&mut tx, &client.id, &clients::Change::default()).await?;
    let ground =
        |client: &Client| (client.deleted, client.refused, client.version.clone(), since(client));
    if found.is_none_or(|found| ground(&found) != ground(client)) {
        return Ok(Secret::Replaced);
    }
    let name = newest.name().to_string();
    let written = newest.created_seconds().cast_signed();
    let at = if by == "schedule" { written.max(now_ms / 1000) } else { written };
    let kept = clients::Change {
        rotated: Some(at),
        rotate_by: Some(None),
        refused: Some(None),
        version: Some(&name),
        ..Default::default()
    };
    clients::update(&mut tx, &client.id, &kept).await?;
    let mut appended = None;
    if let Some(id) = client.id.parse().ok().filter(|_| ends_old) {
        let old = versions.iter().filter(|version| version.number != newest.number);
        let old: Vec<String> = old.map(|version| version.name().to_string()).collect();
        let note = "the version was refused, and has been replaced";
        appended = endings::end(app, &mut tx, &id, &old, note, now_ms).await?;
    }
    client_warnings::lift(&mut tx, &client.id, &Warning::OF_AGE.map(Warning::as_str)).await?;
    let detail = json!({"by": by, "version": name});
    let event = Event::new("client.rotate", "done").tenant(&client.tenant).target(&client.id);
    audit::insert_many(&mut tx, &[event.detail(&detail).at(now_ms)]).await?;
    tx.commit().await?;
    if let Some(appended) = appended {
        app.deny.acknowledge(appended).await?;
    }
    metrics::counter!("scrip_rotations_total", "by" => by).increment(1);
    tracing::info!(client = client.id, by, "a secret has been replaced");
    Ok(Secret::Replaced)
}
