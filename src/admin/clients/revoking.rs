//! Changes that kill tokens: the revocation belongs to the transaction of the change, and is on
//! record like any other.

use scrip_token::QualifiedName;
use scrip_token::deny;

use crate::admin::Change;
use crate::app::App;
use crate::clock;
use crate::deny::Appended;
use crate::error::Problem;
/// Whoever hears that it was done before hears an acknowledgement too.
pub(super) use crate::revoke::attest;
use crate::revoke::{Draft, Grounds, Selector, Target, enact};
use crate::store::credentials::Credential;
use crate::store::{Lock, StoreError, Tx, installation};

/// Begins a change; one that kills tokens excludes mints, and takes the numbering row before any
/// client's.
pub(super) async fn begin(app: &App, kills: bool) -> Result<Tx, StoreError> {
    if !kills {
        return app.store.begin(Lock::Operator).await;
    }
    let mut tx = app.store.begin(Lock::Withdraw).await?;
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
) -> Result<Option<Appended>, Problem> {
    let targets = vec![Target::Client(client.clone())];
    revoke(app, tx, change, targets, reason, now_ms).await
}

/// Kills every token that these versions of a client's secret were traded for.
pub(super) async fn credentials(
    app: &App,
    tx: &mut Tx,
    change: &Change,
    client: &QualifiedName,
    versions: &[Credential],
    now_ms: i64,
) -> Result<Option<Appended>, Problem> {
    let of = |row: &Credential| {
        Target::Cred(deny::Credential { client: client.clone(), version: row.version.clone() })
    };
    let targets = versions.iter().map(of).collect();
    revoke(app, tx, change, targets, "rotated", now_ms).await
}

async fn revoke(
    app: &App,
    tx: &mut Tx,
    change: &Change,
    targets: Vec<Target>,
    reason: &str,
    now_ms: i64,
) -> Result<Option<Appended>, Problem> {
    let mut drafts = Vec::with_capacity(targets.len());
    for target in targets {
        let selector = Selector { target, before: None };
        let found = selector.resolve(tx, change.reach(), clock::seconds(now_ms)).await?;
        let grounds = Grounds { reason: reason.to_owned(), note: String::new() };
        drafts.push(Draft::new(selector, found, change.by(), grounds, now_ms));
    }
    Ok(enact(tx, &app.deny, drafts, now_ms).await?.1)
}

/// After the commit: wakes those who follow the deny list, and waits for the witness.
pub(super) async fn acknowledge(app: &App, appended: Option<Appended>) -> Result<(), Problem> {
    if let Some(appended) = appended {
        app.deny.acknowledge(appended).await?;
    }
    Ok(())
}
