//! What is remembered of each client's credential: keyed digests, never plaintext. Pure
//! bookkeeping; whoever holds the lock decides what to do.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use scrip_token::QualifiedName;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::sync::watch;

use super::{VersionName, Versions};

pub(super) type Digest = [u8; 32];

/// Refreshes that the proofs of one client may cause: a burst, and so many more each second.
const PER_CLIENT: Rate = Rate { burst: 5.0, per_second: 1.0 };
/// The same, for all clients together.
const GLOBAL: Rate = Rate { burst: 64.0, per_second: 32.0 };

pub(super) struct Digests {
    entries: HashMap<QualifiedName, Entry>,
    capacity: usize,
    allowance: Allowance,
}

/// One client's.
pub(super) struct Entry {
    pub(super) versions: Versions,
    /// By version, for those that could be read; `None` for a secret that cannot be used.
    pub(super) digests: Vec<(VersionName, Option<Digest>)>,
    /// Versions seen ended, and whether that has been told.
    pub(super) ended: Vec<(VersionName, bool)>,
    /// When Vault last answered.
    pub(super) answered: Option<Instant>,
    /// Whether it answered the last time that it was asked.
    pub(super) settled: bool,
    /// How long it was asked then.
    pub(super) took: Option<Duration>,
    /// Closed as soon as the refresh under way is over.
    running: Option<watch::Receiver<()>>,
    allowance: Allowance,
}

/// What a refresh is to do for whoever asked for it.
pub(super) enum Refresh {
    /// Start one; dropping the sender ends it.
    Start(watch::Sender<()>, watch::Receiver<()>),
    /// One is under way.
    Join(watch::Receiver<()>),
    /// One was made less than a second ago, and too many before it.
    Refused,
    /// Too many lately, of all clients together.
    Spent,
}

impl Digests {
    /// Remembers up to `capacity` clients.
    pub(super) fn new(capacity: usize, now: Instant) -> Self {
        Self { entries: HashMap::new(), capacity, allowance: Allowance::full(GLOBAL, now) }
    }

    pub(super) fn entry(&self, client: &QualifiedName) -> Option<&Entry> {
        self.entries.get(client)
    }

    pub(super) fn entry_mut(&mut self, client: &QualifiedName) -> Option<&mut Entry> {
        self.entries.get_mut(client)
    }

    /// A refresh for the sake of a proof: coalesced, and rate-limited twice.
    pub(super) fn refresh(&mut self, client: &QualifiedName, now: Instant) -> Refresh {
        if let Some(running) = self.entries.get(client).and_then(Entry::running) {
            return Refresh::Join(running);
        }
        // Looked at first, so that it is the same for whatever client.
        if self.allowance.left(GLOBAL, now) < 1.0 {
            return Refresh::Spent;
        }
        if let Some(entry) = self.entries.get_mut(client)
            && !entry.allowance.take(PER_CLIENT, now)
        {
            return Refresh::Refused;
        }
        self.allowance.take(GLOBAL, now);
        self.begin(client, now)
    }

    /// A refresh that nobody's request caused: coalesced only.
    pub(super) fn begin(&mut self, client: &QualifiedName, now: Instant) -> Refresh {
        if !self.entries.contains_key(client) {
            self.make_room();
        }
        let entry = self.entries.entry(client.clone()).or_insert_with(|| Entry::new(now));
        if let Some(running) = entry.running() {
            return Refresh::Join(running);
        }
        let (over, running) = watch::channel(());
        entry.running = Some(running.clone());
        Refresh::Start(over, running)
    }

    /// Forgets the client that Vault has said nothing of for longest. Whoever asks for clients
    /// that do not exist fills the table with those, and they go first.
    fn make_room(&mut self) {
        if self.entries.len() < self.capacity {
            return;
        }
        let idle = self.entries.iter().filter(|(_, entry)| entry.running().is_none());
        let oldest = idle
            .min_by_key(|(_, entry)| (!entry.digests.is_empty(), entry.answered))
            .map(|(client, _)| client.clone());
        if let Some(client) = oldest {
            self.entries.remove(&client);
        }
    }
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            versions: Versions::default(),
            digests: Vec::new(),
            ended: Vec::new(),
            answered: None,
            settled: false,
            took: None,
            running: None,
            allowance: Allowance::full(PER_CLIENT, now),
        }
    }

    /// The good version that `presented` is the digest of. Looks at every one, in constant time.
    pub(super) fn matching(
        &self,
        presented: &Digest,
        overlap: Duration,
        now: u64,
    ) -> Option<VersionName> {
        let mut found = Choice::from(0);
        let mut index = 0;
        let good: Vec<VersionName> =
            self.versions.good(overlap, now).map(|version| version.name()).collect();
        for (at, name) in (0_u64..).zip(&good) {
            let known = self.digests.iter().find(|(version, _)| version == name);
            let Some((_, Some(digest))) = known else { continue };
            let same = digest.ct_eq(presented);
            index.conditional_assign(&at, same);
            found |= same;
        }
        if !bool::from(found) {
            return None;
        }
        usize::try_from(index).ok().and_then(|index| good.get(index)).copied()
    }

    fn running(&self) -> Option<watch::Receiver<()>> {
        self.running.clone().filter(|running| running.has_changed().is_ok())
    }
}

#[derive(Clone, Copy)]
struct Rate {
    burst: f64,
    per_second: f64,
}

struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { left: rate.burst, at: now }
    }

    fn left(&self, rate: Rate, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + since * rate.per_second).min(rate.burst)
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.left = self.left(rate, now);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    fn client(number: u32) -> QualifiedName {
        QualifiedName::parse(&format!("acme/client-{number}")).unwrap()
    }

    /// Whether a refresh was started; it is over at once.
    fn starts(digests: &mut Digests, client: &QualifiedName, now: Instant) -> bool {
        matches!(digests.refresh(client, now), Refresh::Start(..))
    }

    #[test]
    fn refreshes_of_one_client_are_coalesced() {
        let now = monotonic();
        let mut digests = Digests::new(8, now);
        let Refresh::Start(over, _) = digests.refresh(&client(1), now) else { panic!("the first") };
        assert!(matches!(digests.refresh(&client(1), now), Refresh::Join(_)));
        assert!(matches!(digests.begin(&client(1), now), Refresh::Join(_)));
        drop(over);
        assert!(starts(&mut digests, &client(1), now));
    }

    #[test]
    fn proofs_of_one_client_cause_five_refreshes_and_one_more_each_second() {
        let now = monotonic();
        let mut digests = Digests::new(8, now);
        let known = client(1);
        // The first makes the entry.
        let burst = (0..20).filter(|_| starts(&mut digests, &known, now)).count();
        assert_eq!(burst, 6);
        assert!(!starts(&mut digests, &known, now + Duration::from_millis(999)));
        assert!(starts(&mut digests, &known, now + Duration::from_secs(1)));
        assert!(starts(&mut digests, &client(2), now), "another client has its own");
        assert!(matches!(digests.begin(&known, now), Refresh::Start(..)), "nobody's request");
    }

    #[test]
    fn a_flood_of_clients_causes_no_flood_at_vault_and_fits_into_memory() {
        let now = monotonic();
        let mut digests = Digests::new(16, now);
        let known = client(0);
        assert!(starts(&mut digests, &known, now));
        let entry = digests.entry_mut(&known).unwrap();
        entry.digests.push((VersionName { number: 1, created: 1 }, None));
        let begun = (1..1000).filter(|number| starts(&mut digests, &client(*number), now)).count();
        assert_eq!(begun, 63);
        assert_eq!(digests.entries.len(), 16);
        assert!(digests.entry(&known).is_some(), "clients without a secret go first");
    }
}
