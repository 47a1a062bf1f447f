//! How many connections there may be, and how many of them one address may have: each takes a file,
//! and over HTTP/2 one on which nothing is asked lives for as long as its peer answers pings.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use scrip_token::Cidr;

use crate::rates::place;

/// Connections by where they come from. No place (IPv6: a /64) has more than are left for all others,
/// so that whoever comes next is let in; proxies that are trusted, and this very machine, speak for
/// many.
pub(super) struct Guests {
    most: usize,
    trusted: Vec<Cidr>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// One connection, for as long as this lives.
pub(super) struct Guest {
    guests: Arc<Guests>,
    place: IpAddr,
}

impl Guests {
    pub(super) fn new(most: usize, trusted: Vec<Cidr>) -> Arc<Self> {
        Arc::new(Self { most, trusted, open: Mutex::default() })
    }

    /// Lets one more in; `None` where there is no room for it.
    pub(super) fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Guest> {
        let from = from.to_canonical();
        let place = place(from);
        let speaks_for_many =
            from.is_loopback() || self.trusted.iter().any(|network| network.contains(from));
        let mut open = self.open.lock();
        let left = self.most.saturating_sub(open.all);
        let has = open.of.get(&place).copied().unwrap_or_default();
        if left == 0 || (has >= left && !speaks_for_many) {
            metrics::counter!("scrip_connections_refused_total").increment(1);
            return None;
        }
        open.all += 1;
        *open.of.entry(place).or_default() += 1;
        drop(open);
        Some(Guest { guests: self.clone(), place })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut open = self.guests.open.lock();
        open.all -= 1;
        if let Some(has) = open.of.get_mut(&self.place) {
            *has -= 1;
            if *has == 0 {
                open.of.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn n149_nobody_takes_the_last_connection_from_whoever_comes_next() {
        let guests = Guests::new(100, vec!["10.0.0.0/8".parse().unwrap()]);
        let flood = |from: &dyn Fn(u32) -> String| -> Vec<Guest> {
            (0..200).map_while(|n| guests.admit(address(&from(n)))).collect()
        };
        let first = flood(&|_| "192.0.2.1".to_owned());
        assert_eq!(first.len(), 50);
        let second = flood(&|n| format!("2001:db8::{n:x}"));
        assert_eq!(second.len(), 25, "one network of 64 bits");
        assert!(guests.admit(address("192.0.2.1")).is_none());
        let honest = guests.admit(address("198.51.100.7")).expect("a newcomer");

        let proxy = flood(&|_| "10.0.0.1".to_owned());
        assert_eq!(proxy.len(), 24, "a proxy has all that is left");
        assert!(guests.admit(address("198.51.100.8")).is_none());
        drop((first, second, proxy, honest));
        assert!(guests.open.lock().of.is_empty());
        assert_eq!(flood(&|_| "127.0.0.1".to_owned()).len(), 100);
    }
}
