//! The way out for those who were refused: noted first, and held back until failures of authentication
//! all look the same. Whoever hangs up meanwhile has been noted.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Arrival, RequestId};
use crate::app::App;
use crate::audit::Event;
use crate::caller::FAILURE_TIME;
use crate::error::{self, Failure};
use crate::mint;

/// Most failures that wait for their answer at once.
const MOST_WAITING: usize = 256;

/// Places for those that wait.
pub(super) struct Door(Semaphore);

impl Default for Door {
    fn default() -> Self {
        Self(Semaphore::new(MOST_WAITING))
    }
}

/// Lets an answer out when it is time for it.
pub(super) async fn leave(
    State((app, door)): State<(Arc<App>, Arc<Door>)>,
    arrival: Arrival,
    id: RequestId,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;

    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    let status = response.status();
    // The mint notes its refusals itself, with what was asked.
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) && route != mint::ROUTE {
        let detail = json!({"method": method.as_str(), "route": route, "status": status.as_u16()});
        let event = Event::new("access", "refused").origin(arrival.address, id.to_string());
        app.journal.note(event.detail(&detail));
    }
    if !error::is_held_back(&response) {
        return response;
    }
    let Ok(_place) = door.0.try_acquire() else {
        let crowded = Failure::unavailable("too many failed authentications at once", 1);
        return error::instead_of(&response, crowded);
    };
    tokio::time::sleep_until((arrival.at + FAILURE_TIME).into()).await;
    response
}
