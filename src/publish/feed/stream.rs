use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use scrip_token::Jti;

use super::super::malformed;
use super::{follower, read};
use crate::app::App;
use crate::caller::Admission;
use crate::clock;
use crate::deny::audience::{Follower, Frame};
use crate::error::{Failure, Problem};
use crate::receipts::{AGAIN, Sighting};
use crate::router::Arrival;

/// `GET /v1/deny/stream`: server-sent events `heartbeat`, `batch` and `reset`. A heartbeat comes
/// first. `Last-Event-ID` (`epoch:seq`) resumes; without it the stream begins at the head. Whoever
/// is too slow is cut, and resumes; so is whoever may not follow any more, at the latest with the token
/// that it came by. 400, 401, 403, 503.
///
/// # Errors
/// [`Problem`].
pub async fn stream(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (reader, pass) = follower(&app, &headers, arrival).await?;
    let place = app.audience.join();
    let place = place.ok_or_else(|| Problem(Failure::unavailable("too many followers", 30)))?;
    let every = app.config.heartbeat;
    let seen = clock::monotonic();
    let beat = app.pulse.after(seen, &app.store, &app.deny, every).await?;
    let sent = match headers.get("last-event-id") {
        None => (beat.position.epoch.clone(), beat.position.seq),
        Some(id) => event_id(id).ok_or_else(|| malformed("Last-Event-ID is `epoch:seq`"))?,
    };
    let opening = Some(Frame::heartbeat(&beat).bytes);
    let admission = app.admissions.admit(pass);
    let following = Following { app, reader, admission, seen, opening, behind: true, sent, place };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(following.events())).into_response())
}

/// A stream under way. This is all that it has in memory of its own; what it sends is shared.
struct Following {
    app: Arc<App>,
    reader: Sighting,
    /// When that was noted last.
    seen: Instant,
    admission: Admission,
    /// The heartbeat that comes first.
    opening: Option<Bytes>,
    /// Whether it may lack batches that everybody else has been sent.
    behind: bool,
    /// Epoch and number of the last batch that it has.
    sent: (String, i64),
    place: Follower,
}

enum Event {
    Next(Bytes),
    Last(Bytes),
}

impl Following {
    fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(Some(self), |following| async move {
            let mut following = following?;
            match following.next().await? {
                Event::Next(bytes) => Some((Ok(bytes), Some(following))),
                Event::Last(bytes) => Some((Ok(bytes), None)),
            }
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if let Some(heartbeat) = self.opening.take() {
            return Some(Event::Next(heartbeat));
        }
        while self.behind {
            // What is published while the database is read waits in its place, and nothing else does.
            let published = self.place.skip();
            // Boxed, so that it takes memory only while a follower reads.
            let mut batches = match Box::pin(read(&self.app.store, &self.sent.0, self.sent.1)).await
            {
                Ok(Ok(batches)) => batches,
                Ok(Err(reason)) => return Some(Event::Last(Frame::reset(reason))),
                Err(error) => {
                    tracing::warn!(%error, "a follower is cut: it cannot be sent what it lacks");
                    return None;
                }
            };
            batches.retain(|batch| batch.seq <= published.seq || batch.epoch != published.epoch);
            match Frame::batches(&batches) {
                Some(frame) => {
                    // To look once more would show no heartbeat for as long as revocations go on.
                    if frame.position == published {
                        self.behind = false;
                    }
                    self.sent = (frame.position.epoch, frame.position.seq);
                    return Some(Event::Next(frame.bytes));
                }
                None => self.behind = false,
            }
        }
        loop {
            let frame = tokio::select! {
                biased;
                () = self.admission.over() => return None,
                frame = self.place.next() => frame?,
            };
            if frame.position.epoch != self.sent.0 {
                return Some(Event::Last(Frame::reset("epoch")));
            }
            if !frame.is_batches {
                // A follower that stays connected would otherwise be forgotten while it reads.
                if self.seen.elapsed() >= AGAIN && self.app.sightings.note(self.reader.clone()) {
                    self.seen = clock::monotonic();
                }
                return Some(Event::Next(frame.bytes.clone()));
            }
            if frame.position.seq > self.sent.1 {
                self.sent.1 = frame.position.seq;
                return Some(Event::Next(frame.bytes.clone()));
            }
        }
    }
}

fn event_id(value: &HeaderValue) -> Option<(String, i64)> {
    let (epoch, seq) = value.to_str().ok()?.split_once(':')?;
    let epoch = Jti::parse(epoch).ok()?.to_string();
    let seq = seq.parse().ok().filter(|seq| *seq >= 0)?;
    Some((epoch, seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n89_odd_event_ids_are_refused() {
        let epoch = "01a1ee56-5e7b-7fff-bfff-ffffffffffff";
        let id = |text: &str| event_id(&HeaderValue::from_str(text).unwrap());
        assert_eq!(id(&format!("{epoch}:7")).unwrap().1, 7);
        for bad in ["", "abc", "7", &format!("{epoch}:-1"), &format!("{epoch}:9223372036854775808")]
        {
            assert!(id(bad).is_none(), "{bad}");
        }
    }
}
