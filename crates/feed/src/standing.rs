//! Where a copy of the deny list stands, and how old what it says is.

use scrip_token::{Digest, Jti};
use scrip_verify::Information;
use tokio::time::Instant;

use crate::clock::Moment;

/// A place in the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The epoch.
    pub epoch: Jti,
    /// Number of the last batch that is applied.
    pub seq: u64,
    /// Digest of its payload.
    pub head: Digest,
}

/// How well a follower follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is known yet: everything is denied.
    Init,
    /// Everything that was revoked is known, up to a heartbeat or two.
    Synced,
    /// Signs of life are missing, or batches are. What is known is still young enough.
    Lagging,
    /// What is known is too old for tokens that are as old.
    Stale,
}

/// Everything about a copy of the list except its entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// `None`: never had a snapshot.
    pub(crate) position: Option<Position>,
    /// Something newer than `position` is known to exist.
    pub(crate) behind: bool,
    /// Seconds between heartbeats.
    pub(crate) every: u64,
    /// Issuer's time of the last sign of life that matched `position`.
    as_of: u64,
    /// When that arrived.
    heard: Instant,
    /// How old it was by then, in seconds.
    heard_age: u64,
    /// Latest issuer's time that was ever verified.
    verified: u64,
    /// What the time must at least be: an issuer's time, and when that arrived.
    floor: (u64, Instant),
}

impl Standing {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            position: None,
            behind: true,
            every: 5,
            as_of: 0,
            heard: now.monotonic,
            heard_age: 0,
            verified: 0,
            floor: (0, now.monotonic),
        }
    }

    /// The time to judge by: the wall clock, never behind any verified sign of life and what has
    /// passed since. A clock that is set back does not revive an expired token.
    pub(crate) fn now(&self, now: Moment) -> u64 {
        now.wall.max(self.floor_at(now))
    }

    fn floor_at(&self, now: Moment) -> u64 {
        let (verified, at) = self.floor;
        verified + seconds(at, now)
    }

    /// The latest verified time of the issuer.
    pub(crate) fn verified_time(&self) -> u64 {
        self.verified
    }

    /// Issuer's time of the last sign of life that matched what is applied; 0: none did.
    pub(crate) fn as_of(&self) -> u64 {
        self.as_of
    }

    /// Seconds on the monotonic clock since that arrived.
    pub(crate) fn silence(&self, now: Moment) -> u64 {
        seconds(self.heard, now)
    }

    /// Its age by the monotonic clock, in seconds: how old it was when it arrived, and what has
    /// passed since. So a clock that is set back does not make young what a relay had held back.
    fn elapsed(&self, now: Moment) -> u64 {
        self.heard_age.saturating_add(self.silence(now))
    }

    /// How old the deny set is. Before the first snapshot it is older than any limit.
    pub(crate) fn information(&self, now: Moment) -> Information {
        match self.position {
            None => Information::Followed { as_of: 0, silence: u64::MAX },
            Some(_) => Information::Followed { as_of: self.as_of, silence: self.elapsed(now) },
        }
    }

    /// The greater of both ages.
    pub(crate) fn age(&self, now: Moment) -> u64 {
        self.now(now).saturating_sub(self.as_of).max(self.elapsed(now))
    }

    pub(crate) fn state(&self, now: Moment, max_staleness: u64) -> State {
        match self.position {
            None => State::Init,
            _ if self.age(now) > max_staleness => State::Stale,
            _ if self.behind || self.silence(now) >= self.silence_limit() => State::Lagging,
            _ => State::Synced,
        }
    }

    /// Seconds of silence after which an origin is given up.
    pub(crate) fn silence_limit(&self) -> u64 {
        3 * self.every
    }

    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Takes note of a verified time of the issuer's that is not ahead of our clock.
    pub(crate) fn witness(&mut self, iat: u64, now: Moment) {
        self.verified = self.verified.max(iat);
        if iat > self.floor_at(now) {
            self.floor = (iat, now.monotonic);
        }
    }

    /// Takes note of a sign of life that matches what is applied. A repeated one refreshes
    /// nothing: whoever replays it would make us look young.
    pub(crate) fn refresh(&mut self, iat: u64, now: Moment) -> bool {
        self.behind = false;
        if iat <= self.as_of {
            return false;
        }
        self.as_of = iat;
        self.heard = now.monotonic;
        self.heard_age = self.now(now).saturating_sub(iat);
        true
    }
}

fn seconds(since: Instant, now: Moment) -> u64 {
    now.monotonic.saturating_duration_since(since).as_secs()
}
