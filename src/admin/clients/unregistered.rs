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
use crate::secret;
use crate::store::clients::{self, Client};
use crate::store::{StoreError, Tenants};
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
/// never a secret, nor a name that may be one: those are counted. Nothing is changed. 200; 400, 401, 403; 503 without a Vault that answers.
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
    for found in found {
        judged.push(judge(vault, found));
    }
    let judged: Vec<_> = stream::iter(judged).buffered(PARALLEL).collect().await;
    let items: Vec<Value> = judged.into_iter().collect::<Result<_, VaultError>>()?;
    Ok(json!({"items": items, "next": next}))
}

/// Something in Vault without a client.
enum Found {
    Secret {
        id: QualifiedName,
        was_client: bool,
    },
    /// How many names in a folder are withheld, because one may be a secret that somebody stored as a
    /// name.
    Withheld {
        folder: String,
        names: usize,
    },
}

/// How the folder above all tenants' folders is shown; it sorts before every one of them.
const ROOT: &str = "/";

/// What comes after the cursor, and the next cursor, which is a name or the end of a folder.
async fn find(
    app: &App,
    vault: &Vault,
    tenant: Option<&str>,
    page: &Page,
) -> Result<(Vec<Found>, Option<String>), Problem> {
    let after = page.after().unwrap_or_default();
    let limit = page.limit() as usize;
    let mut found = Vec::new();
    let mut folders = match tenant {
        Some(tenant) => vec![format!("{tenant}/")],
        None => {
            let is_tenant = |folder: &String| folder.strip_suffix('/').is_some_and(is_shown);
            let (folders, others): (Vec<_>, Vec<_>) =
                vault.list(None).await?.into_iter().partition(is_tenant);
            if !others.is_empty() && after < ROOT {
                found.push(Found::Withheld { folder: ROOT.to_owned(), names: others.len() });
            }
            folders
        }
    };
    if found.len() == limit {
        return Ok((found, Some(ROOT.to_owned())));
    }
    // Folders end in a slash, so no name begins with another's: they sort as what is in them does.
    folders.sort_unstable();
    folders.retain(|folder| end_of(folder).as_str() > after);

    for (n, folder) in folders.iter().enumerate() {
        if n == MOST_FOLDERS {
            return Ok((found, Some(end_of(&folders[n - 1]))));
        }
        let (names, others): (Vec<_>, Vec<_>) = vault
            .list(Some(folder.trim_end_matches('/')))
            .await?
            .into_iter()
            .partition(|name| is_shown(name));
        let mut ids: Vec<String> = names.iter().map(|name| format!("{folder}{name}")).collect();
        let withheld =
            if after < folder.as_str() { withheld(app, folder, &others).await? } else { 0 };
        if withheld > 0 {
            ids.push(folder.clone());
        }
        ids.retain(|id| id.as_str() > after);
        ids.sort_unstable();
        for ids in ids.chunks(CHUNK) {
            let known = known(app, ids).await?;
            for id in ids {
                let client = known.iter().find(|client| client.id == *id);
                if client.is_some_and(|client| client.deleted.is_none()) {
                    continue;
                }
                found.push(match QualifiedName::parse(id) {
                    Ok(id) => Found::Secret { id, was_client: client.is_some() },
                    Err(_) => Found::Withheld { folder: folder.clone(), names: withheld },
                });
                if found.len() == limit {
                    return Ok((found, Some(id.clone())));
                }
            }
        }
    }
    Ok((found, None))
}

/// Whether a name may be shown: a client or tenant could have it, and it looks like no secret.
fn is_shown(name: &str) -> bool {
    is_label(name) && !secret::may_be(name)
}

/// How many of the withheld names in a folder belong to no client.
async fn withheld(app: &App, folder: &str, names: &[String]) -> Result<usize, StoreError> {
    let ids: Vec<String> =
        names.iter().filter(|name| is_label(name)).map(|name| format!("{folder}{name}")).collect();
    let mut withheld = names.len();
    for ids in ids.chunks(CHUNK) {
        withheld -= known(app, ids).await?.len();
    }
    Ok(withheld)
}

async fn known(app: &App, ids: &[String]) -> Result<Vec<Client>, StoreError> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    clients::by_ids(&mut app.store.read_for_operator().await?, &ids).await
}

/// A cursor behind everything in a folder, and before whatever comes after the folder.
fn end_of(folder: &str) -> String {
    format!("{folder}{}", char::MAX)
}

/// Whether a secret could become a client's. Says what is wrong with it, never what it is.
async fn judge(vault: &Vault, found: Found) -> Result<Value, VaultError> {
    let (id, was_client) = match found {
        Found::Secret { id, was_client } => (id, was_client),
        Found::Withheld { folder, names } => {
            let problem = format!("names no client can have, or that may be secrets: {names}");
            return Ok(json!({"id": folder, "since": null, "problem": problem}));
        }
    };
    let item = |since: Option<String>, problem: Option<&str>| {
        Ok(json!({"id": id, "since": since, "problem": problem}))
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
