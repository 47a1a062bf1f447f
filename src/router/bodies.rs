//! Bodies that are still on their way: a request that is not there as a whole takes no place among
//! those that are served.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::RequestExt;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Arrival;
use crate::app::App;
use crate::clock;
use crate::error::{Failure, Problem};
use crate::rates::place;

/// Most that is waited for, in bytes: of all together, and of one place.
const OF_ALL: u64 = 64 * 1024 * 1024;
const OF_PLACE: u64 = 16 * 1024 * 1024;
/// What each body counts for at least: a connection costs more than a few bytes.
const LEAST: u64 = 64 * 1024;

/// The bodies that are waited for, the oldest first. Where there is no room for one more, the oldest
/// make it: an honest body needs a moment and not seconds, so that a flood of slow ones displaces
/// itself.
#[derive(Default)]
pub(super) struct Bodies(Mutex<VecDeque<Awaited>>);

struct Awaited {
    place: IpAddr,
    bytes: u64,
    /// Closed once the body is there, or nobody waits for it; dropped to wait no longer.
    cut: oneshot::Sender<Infallible>,
}

/// Hands a request on when its body is there.
pub(super) async fn whole(
    State((app, bodies)): State<(Arc<App>, Arc<Bodies>)>,
    arrival: Arrival,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.with_limited_body().into_parts();
    let bytes = body.size_hint().upper().unwrap_or(LEAST);
    let mut reading = pin!(Bytes::from_request(Request::new(body), &()));
    // Most bodies come together with their head, and are not counted at all.
    let read = match reading.as_mut().now_or_never() {
        Some(read) => read,
        None => {
            let cut = bodies.wait_for(place(arrival.address), bytes);
            tokio::select! {
                read = reading => read,
                _ = cut => {
                    metrics::counter!("scrip_shed_total").increment(1);
                    let why = "too many requests are on their way, and this one took longest";
                    let wait = app.appointments.next(clock::monotonic());
                    return Problem(Failure::unavailable(why, wait)).into_response();
                }
            }
        }
    };
    match read {
        Ok(body) => {
            let mut request = Request::from_parts(parts, Body::from(body));
            // Now it has arrived. Were a failure late by its head, whoever sends the rest late would
            // be answered as soon as there is an answer, and see how long that takes.
            request.extensions_mut().insert(Arrival { at: clock::monotonic(), ..arrival });
            next.run(request).await
        }
        Err(rejection) => rejection.into_response(),
    }
}

impl Bodies {
    /// Makes room for one more, which counts until the receiver that is returned is dropped. The
    /// receiver ends when this one has to make room for others.
    fn wait_for(&self, place: IpAddr, bytes: u64) -> oneshot::Receiver<Infallible> {
        let (cut, is_cut) = oneshot::channel();
        let mut awaited = self.0.lock();
        awaited.retain(|body| !body.cut.is_closed());
        awaited.push_back(Awaited { place, bytes: bytes.max(LEAST), cut });
        make_room(&mut awaited, OF_PLACE, |body| body.place == place);
        make_room(&mut awaited, OF_ALL, |_| true);
        is_cut
    }
}

/// Gives up the oldest of those that count until they come to no more than `most`.
fn make_room(awaited: &mut VecDeque<Awaited>, most: u64, counts: impl Fn(&Awaited) -> bool) {
    let counting = awaited.iter().filter(|body| counts(body));
    let mut bytes: u64 = counting.map(|body| body.bytes).sum();
    awaited.retain(|body| {
        let stays = bytes <= most || !counts(body);
        if !stays {
            bytes -= body.bytes;
        }
        stays
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::sync::oneshot::error::TryRecvError;

    fn place(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    fn waits(body: &mut oneshot::Receiver<Infallible>) -> bool {
        body.try_recv() == Err(TryRecvError::Empty)
    }

    #[test]
    fn n149_the_oldest_of_a_place_make_room() {
        let bodies = Bodies::default();
        let mut other = bodies.wait_for(place(0), 1);
        let mut many: Vec<_> = (0..300).map(|_| bodies.wait_for(place(1), 1)).collect();
        let waiting = many.iter_mut().map(waits).collect::<Vec<_>>();
        assert_eq!(waiting.iter().position(|waits| *waits), Some(44), "256 are waited for");
        assert!(waiting[44..].iter().all(|waits| *waits));
        assert!(waits(&mut other), "another place's is another");

        // Those that have arrived make room for as many.
        many.truncate(200);
        let mut large = bodies.wait_for(place(1), 100 * LEAST);
        assert!(many[44..].iter_mut().all(waits) && waits(&mut large));
        let _one_more = bodies.wait_for(place(1), 1);
        assert!(!waits(&mut many[44]) && many[45..].iter_mut().all(waits));
    }

    #[test]
    fn n149_however_many_places_there_are_all_together_are_bounded() {
        let bodies = Bodies::default();
        let mut many: Vec<_> = (0..1030).map(|n| bodies.wait_for(place(n), 1)).collect();
        assert!(many[..6].iter_mut().all(|body| !waits(body)));
        assert!(many[6..].iter_mut().all(waits));
        // One that is sent without its size counts as the largest there may be, and no more.
        let mut largest = bodies.wait_for(place(2000), 2 * 1024 * 1024);
        assert!(waits(&mut largest) && waits(&mut many[38]) && !waits(&mut many[37]));
    }
}
