use std::fmt::Display;
use std::time::Duration;

/// Asks `probe` until it answers; panics with `what` when it has not within `limit`.
pub async fn until<T>(
    what: impl Display,
    limit: Duration,
    probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    match within(limit, probe).await {
        Some(answer) => answer,
        None => panic!("{what}: not within {limit:?}"),
    }
}

/// Asks `probe` until it answers; `None` when it has not within `limit`.
pub async fn within<T>(limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let asking = async {
        loop {
            if let Some(answer) = probe().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(limit, asking).await.ok()
}
