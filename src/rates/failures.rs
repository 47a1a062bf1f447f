use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use scrip_token::QualifiedName;

use super::TooOften;
use super::pace::{Due, Pace};

/// Failures of one client from one place.
const OF_CLIENT: Pace = pace(20, Duration::from_secs(300));
/// Failures of whatever clients from one place, where many may sit behind one address.
const OF_PLACE: Pace = pace(300, Duration::from_secs(60));
/// Most keys that are remembered. Beyond it a failure is answered as late as ever, and not counted.
const MOST: usize = 65_536;

/// Failed authentications, remembered for as long as they slow anybody down.
///
/// They count against the pair of client and place, and against the place: never against a client
/// wherever it is, or any stranger could lock it out. What a name belongs to plays no part, so that
/// an unknown client is slowed down like a known one.
pub struct Failures(Mutex<Due<Guess>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Guess {
    /// `None` for the place as a whole.
    client: Option<QualifiedName>,
    place: IpAddr,
}

impl Default for Failures {
    fn default() -> Self {
        Self(Mutex::new(Due::at_most(MOST)))
    }
}

impl Failures {
    /// Whether somebody at `address` who says that he is `client` may try.
    ///
    /// # Errors
    /// [`TooOften::Failures`].
    pub fn may_try(&self, client: &str, address: IpAddr, now: Instant) -> Result<(), TooOften> {
        let due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = guesses(client, address).map(|(guess, pace)| due.wait(&guess, pace, now));
        match waits.flatten().max() {
            Some(wait) => Err(TooOften::Failures(wait).count()),
            None => Ok(()),
        }
    }

    /// Counts a failure.
    pub fn note(&self, client: &str, address: IpAddr, now: Instant) {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (guess, pace) in guesses(client, address) {
            due.charge(&guess, pace.each(), now);
        }
    }
}

fn guesses(client: &str, address: IpAddr) -> impl Iterator<Item = (Guess, Pace)> {
    let place = place(address);
    // What is no name is nobody's; only the place counts then.
    let client = QualifiedName::parse(client).ok();
    let of_client = client.map(|name| (Guess { client: Some(name), place }, OF_CLIENT));
    of_client.into_iter().chain([(Guess { client: None, place }, OF_PLACE)])
}

/// An IPv6 subscriber has at least a whole /64 of addresses (RFC 6177), and is one place.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 => v4,
    }
}

const fn pace(most: u32, time: Duration) -> Pace {
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
            failures.note("acme/billing", here, now);
        }
        let refused = failures.may_try("acme/billing", here, now);
        assert_eq!(refused, Err(TooOften::Failures(Duration::from_secs(15))));
        assert_eq!(failures.may_try("acme/billing", elsewhere, now), Ok(()));
        assert_eq!(failures.may_try("acme/other", here, now), Ok(()));
        let later = now + Duration::from_secs(15);
        assert_eq!(failures.may_try("acme/billing", here, later), Ok(()));
    }

    #[test]
    fn a_place_is_slowed_down_whatever_names_it_makes_up() {
        let (failures, now) = (Failures::default(), clock::monotonic());
        for n in 0..300 {
            // Each from another address of one subscriber; half of the names are none.
            let from = address(&format!("2001:db8:0:1::{n:x}"));
            let name = if n % 2 == 0 { format!("acme/x{n}") } else { format!("no name {n}") };
            assert_eq!(failures.may_try(&name, from, now), Ok(()), "{n}");
            failures.note(&name, from, now);
        }
        for name in ["acme/billing", "junk", ""] {
            assert!(failures.may_try(name, address("2001:db8:0:1:ffff::"), now).is_err());
            assert_eq!(failures.may_try(name, address("2001:db8:0:2::"), now), Ok(()));
        }
    }
}
