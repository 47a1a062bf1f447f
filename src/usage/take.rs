//! One report, applied: what it counts is set, and what goes beyond the escrows is charged.
//!
//! A count for a token that is not on record, or of another audience, is listed in the answer and
//! forgotten: to refuse the report would make its sender keep it for ever. One that says more by
//! models than in all is refused. A `complete_until` within the leeway ahead counts as now, one
//! beyond it is refused. The report's id is for those who look for it in logs; nothing is
//! remembered under it.

use std::collections::{BTreeMap, HashMap};

use scrip_token::Jti;
use scrip_token::limits::LEEWAY;
use serde_json::json;

use super::used::Used;
use crate::audit::Event;
use crate::escrow::{self, Balance, Unit};
use crate::policy::Policy;
use crate::recorder::quotas::thresholds;
use crate::store::ledgers::{self, Ledger};
use crate::store::quotas::{self, Account, Key};
use crate::store::usage::{self, Usage};
use crate::store::{StoreError, Tx, audit, escrows, policies, tokens};

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
    /// The same by models, as JSON.
    pub by_model: String,
}

/// What has become of a report.
#[derive(Debug, Default)]
pub struct Taken {
    /// What does not count, and why.
    pub ignored: Vec<(Jti, &'static str)>,
    /// How many alerts of overruns it has raised.
    pub overruns: u64,
    /// How many alerts of quotas whose thresholds it has reached.
    pub thresholds: u64,
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
    /// It calls itself complete up to a time that lies ahead.
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
    // Locked first of all, so that reports of one ledger are taken one after the other.
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
    // Locked before counts are set: whoever settles them reads the counts after locking.
    let held = escrows::lock(tx, &jtis).await?;
    usage::put_many(tx, &counted).await?;
    let used = Used::of(tx, &held.iter().collect::<Vec<_>>()).await?;

    let (mut charges, mut over): (Charges, _) = (BTreeMap::new(), Vec::new());
    for mut escrow in held {
        let is_first = escrow.overrun == 0 && escrow.cost.overrun == 0;
        let mut is_over = false;
        for unit in Unit::ALL {
            let (held, settled) = (escrow.held(unit), escrow.settled_at(unit));
            let overrun = escrow::overrun(held, settled, used.by(escrow.jti, unit));
            let before = *escrow.overrun_mut(unit);
            let Some(beyond) = overrun.checked_sub(before).filter(|beyond| *beyond > 0) else {
                continue;
            };
            let payer = escrow.window.liable(escrow.starts, now);
            let payer = (escrow.client.clone(), escrow.window, payer);
            charges.entry(escrow.account()).or_default().of_mut(unit).overrun(beyond);
            charges.entry(payer).or_default().of_mut(unit).carry(beyond);
            *escrow.overrun_mut(unit) = overrun.min(i64::MAX.unsigned_abs());
            is_over = true;
        }
        if is_over {
            charges.entry(escrow.account()).or_default().is_news |= is_first;
            over.push(escrow);
        }
    }
    escrows::put_many(tx, &over).await?;
    charge(tx, &charges, report, now_ms, &mut taken).await?;

    // A ledger whose clock is ahead by less than the leeway has not seen the future either.
    let complete_until = ledger.complete_until.max(report.complete_until.min(now));
    let silent = ledger.silent.filter(|since| complete_until < *since);
    ledgers::put(tx, &Ledger { complete_until, silent, ..ledger }).await?;
    Ok(taken)
}

/// What is to be added to accounts: overrun and carried alone.
type Charges = BTreeMap<Key, Charge>;

#[derive(Clone, Copy, Default)]
struct Charge {
    tokens: Balance,
    money: Balance,
    /// Whether some token overruns its escrow for the first time: a ledger that reports every second
    /// shall not page every second.
    is_news: bool,
}

impl Charge {
    fn of_mut(&mut self, unit: Unit) -> &mut Balance {
        match unit {
            Unit::Tokens => &mut self.tokens,
            Unit::Money => &mut self.money,
        }
    }
}

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

/// Charges the accounts and raises an alert for each that some token begins to overrun, and for each
/// percentage of a quota that one has reached by what it pays.
async fn charge(
    tx: &mut Tx,
    charges: &Charges,
    report: &Report,
    now_ms: i64,
    taken: &mut Taken,
) -> Result<(), StoreError> {
    let mut accounts = quotas::lock(tx, &charges.keys().cloned().collect()).await?;
    let mut alerts = Vec::new();
    for account in &mut accounts {
        let Some(Charge { tokens, money, is_news }) = charges.get(&account.key()).copied() else {
            continue;
        };
        for (allowance, charge) in [(&mut account.tokens, tokens), (&mut account.money, money)] {
            allowance.balance.overrun(charge.overrun);
            allowance.balance.carry(charge.carried);
        }
        if is_news {
            alerts.push(overrun(account, tokens.overrun, money.overrun, report));
            taken.overruns += 1;
        }
        if tokens.carried > 0 || money.carried > 0 {
            let policy = policies::of_client(tx, &account.client).await?;
            let policy = policy.and_then(|row| Policy::from_json(row.body.as_bytes()).ok());
            let quota = policy.as_ref().and_then(Policy::quota);
            // Another kind of window has another account.
            if let Some(quota) = quota.filter(|quota| quota.window == account.window) {
                let reached = thresholds(account, quota);
                taken.thresholds += reached.len() as u64;
                alerts.extend(reached);
            }
        }
    }
    quotas::put_many(tx, &accounts).await?;
    let alerts: Vec<_> = alerts.into_iter().map(|alert| alert.at(now_ms)).collect();
    if !alerts.is_empty() {
        audit::insert_many(tx, &alerts).await?;
    }
    Ok(())
}

fn overrun(account: &Account, tokens: u64, money: u64, report: &Report) -> Event {
    let Account { client, window, starts, tenant, .. } = account;
    // A tenant is not told who of another tenant counts for it.
    let is_own = report.client.split_once('/').is_some_and(|(of, _)| of == tenant);
    let ledger = is_own.then(|| format!("{}/{}", report.client, report.instance));
    let detail = json!({
        "tokens": tokens, "money": Unit::Money.amount(money), "window": window, "starts": starts,
        "overrun": account.tokens.balance.overrun,
        "overrun_money": Unit::Money.amount(account.money.balance.overrun),
        "ledger": ledger,
    });
    Event::new("quota.overrun", "alert").tenant(tenant).target(client).detail(&detail)
}
