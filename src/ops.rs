//! Operations, on a listener of their own: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::task::AbortHandle;

use crate::app::App;
use crate::clock;
use crate::metrics::Metrics;
use crate::signer::{self, Purpose};
use crate::store;

/// A clock that is further off than this from the database's is reported, in milliseconds.
const CLOCK_OFF: u64 = 1000;

/// Heartbeats that may be missing, as followers judge it.
const MISSED: u64 = 3;

/// The tasks of this process, by what they do. Each lives until shutdown.
#[derive(Clone)]
pub struct Tasks {
    /// Those without which revocation or the feed is not served.
    pub vital: Vec<(&'static str, AbortHandle)>,
    /// The others.
    pub other: Vec<(&'static str, AbortHandle)>,
}

/// The routes.
pub fn routes(app: Arc<App>, metrics: Metrics, tasks: Tasks) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready).with_state((app, Arc::new(tasks))))
        .route("/metrics", get(move || std::future::ready(metrics.render())))
}

/// 200 while database, keys and tasks can serve revocation and the feed, else 503 with what is wrong.
/// Vault and clock faults are listed as `degraded`: no orchestrator may take the feed away because
/// Vault is sealed.
async fn ready(State((app, tasks)): State<(Arc<App>, Arc<Tasks>)>) -> Response {
    let mut wrong = ended(&tasks.vital);
    let mut degraded = ended(&tasks.other);
    if let Err(error) = look(&app, &mut wrong, &mut degraded).await {
        wrong.push(format!("database: {error}"));
    }
    let silence = Duration::from_secs(MISSED * app.config.heartbeat);
    if app.pulse.newest().is_none_or(|beat| clock::monotonic().duration_since(beat.made) > silence)
    {
        wrong.push("feed: no recent heartbeat".to_owned());
    }
    // Tries again to write what could not be written before, so that a replica comes back by
    // itself.
    if let Err(error) = app.deny.witness().sync().await {
        wrong.push(format!("witness: not written ({error})"));
    }
    if let Some(reason) = app.vault.as_ref().and_then(|vault| vault.vault().away()) {
        degraded.push(format!("vault: {reason}"));
    }
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": wrong.is_empty(), "wrong": wrong, "degraded": degraded});
    (status, Json(body)).into_response()
}

/// Only a new process starts a task again.
fn ended(tasks: &[(&str, AbortHandle)]) -> Vec<String> {
    let ended = tasks.iter().filter(|(_, task)| task.is_finished());
    ended.map(|(name, _)| format!("task: {name} has ended; restart the service")).collect()
}

async fn look(
    app: &App,
    wrong: &mut Vec<String>,
    degraded: &mut Vec<String>,
) -> Result<(), store::StoreError> {
    let mut session = app.store.read_reserved().await?;
    let keys = signer::keys(&mut session).await?;
    let clock_ms = clock::now_ms();
    let now_ms = store::now_ms(&mut session, clock_ms).await?;
    let now = clock::seconds(now_ms);
    let active = app.config.algs().into_iter().map(|alg| signer::active(&keys, alg, now));
    for key in active.chain([signer::single(&keys, Purpose::Feed, now)]) {
        match key {
            Some(key) if app.signer.has(&key.jwk.kid) => {}
            Some(key) => wrong.push(format!("keys: the private key {} is not here", key.jwk.kid)),
            None => wrong.push("keys: one in use is missing; run `scrip bootstrap`".to_owned()),
        }
    }
    if now_ms.abs_diff(clock_ms) > CLOCK_OFF {
        let off = now_ms.abs_diff(clock_ms);
        degraded.push(format!("clock: {off} ms off the database's time"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_died_is_named_and_one_that_lives_is_not() {
        let dead = tokio::spawn(async { panic!("as any bug might") });
        let alive = tokio::spawn(std::future::pending::<()>());
        let tasks = [("revocations", dead.abort_handle()), ("feed", alive.abort_handle())];
        assert!(dead.await.is_err());
        assert_eq!(ended(&tasks), ["task: revocations has ended; restart the service"]);
    }
}
