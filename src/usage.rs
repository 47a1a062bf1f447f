//! What tokens have used: ledgers are registered and report, and what was escrowed is settled by it.
//!
//! A ledger belongs to the client that registers it, and reports for it alone: nobody speaks for
//! another's, two clients may have ledgers of one name, and a stranger's answers 404. Its name is
//! that of the verifier beside it, whose receipts tell since when it refuses a revoked token. It ends
//! when it retires, when somebody who may end its client retires it, or with that client.

mod denied;
mod request;
mod settle;
mod take;
mod used;

use std::num::NonZeroU16;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use scrip_token::QualifiedName;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::{Asked, Change, Look, Page, is_json, named, read, rfc3339};
use crate::app::App;
use crate::caller::{Means, current_policy, operator};
use crate::clock;
use crate::error::{Failure, Problem};
use crate::publish::malformed;
use crate::receipts::{is_name, unreadable};
use crate::router::Arrival;
use crate::store::clients::{self, Client};
use crate::store::ledgers::{self, Filter, Ledger};
use crate::store::{Lock, Tx, audit};
use crate::strict::Query;

pub use denied::Reading;
pub use settle::{Settled, keep_settling, settle};
pub use take::{Counted, NotTaken, Report, Taken, take};

/// The scope that this needs.
const SCOPE: &str = "scrip:usage";
/// The scope for looking at what others count.
const LIST_SCOPE: &str = "scrip:tokens";
/// The scope for ending another client's.
const END_SCOPE: &str = "scrip:clients";

/// Largest report, in bytes: a thousand tokens with several models each. It is read once its sender is
/// proved.
pub(crate) const MAX_BODY: usize = 1024 * 1024;
/// Most ledgers that a client may have, those that were retired lately included.
const MOST_OF_CLIENT: i64 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    audience: String,
}

/// `PUT /v1/ledgers/{instance}` with `{"audience"}`: 200 once no token of that audience is settled
/// without it; the same again changes nothing. 400, 401; 403 for an audience that the client's policy
/// does not serve; 409 where it counts for another one, or for a ledger too many; 415, 503.
///
/// # Errors
/// [`Problem`].
pub async fn register(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path(instance): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let change = asked.by_ledger(&app, SCOPE, &body).await?.everywhere()?;
    let Registration { audience } = read(&body)?;
    if !is_name(&instance) {
        let detail = "an instance has 1 to 64 of a-z, 0-9, `.` and `-`";
        return Err(Problem(Failure::new(StatusCode::BAD_REQUEST, "invalid-request", detail)));
    }
    let mut tx = app.store.begin(Lock::Admin).await?;
    // Locks the client: if it is being deleted at this moment, that retires this ledger too or is
    // seen here.
    let by = clients::update(&mut tx, change.by().as_str(), &clients::Change::default()).await?;
    serves(&mut tx, by, &audience).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let now = now_ms / 1000;
    let client = change.by().as_str();
    let before = ledgers::lock(&mut tx, client, &instance).await?;
    let ledger = match before {
        Some(ledger) if ledger.retired.is_none() && ledger.audience == audience => {
            return Ok(Json(show_one(&ledger)));
        }
        Some(ledger) if ledger.retired.is_none() => {
            let detail = "it counts for another audience; retire it first";
            return Err(Problem::conflict(detail));
        }
        None if ledgers::count(&mut tx, client).await? >= MOST_OF_CLIENT => {
            let detail = format!("a client has at most {MOST_OF_CLIENT} ledgers");
            return Err(Problem(Failure::new(StatusCode::CONFLICT, "too-many-ledgers", detail)));
        }
        // It is complete up to now, because it did not serve before.
        _ => Ledger {
            client: client.to_owned(),
            instance,
            audience,
            registered: now,
            retired: None,
            complete_until: now,
            silent: None,
        },
    };
    ledgers::put(&mut tx, &ledger).await?;
    let event = change.event("ledger.register", "done", change.by()).detail(&show_one(&ledger));
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;
    Ok(Json(show_one(&ledger)))
}

/// Which ledgers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    tenant: Option<String>,
    audience: Option<String>,
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

/// `GET /v1/ledgers?tenant=&audience=&limit=&after=`: in order of their names, retired ones included.
/// Who is confined to a tenant sees those of its clients. 200, 400, 401, 403, 503.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    look: Look,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, LIST_SCOPE).await?;
    let page = Page::new(wanted.limit, wanted.after);
    let after = page.after().map(|after| {
        after
            .rsplit_once('/')
            .filter(|(client, _)| client.contains('/'))
            .ok_or_else(|| malformed("`after` is not the `next` of this list"))
    });
    let after = after.transpose()?;
    let filter = Filter {
        tenants: reach.within(wanted.tenant.as_deref()),
        audience: wanted.audience.as_deref(),
    };
    let mut session = app.store.read_for_operator().await?;
    let rows = ledgers::list(&mut session, filter, after, page.limit()).await?;
    let last = rows.last().map(|last| format!("{}/{}", last.client, last.instance));
    Ok(Json(page.reply(rows.iter().map(show_one).collect(), last)))
}

/// `DELETE /v1/ledgers/{instance}`: 204 once nobody waits for its reports any more; what it still
/// reports counts. 401, 403, 404 where the client has none of this name, 503.
///
/// # Errors
/// [`Problem`].
pub async fn retire(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path(instance): Path<String>,
) -> Result<StatusCode, Problem> {
    let change = asked.by_ledger(&app, SCOPE, &[]).await?.everywhere()?;
    let tx = app.store.begin(Lock::Admin).await?;
    end(tx, &change, change.by(), &instance).await
}

/// `DELETE /v1/ledgers/{tenant}/{name}/{instance}`: the same of another client's ledger, which has gone
/// without a word. 204, 400, 401, 403 for one who may not end that client either, 404, 503.
///
/// # Errors
/// [`Problem`].
pub async fn retire_of(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path((tenant, name, instance)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let change = asked.by_operator(&app, END_SCOPE, &[]).await?;
    let client = named((tenant, name), change.reach(), || NotTaken::Unregistered.into())?;
    let mut tx = app.store.begin(Lock::Operator).await?;
    // Its budgets come back, or are lost, by this.
    if let Some(owner) = clients::by_id(&mut tx, client.as_str()).await? {
        change.may_touch(&app, &mut tx, &owner).await?;
    }
    end(tx, &change, &client, &instance).await
}

async fn end(
    mut tx: Tx,
    change: &Change,
    client: &QualifiedName,
    instance: &str,
) -> Result<StatusCode, Problem> {
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let ledger = ledgers::lock(&mut tx, client.as_str(), instance).await?;
    let ledger = ledger.ok_or(NotTaken::Unregistered)?;
    if ledger.retired.is_some() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let ledger = Ledger { retired: Some(now_ms / 1000), ..ledger };
    ledgers::put(&mut tx, &ledger).await?;
    let event = change.event("ledger.retire", "done", client).detail(&show_one(&ledger));
    audit::insert_many(&mut tx, &[event.at(now_ms)]).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/usage`: 200 once it is durable, with what of it does not count and why; 400, 401; 403 for
/// an audience that the client's policy does not serve; 404 where the client has no ledger of this
/// name; 409 where that counts for another audience; 413, 415, 503. To be sent again as it is until it
/// is answered: the second time it changes nothing.
///
/// # Errors
/// [`Problem`].
pub async fn report(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let means = Means::LedgersToken;
    let by = operator(&app, &headers, arrival.address, arrival.at, SCOPE, means).await?;
    let by = by.everywhere()?;
    is_json(&headers)?;
    let body = Bytes::from_request(request, &()).await;
    let body = body.map_err(|rejection| unreadable(rejection.status()))?;
    let (id, report) = request::parse(&body, &by.client)?;
    let mut tx = app.store.begin(Lock::Admin).await?;
    let client = clients::by_id(&mut tx, by.client.as_str()).await?;
    serves(&mut tx, client, &report.audience).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let taken = take(&mut tx, &report, now_ms).await?;
    tx.commit().await?;
    metrics::counter!("scrip_alerts_total", "of" => "quota.overrun").increment(taken.overruns);
    metrics::counter!("scrip_alerts_total", "of" => "quota.threshold").increment(taken.thresholds);
    let ignored = taken.ignored.iter().map(|(jti, why)| json!({"jti": jti, "reason": why}));
    let counted = report.items.len() - taken.ignored.len();
    let ignored = ignored.collect::<Vec<_>>();
    Ok(Json(json!({"id": id, "counted": counted, "ignored": ignored})))
}

/// Whether the client's policy, as it is now, lets it count for an audience.
async fn serves(tx: &mut Tx, client: Option<Client>, audience: &str) -> Result<(), Problem> {
    let policy = match client.filter(|client| client.deleted.is_none()) {
        Some(client) => current_policy(tx, &client.policy).await?,
        None => None,
    };
    let serves = |audience: &str| {
        policy.is_some_and(|policy| policy.serves().iter().any(|served| served == audience))
    };
    if serves(audience) {
        return Ok(());
    }
    let detail = "the policy of this client does not serve this audience";
    let refused = Failure::new(StatusCode::FORBIDDEN, "wrong-audience", detail).at("/audience");
    Err(Problem(refused.challenging(r#"Bearer realm="scrip", error="insufficient_scope""#)))
}

fn show_one(ledger: &Ledger) -> Value {
    json!({
        "client": ledger.client, "instance": ledger.instance, "audience": ledger.audience,
        "registered": rfc3339(ledger.registered), "retired": ledger.retired.map(rfc3339),
        "complete_until": rfc3339(ledger.complete_until),
        "silent": ledger.silent.map(rfc3339),
    })
}
