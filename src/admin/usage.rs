//! `GET /v1/usage`: what has become of quotas, by client or by tenant.

use std::num::NonZeroU16;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use scrip_token::QualifiedName;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Look, Page, rfc3339};
use crate::app::App;
use crate::error::Problem;
use crate::escrow::{Allowance, Unit, Window};
use crate::publish::malformed;
use crate::store::quotas::{self, Account, By, Filter, Listed};
use crate::strict::Query;

/// The scope that this needs: whoever reports usage need not see everybody's.
const SCOPE: &str = "scrip:tokens";

/// Which quotas, and whose sums.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    by: Option<Sums>,
    client: Option<QualifiedName>,
    tenant: Option<String>,
    window: Option<Window>,
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sums {
    Client,
    Tenant,
}

/// `GET /v1/usage?by=&client=&tenant=&window=&limit=&after=`: 200, newest windows first; 400, 401, 403,
/// 503.
///
/// # Errors
/// [`Problem`].
pub async fn list(
    State(app): State<Arc<App>>,
    look: Look,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let reach = look.reach(&app, SCOPE).await?;
    let by = match wanted.by {
        Some(Sums::Tenant) => By::Tenant,
        Some(Sums::Client) | None => By::Client,
    };
    if wanted.client.is_some() && (wanted.tenant.is_some() || by == By::Tenant) {
        return Err(malformed("`client` names its tenant already, and is no sum of it"));
    }
    let page = Page::new(wanted.limit, wanted.after);
    let filter = Filter {
        client: wanted.client.as_ref().map(QualifiedName::as_str),
        tenants: reach.within(wanted.tenant.as_deref()),
        window: wanted.window,
    };
    let after = page.after().map(cursor).transpose()?;
    let mut session = app.store.read_for_operator().await?;
    let rows = quotas::list(&mut session, by, filter, after, page.limit()).await?;
    let items = rows.iter().map(|row| show_one(row, by)).collect();
    let last = rows.last().map(|Listed { account, .. }| {
        format!("{}:{}:{}", account.starts, account.window, account.client)
    });
    Ok(Json(page.reply(items, last)))
}

fn cursor(text: &str) -> Result<(i64, &str, Window), Problem> {
    let parts = || {
        let (starts, rest) = text.split_once(':')?;
        let (window, client) = rest.split_once(':')?;
        Some((starts.parse().ok()?, client, Window::try_from(window.to_owned()).ok()?))
    };
    parts().ok_or_else(|| malformed("`after` is not the `next` of this list"))
}

/// `quota` is as the last mint had it: null where a window has so far only paid for an earlier one, or
/// the unit is not limited, and so is `left`. `money` is null where none was ever escrowed.
fn show_one(listed: &Listed, by: By) -> Value {
    let Account { client, window, starts, tenant, money, .. } = &listed.account;
    let ends = window.next(*starts);
    let mut shown = json!({
        "client": (by == By::Client).then_some(client), "tenant": tenant, "window": window,
        "starts": ends.map(|_| rfc3339(*starts)), "ends": ends.map(rfc3339),
    });
    let tokens = amounts(listed, Unit::Tokens);
    for (member, amount) in tokens.as_object().into_iter().flatten() {
        shown[member] = amount.clone();
    }
    let in_money = *money != Allowance::default();
    shown["money"] = in_money.then(|| amounts(listed, Unit::Money)).into();
    shown
}

fn amounts(listed: &Listed, unit: Unit) -> Value {
    let Allowance { quota, balance, .. } = listed.account.of(unit);
    let limit = Some(*quota).filter(|quota| *quota > 0);
    json!({
        "quota": limit.map(|quota| unit.amount(quota)), "granted": unit.amount(balance.granted),
        "reserved": unit.amount(balance.reserved), "spent": unit.amount(balance.spent),
        "refunded": unit.amount(balance.refunded), "overrun": unit.amount(balance.overrun),
        "carried": unit.amount(balance.carried),
        "left": listed.left(unit).map(|left| unit.amount(left)),
    })
}
