//! Tokens that were verified before: found again by their exact bytes, without a lock.
//!
//! A token's place follows from a keyed hash of its last bytes, which its signature ends with; a
//! hit is a comparison of *every* byte. Readers write nothing that other readers read, so a token
//! that two threads present at once costs each what it costs one.
//!
//! What is kept is a token's bytes and claims, not a verdict: revocation, keys and time are judged
//! anew at each request, so nothing has to be evicted. A reader holds what it found by an
//! `arc-swap` guard, because a count would be written by every reader of a hot token.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;

use crate::genuine::Genuine;

/// A genuine token, in the cache or not. Held for long it may keep an evicted token alive.
pub(crate) type Held = Guard<Arc<Genuine>>;

/// An open-addressed table. Bounded: it never grows, and no entry is larger than its share.
pub(crate) struct Cache {
    places: usize,
    share: usize,
    hasher: RandomState,
    table: OnceLock<Box<[Place]>>,
}

const MOST_ENTRIES: usize = 1 << 24;
/// How much of a token's end is hashed, in bytes: 96 bits of a signature.
const TAIL: usize = 16;
/// A token lies within so many places from where its hash leads.
const REACH: usize = 16;

/// Half a cache line: a reader looks at one or two.
#[derive(Default)]
#[repr(align(32))]
struct Place {
    /// Once filled, never empty again.
    held: OnceLock<ArcSwap<Genuine>>,
    /// `exp` of what is held: from then on the place is free.
    until: AtomicU32,
    /// The part of the token's hash that did not choose the place: spares most comparisons of
    /// tokens.
    tag: AtomicU32,
    /// Whether it was found since the last time that a place was looked for.
    found: AtomicBool,
}

impl Cache {
    /// Room for `entries` tokens that share `bytes` of memory evenly; for none where either is 0.
    pub(crate) fn new(entries: usize, bytes: usize) -> Self {
        let places = entries.min(MOST_ENTRIES);
        Self {
            places,
            share: bytes.checked_div(places).unwrap_or(0),
            hasher: RandomState::default(),
            table: OnceLock::new(),
        }
    }

    pub(crate) fn find(&self, token: &[u8]) -> Option<Held> {
        let (start, tag) = self.start(token)?;
        reach(self.table.get()?, start).find_map(|place| {
            if place.tag.load(Relaxed) != tag {
                return None;
            }
            let held = place.held.get()?.load();
            // Need not be constant-time: whoever gets here knows the end of the signature already.
            if *held.token != *token {
                return None;
            }
            // Written only where it changes, so that the readers of a hot token share its cache
            // line.
            if !place.found.load(Relaxed) {
                place.found.store(true, Relaxed);
            }
            Some(held)
        })
    }

    /// Keeps a token, in the place of an expired one or of one that nobody asks for if need be.
    pub(crate) fn keep(&self, genuine: &Arc<Genuine>, now: u64) {
        if genuine.bytes() > self.share {
            return;
        }
        let Some((start, tag)) = self.start(&genuine.token) else { return };
        let table = self.table.get_or_init(|| (0..self.places).map(|_| Place::default()).collect());
        let Some(place) = room(table, start, tag, now) else { return };
        // Two threads may mix their writes here. Then the tag leads to another token, whose bytes
        // differ: nothing is found, and the place is filled anew one day.
        match place.held.get() {
            Some(held) => held.store(Arc::clone(genuine)),
            None => drop(place.held.set(ArcSwap::new(Arc::clone(genuine)))),
        }
        place.until.store(seconds(genuine.claims.exp), Relaxed);
        place.found.store(false, Relaxed);
        place.tag.store(tag, Relaxed);
    }

    /// Where to begin, and the tag; `None` where nothing is kept at all.
    fn start(&self, token: &[u8]) -> Option<(usize, u32)> {
        let tail = u128::from_le_bytes(*token.last_chunk::<TAIL>()?);
        let hash = self.hasher.hash_one(tail);
        let start = ((hash >> 32) as usize * self.places) >> 32;
        (start < self.places).then_some((start, hash as u32))
    }
}

fn reach(table: &[Place], start: usize) -> impl Iterator<Item = &Place> {
    let (before, from) = table.split_at_checked(start).unwrap_or_default();
    from.iter().chain(before).take(REACH)
}

/// The place to be filled: the token's own, else one that is free, else the first that was not
/// found since the last look. So a flood of new tokens displaces itself: its own are not asked for
/// again, hot ones are.
fn room(table: &[Place], start: usize, tag: u32, now: u64) -> Option<&Place> {
    let places = || reach(table, start);
    let own = places().find(|place| place.tag.load(Relaxed) == tag);
    let free = || places().find(|place| place.until.load(Relaxed) <= seconds(now));
    let idle = || places().find(|place| !place.found.swap(false, Relaxed));
    own.or_else(free).or_else(idle).or_else(|| places().next())
}

/// Cut to 32 bits: it decides about room only, never about a token.
fn seconds(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}

impl fmt::Debug for Cache {
    /// Shows its bounds only, because it holds tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { places, share, .. } = self;
        write!(f, "Cache({places} entries of at most {share} bytes)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scrip_token::{Claims, Jti};

    const IAT: u64 = 1_795_000_000;
    const NOW: u64 = IAT + 100;

    /// Some token; they differ in their last bytes, as signatures do.
    fn genuine(n: u64, exp: u64) -> Arc<Genuine> {
        let jti = Jti::new(IAT * 1000, [1; 10]);
        let claims = format!(
            r#"{{"iss":"i","sub":"s","aud":"a","client_id":"t/c","iat":{IAT},"nbf":{IAT},"exp":{exp},
            "jti":"{jti}","ver":1,"scope":"llm:chat","tenant":"t","env":"prod"}}"#
        );
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        let token = format!("header.payload.signature-{n:020}").into_bytes().into();
        Arc::new(Genuine { token, iss: "i".into(), kid: "k".into(), claims })
    }

    fn live(n: u64) -> Arc<Genuine> {
        genuine(n, IAT + 300)
    }

    fn holds(cache: &Cache, genuine: &Arc<Genuine>) -> bool {
        cache.find(&genuine.token).is_some_and(|held| Arc::ptr_eq(&held, genuine))
    }

    #[test]
    fn what_is_kept_is_found_by_its_exact_bytes() {
        let cache = Cache::new(64, 1 << 20);
        let token = live(1);
        assert!(!holds(&cache, &token));
        cache.keep(&token, NOW);
        assert!(holds(&cache, &token));
        for position in 0..token.token.len() {
            let mut other = token.token.clone();
            other[position] ^= 1;
            assert!(cache.find(&other).is_none(), "{position}");
        }
        assert!(cache.find(&token.token[1..]).is_none());
        assert!(cache.find(b"short").is_none());
    }

    #[test]
    fn a_flood_displaces_itself_and_not_what_is_asked_for() {
        let cache = Cache::new(REACH, 1 << 20);
        let hot: Vec<_> = (0..8).map(live).collect();
        hot.iter().for_each(|token| cache.keep(token, NOW));
        for n in 100..10_100 {
            assert!(hot.iter().all(|token| holds(&cache, token)), "displaced by {n}");
            cache.keep(&live(n), NOW);
        }
    }

    #[test]
    fn what_is_asked_for_no_more_gives_way() {
        let cache = Cache::new(REACH, 1 << 20);
        let old: Vec<_> = (0..REACH as u64).map(live).collect();
        old.iter().for_each(|token| cache.keep(token, NOW));
        assert!(old.iter().all(|token| holds(&cache, token)));
        for token in (100..1100).map(live) {
            cache.keep(&token, NOW);
            assert!(holds(&cache, &token));
        }
        assert!(old.iter().all(|token| !holds(&cache, token)));
    }

    #[test]
    fn an_expired_token_gives_way_first() {
        let cache = Cache::new(REACH, 1 << 20);
        let expired = genuine(0, NOW);
        let others: Vec<_> = (1..REACH as u64).map(live).collect();
        cache.keep(&expired, IAT);
        others.iter().for_each(|token| cache.keep(token, IAT));
        assert!(holds(&cache, &expired));
        cache.keep(&live(99), NOW);
        assert!(!holds(&cache, &expired));
        assert!(others.iter().all(|token| holds(&cache, token)));
    }

    #[test]
    fn a_token_takes_one_place_however_often_it_is_kept() {
        let cache = Cache::new(REACH, 1 << 20);
        let others: Vec<_> = (1..REACH as u64).map(live).collect();
        others.iter().for_each(|token| cache.keep(token, NOW));
        for _ in 0..100 {
            cache.keep(&live(0), NOW);
        }
        assert!(others.iter().all(|token| holds(&cache, token)));
    }

    #[test]
    fn entries_and_bytes_are_bounds() {
        let tokens: Vec<_> = (0..1000).map(live).collect();
        let kept = |entries, bytes| {
            let cache = Cache::new(entries, bytes);
            tokens.iter().for_each(|token| cache.keep(token, NOW));
            tokens.iter().filter(|token| holds(&cache, token)).count()
        };
        let share = tokens[0].bytes();
        assert_eq!(kept(1, share), 1);
        assert_eq!(kept(100, 100 * share), 100, "every place is reached");
        assert_eq!(kept(100, 100 * share - 1), 0);
        assert_eq!((kept(0, 1 << 20), kept(100, 0)), (0, 0));
    }

    #[test]
    fn a_token_is_weighed_with_all_that_it_holds() {
        let plain = live(1);
        let mut long = live(1);
        Arc::get_mut(&mut long).unwrap().token = vec![b'x'; 3000].into();
        // Eleven texts at the most, each in an allocation of its own.
        let least = size_of::<Genuine>() + plain.token.len() + 11 * 32;
        assert!(plain.bytes() >= least);
        assert!(long.bytes() >= plain.bytes() + 2 * (3000 - plain.token.len()));
        let listed = |change: &dyn Fn(&mut Claims)| {
            let mut listed = live(1);
            change(&mut Arc::get_mut(&mut listed).unwrap().claims);
            listed.bytes() - plain.bytes()
        };
        let networks = listed(&|claims| claims.cidrs = Some(vec!["::/0".parse().unwrap(); 32]));
        assert!(networks >= 32 * size_of::<scrip_token::Cidr>());
        let models = listed(&|claims| claims.models = vec!["m".parse().unwrap(); 64]);
        assert!(models >= 64 * (size_of::<scrip_token::ModelPattern>() + 32));
        let ancestors = listed(&|claims| claims.lin = vec![claims.jti; 4]);
        assert!(ancestors >= 4 * size_of::<Jti>());
    }
}
