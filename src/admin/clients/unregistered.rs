//! `GET /v1/clients/unregistered`: master credentials that lie in Vault and belong to no client.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures_util::{StreamExt, stream};
use scrip_token::QualifiedName;
use scrip_token::name::is_label;
use serde::Deserialize;
use serde_json::{Value, json};

use super::SCOPE;
use super::credential::vault;
use crate::admin::{Look, Page, rfc3339};
use crate::app::App;
use crate::clock;
use crate::error::{Failure, Problem};
use crate::publish::malformed;
use crate::store::{Tenants, clients};
use crate::strict::Query;
use crate::vault::{Vault, VaultError};

/// Most tenants' folders that are looked into for one page.
const MOST_FOLDERS: usize = 64;
/// Names that are looked up among the clients at once.
const CHUNK: usize = 500;
/// Secrets judged at once.
const PARALLEL: usize = 8;
/// Longest time for a page.
const TIME: Duration = Duration::from_secs(20);

/// Which of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    tenant: Option<String>,
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

/// Shows what of Vault could become clients, in the order of its names, and why some could not;
/// never a secret. Nothing is changed. 200; 400, 401, 403; 503 without a Vault that answers.
///
/// # Errors
/// [`Problem`].
pub async fn unregistered(
    State(app): State<Arc<App>>,
    look: Look,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    if wanted.tenant.as_deref().is_some_and(|tenant| !is_label(tenant)) {
        return Err(malformed("`tenant` is no tenant's name"));
    }
    let page = Page::new(wanted.limit, wanted.after);
    let tenant = match reach.within(wanted.tenant.as_deref()) {
        Tenants::All => None,
        Tenants::One(tenant) => Some(tenant),
        Tenants::Nobody => return Ok(Json(page.reply(Vec::new(), None))),
    };
    match tokio::time::timeout(TIME, search(&app, tenant, &page)).await {
        Ok(found) => found.map(Json),
        Err(_) => Err(Problem(Failure::unavailable("Vault takes too long", 5))),
    }
}

async fn search(app: &App, tenant: Option<&str>, page: &Page) -> Result<Value, Problem> {
    let vault = vault(app)?;
    let (found, next) = find(app, vault, tenant, page).await?;
    let mut judged = Vec::new();
    for Found { name, was_client } in found {
        judged.push(judge(vault, name, was_client));
    }
    let judged: Vec<_> = stream::iter(judged).buffered(PARALLEL).collect().await;
    let items: Vec<Value> = judged.into_iter().collect::<Result<_, VaultError>>()?;
    Ok(json!({"items": items, "next": next}))
}

/// Something in Vault without a client.
struct Found {
    /// `<tenant>/<name>`, where it is what a client's would be.
    name: String,
    /// Of one that was deleted.
    was_client: bool,
}

/// What comes after the cursor, and the next cursor: a name, or the end of a folder.
async fn find(
    app: &App,
    vault: &Vault,
    tenant: Option<&str>,
    page: &Page,
) -> Result<(Vec<Found>, Option<String>), Problem> {
    let after = page.after().unwrap_or_default();
    let mut folders = match tenant {
        Some(tenant) => vec![format!("{tenant}/")],
        None => vault.list(None).await?,
    };
    // No folder's name begins with another's, so that they are in the order of what is in them.
    folders.sort_unstable();
    folders.retain(|folder| end_of(folder).as_str() > after);

    let mut found = Vec::new();
    for (n, folder) in folders.iter().enumerate() {
        if n == MOST_FOLDERS {
            return Ok((found, Some(end_of(&folders[n - 1]))));
        }
        let mut names = match folder.strip_suffix('/').filter(|tenant| is_label(tenant)) {
            Some(tenant) => vault.list(Some(tenant)).await?,
            None => vec![String::new()],
        };
        names.iter_mut().for_each(|name| name.insert_str(0, folder));
        names.retain(|name| name.as_str() > after);
        names.sort_unstable();
        for chunk in names.chunks(CHUNK) {
            let ids: Vec<&str> = chunk.iter().map(String::as_str).collect();
            let known = clients::by_ids(&mut app.store.read().await?, &ids).await?;
            for name in chunk {
                let client = known.iter().find(|client| client.id == *name);
                if client.is_some_and(|client| client.deleted.is_none()) {
                    continue;
                }
                found.push(Found { name: name.clone(), was_client: client.is_some() });
                if found.len() == page.limit() as usize {
                    return Ok((found, Some(name.clone())));
                }
            }
        }
    }
    Ok((found, None))
}

/// Behind everything in a folder, and before whatever comes after it.
fn end_of(folder: &str) -> String {
    format!("{folder}{}", char::MAX)
}

/// Whether it could become a client. What a secret is wrong in is said, what it is is not.
async fn judge(vault: &Vault, name: String, was_client: bool) -> Result<Value, VaultError> {
    let item = |since: Option<String>, problem: Option<&str>| {
        Ok(json!({"id": name, "since": since, "problem": problem}))
    };
    let Ok(id) = QualifiedName::parse(&name) else {
        return item(None, Some("no client can have this name"));
    };
    let versions = vault.every_version(&id).await?;
    let Some(newest) = versions.newest() else {
        return item(None, Some("there is no secret"));
    };
    let since = Some(rfc3339(newest.created.timestamp()));
    if was_client {
        return item(since, Some("the name of a client that was deleted"));
    }
    if newest.has_ended(clock::now_seconds()) {
        return item(since, Some("the newest version is deleted"));
    }
    match vault.secret(&id, newest.number).await {
        Ok(_) => item(since, None),
        Err(VaultError::Unusable(why)) => item(since, Some(why)),
        Err(VaultError::Away(reason)) => Err(reason.into()),
        Err(_) => item(since, Some("Vault does not let the service read it")),
    }
}
