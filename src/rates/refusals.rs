//! How much anybody writes into the audit log by being refused.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::failures::{pace, place};
use super::pace::{Due, Pace};

const HOUR: Duration = Duration::from_secs(3600);
/// Refusals of one client.
const OF_CLIENT: Pace = pace(100, HOUR);
/// Refusals of whoever has not proved who it is: from one place, and from all of them.
const OF_PLACE: Pace = pace(300, HOUR);
const OF_ALL_PLACES: Pace = pace(10_000, HOUR);
/// Most places that are remembered.
const MOST: usize = 65_536;

/// Refusals that were written down lately. The log is kept, and whoever asks in a loop for what it
/// does not get says nothing new. An exhausted quota is a refusal too.
pub struct Refusals(Mutex<Written>);

struct Written {
    clients: Due<String>,
    places: Due<IpAddr>,
    all_places: Due<()>,
}

impl Default for Refusals {
    fn default() -> Self {
        let places = Due::at_most(MOST);
        Self(Mutex::new(Written { clients: Due::default(), places, all_places: Due::default() }))
    }
}

impl Refusals {
    /// Whether one more refusal is written: of `client` or, where nobody has proved who it is, from
    /// `address`. One that is not written does not count.
    pub fn may_write(&self, client: Option<&str>, address: Option<IpAddr>, now: Instant) -> bool {
        let mut written = self.0.lock();
        let Written { clients, places, all_places } = &mut *written;
        if let Some(client) = client {
            let may = clients.wait(client, OF_CLIENT, now).is_none();
            if may {
                clients.charge(client, OF_CLIENT.each(), now);
            }
            return may;
        }
        let place = address.map(place);
        let is_early = place.is_some_and(|place| places.wait(&place, OF_PLACE, now).is_some());
        if is_early || all_places.wait(&(), OF_ALL_PLACES, now).is_some() {
            return false;
        }
        if let Some(place) = place {
            places.charge(&place, OF_PLACE.each(), now);
        }
        all_places.charge(&(), OF_ALL_PLACES.each(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_client_a_place_and_all_places_have_so_many_and_then_one_after_the_other() {
        let (refusals, now) = (Refusals::default(), clock::monotonic());
        let of = |client: &str, now| refusals.may_write(Some(client), None, now);
        let from = |address: &str, now| refusals.may_write(None, address.parse().ok(), now);
        let written = (0..1000).filter(|_| of("acme/a", now)).count();
        assert_eq!(written, 100);
        assert!(of("acme/b", now), "another client's is another");
        let later = now + Duration::from_secs(36);
        assert!(of("acme/a", later) && !of("acme/a", later));

        let written = (0..1000).filter(|n| from(&format!("2001:db8:0:1::{n:x}"), now)).count();
        assert_eq!(written, 300, "a network is one place");
        let written = (0..60_000_u32).filter(|n| from(&format!("2001:db8:1:{n:x}::"), now)).count();
        assert_eq!(written, 9700);
        assert!(of("acme/b", now), "whoever has proved who it is stands apart");
    }
}
