//! Looks at every client: replaces secrets that are due, warns once of what somebody should know,
//! refuses what is past its grace.
//!
//! A warning is a row from its event until it is so no longer, so that two replicas give it once. A
//! secret that was refused does not come back for the overlap. The row names the version in Vault
//! that is known: a secret which somebody else replaced there counts as replaced, whatever the
//! clocks say. Vault is asked about 64 clients of each page, so that a policy for ten thousand old
//! secrets is carried out in minutes and not at once.

use futures_util::{StreamExt, stream};
use scrip_token::QualifiedName;
use serde_json::json;

use super::outlook::policies_of;
use super::rotation::{self, Secret};
use super::{Bounds, DAY, Known, Warning, due, replaced_from, since, warnings};
use crate::admin::rfc3339;
use crate::app::App;
use crate::audit::Event;
use crate::clock;
use crate::policy::Policy;
use crate::revoke::NotRevoked;
use crate::store::clients::{self, Change, Client};
use crate::store::{self, Lock, StoreError, audit, client_addresses, client_warnings};
use crate::vault::MasterCredentials;

/// Clients looked at in one go.
const PAGE: u32 = 512;
/// Most of them about whom Vault is asked, and how many at once.
const MOST_ASKED: usize = 64;
const PARALLEL: usize = 8;

/// Looks at all clients, a page at a time, and counts those that are warned.
///
/// # Errors
/// [`NotRevoked`]; what was done before it stays.
pub async fn watch(app: &App) -> Result<(), NotRevoked> {
    let mut after = String::new();
    while !app.shutdown.is_cancelled() {
        let page = clients::by_name(&mut app.store.read().await?, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        review(app, page).await?;
    }
    let standing = client_warnings::count(&mut app.store.read().await?).await?;
    for warning in Warning::ALL {
        let clients = standing.iter().find(|(kind, _)| kind == warning.as_str());
        let clients = clients.map_or(0, |(_, clients)| *clients);
        metrics::gauge!("scrip_client_warnings", "warning" => warning.as_str()).set(clients as f64);
    }
    Ok(())
}

/// Looks at these clients now.
///
/// # Errors
/// [`NotRevoked`].
pub async fn review(app: &App, clients: Vec<Client>) -> Result<(), NotRevoked> {
    let mut session = app.store.read().await?;
    let now = store::now_ms(&mut session, clock::now_ms()).await? / 1000;
    let policies = policies_of(&mut session, &clients).await?;
    let ids: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
    let standing = client_warnings::of_clients(&mut session, &ids).await?;
    let places = client_addresses::count(&mut session, &ids, now - DAY).await?;
    drop(session);

    let bounds = Bounds {
        unused: i64::from(app.config.unused_days.get()) * DAY,
        places: app.config.most_addresses.into(),
    };
    let cases: Vec<Case<'_>> = clients
        .iter()
        // Without its policy a client is neither warned nor is a warning lifted.
        .filter_map(|client| Some((client, policies.get(&client.policy)?)))
        .map(|(client, policy)| {
            let own = standing.iter().filter(|warning| warning.client == client.id);
            let own: Vec<_> = own.map(|warning| (warning.kind.as_str(), warning.at)).collect();
            let past_due = own.iter().find(|(kind, _)| *kind == Warning::PastDue.as_str());
            let places = places.iter().find(|(id, _)| *id == client.id);
            Case {
                client,
                policy,
                known: Known {
                    past_due_since: past_due.map(|(_, at)| *at),
                    places: places.map_or(0, |(_, places)| *places),
                },
                given: own.iter().map(|(kind, _)| *kind).collect(),
                bounds,
            }
        })
        .collect();

    let mut settled = Vec::new();
    let mut to_ask = Vec::new();
    for (place, case) in cases.iter().enumerate() {
        match case.in_vault(app) {
            Some((vault, name)) => match rotation::notice(app, vault, case.client, &name).await? {
                Secret::AsRecorded if case.concerns_vault(now) => {
                    to_ask.push((place, case, vault, name));
                }
                Secret::AsRecorded => settled.push(place),
                Secret::Replaced | Secret::Unknown => {}
            },
            None => settled.push(place),
        }
    }
    // What Vault refused before comes last, so that it keeps nobody waiting.
    to_ask.sort_by_key(|(_, case, ..)| case.known.past_due_since.is_some());
    let mut answers = Vec::new();
    for (place, case, vault, name) in to_ask.into_iter().take(MOST_ASKED) {
        answers.push(async move {
            // Once the process is to end, nothing more is begun.
            let secret = if app.shutdown.is_cancelled() {
                Ok(Secret::Unknown)
            } else {
                case.settle(app, vault, &name, now).await
            };
            (place, secret)
        });
    }
    let mut answers = stream::iter(answers).buffer_unordered(PARALLEL);
    while let Some((place, secret)) = answers.next().await {
        if secret? == Secret::AsRecorded {
            settled.push(place);
        }
    }
    // Whoever locks several clients takes them in the order of the database.
    settled.sort_unstable();
    let settled = settled.into_iter().map(|place| &cases[place]);
    let changed: Vec<&Case<'_>> = settled.filter(|case| case.has_changed(now)).collect();
    Ok(record(app, &changed).await?)
}

/// One client, and all that decides what is to be said of it.
struct Case<'p> {
    client: &'p Client,
    policy: &'p Policy,
    known: Known,
    /// The warnings that stand.
    given: Vec<&'p str>,
    bounds: Bounds,
}

impl Case<'_> {
    /// Where its secret lies, if that is Vault and the client may use it.
    fn in_vault<'a>(&self, app: &'a App) -> Option<(&'a MasterCredentials, QualifiedName)> {
        let vault = app.vault.as_ref().filter(|_| self.client.source == "vault")?;
        Some((vault, self.client.id.parse().ok().filter(|_| self.client.enabled)?))
    }

    /// Whether its secret is to be replaced, or something is about to be said of its age.
    fn concerns_vault(&self, now: i64) -> bool {
        let is_due = replaced_from(self.client, self.policy).is_some_and(|from| from <= now);
        let is_new = |warning: &Warning| !self.given.contains(&warning.as_str());
        let found = self.found(self.client, now);
        is_due || found.iter().any(|found| Warning::OF_AGE.contains(found) && is_new(found))
    }

    async fn settle(
        &self,
        app: &App,
        vault: &MasterCredentials,
        name: &QualifiedName,
        now: i64,
    ) -> Result<Secret, NotRevoked> {
        rotation::settle(app, vault, self.client, name, self.policy, now).await
    }

    fn has_changed(&self, now: i64) -> bool {
        let found = self.found(self.client, now);
        let is_given = |warning: &Warning| self.given.contains(&warning.as_str());
        Warning::ALL.iter().any(|warning| is_given(warning) != found.contains(warning))
            || self.client.refused.is_some() != found.contains(&Warning::Refused)
    }

    /// Whether nothing has changed that the judgement rests on.
    fn is_of(&self, client: &Client) -> bool {
        let ground = |client: &Client| (since(client), client.rotate_by, client.enabled);
        ground(client) == ground(self.client) && client.policy == self.client.policy
    }

    fn found(&self, client: &Client, now: i64) -> Vec<Warning> {
        warnings(client, self.policy, self.known, self.bounds, now)
    }
}

/// Puts on record what has changed: raises warnings, with an event each, and lifts them, and notes
/// whether the secret is refused from now on.
async fn record(app: &App, changed: &[&Case<'_>]) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.begin(Lock::Admin).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let now = now_ms / 1000;
    let mut events = Vec::new();
    for case in changed {
        let id = &case.client.id;
        let client = clients::update(&mut tx, id, &Change::default()).await?;
        let Some(client) = client.filter(|client| case.is_of(client)) else { continue };
        let found = case.found(&client, now);
        for warning in Warning::ALL {
            let kind = warning.as_str();
            match (case.given.contains(&kind), found.contains(&warning)) {
                (false, true) if client_warnings::raise(&mut tx, id, kind, now).await? => {
                    let due = due(&client, Some(case.policy)).map(rfc3339);
                    let event = Event::new("client.warn", "alert").tenant(&client.tenant);
                    let event = event.target(id).detail(&json!({"warning": kind, "due": due}));
                    events.push(event.at(now_ms));
                }
                (true, false) => client_warnings::lift(&mut tx, id, &[kind]).await?,
                _ => {}
            }
        }
        let is_refused = found.contains(&Warning::Refused);
        if is_refused != client.refused.is_some() {
            let refused = Some(is_refused.then_some(now));
            clients::update(&mut tx, id, &Change { refused, ..Change::default() }).await?;
        }
    }
    if !events.is_empty() {
        audit::insert_many(&mut tx, &events).await?;
    }
    tx.commit().await?;
    let raised = events.len() as u64;
    metrics::counter!("scrip_alerts_total", "of" => "client.warn").increment(raised);
    Ok(())
}
