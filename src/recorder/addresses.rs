//! From where clients mint: each address is written down once an hour, however often it mints.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::Order;
use crate::store::client_addresses::MOST;

/// Most addresses remembered, of all clients together; beyond it some are written twice an hour.
const CAPACITY: usize = 65_536;
/// Seconds.
const HOUR: u64 = 3600;

/// What has been written in this hour.
#[derive(Default)]
pub(super) struct Addresses {
    hour: u64,
    written: HashMap<String, Vec<String>>,
    count: usize,
}

impl Addresses {
    /// The clients and addresses of `orders` that have not been written in this hour, in one order.
    pub(super) fn unwritten(&mut self, orders: &[Order], now: u64) -> Vec<(String, String)> {
        if self.hour != now / HOUR || self.count > CAPACITY {
            *self = Self { hour: now / HOUR, ..Self::default() };
        }
        let mut unwritten: Vec<(String, String)> = orders
            .iter()
            .map(|order| (order.approved.client().as_str(), place(order.address)))
            .filter(|(client, place)| self.is_unwritten(client, place))
            .map(|(client, place)| (client.to_owned(), place))
            .collect();
        unwritten.sort_unstable();
        unwritten.dedup();
        unwritten
    }

    /// Remembers what has been written.
    pub(super) fn remember(&mut self, written: Vec<(String, String)>) {
        self.count += written.len();
        for (client, place) in written {
            self.written.entry(client).or_default().push(place);
        }
    }

    /// Of whoever has more than are kept, no more are written.
    fn is_unwritten(&self, client: &str, place: &String) -> bool {
        let written = self.written.get(client);
        written.is_none_or(|places| (places.len() as i64) < MOST && !places.contains(place))
    }
}

/// The address, or for IPv6 its network of 64 bits, of which one machine has as many as it likes.
fn place(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
            format!("{network}/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_one_place_whichever_of_its_addresses_it_takes() {
        let place = |text: &str| place(text.parse().unwrap());
        assert_eq!(place("10.0.0.1"), "10.0.0.1");
        assert_eq!(place("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(place("2001:db8::1"), "2001:db8::/64");
        assert_eq!(place("2001:db8::ffff:1"), place("2001:db8::1"));
        assert_ne!(place("2001:db8:0:1::1"), place("2001:db8::1"));
    }
}
