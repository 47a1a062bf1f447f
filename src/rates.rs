//! Who may ask how often: mints of a client and of a tenant, and failures of whoever guesses.
//!
//! All of it by one rule, GCRA (ITU-T I.371): a key's whole state is the time at which everything
//! that it was given will have been earned. That is kept in memory; replicas tell each other in
//! `exchange`.
//!
//! No mint waits for other replicas. What comes too often costs the database the reading of its
//! client, which all who ask at once share.

mod appointments;
mod exchange;
mod failures;
mod guessing;
mod pace;
mod refusals;

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use scrip_token::QualifiedName;
use serde::{Deserialize, Serialize};

pub use appointments::Appointments;
pub use exchange::{FORGOTTEN, exchange};
pub use failures::Failures;
pub(crate) use failures::place;
pub use guessing::tell_of_guessing;
use pace::{Due, Pace};
pub use refusals::Refusals;

/// So many mints in a time: all of them at once, or evenly spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    mints: NonZeroU32,
    per: Per,
}

/// In which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// Most mints of a rate: beyond it there is no limit worth the name.
    pub const MOST: u32 = 1_000_000;

    /// How many mints.
    #[must_use]
    pub fn mints(self) -> u32 {
        self.mints.get()
    }

    fn pace(self) -> Pace {
        let seconds = match self.per {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3600,
        };
        Pace::new(Duration::from_secs(seconds), self.mints)
    }
}

/// As a setting: `600/minute`.
impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = "not a rate such as `600/minute` (second, minute or hour)";
        let (mints, per) = text.split_once('/').ok_or(malformed)?;
        let mints: NonZeroU32 = mints.parse().map_err(|_| malformed)?;
        if mints.get() > Self::MOST {
            return Err("more than 1000000 mints");
        }
        let per = match per {
            "second" => Per::Second,
            "minute" => Per::Minute,
            "hour" => Per::Hour,
            _ => return Err(malformed),
        };
        Ok(Self { mints, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => "second",
            Per::Minute => "minute",
            Per::Hour => "hour",
        };
        write!(f, "{}/{per}", self.mints)
    }
}

/// Who came too soon, and how long there is to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooOften {
    /// The rate of the client's policy.
    #[error("this client mints more often than its policy allows")]
    Client(Duration),
    /// The rate of all clients of its tenant together.
    #[error("the clients of this tenant mint more often than they may")]
    Tenant(Duration),
    /// Too many wrong credentials.
    #[error("too many failed authentications from here")]
    Failures(Duration),
}

impl TooOften {
    /// How long until the next one is in time.
    #[must_use]
    pub fn wait(self) -> Duration {
        match self {
            Self::Client(wait) | Self::Tenant(wait) | Self::Failures(wait) => wait,
        }
    }

    fn count(self) -> Self {
        let by = match self {
            Self::Client(_) => "client",
            Self::Tenant(_) => "tenant",
            Self::Failures(_) => "failures",
        };
        metrics::counter!("scrip_throttled_total", "by" => by).increment(1);
        self
    }
}

/// What this process knows of who asked how often.
pub struct Rates {
    tenant: Option<Rate>,
    mints: Mutex<Mints>,
    /// Of those who authenticate to mint or to introspect.
    pub failures: Failures,
    /// Of those who authenticate to revoke, a token of their own too, or to follow. Counted apart: whatever fails at the mint
    /// takes nothing from whoever has to revoke.
    pub reserved_failures: Failures,
}

/// By name and rate. The name is a client's or a tenant's, and only a client's has a slash.
#[derive(Default)]
struct Mints {
    due: Due<String>,
    /// What the other replicas have not been told yet; absent where there are none.
    untold: Option<HashMap<String, Duration>>,
    told: exchange::Told,
}

impl Rates {
    /// `tenant` is what all clients of one tenant may mint together. `shared` where other replicas
    /// may grant to the same clients.
    #[must_use]
    pub fn new(tenant: Option<Rate>, shared: bool) -> Self {
        let untold = shared.then(HashMap::new);
        Self {
            tenant,
            mints: Mutex::new(Mints { untold, ..Mints::default() }),
            failures: Failures::default(),
            reserved_failures: Failures::default(),
        }
    }

    /// Counts a mint of `client`, unless it comes too early for `own`, its policy's rate, or for
    /// its tenant's. What is refused does not count.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn admit(
        &self,
        client: &QualifiedName,
        own: Option<Rate>,
        now: Instant,
    ) -> Result<(), TooOften> {
        let [own, tenant] = self.limits(client, own);
        if own.is_none() && tenant.is_none() {
            return Ok(());
        }
        let mut mints = self.mints.lock();
        let wait = |(key, pace): &(String, Pace)| mints.due.wait(key, *pace, now);
        if let Some(wait) = own.as_ref().and_then(wait) {
            return Err(TooOften::Client(wait).count());
        }
        if let Some(wait) = tenant.as_ref().and_then(wait) {
            return Err(TooOften::Tenant(wait).count());
        }
        for (key, pace) in own.into_iter().chain(tenant) {
            mints.due.charge(key.as_str(), pace.each(), now);
            if let Some(untold) = &mut mints.untold {
                *untold.entry(key).or_default() += pace.each();
            }
        }
        Ok(())
    }

    /// Takes back that a mint was counted, of which the service itself could make nothing. Where other
    /// replicas have been told of it, they keep it.
    pub fn give_back(&self, client: &QualifiedName, own: Option<Rate>) {
        let mut mints = self.mints.lock();
        for (key, pace) in self.limits(client, own).into_iter().flatten() {
            mints.due.give_back(key.as_str(), pace.each());
            if let Some(cost) = mints.untold.as_mut().and_then(|untold| untold.get_mut(&key)) {
                *cost = cost.saturating_sub(pace.each());
            }
        }
    }

    /// The client's and its tenant's. The rate is part of the key: a new one begins anew, and helps at
    /// once.
    fn limits(&self, client: &QualifiedName, own: Option<Rate>) -> [Option<(String, Pace)>; 2] {
        let limit = |name: &str, rate: Rate| (format!("{name} {rate}"), rate.pace());
        let own = own.map(|rate| limit(client.as_str(), rate));
        [own, self.tenant.map(|rate| limit(client.tenant(), rate))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn rates(tenant: Option<&str>) -> Rates {
        Rates::new(tenant.map(|rate| rate.parse().unwrap()), false)
    }

    fn name(text: &str) -> QualifiedName {
        text.parse().unwrap()
    }

    #[test]
    fn a_rate_is_written_in_one_way() {
        for good in ["1/second", "60/minute", "1000000/hour"] {
            assert_eq!(good.parse::<Rate>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "60",
            "/minute",
            "0/minute",
            "-1/hour",
            "1.5/hour",
            "60/day",
            "1000001/hour",
            "60/minute ",
        ] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn all_of_a_rate_at_once_and_then_evenly() {
        let (rates, now) = (rates(None), clock::monotonic());
        let (a, b) = (name("acme/a"), name("acme/b"));
        let rate = "60/minute".parse().ok();
        for _ in 0..60 {
            assert_eq!(rates.admit(&a, rate, now), Ok(()));
        }
        assert_eq!(rates.admit(&a, rate, now), Err(TooOften::Client(Duration::from_secs(1))));
        assert_eq!(rates.admit(&b, rate, now), Ok(()), "another client's is another");
        assert_eq!(rates.admit(&a, None, now), Ok(()), "a policy without a rate has none");
        assert_eq!(rates.admit(&a, "61/minute".parse().ok(), now), Ok(()), "a new rate helps");
        // What was refused did not count: after a second there is one more, and no other.
        let later = now + Duration::from_secs(1);
        assert_eq!(rates.admit(&a, rate, later), Ok(()));
        assert_eq!(rates.admit(&a, rate, later), Err(TooOften::Client(Duration::from_secs(1))));
        // Nobody saves up more than the whole.
        let much_later = now + Duration::from_secs(86_400);
        let admitted = (0..100).filter(|_| rates.admit(&a, rate, much_later).is_ok()).count();
        assert_eq!(admitted, 60);
    }

    #[test]
    fn a_tenant_has_a_rate_of_its_own_and_no_other_tenant_feels_it() {
        let (rates, now) = (rates(Some("2/second")), clock::monotonic());
        let (a, b, other) = (name("acme/a"), name("acme/b"), name("other/a"));
        assert_eq!(rates.admit(&a, None, now), Ok(()));
        assert_eq!(rates.admit(&b, None, now), Ok(()));
        let wait = Duration::from_millis(500);
        assert_eq!(rates.admit(&a, "9/second".parse().ok(), now), Err(TooOften::Tenant(wait)));
        assert_eq!(rates.admit(&other, None, now), Ok(()));
        // What the tenant was refused did not count for the client.
        let later = now + Duration::from_secs(9);
        for _ in 0..2 {
            assert_eq!(rates.admit(&a, "2/hour".parse().ok(), later), Ok(()));
        }
    }

    #[test]
    fn what_came_to_nothing_is_given_back_once() {
        let (rates, now) = (rates(Some("3/hour")), clock::monotonic());
        let (a, rate) = (name("acme/a"), "2/hour".parse().ok());
        rates.give_back(&a, rate);
        for _ in 0..5 {
            assert_eq!(rates.admit(&a, rate, now), Ok(()));
            rates.give_back(&a, rate);
        }
        let admitted = (0..9).filter(|_| rates.admit(&a, rate, now).is_ok()).count();
        assert_eq!(admitted, 2);
        assert_eq!(rates.admit(&name("acme/b"), None, now), Ok(()), "the tenant's third");
        assert!(rates.admit(&name("acme/b"), None, now).is_err());
    }
}
