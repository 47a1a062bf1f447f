//! Quotas of LLM tokens and of money, and what is escrowed from them. Pure: no clock, no I/O.
//!
//! A token that is minted under a quota *reserves* its whole budget. Once it is settled, what was used
//! of that counts as *spent* and the rest is *refunded*, to the window that it came from. What is used
//! beyond it is an *overrun*, which is *carried* into the next window.

use std::fmt;
use std::num::NonZeroU64;

use chrono::{DateTime, Datelike, Months, NaiveTime, Utc};
use scrip_token::json::present;
use serde::{Deserialize, Serialize};

use crate::prices::Money;

/// How much all tokens of a client may use together in each window: LLM tokens, money, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// LLM tokens, below 2^53; none: as many as the money is good for.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tokens: Option<NonZeroU64>,
    /// What they may cost, in the currency of the prices; none: whatever they cost.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub money: Option<Money>,
    /// The time for which it has to last.
    pub window: Window,
    /// What becomes of an escrow of which nothing is ever reported.
    #[serde(default)]
    pub unreported: Unreported,
    /// At which percentages an alert is raised, once in each window.
    #[serde(default = "usual_alerts")]
    pub alerts: Vec<u64>,
}

fn usual_alerts() -> Vec<u64> {
    vec![50, 80, 100]
}

impl Quota {
    /// How much there is in each window, where that is limited.
    #[must_use]
    pub fn limit(&self, unit: Unit) -> Option<u64> {
        match unit {
            Unit::Tokens => self.tokens.map(NonZeroU64::get),
            Unit::Money => self.money.map(Money::millionths),
        }
    }
}

/// What a quota is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// LLM tokens.
    Tokens,
    /// Millionths of the currency of the prices.
    Money,
}

impl Unit {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tokens, Self::Money];

    /// An amount of this unit, as it is shown.
    #[must_use]
    pub fn amount(self, amount: u64) -> Amount {
        match self {
            Self::Tokens => Amount::Tokens(amount),
            Self::Money => Amount::Money(Money::from_millionths(amount)),
        }
    }
}

/// How much of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// LLM tokens.
    Tokens(u64),
    /// Money.
    Money(Money),
}

impl Amount {
    /// What it is an amount of.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Tokens(_) => Unit::Tokens,
            Self::Money(_) => Unit::Money,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(tokens) => tokens.fmt(f),
            Self::Money(money) => money.fmt(f),
        }
    }
}

/// A span of time with a quota of its own. Windows follow the calendar of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    Month,
    /// It has no end.
    Lifetime,
}

impl Window {
    /// When the window began that `at` lies in. Both in seconds since 1970; 0 for a lifetime.
    #[must_use]
    pub fn start(self, at: i64) -> i64 {
        match self {
            Self::Hour => at - at.rem_euclid(3600),
            Self::Day => at - at.rem_euclid(86_400),
            Self::Month => month(at).timestamp(),
            Self::Lifetime => 0,
        }
    }

    /// When the next window begins after the one that `at` lies in, in seconds; none after a lifetime.
    #[must_use]
    pub fn next(self, at: i64) -> Option<i64> {
        match self {
            Self::Hour => Some(self.start(at) + 3600),
            Self::Day => Some(self.start(at) + 86_400),
            Self::Month => {
                Some(month(at).checked_add_months(Months::new(1)).unwrap_or_default().timestamp())
            }
            Self::Lifetime => None,
        }
    }

    /// The start of the window that pays for an overrun of the one that began at `start`, found out
    /// at `now`: the next one, or the present one where the next is over already. A lifetime pays
    /// for itself.
    #[must_use]
    pub fn liable(self, start: i64, now: i64) -> i64 {
        self.next(start).map_or(start, |next| next.max(self.start(now)))
    }
}

/// The beginning of a month; every time that a calendar can name has one.
fn month(at: i64) -> DateTime<Utc> {
    let date = DateTime::from_timestamp(at, 0).unwrap_or_default().date_naive();
    date.with_day(1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc()
}

/// What becomes of an escrow of which nothing is ever reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unreported {
    /// It counts as used.
    #[default]
    Spent,
    /// It counts as unused.
    Released,
}

/// Texts as they stand in policies, in replies and in the database.
macro_rules! written {
    ($name:ident { $($variant:ident = $text:literal),+ }) => {
        impl $name {
            /// As it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, &'static str> {
                match text.as_str() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(concat!("one of", $(" ", $text),+)),
                }
            }
        }
    };
}

written!(Window { Hour = "hour", Day = "day", Month = "month", Lifetime = "lifetime" });
written!(Unreported { Spent = "spent", Released = "released" });

/// A client's quota of one unit in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// As the last mint had it; 0 before the first, and where there is no limit.
    pub quota: u64,
    /// The highest percentage that an alert was raised for.
    pub alerted: u64,
    /// What has become of it.
    pub balance: Balance,
}

impl Allowance {
    /// Which of `alerts`, in percent of a quota of `limit`, have been reached by what is gone. Each
    /// is returned once.
    pub fn reach(&mut self, limit: u64, alerts: &[u64]) -> Vec<u64> {
        self.quota = limit;
        let reached: Vec<u64> = self.balance.reached(limit, alerts, self.alerted).collect();
        self.alerted = reached.iter().copied().max().unwrap_or(0).max(self.alerted);
        reached
    }
}

/// What has become of a client's quota in one window. All of one unit.
///
/// `granted = reserved + spent + refunded` holds always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// Escrowed in this window, ever.
    pub granted: u64,
    /// The part that is still escrowed.
    pub reserved: u64,
    /// The part that was used, or is taken to be.
    pub spent: u64,
    /// The part that was returned.
    pub refunded: u64,
    /// Used beyond what was granted.
    pub overrun: u64,
    /// Overrun of earlier windows that this one pays for.
    pub carried: u64,
}

impl Balance {
    /// What is gone: reserved, spent, or charged for earlier windows.
    #[must_use]
    pub fn out(&self) -> u64 {
        add(add(self.carried, self.reserved), self.spent)
    }

    /// What a quota has left; nothing where it was lowered below what is gone.
    #[must_use]
    pub fn left(&self, quota: u64) -> u64 {
        quota.saturating_sub(self.out())
    }

    /// Moves `amount` into escrow.
    ///
    /// # Errors
    /// What is left, where that is less; nothing has changed then.
    pub fn reserve(&mut self, amount: u64, quota: u64) -> Result<(), u64> {
        let left = self.left(quota);
        if amount > left {
            return Err(left);
        }
        self.granted = add(self.granted, amount);
        self.reserved = add(self.reserved, amount);
        Ok(())
    }

    /// Ends an escrow of `amount`, of which `spent` was used.
    pub fn settle(&mut self, amount: u64, spent: u64) {
        let spent = spent.min(amount);
        self.reserved = self.reserved.saturating_sub(amount);
        self.spent = add(self.spent, spent);
        self.refunded = add(self.refunded, amount - spent);
    }

    /// Notes what was used beyond what was granted.
    pub fn overrun(&mut self, amount: u64) {
        self.overrun = add(self.overrun, amount);
    }

    /// Charges what an earlier window overran.
    pub fn carry(&mut self, amount: u64) {
        self.carried = add(self.carried, amount);
    }

    /// Which of `alerts`, in percent of a quota, have been reached by what is gone, beyond those up
    /// to `raised`.
    pub fn reached<'a>(
        &self,
        quota: u64,
        alerts: &'a [u64],
        raised: u64,
    ) -> impl Iterator<Item = u64> + use<'a> {
        let out = u128::from(self.out()) * 100;
        let reached = move |percent: &u64| out >= u128::from(quota) * u128::from(*percent);
        alerts.iter().copied().filter(move |percent| *percent > raised && reached(percent))
    }
}

/// Counting stops at what a database's integer holds.
fn add(a: u64, b: u64) -> u64 {
    a.saturating_add(b).min(i64::MAX.unsigned_abs())
}

/// What a token used of its escrow when that ended: what was reported, or all of it where silence
/// counts as use.
#[must_use]
pub fn spent(held: u64, reported: u64, silence: Unreported) -> u64 {
    match silence {
        Unreported::Spent => held,
        Unreported::Released => reported.min(held),
    }
}

/// What a token has used beyond its escrow of `held`, or beyond what that was `settled` at, because
/// the rest has been returned by then.
#[must_use]
pub fn overrun(held: u64, settled: Option<u64>, reported: u64) -> u64 {
    reported.saturating_sub(settled.unwrap_or(held))
}

#[cfg(test)]
mod tests;
