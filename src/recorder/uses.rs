//! What mints tell of their clients: how many, when last, from where. It is added up here and
//! written once a second, so that no mint waits for it. A killed process loses a second of these
//! counts, and no token. Each address is written down once an hour, however often somebody mints
//! from there.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use scrip_token::QualifiedName;
use tokio::task::AbortHandle;

use crate::store::client_addresses::MOST;
use crate::store::clients::Use;
use crate::store::{Lock, Store, StoreError, client_addresses, clients};

/// The time from one writing to the next.
const SPACING: Duration = Duration::from_secs(1);
/// Most clients in one commit, which mints wait for on SQLite.
const MAX_GROUP: usize = 256;
/// Most addresses remembered, of all clients together; beyond it some are written twice an hour.
const CAPACITY: usize = 65_536;
/// Seconds.
const HOUR: u64 = 3600;

/// What is to be written.
#[derive(Default)]
pub(super) struct Uses(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    clients: BTreeMap<String, Used>,
    /// The places of this hour, by client.
    places: HashMap<String, Vec<IpAddr>>,
    hour: u64,
    count: usize,
}

/// How a client minted since the last writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Used {
    mints: i64,
    /// Seconds.
    at: i64,
    address: String,
    /// Addresses that are not on record in this hour.
    places: Vec<IpAddr>,
}

impl Uses {
    /// Writes what is noted, again and again, until nobody can note anything any more.
    pub(super) fn keep_writing(self: &Arc<Self>, store: Store) -> AbortHandle {
        let uses = Arc::downgrade(self);
        let writing = tokio::spawn(async move {
            while let Some(uses) = uses.upgrade() {
                uses.write(&store).await;
                drop(uses);
                tokio::time::sleep(SPACING).await;
            }
        });
        writing.abort_handle()
    }

    /// Notes that a client minted, at `now` in seconds.
    pub(super) fn note(&self, client: &QualifiedName, address: IpAddr, now: u64) {
        let mut noted = self.0.lock();
        let place = noted.is_new(client.as_str(), address, now);
        let used = match noted.clients.get_mut(client.as_str()) {
            Some(used) => used,
            None => noted.clients.entry(client.to_string()).or_default(),
        };
        used.mints += 1;
        used.at = used.at.max(now.cast_signed());
        used.address = address.to_string();
        used.places.extend(place);
    }

    /// Writes what is noted. What cannot be written is noted again.
    pub(super) async fn write(&self, store: &Store) {
        let noted = std::mem::take(&mut self.0.lock().clients);
        let noted: Vec<(String, Used)> = noted.into_iter().collect();
        for group in noted.chunks(MAX_GROUP) {
            if let Err(error) = write(store, group).await {
                tracing::warn!(%error, clients = group.len(), "what clients used is not on record");
                self.0.lock().put_back(group);
            }
        }
    }
}

impl Noted {
    /// The place of this address, if the client has not minted from there in this hour and has not
    /// more places than are kept.
    fn is_new(&mut self, client: &str, address: IpAddr, now: u64) -> Option<IpAddr> {
        if self.hour != now / HOUR || self.count > CAPACITY {
            (self.hour, self.count) = (now / HOUR, 0);
            self.places.clear();
        }
        let place = place(address);
        let known = match self.places.get_mut(client) {
            Some(known) => known,
            None => self.places.entry(client.to_owned()).or_default(),
        };
        if known.len() as i64 >= MOST || known.contains(&place) {
            return None;
        }
        known.push(place);
        self.count += 1;
        Some(place)
    }

    fn put_back(&mut self, group: &[(String, Used)]) {
        for (client, before) in group {
            let used = self.clients.entry(client.clone()).or_default();
            used.mints += before.mints;
            if used.at < before.at {
                (used.at, used.address) = (before.at, before.address.clone());
            }
            used.places.extend(&before.places);
        }
    }
}

async fn write(store: &Store, group: &[(String, Used)]) -> Result<(), StoreError> {
    let uses: Vec<Use<'_>> = group
        .iter()
        .map(|(id, used)| Use { id, mints: used.mints, at: used.at, address: Some(&used.address) })
        .collect();
    let mut tx = store.begin(Lock::Admin).await?;
    clients::mark_used(&mut tx, &uses).await?;
    for (client, used) in group {
        let seen: Vec<(String, String)> =
            used.places.iter().map(|place| (client.clone(), written(*place))).collect();
        client_addresses::note(&mut tx, &seen, used.at).await?;
    }
    tx.commit().await
}

/// The address, or for IPv6 the first of its network of 64 bits, of which one machine has as many as
/// it likes.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

fn written(place: IpAddr) -> String {
    if place.is_ipv6() { format!("{place}/64") } else { place.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(notes: &[(&str, &str, u64)]) -> Uses {
        let uses = Uses::default();
        for (client, address, now) in notes {
            let client = QualifiedName::parse(client).unwrap();
            uses.note(&client, address.parse().unwrap(), *now);
        }
        uses
    }

    #[test]
    fn a_machine_is_one_place_whichever_of_its_addresses_it_takes() {
        let place = |text: &str| written(place(text.parse().unwrap()));
        assert_eq!(place("10.0.0.1"), "10.0.0.1");
        assert_eq!(place("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(place("2001:db8::1"), "2001:db8::/64");
        assert_eq!(place("2001:db8::ffff:1"), place("2001:db8::1"));
        assert_ne!(place("2001:db8:0:1::1"), place("2001:db8::1"));
    }

    #[test]
    fn uses_add_up_and_places_are_new_once_an_hour() {
        let uses = noted(&[
            ("acme/a", "10.0.0.1", 7200),
            ("acme/a", "10.0.0.2", 7201),
            ("acme/a", "10.0.0.1", 7202),
            ("acme/b", "10.0.0.1", 10_800),
            ("acme/a", "10.0.0.1", 10_801),
        ]);
        let place = |n| IpAddr::from([10, 0, 0, n]);
        let used = |mints, at, n, places| Used { mints, at, address: place(n).to_string(), places };
        let clients = &uses.0.lock().clients;
        assert_eq!(clients["acme/a"], used(4, 10_801, 1, vec![place(1), place(2), place(1)]));
        assert_eq!(clients["acme/b"], used(1, 10_800, 1, vec![place(1)]));
    }

    #[test]
    fn what_could_not_be_written_is_added_to_what_came_since() {
        let uses = noted(&[("acme/a", "10.0.0.1", 50), ("acme/a", "10.0.0.2", 60)]);
        let before = std::mem::take(&mut uses.0.lock().clients).into_iter().collect::<Vec<_>>();
        uses.note(&QualifiedName::parse("acme/a").unwrap(), [10, 0, 0, 3].into(), 55);
        uses.0.lock().put_back(&before);
        let used = uses.0.lock().clients["acme/a"].clone();
        assert_eq!((used.mints, used.at, used.address.as_str()), (3, 60, "10.0.0.2"));
        assert_eq!(used.places.len(), 3);
    }
}
