//! Operations, on a listener of their own: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::app::App;
use crate::clock;
use crate::metrics::Metrics;
use crate::signer::{self, Purpose};
use crate::store;

/// A clock that is further off than this from the database's is reported, in milliseconds.
const CLOCK_OFF: u64 = 1000;

/// Heartbeats that may be missing, as followers judge it.
const MISSED: u64 = 3;

/// The routes.
pub fn routes(app: Arc<App>, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready).with_state(app))
        .route("/metrics", get(move || std::future::ready(metrics.render())))
}

/// 200 while database and keys can serve revocation and the feed, else 503 with what is wrong.
/// Vault and clock faults are listed as `degraded`: no orchestrator may take the feed away because
/// Vault is sealed.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let mut wrong: Vec<String> = Vec::new();
    let mut degraded: Vec<String> = Vec::new();
    if let Err(error) = look(&app, &mut wrong, &mut degraded).await {
        wrong.push(format!("database: {error}"));
    }
    let silence = Duration::from_secs(MISSED * app.config.heartbeat);
    if app.pulse.newest().is_none_or(|beat| clock::monotonic().duration_since(beat.made) > silence)
    {
        wrong.push("feed: no recent heartbeat".to_owned());
    }
    // Written where it could not be before, so that a replica comes back by itself.
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
