//! The reader half: one immutable value, swapped in whole, read without a lock.

use std::sync::Arc;

use arc_swap::ArcSwap;
use scrip_verify::{Freshness, Information, Issuer, Trust};

use crate::clock::Moment;
use crate::standing::{Position, Standing, State};

/// Yields the newest [`View`]. Cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct Reader {
    published: Arc<ArcSwap<Published>>,
    freshness: Freshness,
}

/// What a writer has published.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) issuer: Issuer,
    pub(crate) source: Source,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// A feed is followed.
    Feed(Standing),
    /// Keys without a feed.
    KeysAlone,
}

/// What is known about one issuer at one moment: enough to judge any number of tokens that
/// arrived in it.
#[derive(Debug, Clone)]
pub struct View {
    published: Arc<Published>,
    moment: Moment,
    freshness: Freshness,
}

impl Reader {
    pub(crate) fn new(published: Published, freshness: Freshness) -> Self {
        Self { published: Arc::new(ArcSwap::from_pointee(published)), freshness }
    }

    /// The contract that the service is told of, for [`scrip_verify::Verifier::freshness`]: what is
    /// reported has to be what is enforced.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// What is known now.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            published: self.published.load_full(),
            moment: Moment::now(),
            freshness: self.freshness,
        }
    }

    /// Swaps a new value in. Keys and deny set come from two tasks; neither undoes the other.
    pub(crate) fn update(&self, change: impl Fn(&Published) -> Published) {
        self.published.rcu(|published| change(published));
    }
}

impl View {
    /// The time to judge by, in seconds since the epoch: the wall clock, never behind the last
    /// verified sign of life and what has passed since.
    #[must_use]
    pub fn now(&self) -> u64 {
        match &self.published.source {
            Source::Feed(standing) => standing.now(self.moment),
            Source::KeysAlone => self.moment.wall,
        }
    }

    /// The issuer with its keys and its deny set.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.published.issuer
    }

    /// How old the deny set is. Before the first snapshot it is older than any limit.
    #[must_use]
    pub fn information(&self) -> Information {
        match &self.published.source {
            Source::Feed(standing) => standing.information(self.moment),
            Source::KeysAlone => Information::Unfollowed,
        }
    }

    /// All of it, as [`scrip_verify::Verifier`] takes it.
    #[must_use]
    pub fn trust(&self) -> Trust<'_> {
        Trust::one(self.issuer(), self.information())
    }

    /// How well the feed is followed; `None` for keys without a feed.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        match &self.published.source {
            Source::Feed(standing) => {
                Some(standing.state(self.moment, self.freshness.max_staleness()))
            }
            Source::KeysAlone => None,
        }
    }

    /// The place in the feed that is applied; `None` before the first snapshot and for keys
    /// without a feed.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match &self.published.source {
            Source::Feed(standing) => standing.position,
            Source::KeysAlone => None,
        }
    }

    /// Seconds since the deny set was known to be complete; `None` before the first snapshot and
    /// for keys without a feed.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        match &self.published.source {
            Source::Feed(standing) if standing.position.is_some() => {
                Some(standing.age(self.moment))
            }
            Source::Feed(_) | Source::KeysAlone => None,
        }
    }
}
