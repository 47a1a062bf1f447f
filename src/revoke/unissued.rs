//! How many tokens that were never issued may still be denied.
//!
//! They are counted here, and in the database once a second: what is counted meanwhile waits until
//! then, and a killed process loses a second of it. Replicas do not hear of each other's for as long.

use std::collections::BTreeMap;

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
        Ok(())
    }

    /// Takes room for one that is over at `until`.
    pub(super) fn take(&mut self, until: u64) -> bool {
        let Some(left) = self.room.checked_sub(1) else { return false };
        self.room = left;
        *self.waiting.entry(until.next_multiple_of(TOGETHER)).or_default() += 1;
        true
    }
}
