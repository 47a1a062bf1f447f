//! Changes that kill tokens: in the transaction of the change, and on record as any revocation.

use scrip_token::QualifiedName;
use scrip_token::deny::{self, Entry};
use scrip_token::limits::HORIZON;

use crate::admin::Change;
use crate::app::App;
use crate::clock;
use crate::deny::{Position, subject};
use crate::error::Problem;
use crate::random;
use crate::revoke::cut_client;
use crate::store::credentials::Credential;
use crate::store::revocations::{self, Revocation};
use crate::store::{Lock, StoreError, Tx, installation};

/// Begins a change; one that kills tokens excludes mints, and takes the numbering row before any
/// client's.
pub(super) async fn begin(app: &App, kills: bool) -> Result<Tx, StoreError> {
    if !kills {
        return app.store.begin(Lock::Admin).await;
    }
    let mut tx = app.store.begin(Lock::Revoke).await?;
    installation::lock(&mut tx).await?;
    Ok(tx)
}

/// Kills every token that a client has.
pub(super) async fn client(
    app: &App,
    tx: &mut Tx,
    change: &Change,
    client: &QualifiedName,
    reason: &str,
    now_ms: i64,
) -> Result<Position, Problem> {
    let entry = cut_client(tx, client, None, clock::seconds(now_ms)).await?;
    publish(app, tx, change, &[entry], reason, now_ms).await
}

/// Kills every token that these versions of a client's secret were traded for.
pub(super) async fn credentials(
    app: &App,
    tx: &mut Tx,
    change: &Change,
    client: &QualifiedName,
    versions: &[Credential],
    now_ms: i64,
) -> Result<Option<Position>, Problem> {
    if versions.is_empty() {
        return Ok(None);
    }
    let entry = |row: &Credential| Entry::Cred {
        cred: deny::Credential { client: client.clone(), version: row.version.clone() },
        until: clock::seconds(now_ms) + HORIZON,
    };
    let entries: Vec<Entry> = versions.iter().map(entry).collect();
    publish(app, tx, change, &entries, "rotated", now_ms).await.map(Some)
}

async fn publish(
    app: &App,
    tx: &mut Tx,
    change: &Change,
    entries: &[Entry],
    reason: &str,
    now_ms: i64,
) -> Result<Position, Problem> {
    let position = app.deny.append(tx, now_ms, entries).await?;
    for entry in entries {
        let mut selector =
            serde_json::to_value(entry).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let mut before = None;
        if let Some(members) = selector.as_object_mut() {
            members.remove("until");
            before = members.remove("before").and_then(|before| before.as_i64());
        }
        let revocation = Revocation {
            id: random::uuid(now_ms),
            epoch: Some(position.epoch.clone()),
            seq: Some(position.seq),
            selector: selector.to_string(),
            subject: subject::of_entry(entry),
            before,
            reason: reason.to_owned(),
            note: String::new(),
            by_whom: change.by().to_string(),
            at_ms: now_ms,
            until: entry.until().map(u64::cast_signed),
            known: true,
        };
        revocations::insert(tx, &revocation).await?;
    }
    Ok(position)
}

/// After the commit: wakes those who follow the deny list.
pub(super) fn announce(app: &App, position: Option<Position>) {
    if let Some(position) = position {
        app.deny.announce(position);
        metrics::counter!("scrip_revocations_total").increment(1);
    }
}
