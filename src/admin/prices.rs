//! `/v1/prices`: what models cost. One list for everybody, set whole, versioned, never edited in place.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, Look, Page, rfc3339, warned};
use crate::app::App;
use crate::clock;
use crate::error::Problem;
use crate::prices::{PriceError, PriceList};
use crate::store::prices::{self, Prices};
use crate::store::{Lock, StoreError, Tenants, audit, policies};
use crate::strict::Query;

/// The scope that this needs: prices say what the policies' quotas are worth.
const SCOPE: &str = "scrip:policies";

/// Most warnings in one answer.
const MOST_WARNINGS: usize = 100;
/// Policies that are read at once.
const AT_ONCE: u32 = 200;

/// `PUT /v1/prices`: 200 with the version that counts now, which is the last one where nothing changes,
/// and which models of policies with a quota in money it has no price for; 400 naming the rule, 401;
/// 403 for an operator who is confined to a tenant too; 409 for another currency than the list has,
/// because quotas and accounts are counted in it; 415, 503.
///
/// # Errors
/// [`Problem`].
pub async fn set(
    State(app): State<Arc<App>>,
    asked: Asked,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let change = asked.by_operator(&app, SCOPE, &body).await?.everywhere()?;
    let list = PriceList::from_json(&body).map_err(|error| refusal(&error))?;
    let written =
        serde_json::to_string(&list).map_err(|error| StoreError::Corrupt(error.to_string()))?;

    // Reads all policies, and so before the transaction, in which others would wait.
    let warnings = uncovered(&app, &list).await?;
    let mut tx = app.store.begin(Lock::Operator).await?;
    if let Some(first) = change.answered(&mut tx).await? {
        return Ok(Json(first));
    }
    if let Some(latest) = prices::latest(&mut tx).await? {
        if latest.body == written {
            return Ok(Json(warned(show_one(&latest)?, warnings)));
        }
        let before = latest.list()?;
        if before.currency() != list.currency() {
            let detail = format!("prices are in {}, and so are all quotas", before.currency());
            return Err(Problem::conflict(detail));
        }
    }
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let (author, at) = (change.by().to_string(), now_ms / 1000);
    let version = prices::insert(&mut tx, &author, at, &written).await?;
    let reply = warned(show_one(&Prices { version, author, at, body: written })?, warnings);
    if let Some(first) = change.claim(&mut tx, &reply, now_ms).await? {
        return Ok(Json(first));
    }
    // The event names the version, which is on record for good: the list may be too long for it.
    let detail =
        json!({"version": version, "currency": list.currency(), "models": list.models().len()});
    let event = change.event_of_all("prices.set", "done").detail(&detail);
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

/// `GET /v1/prices?version=`: 200 with that version, else with the one that counts; 400, 401; 403 for
/// an operator who is confined to a tenant too; 404, 503.
///
/// # Errors
/// [`Problem`].
pub async fn show(
    State(app): State<Arc<App>>,
    look: Look,
    Query(which): Query<Which>,
) -> Result<Json<Value>, Problem> {
    look.everywhere(&app, SCOPE).await?;
    let mut session = app.store.read_for_operator().await?;
    let row = match which.version {
        Some(version) => prices::version(&mut session, version.get().into()).await?,
        None => prices::latest(&mut session).await?,
    };
    let unknown = || Problem::not_found("there are no prices, or no such version of them");
    Ok(Json(show_one(&row.ok_or_else(unknown)?)?))
}

/// `GET /v1/prices/versions?limit=&after=`: every version, newest first. 200, 400, 401; 403 for an
/// operator who is confined to a tenant too; 503.
///
/// # Errors
/// [`Problem`].
pub async fn versions(
    State(app): State<Arc<App>>,
    look: Look,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    look.everywhere(&app, SCOPE).await?;
    let after = page.after_version()?;
    let mut session = app.store.read_for_operator().await?;
    let rows = prices::versions(&mut session, after, page.limit()).await?;
    let items = rows.iter().map(show_one).collect::<Result<_, _>>()?;
    Ok(Json(page.reply(items, rows.last().map(|row| row.version.to_string()))))
}

/// What current policies with a quota in money permit and a list has no price for. A policy that is
/// applied at this moment is not seen; whoever applies it is warned instead.
async fn uncovered(app: &App, list: &PriceList) -> Result<Vec<String>, StoreError> {
    let mut session = app.store.read_for_operator().await?;
    let (mut warnings, mut last) = (Vec::new(), None::<policies::Policy>);
    loop {
        let after = last.as_ref().map(|row| (row.at, row.name.as_str()));
        let rows = policies::list(&mut session, Tenants::All, after, AT_ONCE).await?;
        for row in &rows {
            match row.terms() {
                Ok(terms) => {
                    let uncovered = terms.unpriced(Some(list));
                    warnings.extend(uncovered.iter().map(|why| format!("{}: {why}", row.name)));
                }
                Err(error) => {
                    tracing::error!(policy = row.name, %error, "a policy cannot be read");
                }
            }
        }
        last = rows.into_iter().last();
        if last.is_none() {
            break;
        }
    }
    let more = warnings.len().saturating_sub(MOST_WARNINGS);
    if more > 0 {
        warnings.truncate(MOST_WARNINGS);
        warnings.push(format!("and {more} more"));
    }
    Ok(warnings)
}

fn refusal(error: &PriceError) -> Problem {
    let pointer = match error {
        PriceError::Rule { pointer, .. } => pointer,
        _ => "",
    };
    Problem::invalid(pointer, error.to_string())
}

fn show_one(row: &Prices) -> Result<Value, StoreError> {
    Ok(json!({
        "version": row.version, "author": row.author, "at": rfc3339(row.at), "prices": row.list()?,
    }))
}
