//! The whole route table, with the limits of each part.

mod bodies;
mod door;

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use scrip_token::Jti;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyDeadlineLayer;
use tracing::Instrument;

use crate::app::App;
use crate::caller::client_address;
use crate::error::{self, Failure, OAuthError, Problem};
use crate::{admin, clock, introspect, mint, publish, random, receipts, revoke, usage};
use bodies::Bodies;
use door::Door;

/// Largest form or JSON body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Longest time from a request's head to the end of its body, however it trickles in.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Most requests at once that mint or introspect, and most that give up a token; beyond it they are
/// shed, so that overload never slows down revoking. Two groups of the recorder's: with twice as
/// many, a database on a busy machine let all of them wait for a connection in vain, and served
/// nobody.
const MOST_OAUTH: usize = 512;

/// All routes of the API.
pub fn routes(app: Arc<App>) -> Router {
    let shedding = || {
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new({
                let app = app.clone();
                move |_: tower::BoxError| shed(app.clone())
            }))
            .layer(LoadShedLayer::new())
            .layer(GlobalConcurrencyLimitLayer::new(MOST_OAUTH))
    };
    // Around whatever else limits: a place is taken by a request, not by the promise of one.
    let (bodies, door) = (Arc::new(Bodies::default()), Arc::new(Door::default()));
    let whole = |most| {
        ServiceBuilder::new()
            .layer(DefaultBodyLimit::max(most))
            .layer(middleware::from_fn_with_state((app.clone(), bodies.clone()), bodies::whole))
            .layer(middleware::from_fn_with_state((app.clone(), door.clone()), door::leave))
    };
    let oauth = Router::new()
        .route("/oauth2/token", post(mint::mint))
        .route("/oauth2/introspect", post(introspect::introspect))
        .layer(shedding());
    // Holders who give up a token do not queue behind those who want one.
    let holders = Router::new().route("/oauth2/revoke", post(revoke::by_token)).layer(shedding());
    let acknowledgements = Router::new()
        .route("/v1/deny/acks", post(receipts::acknowledge))
        .layer(whole(receipts::MAX_BODY));
    let reports =
        Router::new().route("/v1/usage", post(usage::report)).layer(whole(usage::MAX_BODY));

    let published = Router::new()
        .route("/.well-known/oauth-authorization-server", get(publish::metadata))
        .route("/.well-known/jwks.json", get(publish::jwks))
        .route("/.well-known/scrip-keys", get(publish::keys_document));

    let revocation = Router::new()
        .route("/v1/revocations", post(revoke::create).get(revoke::list))
        .route("/v1/revocations/{id}", get(revoke::show))
        .route("/v1/deny/snapshot", get(publish::feed::snapshot))
        .route("/v1/deny/blobs/{sha256}", get(publish::feed::blob))
        .route("/v1/deny/batches", get(publish::feed::batches))
        .route("/v1/deny/stream", get(publish::feed::stream))
        .route("/v1/deny/verifiers", get(receipts::list));

    let admin = Router::new()
        .route("/v1/clients", post(admin::clients::create).get(admin::clients::list))
        .route("/v1/clients/unregistered", get(admin::clients::unregistered))
        .route(
            "/v1/clients/{tenant}/{name}",
            get(admin::clients::show).patch(admin::clients::change).delete(admin::clients::delete),
        )
        .route("/v1/clients/{tenant}/{name}/rotate", post(admin::clients::rotate))
        .route("/v1/policies", get(admin::policies::list))
        .route(
            "/v1/policies/{tenant}/{name}",
            get(admin::policies::show).put(admin::policies::apply),
        )
        .route("/v1/policies/{tenant}/{name}/versions", get(admin::policies::versions))
        .route("/v1/policies/{tenant}/{name}/replay", post(admin::policies::try_out))
        .route("/v1/prices", get(admin::prices::show).put(admin::prices::set))
        .route("/v1/prices/versions", get(admin::prices::versions))
        .route("/v1/tokens", get(admin::tokens::list))
        .route("/v1/tokens/{jti}", get(admin::tokens::show))
        .route("/v1/keys", get(admin::keys::list))
        .route("/v1/keys/{name}/rotate", post(admin::keys::rotate))
        .route("/v1/keys/{name}/retire", post(admin::keys::retire))
        .route("/v1/audit", get(admin::audit::list))
        .route("/v1/ledgers", get(usage::list))
        .route("/v1/ledgers/{instance}", put(usage::register).delete(usage::retire))
        .route("/v1/ledgers/{tenant}/{name}/{instance}", delete(usage::retire_of))
        .route("/v1/usage", get(admin::usage::list));

    Router::new()
        .merge(oauth)
        .merge(holders)
        .merge(revocation)
        .merge(admin)
        .layer(whole(MAX_BODY))
        .merge(acknowledgements)
        .merge(reports)
        .merge(published)
        .fallback(nothing_here)
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(app.clone(), arrive))
                .layer(CatchPanicLayer::custom(panicked))
                .layer(RequestBodyDeadlineLayer::new(BODY_TIME)),
        )
        .with_state(app)
}

async fn shed(app: Arc<App>) -> OAuthError {
    metrics::counter!("scrip_shed_total").increment(1);
    let wait = app.appointments.next(clock::monotonic());
    OAuthError(Failure::unavailable("too many requests at once", wait))
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this path")
}

/// The panic itself has been logged by the hook; its text may hold anything and stays here.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    metrics::counter!("scrip_panics_total").increment(1);
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// The reply's `X-Request-Id`; drawn here, never taken from outside.
#[derive(Clone, Debug)]
pub struct RequestId(Arc<str>);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a request arrived, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Monotonic; when its body was there, where the route reads one.
    pub at: Instant,
    /// The client's address, behind trusted proxies.
    pub address: IpAddr,
}

/// Names the request, finds out where it comes from, and logs how it ended.
async fn arrive(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let at = clock::monotonic();
    let name = Jti::new(clock::now_ms().unsigned_abs(), random::bytes());
    let id = RequestId(name.to_string().into());
    let trusted = &app.config.trusted_proxies;
    let from = client_address(peer.ip(), request.headers(), trusted);
    request.extensions_mut().insert(id.clone());
    if let Some(address) = from {
        request.extensions_mut().insert(Arrival { at, address });
    }

    let route = request.extensions().get::<axum::extract::MatchedPath>().cloned();
    let route = route.as_ref().map_or("-", axum::extract::MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let address = from.map(|address| address.to_string()).unwrap_or_default();
    let span = tracing::info_span!("request", id = %id, %method, route, %address);
    let mut response = error::render(request, next).instrument(span.clone()).await;

    let took = at.elapsed();
    let status = response.status().as_u16();
    metrics::histogram!("scrip_request_seconds", "route" => route, "status" => status.to_string())
        .record(took.as_secs_f64());
    span.in_scope(|| tracing::debug!(status, ms = took.as_millis() as u64, "answered"));
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self("".into())))
    }
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // Missing where a trusted proxy does not say intelligibly for whom it speaks.
        parts.extensions.get().copied().ok_or(StatusCode::BAD_REQUEST)
    }
}
