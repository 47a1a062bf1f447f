//! Everybody who follows. What is published is rendered once and kept once, in a ring of so many
//! bytes that all share; a follower is a place in it. Nobody waits for anybody: whoever falls out
//! of the ring is cut, and resumes where it was.
//!
//! A stream that stalls within an HTTP/2 connection that lives keeps its place and one frame until
//! it moves. What a follower lacks that resumes is read for it a page at a time, as it takes it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Position;

/// Bytes of frames that are kept for those who are behind; one frame may be more.
pub const KEPT: usize = 8 << 20;

/// Some of the stream, rendered.
#[derive(Debug)]
pub struct Frame {
    /// The bytes, ready to send.
    pub bytes: Bytes,
    /// What has been published once this has been sent.
    pub position: Position,
    /// Whether it is batches, which are sent once; a heartbeat is sent to everybody.
    pub is_batches: bool,
}

/// The half that publishes. Without it, all who follow are at the end.
pub struct Broadcast {
    shared: Arc<Shared>,
    published: watch::Sender<u64>,
}

/// The half that lets followers in.
#[derive(Clone)]
pub struct Audience {
    shared: Arc<Shared>,
    published: watch::Receiver<u64>,
}

/// One follower: a place in the ring.
pub struct Follower {
    shared: Arc<Shared>,
    published: watch::Receiver<u64>,
    /// How many frames it has had or does not want, of all that there ever were.
    taken: u64,
}

struct Shared {
    places: usize,
    ring: Mutex<Ring>,
}

struct Ring {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    published: u64,
    position: Position,
    followers: usize,
}

impl Broadcast {
    /// Both halves: so many places, and `position` published so far.
    #[must_use]
    pub fn new(places: usize, position: Position) -> (Self, Audience) {
        let frames = VecDeque::new();
        let ring = Ring { frames, bytes: 0, published: 0, position, followers: 0 };
        let shared = Arc::new(Shared { places, ring: Mutex::new(ring) });
        let (sender, published) = watch::channel(0);
        (Self { shared: shared.clone(), published: sender }, Audience { shared, published })
    }

    /// How many follow.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::try_from(self.shared.ring.lock().followers).unwrap_or(u32::MAX)
    }

    /// Sends a frame to all who follow.
    pub fn publish(&self, frame: Frame) {
        let mut ring = self.shared.ring.lock();
        ring.bytes += frame.bytes.len();
        ring.position.clone_from(&frame.position);
        ring.frames.push_back(Arc::new(frame));
        while ring.bytes > KEPT && ring.frames.len() > 1 {
            let oldest = ring.frames.pop_front().map_or(0, |frame| frame.bytes.len());
            ring.bytes -= oldest;
        }
        ring.published += 1;
        let published = ring.published;
        metrics::gauge!("scrip_feed_kept_bytes").set(ring.bytes as f64);
        drop(ring);
        self.published.send_replace(published);
    }
}

impl Audience {
    /// A place, which receives what is published from now on; `None` where all are taken.
    #[must_use]
    pub fn join(&self) -> Option<Follower> {
        let mut ring = self.shared.ring.lock();
        if ring.followers == self.shared.places {
            return None;
        }
        ring.followers += 1;
        metrics::gauge!("scrip_followers").set(ring.followers as f64);
        let taken = ring.published;
        drop(ring);
        Some(Follower { shared: self.shared.clone(), published: self.published.clone(), taken })
    }
}

impl Follower {
    /// Passes over what has been published; says where that got to. What follows is received.
    pub fn skip(&mut self) -> Position {
        let ring = self.shared.ring.lock();
        self.taken = ring.published;
        ring.position.clone()
    }

    /// The next frame; `None` where this follower has fallen out of the ring, or nobody publishes
    /// any more. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Arc<Frame>> {
        while *self.published.borrow_and_update() <= self.taken {
            self.published.changed().await.ok()?;
        }
        let ring = self.shared.ring.lock();
        let behind = usize::try_from(ring.published - self.taken).unwrap_or(usize::MAX);
        let Some(place) = ring.frames.len().checked_sub(behind) else {
            metrics::counter!("scrip_feed_cut_total").increment(1);
            return None;
        };
        self.taken += 1;
        ring.frames.get(place).cloned()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut ring = self.shared.ring.lock();
        ring.followers -= 1;
        metrics::gauge!("scrip_followers").set(ring.followers as f64);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use scrip_token::Digest;

    use super::*;

    fn position(seq: i64) -> Position {
        let epoch = "01a1ee56-5e7b-7fff-bfff-ffffffffffff".to_owned();
        Position { epoch, seq, head: Digest::of(b"") }
    }

    fn frame(seq: i64, size: usize) -> Frame {
        Frame { bytes: vec![b'x'; size].into(), position: position(seq), is_batches: true }
    }

    #[tokio::test]
    async fn n87_whoever_does_not_drain_is_cut_and_nobody_waits_for_it() {
        const SIZE: usize = 1 << 20;
        let (broadcast, audience) = Broadcast::new(2, position(0));
        let (mut idle, mut busy) = (audience.join().unwrap(), audience.join().unwrap());
        assert!(audience.join().is_none(), "both places are taken");
        let many = 10 * (KEPT / SIZE) as i64;
        for seq in 1..=many {
            broadcast.publish(frame(seq, SIZE));
            assert_eq!(busy.next().await.unwrap().position.seq, seq);
            assert!(broadcast.shared.ring.lock().bytes <= KEPT);
        }
        assert!(busy.next().now_or_never().is_none(), "there is no more");
        assert!(idle.next().await.is_none(), "cut");
        drop(idle);

        // It resumes in a place of its own, from where the ring is now.
        let mut resumed = audience.join().unwrap();
        assert_eq!(resumed.skip(), position(many));
        broadcast.publish(frame(many + 1, 3 * KEPT));
        assert_eq!(resumed.next().await.unwrap().position.seq, many + 1, "larger than the ring");
        drop(broadcast);
        assert!(resumed.next().await.is_none(), "nobody publishes any more");
    }
}
