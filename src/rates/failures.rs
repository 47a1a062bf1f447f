use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use scrip_token::QualifiedName;

use super::TooOften;
use super::pace::{Due, Pace};

/// Failures of one client from one place.
const OF_CLIENT: Pace = pace(20, Duration::from_secs(300));
/// Failures of whatever clients from one place, where many may sit behind one address.
const OF_PLACE: Pace = pace(300, Duration::from_secs(60));
/// Most keys that are remembered. Beyond that a failure is answered as late as any other, but not
/// counted.
const MOST: usize = 65_536;
/// How often somebody is told of one guess, and of all of them: whoever has a thousand addresses
/// must not bury the other alerts.
const TOLD_OF_EACH: Pace = pace(1, Duration::from_secs(3600));
const TOLD_OF_ALL: Pace = pace(MOST_TOLD, Duration::from_secs(3600));
const MOST_TOLD: u32 = 60;

/// Failed authentications, remembered for as long as they slow anybody down.
///
/// They count against the pair of client and place, and against the place: never against a client
/// wherever it is, or any stranger could lock it out. Whoever sits behind the same address (IPv6:
/// the same /64) can lock it out for a while, because a secret that is tried under a limit is a
/// guess like any other. Names count whether they are anybody's or not, so an unknown client is
/// slowed down, and told of, like a known one.
pub struct Failures(Mutex<Known>);

struct Known {
    due: Due<Guess>,
    told: Due<Guess>,
    told_of_all: Due<()>,
    /// Guesses that have run into a limit and of which nobody has been told yet.
    untold: Vec<Guess>,
}

/// What is tried at one place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Guess {
    /// Who somebody says that he is; `None` for the place as a whole.
    pub(super) client: Option<QualifiedName>,
    place: IpAddr,
}

impl Guess {
    /// The address or, of IPv6, the network that is one place.
    pub(super) fn place(&self) -> String {
        match self.place {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(network) => format!("{network}/64"),
        }
    }
}

impl Default for Failures {
    fn default() -> Self {
        Self(Mutex::new(Known {
            due: Due::at_most(MOST),
            told: Due::default(),
            told_of_all: Due::default(),
            untold: Vec::new(),
        }))
    }
}

impl Failures {
    /// Whether somebody at `address` who says that he is `client` may try.
    ///
    /// # Errors
    /// [`TooOften::Failures`].
    pub fn may_try(&self, client: &str, address: IpAddr, now: Instant) -> Result<(), TooOften> {
        let known = self.0.lock();
        let waits = guesses(client, address).map(|(guess, pace)| known.due.wait(&guess, pace, now));
        match waits.flatten().max() {
            Some(wait) => Err(TooOften::Failures(wait).count()),
            None => Ok(()),
        }
    }

    /// Counts a failure; unless as many as there may be were counted while this one was looked at:
    /// however many are under way at once, no more of them are judged.
    ///
    /// # Errors
    /// [`TooOften::Failures`].
    pub fn note(&self, client: &str, address: IpAddr, now: Instant) -> Result<(), TooOften> {
        self.charge(guesses(client, address), now)
    }

    /// Counts what may be a failure, of which nobody can say: against the client and place alone,
    /// because where Vault is slow it is slow for all who are right as well.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub fn note_unjudged(
        &self,
        client: &str,
        address: IpAddr,
        now: Instant,
    ) -> Result<(), TooOften> {
        self.charge(guesses(client, address).filter(|(guess, _)| guess.client.is_some()), now)
    }

    /// Counts a failure if it is dropped before there is an answer.
    pub fn unless_answered<'f>(
        &'f self,
        client: &'f str,
        address: IpAddr,
        now: Instant,
    ) -> Unanswered<'f> {
        Unanswered { failures: self, client, address, now }
    }

    /// Takes the guesses that somebody is to be told of.
    pub(super) fn take_untold(&self) -> Vec<Guess> {
        std::mem::take(&mut self.0.lock().untold)
    }

    pub(super) fn still_untold(&self, guesses: Vec<Guess>) {
        self.0.lock().untold.extend(guesses);
    }

    fn charge(
        &self,
        guesses: impl Iterator<Item = (Guess, Pace)> + Clone,
        now: Instant,
    ) -> Result<(), TooOften> {
        let mut known = self.0.lock();
        let waits = guesses.clone().filter_map(|(guess, pace)| known.due.wait(&guess, pace, now));
        if let Some(wait) = waits.max() {
            return Err(TooOften::Failures(wait).count());
        }
        for (guess, pace) in guesses {
            known.due.charge(&guess, pace.each(), now);
            if known.due.wait(&guess, pace, now).is_some() {
                known.tell(guess, now);
            }
        }
        Ok(())
    }
}

/// Somebody whose secret is still being looked at.
#[must_use]
pub struct Unanswered<'f> {
    failures: &'f Failures,
    client: &'f str,
    address: IpAddr,
    now: Instant,
}

impl Unanswered<'_> {
    /// What it is will be said by whoever has the answer.
    pub fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        // Where there were too many, that was counted.
        let _ = self.failures.note(self.client, self.address, self.now);
    }
}

impl Known {
    fn tell(&mut self, guess: Guess, now: Instant) {
        let is_told = self.told.wait(&guess, TOLD_OF_EACH, now).is_some();
        let is_enough = self.told_of_all.wait(&(), TOLD_OF_ALL, now).is_some();
        if is_told || is_enough || self.untold.len() >= MOST_TOLD as usize {
            return;
        }
        self.told.charge(&guess, TOLD_OF_EACH.each(), now);
        self.told_of_all.charge(&(), TOLD_OF_ALL.each(), now);
        self.untold.push(guess);
    }
}

fn guesses(client: &str, address: IpAddr) -> impl Iterator<Item = (Guess, Pace)> + Clone + use<> {
    let place = place(address);
    // A text that is no name belongs to nobody: it counts against the place only.
    let client = QualifiedName::parse(client).ok();
    let of_client = client.map(|name| (Guess { client: Some(name), place }, OF_CLIENT));
    of_client.into_iter().chain([(Guess { client: None, place }, OF_PLACE)])
}

/// An IPv6 subscriber has at least a whole /64 of addresses (RFC 6177), and is one place.
pub(crate) fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 => v4,
    }
}

pub(super) const fn pace(most: u32, time: Duration) -> Pace {
    let most = match NonZeroU32::new(most) {
        Some(most) => most,
        None => NonZeroU32::MIN,
    };
    Pace::new(time, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_fails_often_is_slowed_down_where_it_fails_and_nowhere_else() {
        let (failures, now) = (Failures::default(), clock::monotonic());
        let (here, elsewhere) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..20 {
            assert_eq!(failures.may_try("acme/billing", here, now), Ok(()));
            assert_eq!(failures.note("acme/billing", here, now), Ok(()));
        }
        let refused = failures.may_try("acme/billing", here, now);
        assert_eq!(refused, Err(TooOften::Failures(Duration::from_secs(15))));
        assert_eq!(failures.may_try("acme/billing", elsewhere, now), Ok(()));
        assert_eq!(failures.may_try("acme/other", here, now), Ok(()));
        let later = now + Duration::from_secs(15);
        assert_eq!(failures.may_try("acme/billing", here, later), Ok(()));
    }

    #[test]
    fn those_under_way_at_once_are_no_more_than_those_after_each_other() {
        let (failures, now) = (Failures::default(), clock::monotonic());
        let here = address("192.0.2.1");
        let tried = (0..60).filter(|_| failures.may_try("acme/billing", here, now).is_ok());
        assert_eq!(tried.count(), 60, "none has failed yet");
        let wait = Err(TooOften::Failures(Duration::from_secs(15)));
        let judged: Vec<_> = (0..60).map(|_| failures.note("acme/billing", here, now)).collect();
        assert!(
            judged[..20].iter().all(Result::is_ok) && judged[20..].iter().all(|no| *no == wait)
        );
        assert_eq!(failures.may_try("acme/billing", here, now), wait, "nor is the right one");
    }

    #[test]
    fn what_nobody_can_judge_counts_against_no_other_client_of_the_place() {
        let (failures, now) = (Failures::default(), clock::monotonic());
        let here = address("192.0.2.1");
        for client in 0..100 {
            let client = format!("acme/client-{client}");
            let noted = (0..30).filter(|_| failures.note_unjudged(&client, here, now).is_ok());
            assert_eq!(noted.count(), 20);
        }
        assert_eq!(failures.may_try("acme/billing", here, now), Ok(()));
        assert_eq!(failures.note_unjudged("no name", here, now), Ok(()));
    }

    #[test]
    fn a_place_is_slowed_down_whatever_names_it_makes_up() {
        let (failures, now) = (Failures::default(), clock::monotonic());
        for n in 0..300 {
            // Each from another address of one subscriber; half of the names are none.
            let from = address(&format!("2001:db8:0:1::{n:x}"));
            let name = if n % 2 == 0 { format!("acme/x{n}") } else { format!("no name {n}") };
            assert_eq!(failures.may_try(&name, from, now), Ok(()), "{n}");
            assert_eq!(failures.note(&name, from, now), Ok(()));
        }
        for name in ["acme/billing", "junk", ""] {
            assert!(failures.may_try(name, address("2001:db8:0:1:ffff::"), now).is_err());
            assert_eq!(failures.may_try(name, address("2001:db8:0:2::"), now), Ok(()));
        }
    }

    #[test]
    fn n149_of_each_guess_somebody_is_told_once_an_hour_and_of_no_flood() {
        let (failures, now) = (Failures::default(), clock::monotonic());
        let here = address("192.0.2.1");
        let told = || failures.take_untold().iter().map(Guess::place).collect::<Vec<_>>();
        for _ in 0..19 {
            failures.note("acme/billing", here, now).unwrap();
        }
        assert_eq!(told(), [""; 0], "so many are no guessing");
        // On and on at the pace that is left, for an hour.
        for n in 0..240 {
            failures.note("acme/billing", here, now + n * Duration::from_secs(15)).unwrap();
        }
        assert_eq!(told(), ["192.0.2.1"]);
        let later = now + Duration::from_secs(3600);
        failures.note("acme/billing", here, later).unwrap();
        assert_eq!(told(), ["192.0.2.1"]);

        for place in 0..200 {
            let from = address(&format!("2001:db8:0:{place:x}::7"));
            for _ in 0..20 {
                failures.note("acme/billing", from, later).unwrap();
            }
        }
        let told = told();
        assert_eq!((told.len(), &*told[7]), (59, "2001:db8:0:7::/64"));
    }
}
