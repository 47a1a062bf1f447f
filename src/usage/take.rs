//! One report, applied: what it counts is set, and what goes beyond the escrows is charged.

use std::collections::{BTreeMap, HashMap};

use scrip_token::Jti;
use scrip_token::limits::LEEWAY;
use serde_json::json;

use crate::audit::Event;
use crate::escrow;
use crate::store::ledgers::{self, Ledger};
use crate::store::quotas::{self, Account, Key};
use crate::store::usage::{self, Usage};
use crate::store::{StoreError, Tx, audit, escrows, tokens};

/// What a ledger says.
#[derive(Debug)]
pub struct Report {
    /// The client that it authenticates as.
    pub client: String,
    /// Its name.
    pub instance: String,
    /// Whose tokens it counts for.
    pub audience: String,
    /// Everything that it counted up to then has been reported with this. Seconds.
    pub complete_until: i64,
    /// What it has counted, 1,000 tokens at most and none twice.
    pub items: Vec<Counted>,
}

/// What a ledger has counted for one token, in all.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The token.
    pub jti: Jti,
    /// LLM tokens.
    pub tokens: u64,
    /// Requests.
    pub requests: u64,
    /// By models, JSON.
    pub by_model: String,
}

/// What has become of a report.
#[derive(Debug, Default)]
pub struct Taken {
    /// What does not count, and why.
    pub ignored: Vec<(Jti, &'static str)>,
    /// How many alerts it has raised.
    pub alerts: u64,
}

/// Why a report does not count.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client has no ledger of this name.
    #[error("this client has registered no ledger of this name")]
    Unregistered,
    /// The ledger counts for another audience.
    #[error("this ledger counts for another audience")]
    Audience,
    /// It says that nothing more will come of a time that has not come.
    #[error("it lies in the future")]
    Ahead,
}

/// Sets what a ledger has counted. A count that is less than the last one of the same ledger is old and
/// changes nothing; nor does one for a token that is not on record, or is of another audience. What is
/// beyond the escrow of a token, or comes after it was settled, is charged to the next window. A ledger
/// that has retired is heard all the same.
///
/// # Errors
/// [`NotTaken`]; the transaction must be given up then.
pub async fn take(tx: &mut Tx, report: &Report, now_ms: i64) -> Result<Taken, NotTaken> {
    let now = now_ms / 1000;
    // First of all, so that reports of one ledger are taken one after the other.
    let ledger = ledgers::lock(tx, &report.client, &report.instance).await?;
    let ledger = ledger.ok_or(NotTaken::Unregistered)?;
    if ledger.audience != report.audience {
        return Err(NotTaken::Audience);
    }
    if report.complete_until > now + LEEWAY.cast_signed() {
        return Err(NotTaken::Ahead);
    }
    let mut taken = Taken::default();
    let counted = counted(tx, report, now, &mut taken.ignored).await?;
    let jtis: Vec<Jti> = counted.iter().map(|one| one.jti).collect();
    // Before what is counted is set: whoever settles them reads it after it has locked them.
    let held = escrows::lock(tx, &jtis).await?;
    usage::put_many(tx, &counted).await?;
    let sums = usage::sums(tx, &jtis).await?;

    let (mut charges, mut over): (Charges, _) = (BTreeMap::new(), Vec::new());
    for mut escrow in held {
        let reported = sums.get(&escrow.jti).copied().unwrap_or_default();
        let settled = escrow.spent.map(i64::cast_unsigned);
        let overrun = escrow::overrun(escrow.tokens, settled, reported);
        let beyond = overrun.saturating_sub(escrow.overrun);
        if beyond == 0 {
            continue;
        }
        let payer = escrow.window.liable(escrow.starts, now);
        let payer = (escrow.client.clone(), escrow.window, payer);
        charges.entry(escrow.account()).or_default().overrun(beyond);
        charges.entry(payer).or_default().carry(beyond);
        escrow.overrun = overrun.min(i64::MAX.unsigned_abs());
        over.push(escrow);
    }
    escrows::put_many(tx, &over).await?;
    taken.alerts = charge(tx, &charges, report, now_ms).await?;

    // A clock that is ahead of ours by less than the leeway has not seen the future either.
    let complete_until = ledger.complete_until.max(report.complete_until.min(now));
    ledgers::put(tx, &Ledger { complete_until, ..ledger }).await?;
    Ok(taken)
}

/// What is to be added to accounts: overrun and carried alone.
type Charges = BTreeMap<Key, escrow::Balance>;

/// What of a report concerns tokens of the audience that are on record.
async fn counted(
    tx: &mut Tx,
    report: &Report,
    now: i64,
    ignored: &mut Vec<(Jti, &'static str)>,
) -> Result<Vec<Usage>, StoreError> {
    let jtis: Vec<Jti> = report.items.iter().map(|item| item.jti).collect();
    let known = tokens::by_jtis(tx, &jtis).await?;
    let audiences: HashMap<Jti, String> = known.into_iter().map(|one| (one.jti, one.aud)).collect();
    let mut counted = Vec::with_capacity(report.items.len());
    for item in &report.items {
        match audiences.get(&item.jti) {
            None => ignored.push((item.jti, "unknown")),
            Some(audience) if *audience != report.audience => {
                ignored.push((item.jti, "wrong-audience"));
            }
            Some(_) => counted.push(Usage {
                jti: item.jti,
                client: report.client.clone(),
                instance: report.instance.clone(),
                tokens: item.tokens,
                requests: item.requests,
                by_model: item.by_model.clone(),
                at: now,
            }),
        }
    }
    Ok(counted)
}

/// Charges the accounts and raises an alert for each that was overrun; says how many those are.
async fn charge(
    tx: &mut Tx,
    charges: &Charges,
    report: &Report,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let mut accounts = quotas::lock(tx, &charges.keys().cloned().collect()).await?;
    let mut alerts = Vec::new();
    for account in &mut accounts {
        let charge = charges.get(&account.key()).copied().unwrap_or_default();
        account.balance.overrun(charge.overrun);
        account.balance.carry(charge.carried);
        if charge.overrun > 0 {
            alerts.push(alert(account, charge.overrun, report).at(now_ms));
        }
    }
    quotas::put_many(tx, &accounts).await?;
    if !alerts.is_empty() {
        audit::insert_many(tx, &alerts).await?;
    }
    Ok(alerts.len() as u64)
}

fn alert(account: &Account, tokens: u64, report: &Report) -> Event {
    let Account { client, window, starts, tenant, balance, .. } = account;
    let detail = json!({
        "tokens": tokens, "window": window, "starts": starts, "overrun": balance.overrun,
        "ledger": format!("{}/{}", report.client, report.instance),
    });
    Event::new("quota.overrun", "alert").tenant(tenant).target(client).detail(&detail)
}
