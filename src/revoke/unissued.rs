//! How many tokens that were never issued may still be denied. Nobody has more of them than are left, so
//! that there is room for whoever comes next: one caller has half of it at most. A replica counts for
//! itself whose they are, from its start.
//!
//! They are counted here, and in the database once a second: what is counted meanwhile waits until
//! then, and a killed process loses a second of it. Replicas do not hear of each other's for as long.

use std::collections::{BTreeMap, HashMap};

use scrip_token::QualifiedName;

use crate::store::{StoreError, Tx, deny_unissued};

/// Most live entries about such tokens. A follower takes 64 MiB; these are 20 MB, and whoever revokes a
/// thousand of them each second does not get there: they are over by then.
const MOST: u64 = 1_000_000;
/// By how many seconds together their ends are counted.
const TOGETHER: u64 = 60;
/// From one reading to the next.
const SPACING_MS: i64 = 1000;

/// A copy is at the disposal of a group; it takes the original's place once the group is durable.
#[derive(Clone, Default)]
pub(super) struct Unissued {
    room: u64,
    read_ms: i64,
    /// By when they are over, what is not on record yet.
    waiting: BTreeMap<u64, i64>,
    /// The same of each caller, on record or not.
    own: HashMap<QualifiedName, BTreeMap<u64, u64>>,
}

impl Unissued {
    /// Writes what waits and reads how many there are, where that was done long ago, or said that there
    /// are too many.
    pub(super) async fn refresh(&mut self, tx: &mut Tx, now_ms: i64) -> Result<(), StoreError> {
        if self.room > 0 && (0..SPACING_MS).contains(&(now_ms - self.read_ms)) {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let waiting: Vec<_> = waiting.into_iter().map(|(t, n)| (t.cast_signed(), n)).collect();
        deny_unissued::add(tx, &waiting).await?;
        let live = deny_unissued::live(tx, now_ms / 1000).await?;
        self.room = MOST.saturating_sub(live.unsigned_abs());
        self.read_ms = now_ms;
        self.own.retain(|_, own| {
            own.retain(|until, _| until.cast_signed() > now_ms / 1000);
            !own.is_empty()
        });
        Ok(())
    }

    /// Takes room for one of `caller`'s that is over at `until`.
    pub(super) fn take(&mut self, caller: &QualifiedName, until: u64) -> bool {
        let until = until.next_multiple_of(TOGETHER);
        let own = self.own.entry(caller.clone()).or_default();
        if own.values().sum::<u64>() >= self.room {
            return false;
        }
        *own.entry(until).or_default() += 1;
        *self.waiting.entry(until).or_default() += 1;
        self.room -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_all_it_can_leaves_as_much() {
        let mut unissued = Unissued { room: 1000, ..Unissued::default() };
        let mut fill = |name: &str| {
            let caller = QualifiedName::parse(&format!("acme/{name}")).unwrap();
            (0..).take_while(|n| unissued.take(&caller, n % 900)).count()
        };
        assert_eq!([fill("one"), fill("one"), fill("two")], [500, 0, 250]);
        let last: usize = (0..200).map(|n| fill(&format!("next-{n}"))).sum();
        assert_eq!(last, 250, "all of it is there for somebody");
        assert_eq!(unissued.waiting.values().sum::<i64>(), 1000);
    }
}
