//! `/v1/policies`: applied whole, versioned, never edited in place.

mod replay;

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, Look, Page, confined, named, rfc3339, warned};
use crate::app::App;
use crate::caller::{Reach, current_policy};
use crate::clock;
use crate::error::Problem;
use crate::policy::{Policy, PolicyError};
use crate::publish::malformed;
use crate::store::{Lock, StoreError, audit, policies, prices};
use crate::strict::Query;

pub use replay::try_out;

/// The scope that this needs.
const SCOPE: &str = "scrip:policies";

/// `PUT /v1/policies/{tenant}/{name}`: 200 with the version that counts now, which is the last one
/// where nothing changes, and which of its models a quota in money lacks a price for; 400 naming the
/// rule, 401, 403, 409, 415, 503.
///
/// # Errors
/// [`Problem`].
pub async fn apply(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path(path): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let change = asked.by_operator(&app, SCOPE, &body).await?;
    let policy = read_policy(&app, path, change.reach(), confined, &body)?;
    let name = policy.name();
    let written =
        serde_json::to_string(&policy).map_err(|error| StoreError::Corrupt(error.to_string()))?;

    let mut tx = app.store.begin(Lock::Operator).await?;
    if let Some(first) = change.answered(&mut tx).await? {
        return Ok(Json(first));
    }
    change.may_grant(&app, &mut tx, &policy).await?;
    // To take a grant away one must be able to give it: it may come back.
    if let Some(before) = current_policy(&mut tx, name.as_str()).await? {
        change.may_grant(&app, &mut tx, &before).await?;
    }
    let list = prices::current(&mut tx).await?;
    let warnings = policy.unpriced(list.as_ref()).iter().map(ToString::to_string).collect();
    if let Some(latest) = policies::latest(&mut tx, name.as_str()).await?
        && latest.body == written
    {
        return Ok(Json(warned(show_one(&latest)?, warnings)));
    }
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let (author, at) = (change.by().to_string(), now_ms / 1000);
    let version = policies::insert(&mut tx, name.as_str(), &author, at, &written).await?;
    let row = policies::Policy { name: name.to_string(), version, author, at, body: written };
    let applied = show_one(&row)?;
    let event = change.event("policy.apply", "done", name).detail(&applied);
    let reply = warned(applied, warnings);
    if let Some(first) = change.claim(&mut tx, &reply, now_ms).await? {
        return Ok(Json(first));
    }
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;
    Ok(Json(reply))
}

/// Which version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    version: Option<NonZeroU32>,
}

/// `GET /v1/policies/{tenant}/{name}?version=`: 200 with that version, else with the one that counts;
/// 400, 401, 403, 404, 503.
///
/// # Errors
/// [`Problem`].
pub async fn show(
    State(app): State<Arc<App>>,
    look: Look,
    Path(path): Path<(String, String)>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    let name = named(path, &reach, unknown)?;
    let mut session = app.store.read_for_operator().await?;
    let row = match which.version {
        Some(version) => {
            policies::version(&mut session, name.as_str(), version.get().into()).await?
        }
        None => policies::latest(&mut session, name.as_str()).await?,
    };
    Ok(Json(show_one(&row.ok_or_else(unknown)?)?))
}

/// `GET /v1/policies/{tenant}/{name}/versions?limit=&after=`: every version, newest first. 200, 400,
/// 401, 403, 404, 503.
///
/// # Errors
/// [`Problem`].
pub async fn versions(
    State(app): State<Arc<App>>,
    look: Look,
    Path(path): Path<(String, String)>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    let name = named(path, &reach, unknown)?;
    let after = page.after_version()?;
    let mut session = app.store.read_for_operator().await?;
    let rows = policies::versions(&mut session, name.as_str(), after, page.limit()).await?;
    if rows.is_empty() && policies::latest(&mut session, name.as_str()).await?.is_none() {
        return Err(unknown());
    }
    let items = rows.iter().map(show_one).collect::<Result<_, _>>()?;
    Ok(Json(page.reply(items, rows.last().map(|row| row.version.to_string()))))
}

/// Which policies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    tenant: Option<String>,
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

/// `GET /v1/policies?tenant=&limit=&after=`: the version of each that counts, newest first. 200,
/// 400, 401, 403, 503.
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
    let after = page.after().map(cursor).transpose()?;
    let mut session = app.store.read_for_operator().await?;
    let tenants = reach.within(wanted.tenant.as_deref());
    let rows = policies::list(&mut session, tenants, after, page.limit()).await?;
    let items = rows.iter().map(show_one).collect::<Result<_, _>>()?;
    Ok(Json(page.reply(items, rows.last().map(|row| format!("{}:{}", row.at, row.name)))))
}

/// The policy in a body, which must have the name in the path and be fit to be applied here.
fn read_policy(
    app: &App,
    path: (String, String),
    reach: &Reach,
    beyond: fn() -> Problem,
    body: &[u8],
) -> Result<Policy, Problem> {
    let name = named(path, reach, beyond)?;
    let policy = Policy::from_json(body).and_then(|policy| policy.whole(&app.config.issuer));
    let policy = policy.map_err(|error| refusal(&error))?;
    if *policy.name() != name {
        return Err(Problem::invalid("/name", "is not the name in the path"));
    }
    Ok(policy)
}

fn unknown() -> Problem {
    Problem::not_found("there is no such policy, or no such version of it")
}

/// With the time of the policy, because one that is applied again while the list is read changes
/// its place.
fn cursor(text: &str) -> Result<(i64, &str), Problem> {
    let parts = text.split_once(':').and_then(|(at, name)| Some((at.parse().ok()?, name)));
    parts.ok_or_else(|| malformed("`after` is not the `next` of this list"))
}

fn refusal(error: &PolicyError) -> Problem {
    let pointer = match error {
        PolicyError::Rule { member, .. } => format!("/{}", member.replace('.', "/")),
        _ => String::new(),
    };
    Problem::invalid(&pointer, error.to_string())
}

fn show_one(row: &policies::Policy) -> Result<Value, StoreError> {
    let policy: Value =
        serde_json::from_str(&row.body).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(json!({
        "name": row.name, "version": row.version, "author": row.author, "at": rfc3339(row.at),
        "policy": policy,
    }))
}
