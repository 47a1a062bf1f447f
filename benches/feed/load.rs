//! Other people's revocations, so many a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use scrip::{clock, random};
use scrip_token::Jti;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::field::Field;

const TICK: Duration = Duration::from_millis(5);
/// Most that wait for their answer; beyond it the service cannot keep up, and the rate falls.
const UNDER_WAY: usize = 1024;

pub(crate) struct Load {
    task: JoinHandle<()>,
    acknowledged: Arc<AtomicU64>,
    begun: Instant,
}

impl Load {
    pub(crate) fn start(field: &Field, per_second: u32) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let under_way = Arc::new(Semaphore::new(UNDER_WAY));
        let (http, operator) = (field.http.clone(), field.acme.operator.clone());
        let count = acknowledged.clone();
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(TICK);
            loop {
                pace.tick().await;
                for _ in 0..(TICK * per_second).as_secs() {
                    let Ok(permit) = under_way.clone().acquire_owned().await else { return };
                    let (http, operator, count) = (http.clone(), operator.clone(), count.clone());
                    tokio::spawn(async move {
                        // Of a token that was never minted here.
                        let jti = Jti::new(clock::now_ms().unsigned_abs(), random::bytes());
                        let answer = http.revoke(&operator, json!({"jti": jti.to_string()})).await;
                        if answer.is_ok_and(|answer| answer.status == 201) {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        drop(permit);
                    });
                }
            }
        });
        Self { task, acknowledged, begun: clock::monotonic() }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends it; says how many were acknowledged each second.
    pub(crate) fn stop(self) -> f64 {
        self.task.abort();
        self.acknowledged() as f64 / self.begun.elapsed().as_secs_f64()
    }
}
