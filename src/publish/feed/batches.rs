use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use scrip_token::Jti;
use serde::Deserialize;
use serde_json::json;

use super::super::malformed;
use super::{follower, read};
use crate::app::App;
use crate::clock;
use crate::error::{Failure, Problem};
use crate::router::Arrival;
use crate::strict::Query;

/// Longest wait that `Prefer: wait=` can ask for, in seconds (RFC 7240 section 4.3).
const MAX_WAIT: u64 = 30;

/// Where to go on from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    epoch: String,
    after: i64,
}

/// `GET /v1/deny/batches?epoch=&after=`: 200 with at most 256 batches and a heartbeat; waits for
/// the first one with `Prefer: wait=N`. 400, 401, 403, 410 for an unknown epoch, a pruned range or
/// beyond the head, 503.
///
/// # Errors
/// [`Problem`].
pub async fn batches(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    Query(after): Query<After>,
) -> Result<Response, Problem> {
    follower(&app, &headers, arrival).await?;
    if Jti::parse(&after.epoch).is_err() || after.after < 0 {
        return Err(malformed("`epoch` is a UUIDv7 and `after` a number from 0"));
    }
    let wait = preferred_wait(&headers);
    let mut newest = app.deny.follow();
    tokio::select! {
        _ = newest.wait_for(|newest| newest.epoch != after.epoch || newest.seq != after.after) => {}
        () = app.shutdown.cancelled() => {}
        () = tokio::time::sleep(Duration::from_secs(wait.unwrap_or_default())) => {}
    }
    // The heartbeat is made first, and the batches are those up to it: they bring a follower in
    // step, however many more there are by now.
    let every = app.config.heartbeat;
    let beat = app.pulse.after(clock::monotonic(), &app.store, &app.deny, every).await?;
    let read = if beat.position.epoch == after.epoch {
        read(&app.store, &after.epoch, after.after).await?
    } else {
        Err("epoch")
    };
    let mut batches = read.map_err(|reason| {
        let detail = format!("begin again with a snapshot: {reason}");
        Problem(Failure::new(StatusCode::GONE, "gone", detail))
    })?;
    batches.retain(|batch| batch.seq <= beat.position.seq);
    let more = batches.last().is_some_and(|last| last.seq < beat.position.seq);
    let batches: Vec<_> = batches.into_iter().filter_map(|batch| batch.jws).collect();
    let body = json!({
        "epoch": after.epoch, "batches": batches, "heartbeat": &*beat.jws, "more": more,
    });
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
    if let Some(wait) = wait
        && let Ok(applied) = HeaderValue::from_str(&format!("wait={wait}"))
    {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// How many seconds of waiting were asked for, as far as they are granted. A preference may have
/// parameters, of which none is known; of two the first counts (RFC 7240 section 2).
fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(','));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    })?;
    Some(seconds.parse::<u64>().ok()?.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_granted_up_to_its_limit() {
        let wait = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| HeaderValue::from_static(line));
            preferred_wait(
                &lines.map(|line| (header::HeaderName::from_static("prefer"), line)).collect(),
            )
        };
        assert_eq!(wait(&["wait=7"]), Some(7));
        assert_eq!(wait(&["respond-async, Wait = \"7\"; x=1, wait=9"]), Some(7));
        assert_eq!(wait(&["handling=lenient", "wait=99"]), Some(MAX_WAIT));
        for none in ["", "wait", "wait=", "wait=-1", "wait=1.5", "respond-async; wait=7", "await=7"]
        {
            assert_eq!(wait(&[none]), None, "{none}");
        }
    }
}
