//! When keys are fetched: when due, when the feed says that there are newer ones, and, rarely,
//! when somebody met a key that is not known.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::Moment;
use crate::origin::{Fault, REQUEST};
use crate::random::jitter;

/// Time between two fetches that unknown keys cause. Whoever invents key ids must not be able to
/// make every gateway ask for them.
const COOL_DOWN: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Asks for keys. Any number of askers cause one fetch.
#[derive(Debug, Clone)]
pub(crate) struct Bell {
    unknown: Arc<Notify>,
    newer: Arc<Notify>,
    answered: watch::Receiver<u64>,
}

impl Bell {
    /// A key was met that is not known: fetches, unless that was done a moment ago, and returns
    /// when it has been, or takes longer than one request may.
    pub(crate) async fn unknown_key(&self) {
        let mut answered = self.answered.clone();
        answered.mark_unchanged();
        self.unknown.notify_one();
        // An error says that nobody fetches any more, which answers the question as well.
        let _ = timeout(REQUEST, answered.changed()).await;
    }

    /// The feed has shown that newer keys exist.
    pub(crate) fn newer(&self) {
        self.newer.notify_one();
    }
}

/// Where keys come from.
pub(crate) trait Source: Send {
    /// Fetches and publishes; yields the time after which to come back unasked.
    fn fetch(&mut self) -> impl Future<Output = Result<Duration, Fault>> + Send;
}

/// The rhythm of fetching.
#[derive(Debug)]
pub(crate) struct Rhythm {
    unknown: Arc<Notify>,
    newer: Arc<Notify>,
    answered: watch::Sender<u64>,
    due: Instant,
    failures: u32,
}

impl Rhythm {
    /// Begins with a fetch at once.
    pub(crate) fn new() -> (Self, Bell) {
        let (unknown, newer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (answered, watched) = watch::channel(0);
        let bell = Bell { unknown: unknown.clone(), newer: newer.clone(), answered: watched };
        let due = Moment::now().monotonic;
        (Self { unknown, newer, answered, due, failures: 0 }, bell)
    }

    /// Fetches for ever.
    pub(crate) async fn keep(mut self, mut source: impl Source) {
        let mut cold_until = self.due;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.due) => self.fetch(&mut source).await,
                () = self.newer.notified() => self.fetch(&mut source).await,
                () = self.unknown.notified() => {
                    if Moment::now().monotonic >= cold_until {
                        self.fetch(&mut source).await;
                        cold_until = Moment::now().monotonic + COOL_DOWN;
                    }
                    self.answered.send_modify(|count| *count += 1);
                }
            }
        }
    }

    async fn fetch(&mut self, source: &mut impl Source) {
        let pause = match source.fetch().await {
            Ok(next) => {
                self.failures = 0;
                next
            }
            Err(fault) => {
                tracing::info!(%fault, "keys could not be fetched; the last good ones stay");
                let most = FIRST_RETRY.saturating_mul(1 << self.failures.min(10)).min(LAST_RETRY);
                self.failures += 1;
                jitter(most)
            }
        };
        self.due = Moment::now().monotonic + pause;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    struct Counting(Arc<AtomicU32>, Result<Duration, Fault>);

    impl Source for Counting {
        async fn fetch(&mut self) -> Result<Duration, Fault> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.1.clone()
        }
    }

    fn keep(result: Result<Duration, Fault>) -> (Arc<AtomicU32>, Bell) {
        let count = Arc::new(AtomicU32::new(0));
        let (rhythm, bell) = Rhythm::new();
        tokio::spawn(rhythm.keep(Counting(count.clone(), result)));
        (count, bell)
    }

    #[tokio::test(start_paused = true)]
    async fn n99_a_flood_of_unknown_keys_causes_one_fetch_in_30_seconds() {
        let (count, bell) = keep(Ok(Duration::from_secs(3600)));
        join_all((0..10_000).map(|_| bell.unknown_key())).await;
        for _ in 0..1_000 {
            bell.unknown_key().await;
        }
        assert_eq!(count.load(Ordering::Relaxed), 2, "the first, unasked, and one for all");
        tokio::time::advance(COOL_DOWN).await;
        bell.unknown_key().await;
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_feed_has_shown_is_fetched_without_a_cool_down() {
        let (count, bell) = keep(Ok(Duration::from_secs(3600)));
        bell.unknown_key().await;
        let before = count.load(Ordering::Relaxed);
        for more in 1..4 {
            bell.newer();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(count.load(Ordering::Relaxed), before + more);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn n99_a_fetch_without_an_end_keeps_nobody_who_asks() {
        struct Endless;
        impl Source for Endless {
            async fn fetch(&mut self) -> Result<Duration, Fault> {
                std::future::pending().await
            }
        }
        let (rhythm, bell) = Rhythm::new();
        tokio::spawn(rhythm.keep(Endless));
        timeout(2 * REQUEST, bell.unknown_key()).await.expect("it goes on without an answer");
    }

    #[tokio::test(start_paused = true)]
    async fn n100_failures_are_retried_with_growing_pauses() {
        let (count, _bell) = keep(Err(Fault::Status(500)));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let tries = count.load(Ordering::Relaxed);
        assert!((120..600).contains(&tries), "{tries} tries in an hour");
    }
}
