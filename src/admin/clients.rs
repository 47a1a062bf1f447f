//! `/v1/clients`: who may ask for tokens.

mod credential;
mod request;
mod revoking;
mod stale;
mod unregistered;

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use scrip_token::QualifiedName;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument;

use super::{Asked, Change, Look, Page, confined, named, read, rfc3339};
use crate::app::App;
use crate::caller::current_policy;
use crate::clock;
use crate::error::{Failure, Problem};
use crate::lifecycle::{self, Outlook, Warning, endings};
use crate::mint::NO_STORE;
use crate::store::clients::{self, Client};
use crate::store::{self, Session, audit, client_warnings, credentials, ledgers};
use crate::strict::Query;
use crate::vault::{InVault, Versions};
use credential::{EMBEDDED, VAULT};
pub use request::MAX_OVERLAP;
use request::{Amendment, Creation, Rotation};

pub use unregistered::unregistered;

/// The scope that this needs.
const SCOPE: &str = "scrip:clients";

/// `POST /v1/clients`: 201 with the client and, in this answer only, the secret that was made for
/// it; one that Vault keeps only where that is asked for. A secret that is in Vault already is
/// adopted and never shown. 400, 401, 403, 409 for a name that is, or was, taken, 415, 503.
///
/// # Errors
/// [`Problem`].
pub async fn create(
    State(app): State<Arc<App>>,
    asked: Asked,
    body: Bytes,
) -> Result<Response, Problem> {
    let change = asked.by_operator(&app, SCOPE, &body).await?;
    let creation = Creation::read(&body, app.vault.is_some())?;
    let id = &creation.id;
    if !change.reach().covers_name(id) {
        return Err(confined());
    }

    // Everything that can be refused is refused before Vault is written.
    let mut session = app.store.read_for_operator().await?;
    // Before it is asked what was answered: a repetition must not find its own client in the way.
    let taken = clients::by_id(&mut session, id.as_str()).await?.is_some();
    if let Some(first) = change.answered(&mut session).await? {
        return Ok(answer(StatusCode::CREATED, first, None));
    }
    may_have(&app, &change, &mut session, id, &creation.policy).await?;
    if taken {
        return Err(Problem::conflict("this name is, or was, a client's"));
    }
    drop(session);
    to_the_end(&app, enter(app.clone(), change, creation)).await
}

/// Vault first. A process that dies in between leaves a secret that proves nobody, and the same
/// call adopts it; the other way round it would leave a client without a secret, and the same
/// call would find the name taken.
async fn enter(app: Arc<App>, change: Change, creation: Creation) -> Result<Response, Problem> {
    let id = &creation.id;
    let in_vault = match &app.vault {
        Some(vault) if creation.source == VAULT => {
            Some(InVault::adopt_or_write(vault.vault(), id, clock::now_seconds()).await?)
        }
        _ => None,
    };

    let mut tx = revoking::begin(&app, false).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let mut client = creation.client(now_ms / 1000);
    client.version = in_vault.as_ref().and_then(|found| found.versions.newest_name());
    let (versions, secret, embedded) = match in_vault {
        Some(InVault { versions, secret }) => (versions, secret, None),
        None => {
            let (row, secret) = credential::embedded(&app.digest_key, id, &[], now_ms / 1000);
            let versions = credential::known(&client, std::slice::from_ref(&row), None);
            (versions.unwrap_or_default(), Some(secret), Some(row))
        }
    };
    let outlook = Outlook::of_one(&mut tx, &client).await?;
    let reply = show_one(&client, &outlook, Some(&versions), now_ms);
    if let Some(first) = change.claim(&mut tx, &reply, now_ms).await? {
        return Ok(answer(StatusCode::CREATED, first, None));
    }
    may_have(&app, &change, &mut tx, id, &creation.policy).await?;
    clients::insert(&mut tx, &client).await?;
    if let Some(row) = &embedded {
        credentials::insert(&mut tx, row).await?;
    }
    let event = change.event("client.create", "done", id).detail(&reply);
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;

    refresh(&app, &client, id, now_ms).await;
    let shown = secret.filter(|_| creation.shows_secret());
    Ok(answer(StatusCode::CREATED, reply, shown.as_ref()))
}

/// Which clients.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    tenant: Option<String>,
    stale: Option<stale::Kind>,
    unused_for: Option<NonZeroU32>,
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

/// `GET /v1/clients?tenant=&stale=&unused_for=&limit=&after=`: 200, newest first, without
/// `credentials`, for which Vault would be asked about each; 400, 401, 403, 503.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    look: Look,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    let page = Page::new(wanted.limit, wanted.after);
    let kind = wanted.stale.or(wanted.unused_for.map(|_| stale::Kind::Unused));
    let days = wanted.unused_for.unwrap_or(app.config.unused_days);
    let mut session = app.store.read_for_operator().await?;
    let now = store::now_ms(&mut session, clock::now_ms()).await? / 1000;
    let filter = clients::Filter {
        tenants: reach.within(wanted.tenant.as_deref()),
        stale: kind.map(|kind| kind.filter(days, now)),
    };
    let rows = clients::list(&mut session, &filter, page.after(), page.limit()).await?;
    let outlooks = Outlook::of(&mut session, &rows).await?;
    let last = rows.last().map(|row| row.id.clone());
    let items = rows.iter().zip(&outlooks).map(|(row, outlook)| summary(row, outlook)).collect();
    Ok(Json(page.reply(items, last)))
}

/// `GET /v1/clients/{tenant}/{name}`: 200; `credentials` are those that authenticate now, and null
/// while Vault cannot be asked. 400, 401, 403, 404, 503.
///
/// # Errors
/// [`Problem`].
pub async fn show(
    State(app): State<Arc<App>>,
    look: Look,
    Path(path): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    let id = named(path, &reach, unknown)?;
    let mut session = app.store.read_for_operator().await?;
    let client = existing(&mut session, &id).await?;
    let rows = credentials::of_client(&mut session, id.as_str()).await?;
    let outlook = Outlook::of_one(&mut session, &client).await?;
    let now_ms = store::now_ms(&mut session, clock::now_ms()).await?;
    drop(session);
    let in_vault = credential::in_vault(&app, &client, &id).await.ok();
    let versions = credential::known(&client, &rows, in_vault.as_ref());
    Ok(Json(show_one(&client, &outlook, versions.as_ref(), now_ms)))
}

/// `PATCH /v1/clients/{tenant}/{name}`: 200. `"revoke": true` kills every token issued so far, in
/// the same transaction. 400, 401, 403, 404, 415, 503.
///
/// # Errors
/// [`Problem`].
pub async fn change(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path(path): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let change = asked.by_operator(&app, SCOPE, &body).await?;
    let id = named(path, change.reach(), unknown)?;
    let amendment = Amendment::read(&body)?;
    let client = existing(&mut app.store.read_for_operator().await?, &id).await?;
    let in_vault = credential::in_vault(&app, &client, &id).await.ok();

    // Disabling excludes mints, as revoking does: once it is answered, none is under way. What a longer
    // overlap would bring back has to end, with its tokens.
    let cuts = amendment.revoke || amendment.enabled == Some(false) || amendment.overlap.is_some();
    let mut tx = revoking::begin(&app, cuts).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    if let Some(first) = change.answered(&mut tx).await? {
        drop(tx);
        return repeated(&app, first).await;
    }
    let before = locked(&mut tx, &id, &clients::Change::default()).await?;
    // Taking a stronger policy away needs the same right as using it: whoever may then rotate the
    // weaker client's secret would have it when the policy comes back.
    if amendment.policy.is_some() || amendment.enabled.is_some() {
        change.may_touch(&app, &mut tx, &before).await?;
    }
    if let Some(policy) = &amendment.policy {
        may_have(&app, &change, &mut tx, &id, policy).await?;
    }
    let client = locked(&mut tx, &id, &amendment.change()).await?;
    let mut rows = credentials::of_client(&mut tx, id.as_str()).await?;
    let mut appended = None;
    if client.overlap > before.overlap {
        // Ended before the overlap is changed: a longer one must not bring back what the shorter
        // one has ended.
        let versions = credential::known(&before, &rows, in_vault.as_ref());
        let versions = versions.ok_or_else(|| Problem(Failure::unavailable("Vault is away", 5)))?;
        let over = credential::over(&before, &versions, now_ms / 1000);
        let over: Vec<String> = over.into_iter().map(|row| row.version).collect();
        let note = "its overlap was over before a longer one was set";
        appended = endings::end(&app, &mut tx, &id, &over, note, now_ms).await?;
        rows = credentials::of_client(&mut tx, id.as_str()).await?;
    }
    if amendment.revoke {
        appended = revoking::client(&app, &mut tx, &change, &id, "other", now_ms).await?;
    }
    let versions = credential::known(&client, &rows, in_vault.as_ref());
    let outlook = Outlook::of_one(&mut tx, &client).await?;
    let reply = show_one(&client, &outlook, versions.as_ref(), now_ms);
    if let Some(first) = change.claim(&mut tx, &reply, now_ms).await? {
        drop(tx);
        return repeated(&app, first).await;
    }
    let asked: Value = read(&body)?;
    let event = change.event("client.change", "done", &id).detail(&asked);
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;
    revoking::acknowledge(&app, appended).await?;
    // So that a secret which is no longer refused is good at once. Where it fails, the next look of
    // upkeep does it.
    if let Err(error) = lifecycle::review(&app, vec![client]).await {
        tracing::warn!(%error, "a changed client could not be looked at");
    }
    Ok(answer(StatusCode::OK, reply, None))
}

/// `POST /v1/clients/{tenant}/{name}/rotate`: 200 with the client and, in this answer only, its new
/// secret; one that Vault keeps only where that is asked for. The old one goes on for the overlap,
/// unless it is refused already; `"revoke": true` ends it now, with the tokens that it was traded
/// for. 400, 401, 403, 404, 415, 503.
///
/// # Errors
/// [`Problem`].
pub async fn rotate(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path(path): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let change = asked.by_operator(&app, SCOPE, &body).await?;
    let id = named(path, change.reach(), unknown)?;
    let rotation = Rotation::read(&body)?;

    let mut session = app.store.read_for_operator().await?;
    if let Some(first) = change.answered(&mut session).await? {
        drop(session);
        return repeated(&app, first).await;
    }
    let client = existing(&mut session, &id).await?;
    change.may_touch(&app, &mut session, &client).await?;
    drop(session);
    to_the_end(&app, replace(app.clone(), change, id, rotation, client)).await
}

/// Vault first. A process that dies in between leaves a new version that is good beside the old
/// one, and the same call rotates again; the other way round it would end the only secret that
/// there is. Two calls with one Idempotency-Key at the same moment may both write: a version
/// too many, of which the second call's answer says nothing.
async fn replace(
    app: Arc<App>,
    change: Change,
    id: QualifiedName,
    rotation: Rotation,
    client: Client,
) -> Result<Response, Problem> {
    let in_vault = match client.source.as_str() {
        EMBEDDED => None,
        _ => Some(InVault::rotate(credential::vault(&app)?, &id).await?),
    };

    // What was refused because it is past due does not come back for the overlap.
    let ends_old = rotation.revoke || client.refused.is_some();
    let mut tx = revoking::begin(&app, ends_old).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let now = now_ms / 1000;
    // The date was for this rotation; the next one has to be set anew.
    let version = in_vault.as_ref().and_then(|found| found.versions.newest_name());
    let kept = clients::Change {
        rotated: Some(now),
        rotate_by: Some(None),
        refused: Some(None),
        version: version.as_deref(),
        ..Default::default()
    };
    let client = locked(&mut tx, &id, &kept).await?;
    client_warnings::lift(&mut tx, id.as_str(), &Warning::OF_AGE.map(Warning::as_str)).await?;
    change.may_touch(&app, &mut tx, &client).await?;
    let mut rows = credentials::of_client(&mut tx, id.as_str()).await?;
    let (in_vault, secret) = match in_vault {
        Some(InVault { versions, secret }) => (Some(versions), secret),
        None => {
            let (row, secret) = credential::embedded(&app.digest_key, &id, &rows, now);
            credentials::insert(&mut tx, &row).await?;
            rows.push(row);
            (None, Some(secret))
        }
    };
    let known =
        |rows: &[_]| credential::known(&client, rows, in_vault.as_ref()).unwrap_or_default();
    let mut appended = None;
    if ends_old {
        let old = credential::old(&client, &known(&rows), now);
        appended = revoking::credentials(&app, &mut tx, &change, &id, &old, now_ms).await?;
        credential::end(&mut tx, &id, &old, now).await?;
        rows = credentials::of_client(&mut tx, id.as_str()).await?;
    }
    let outlook = Outlook::of_one(&mut tx, &client).await?;
    let reply = show_one(&client, &outlook, Some(&known(&rows)), now_ms);
    if let Some(first) = change.claim(&mut tx, &reply, now_ms).await? {
        drop(tx);
        return repeated(&app, first).await;
    }
    let detail = json!({"revoke": rotation.revoke, "credentials": reply["credentials"]});
    let event = change.event("client.rotate", "done", &id).detail(&detail);
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;

    metrics::counter!("scrip_rotations_total", "by" => "operator").increment(1);
    revoking::acknowledge(&app, appended).await?;
    refresh(&app, &client, &id, now_ms).await;
    let shown = secret.filter(|_| client.source == EMBEDDED || rotation.show_secret);
    Ok(answer(StatusCode::OK, reply, shown.as_ref()))
}

/// `DELETE /v1/clients/{tenant}/{name}`: disables the client for ever, kills every token issued so
/// far and retires its ledgers; its history stays, and so does what Vault keeps. 204, again for one
/// that is deleted already; 400, 401, 403, 404, 503.
///
/// # Errors
/// [`Problem`].
pub async fn delete(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path(path): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let change = asked.by_operator(&app, SCOPE, &[]).await?;
    let id = named(path, change.reach(), unknown)?;
    let mut tx = revoking::begin(&app, true).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let client = clients::by_id(&mut tx, id.as_str()).await?.ok_or_else(unknown)?;
    if client.deleted.is_some() {
        drop(tx);
        revoking::attest(&app).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    change.may_touch(&app, &mut tx, &client).await?;
    let gone = clients::Change {
        enabled: Some(false),
        deleted: Some(now_ms / 1000),
        ..Default::default()
    };
    clients::update(&mut tx, id.as_str(), &gone).await?;
    client_warnings::lift(&mut tx, id.as_str(), &Warning::ALL.map(Warning::as_str)).await?;
    // Without the client nobody could report for its ledgers.
    ledgers::retire_all(&mut tx, id.as_str(), now_ms / 1000).await?;
    let appended = revoking::client(&app, &mut tx, &change, &id, "decommissioned", now_ms).await?;
    let event = change.event("client.delete", "done", &id);
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;
    revoking::acknowledge(&app, appended).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever hangs up takes the handler of their request along; not what has begun to write Vault,
/// where nothing would give up what is half done.
async fn to_the_end(
    app: &App,
    work: impl Future<Output = Result<Response, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    let done = app.tasks.spawn(work.in_current_span()).await;
    done.map_err(|error| Problem(Failure::internal(error)))?
}

fn unknown() -> Problem {
    Problem::not_found("there is no such client")
}

async fn existing(session: &mut impl Session, id: &QualifiedName) -> Result<Client, Problem> {
    let client = clients::by_id(session, id.as_str()).await?;
    client.filter(|client| client.deleted.is_none()).ok_or_else(unknown)
}

/// The client as changed; nobody else changes it until the transaction ends.
async fn locked(
    tx: &mut crate::store::Tx,
    id: &QualifiedName,
    change: &clients::Change<'_>,
) -> Result<Client, Problem> {
    let client = clients::update(tx, id.as_str(), change).await?;
    client.filter(|client| client.deleted.is_none()).ok_or_else(unknown)
}

/// Refuses a policy that does not exist, belongs to another tenant, or is not the operator's to
/// give.
async fn may_have(
    app: &App,
    change: &Change,
    session: &mut impl Session,
    id: &QualifiedName,
    policy: &QualifiedName,
) -> Result<(), Problem> {
    if policy.tenant() != id.tenant() {
        return Err(Problem::invalid("/policy", "belongs to another tenant than the client"));
    }
    let policy = current_policy(session, policy.as_str()).await?;
    let policy = policy.ok_or_else(|| Problem::invalid("/policy", "there is no such policy"))?;
    change.may_grant(app, session, &policy).await
}

/// Lets the next proof see what has just been written into Vault.
async fn refresh(app: &App, client: &Client, id: &QualifiedName, now_ms: i64) {
    if let Some(vault) = app.vault.as_ref().filter(|_| client.source == VAULT) {
        vault.refresh([id.clone()], clock::seconds(now_ms)).await;
    }
}

/// The first answer to a change that may have killed tokens, once there is a witness of that.
async fn repeated(app: &App, first: Value) -> Result<Response, Problem> {
    revoking::attest(app).await?;
    Ok(answer(StatusCode::OK, first, None))
}

fn answer(status: StatusCode, mut body: Value, secret: Option<&SecretString>) -> Response {
    if let Some(secret) = secret {
        body["secret"] = json!(secret.expose_secret());
    }
    (status, NO_STORE, Json(body)).into_response()
}

fn show_one(client: &Client, outlook: &Outlook, versions: Option<&Versions>, now_ms: i64) -> Value {
    let mut body = summary(client, outlook);
    body["credentials"] = match versions {
        Some(versions) => credential::show(client, versions, now_ms / 1000),
        None => Value::Null,
    };
    body
}

fn summary(client: &Client, outlook: &Outlook) -> Value {
    json!({
        "id": client.id, "policy": client.policy, "source": client.source,
        "enabled": client.enabled, "overlap": client.overlap,
        "rotate_by": client.rotate_by.map(rfc3339), "due": outlook.due.map(rfc3339),
        "warnings": outlook.warnings, "created": rfc3339(client.created),
        "rotated": client.rotated.map(rfc3339), "last_used": client.last_used.map(rfc3339),
        "last_address": client.last_address, "mints": client.mints,
    })
}
