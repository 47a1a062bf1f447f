//! Who waits to be in a group, and whose turn it is: a flood slows the flooder.
//!
//! Nobody has more places than are left: one caller alone gets half of them, two get two thirds
//! together, and there is always one for whoever comes next. A replica counts for itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use scrip_token::QualifiedName;

use super::NotRevoked;

/// Most revocations that wait, all callers' together. One caller alone has half of them.
const MOST: usize = 4096;

/// Places to wait in. Nobody has more of them than are left, so that there is one for whoever comes
/// next, however many flood.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    own: HashMap<QualifiedName, usize>,
}

/// Somebody's place, until it is dropped.
pub(super) struct Place {
    of: QualifiedName,
    places: Places,
}

impl Places {
    /// A place for a revocation of `caller`.
    ///
    /// # Errors
    /// [`NotRevoked::TooMany`], [`NotRevoked::Busy`] where the others have left none.
    pub(super) fn take(&self, caller: &QualifiedName) -> Result<Place, NotRevoked> {
        let mut taken = self.0.lock();
        let left = MOST - taken.all;
        let own = taken.own.get(caller).copied().unwrap_or_default();
        if left == 0 {
            return Err(NotRevoked::Busy);
        }
        if own >= left {
            return Err(NotRevoked::TooMany);
        }
        taken.all += 1;
        taken.own.insert(caller.clone(), own + 1);
        Ok(Place { of: caller.clone(), places: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        taken.all -= 1;
        match taken.own.get_mut(&self.of) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.own.remove(&self.of)),
        }
    }
}

/// What waits, each caller's in the order in which it came.
pub(super) struct Line<T> {
    own: HashMap<QualifiedName, VecDeque<T>>,
    /// Everybody who has one waiting, once.
    turns: VecDeque<QualifiedName>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { own: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<T> Line<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn push(&mut self, caller: QualifiedName, one: T) {
        let own = self.own.entry(caller.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back(caller);
        }
        own.push_back(one);
    }

    /// The next `most`: one of each caller, then the second of each, and so on.
    pub(super) fn take(&mut self, most: usize) -> Vec<T> {
        let mut group = Vec::new();
        while group.len() < most
            && let Some(caller) = self.turns.pop_front()
        {
            let Some(own) = self.own.get_mut(&caller) else { continue };
            group.extend(own.pop_front());
            if own.is_empty() {
                self.own.remove(&caller);
            } else {
                self.turns.push_back(caller);
            }
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> QualifiedName {
        QualifiedName::parse(&format!("acme/{name}")).unwrap()
    }

    /// As many places as it gets.
    fn fill(places: &Places, name: &str) -> Vec<Place> {
        std::iter::from_fn(|| places.take(&caller(name)).ok()).collect()
    }

    #[test]
    fn whoever_floods_leaves_as_much_as_it_has() {
        let places = Places::default();
        let one = fill(&places, "one");
        assert_eq!(one.len(), MOST / 2);
        let mut held = vec![one];
        for flooder in 0..10 {
            assert!(matches!(places.take(&caller("one")), Err(NotRevoked::TooMany)));
            let next = fill(&places, &format!("flooder-{flooder}"));
            assert!(!next.is_empty(), "{flooder}");
            held.push(next);
        }
        drop(held);
        assert_eq!(fill(&places, "one").len(), MOST / 2, "all were given back");
        let taken = places.0.lock();
        assert!(taken.own.is_empty() && taken.all == 0, "nobody is remembered");
    }

    #[test]
    fn each_caller_has_its_turn_and_its_own_come_in_order() {
        let mut line = Line::default();
        for n in 0..600 {
            line.push(caller("flood"), ("flood", n));
        }
        assert_eq!(line.take(2), [("flood", 0), ("flood", 1)]);
        for n in 0..2 {
            line.push(caller("late"), ("late", n));
        }
        assert_eq!(line.take(3), [("flood", 2), ("late", 0), ("flood", 3)]);
        assert_eq!(line.take(2), [("late", 1), ("flood", 4)]);
        assert_eq!(line.take(1000).len(), 595);
        assert!(line.is_empty() && line.take(1).is_empty() && line.own.is_empty());
    }
}
