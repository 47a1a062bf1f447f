//! The deny list's feed: snapshot, blobs, batches, stream. For clients with `scrip:feed`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use scrip_token::{Digest, Jti};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;

use super::{JOSE, cacheable, malformed};
use crate::app::App;
use crate::caller::{Means, operator};
use crate::clock;
use crate::deny::Position;
use crate::deny::stream::Frame;
use crate::error::{Failure, Problem};
use crate::receipts::Sighting;
use crate::router::Arrival;
use crate::store::{StoreError, deny_batches, deny_snapshots, installation};
use crate::strict::Query;

/// Most batches in one reply, and about how many bytes of them.
const MAX_BATCHES: u32 = 256;
const MAX_BATCHES_BYTES: usize = 8 << 20;
/// Longest wait that `Prefer: wait=` can ask for, in seconds (RFC 7240 section 4.3).
const MAX_WAIT: u64 = 30;
/// Most followers that one process serves.
const MAX_FOLLOWERS: usize = 20_000;

async fn follower(app: &App, headers: &HeaderMap, arrival: Arrival) -> Result<(), Problem> {
    let means = Means::TokenOrSecret;
    let caller = operator(app, headers, arrival.address, arrival.at, "scrip:feed", means).await?;
    app.sightings.note(Sighting::Feed(caller.client));
    Ok(())
}

/// `GET /v1/deny/snapshot`: the manifest. 200 `application/jose` with `ETag`, 304, 401, 403, 503.
///
/// # Errors
/// [`Problem`].
pub async fn snapshot(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    follower(&app, &headers, arrival).await?;
    let manifest = app.snapshots.manifest(arrival.at, &app.store, &app.deny).await?;
    Ok(cacheable(&headers, JOSE, 0, manifest.into_bytes()))
}

/// `GET /v1/deny/blobs/{sha256}`: the entries. 200, 206 for one range, 304, 404, 416.
///
/// # Errors
/// [`Problem`].
pub async fn blob(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    Path(sha256): Path<String>,
) -> Result<Response, Problem> {
    follower(&app, &headers, arrival).await?;
    let no_blob = || Problem::not_found("there is no such blob (any more)");
    let digest = Digest::parse(&sha256).map_err(|_| no_blob())?;
    let mut session = app.store.read_reserved().await?;
    let blob = deny_snapshots::blob(&mut session, &digest).await?.ok_or_else(no_blob)?;
    let blob = Bytes::from(blob);
    let total = blob.len();
    let mut response = match headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
        None => blob.into_response(),
        Some(asked) => match range(asked, total) {
            Some((first, end)) => {
                let mut part =
                    (StatusCode::PARTIAL_CONTENT, blob.slice(first..end)).into_response();
                let span = format!("bytes {first}-{}/{total}", end - 1);
                if let Ok(span) = HeaderValue::from_str(&span) {
                    part.headers_mut().insert(header::CONTENT_RANGE, span);
                }
                part
            }
            None => {
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                let detail = format!("the blob has {total} bytes; one range is answered");
                return Err(Problem(Failure::new(status, "range-not-satisfiable", detail)));
            }
        },
    };
    let fixed = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
        (header::ACCEPT_RANGES, "bytes"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{sha256}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// One range of bytes (RFC 9110 section 14.1.2) as `first..end`.
fn range(asked: &str, total: usize) -> Option<(usize, usize)> {
    let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
    let (first, end) = match (first, last) {
        ("", suffix) => (total.saturating_sub(suffix.parse().ok()?), total),
        (first, "") => (first.parse().ok()?, total),
        (first, last) => {
            (first.parse().ok()?, last.parse::<usize>().ok()?.checked_add(1)?.min(total))
        }
    };
    (first < end && end <= total).then_some((first, end))
}

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
    let from = Place { epoch: after.epoch, seq: after.after };
    let mut newest = app.deny.follow();
    let deadline = tokio::time::sleep(preferred_wait(&headers));
    tokio::pin!(deadline);
    let found = loop {
        newest.borrow_and_update();
        match read(&app, &from).await? {
            Ok(found) if found.is_empty() => {}
            Ok(found) => break found,
            Err(reason) => {
                let detail = format!("begin again with a snapshot: {reason}");
                return Err(Problem(Failure::new(StatusCode::GONE, "gone", detail)));
            }
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { break Vec::new() },
            () = app.shutdown.cancelled() => break Vec::new(),
            () = &mut deadline => break Vec::new(),
        }
    };
    let mut bytes = 0;
    let batches: Vec<&str> = found
        .iter()
        .filter_map(|batch| batch.jws.as_deref())
        .take_while(|jws| {
            let fits = bytes == 0 || bytes + jws.len() <= MAX_BATCHES_BYTES;
            bytes += jws.len();
            fits
        })
        .collect();
    let more = found.len() == MAX_BATCHES as usize || batches.len() < found.len();
    // Made after the batches were read: whoever has them all is in step with it.
    let every = app.config.heartbeat;
    let beat = app.pulse.after(clock::monotonic(), &app.store, &app.deny, every).await?;
    let body = json!({
        "epoch": from.epoch, "batches": batches, "heartbeat": &*beat.jws, "more": more,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

fn preferred_wait(headers: &HeaderMap) -> Duration {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let seconds = preferences
        .flat_map(|line| line.split([',', ';']))
        .find_map(|preference| preference.trim().strip_prefix("wait=")?.parse::<u64>().ok());
    Duration::from_secs(seconds.unwrap_or(0).min(MAX_WAIT))
}

/// How far a follower says it is.
struct Place {
    epoch: String,
    seq: i64,
}

/// The batches that follow, or why a follower at `from` cannot go on.
async fn read(
    app: &App,
    from: &Place,
) -> Result<Result<Vec<deny_batches::Batch>, &'static str>, StoreError> {
    let mut session = app.store.read_reserved().await?;
    let row = installation::read(&mut session).await?;
    match row {
        Some(row) if row.epoch != from.epoch => return Ok(Err("epoch")),
        Some(row) if row.seq < from.seq => return Ok(Err("ahead")),
        _ => {}
    }
    let found = deny_batches::after(&mut session, &from.epoch, from.seq, MAX_BATCHES).await?;
    let whole = found.first().is_none_or(|first| first.seq == from.seq + 1)
        && found.iter().all(|batch| batch.jws.is_some());
    Ok(if whole { Ok(found) } else { Err("pruned") })
}

/// `GET /v1/deny/stream`: server-sent events `heartbeat`, `batch` and `reset`. A heartbeat comes
/// first. `Last-Event-ID` (`epoch:seq`) resumes; without it the stream begins at the head. 400,
/// 401, 403, 503.
///
/// # Errors
/// [`Problem`].
pub async fn stream(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    follower(&app, &headers, arrival).await?;
    // Joined before anything is read: what is published meanwhile waits in the receiver.
    let receiver = app.audience.join();
    if app.audience.size() > MAX_FOLLOWERS {
        return Err(Problem(Failure::unavailable("too many followers", 30)));
    }
    let every = app.config.heartbeat;
    let beat = app.pulse.after(arrival.at, &app.store, &app.deny, every).await?;
    let mut sent = match headers.get("last-event-id") {
        None => Place { epoch: beat.position.epoch.clone(), seq: beat.position.seq },
        Some(id) => event_id(id).ok_or_else(|| malformed("Last-Event-ID is `epoch:seq`"))?,
    };

    let mut opening = vec![Frame::heartbeat(&beat).bytes];
    let mut ends = false;
    loop {
        match read(&app, &sent).await? {
            Ok(found) => {
                let full = found.len() == MAX_BATCHES as usize;
                for batch in found {
                    sent.seq = batch.seq;
                    let jws = batch.jws.unwrap_or_default();
                    let position =
                        Position { epoch: batch.epoch, seq: batch.seq, head: batch.head };
                    opening.push(Frame::batch(position, &jws).bytes);
                }
                if !full {
                    break;
                }
            }
            Err(reason) => {
                opening.push(Frame::reset(reason));
                ends = true;
                break;
            }
        }
    }
    let opening = stream::iter(opening.into_iter().map(Ok));
    let body = if ends {
        Body::from_stream(opening)
    } else {
        let live = live(receiver, sent, app.shutdown.clone());
        Body::from_stream(futures_util::StreamExt::chain(opening, live))
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// Frames from the publisher. Ends at shutdown, and for a follower that is too far behind: it
/// resumes with `Last-Event-ID`, and nobody else has waited for it.
fn live(
    receiver: Receiver<Frame>,
    sent: Place,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::unfold(Some((receiver, sent, shutdown)), |state| async {
        let (mut receiver, mut sent, shutdown) = state?;
        loop {
            let frame = tokio::select! {
                () = shutdown.cancelled() => return None,
                frame = receiver.recv() => frame.ok()?,
            };
            if frame.position.epoch != sent.epoch {
                return Some((Ok(Frame::reset("epoch")), None));
            }
            if frame.is_batch {
                if frame.position.seq <= sent.seq {
                    continue;
                }
                sent.seq = frame.position.seq;
            }
            return Some((Ok(frame.bytes), Some((receiver, sent, shutdown))));
        }
    })
}

fn event_id(value: &HeaderValue) -> Option<Place> {
    let (epoch, seq) = value.to_str().ok()?.split_once(':')?;
    let epoch = Jti::parse(epoch).ok()?.to_string();
    let seq = seq.parse().ok().filter(|seq| *seq >= 0)?;
    Some(Place { epoch, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_answered() {
        assert_eq!(range("bytes=0-3", 10), Some((0, 4)));
        assert_eq!(range("bytes=4-", 10), Some((4, 10)));
        assert_eq!(range("bytes=-3", 10), Some((7, 10)));
        assert_eq!(range("bytes=5-99", 10), Some((5, 10)));
        for bad in ["bytes=10-", "bytes=3-1", "bytes=a-b", "items=0-1", "bytes=0-1,3-4", "bytes=-0"]
        {
            assert_eq!(range(bad, 10), None, "{bad}");
        }
    }

    #[test]
    fn n89_odd_event_ids_are_refused() {
        let epoch = "01a1ee56-5e7b-7fff-bfff-ffffffffffff";
        let id = |text: &str| event_id(&HeaderValue::from_str(text).unwrap());
        assert_eq!(id(&format!("{epoch}:7")).unwrap().seq, 7);
        for bad in ["", "abc", "7", &format!("{epoch}:-1"), &format!("{epoch}:9223372036854775808")]
        {
            assert!(id(bad).is_none(), "{bad}");
        }
    }
}
