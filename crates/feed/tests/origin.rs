//! The origin: serves an issuer's objects, until it is told to do otherwise.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::issuer::Issuer;

#[derive(Clone)]
pub(crate) struct Origin(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    issuer: Arc<Mutex<Issuer>>,
    /// By the beginning of a path.
    faults: Mutex<HashMap<&'static str, Fault>>,
    /// Path and `Authorization` of each request.
    asked: Mutex<Vec<(String, Option<String>)>>,
    /// Older keys documents, by version.
    documents: Mutex<HashMap<u64, String>>,
    /// What was acknowledged, and with which status.
    acks: Mutex<Vec<(u16, Value)>>,
    /// What all of them are answered with, whatever they say.
    refusal: Mutex<Option<StatusCode>>,
    live: broadcast::Sender<Frame>,
}

/// What goes out on every open stream.
#[derive(Clone)]
pub(crate) enum Frame {
    Bytes(Bytes),
    End,
}

/// What an endpoint does in place of its work.
#[derive(Clone)]
pub(crate) enum Fault {
    Status(u16),
    Body(Bytes),
    Redirect(String),
    /// Takes the request and never answers.
    Hang,
    /// Answers with a byte every 100 ms.
    Drip,
    /// Answers for ever.
    Endless,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(listener, Arc::new(Mutex::new(Issuer::new(&url))))
    }

    /// Another origin of the same feed.
    pub(crate) async fn relay(&self) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, self.0.issuer.clone())
    }

    fn serve(listener: TcpListener, issuer: Arc<Mutex<Issuer>>) -> Self {
        let origin = Self(Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            issuer,
            faults: Mutex::default(),
            asked: Mutex::default(),
            documents: Mutex::default(),
            acks: Mutex::default(),
            refusal: Mutex::default(),
            live: broadcast::channel(64).0,
        }));
        let router = Router::new()
            .route("/.well-known/scrip-keys", get(keys))
            .route("/v1/deny/snapshot", get(snapshot))
            .route("/v1/deny/blobs/{digest}", get(blob))
            .route("/v1/deny/batches", get(batches))
            .route("/v1/deny/stream", get(stream))
            .route("/v1/deny/acks", post(acks))
            .layer(middleware::from_fn_with_state(origin.clone(), misbehave))
            .with_state(origin.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        origin
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// The issuer, whose clock is right.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Issuer) -> T) -> T {
        let mut issuer = self.0.issuer.lock().unwrap();
        issuer.iat = now();
        change(&mut issuer)
    }

    /// Revokes, and tells everybody who listens.
    pub(crate) fn revoke(&self, entries: Vec<scrip_token::deny::Entry>) {
        let batch = self.with(|issuer| issuer.revoke(entries));
        self.send(&event("batch", &batch));
    }

    pub(crate) fn beat(&self) {
        let heartbeat = self.with(|issuer| issuer.heartbeat());
        self.send(&event("heartbeat", &heartbeat));
    }

    /// Sends bytes to everybody who listens.
    pub(crate) fn send(&self, text: &str) {
        let _ = self.0.live.send(Frame::Bytes(Bytes::copy_from_slice(text.as_bytes())));
    }

    /// How many streams are open.
    pub(crate) fn listeners(&self) -> usize {
        self.0.live.receiver_count()
    }

    pub(crate) fn end_streams(&self) {
        let _ = self.0.live.send(Frame::End);
    }

    /// Publishes another keys document; the one before stays under its version.
    pub(crate) fn rotate(&self, change: impl FnOnce(&mut Issuer) -> String) {
        let mut documents = self.0.documents.lock().unwrap();
        self.with(|issuer| {
            let before = issuer.version;
            documents.entry(before).or_insert_with(|| issuer.keys());
            issuer.version += 1;
            let document = change(issuer);
            documents.insert(issuer.version, document);
        });
    }

    pub(crate) fn fault(&self, path: &'static str, fault: Fault) {
        self.0.faults.lock().unwrap().insert(path, fault);
    }

    fn fault_at(&self, path: &str) -> Option<Fault> {
        let faults = self.0.faults.lock().unwrap();
        faults.iter().find(|(begin, _)| path.starts_with(**begin)).map(|(_, fault)| fault.clone())
    }

    pub(crate) fn heal(&self) {
        self.0.faults.lock().unwrap().clear();
    }

    /// How often a path that begins so was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.0.asked.lock().unwrap().iter().filter(|(asked, _)| asked.starts_with(path)).count()
    }

    /// The acknowledgements that were read, each with the status of its answer.
    pub(crate) fn acks(&self) -> Vec<(u16, Value)> {
        self.0.acks.lock().unwrap().clone()
    }

    pub(crate) fn refuse_acks(&self, status: u16) {
        *self.0.refusal.lock().unwrap() = Some(StatusCode::from_u16(status).unwrap());
    }

    pub(crate) fn requests(&self) -> Vec<(String, Option<String>)> {
        self.0.asked.lock().unwrap().clone()
    }
}

pub(crate) fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the origin signs the real time")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn event(kind: &str, data: &str) -> String {
    format!("event: {kind}\ndata: {data}\n\n")
}

async fn misbehave(State(origin): State<Origin>, request: Request, next: Next) -> Response {
    let path = request.uri().to_string();
    let authorization = request.headers().get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    origin.0.asked.lock().unwrap().push((path.clone(), authorization));
    if let Some(fault) = origin.fault_at(&path) {
        return fault.response().await;
    }
    let response = next.run(request).await;
    // An answer that was under way while the fault was set is held back too.
    match origin.fault_at(&path) {
        Some(fault) => fault.response().await,
        None => response,
    }
}

impl Fault {
    async fn response(self) -> Response {
        let bytes = |pause: Duration, chunk: &'static [u8]| {
            let stream = futures_util::stream::unfold((), move |()| async move {
                tokio::time::sleep(pause).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(chunk)), ()))
            });
            Body::from_stream(stream).into_response()
        };
        match self {
            Self::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Self::Body(body) => body.into_response(),
            Self::Redirect(to) => {
                (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response()
            }
            Self::Hang => std::future::pending().await,
            Self::Drip => bytes(Duration::from_millis(100), b"x"),
            Self::Endless => bytes(Duration::ZERO, &[b'x'; 65536]),
        }
    }
}

async fn keys(
    State(origin): State<Origin>,
    Query(query): Query<HashMap<String, u64>>,
) -> Result<String, StatusCode> {
    let newest = origin.with(|issuer| issuer.version);
    let version = query.get("version").copied().unwrap_or(newest);
    if let Some(document) = origin.0.documents.lock().unwrap().get(&version) {
        return Ok(document.clone());
    }
    if version == newest {
        Ok(origin.with(|issuer| issuer.keys()))
    } else {
        Err(StatusCode::NOT_FOUND)
    }
}

async fn snapshot(State(origin): State<Origin>) -> String {
    origin.with(|issuer| issuer.snapshot().0)
}

async fn blob(State(origin): State<Origin>) -> Vec<u8> {
    origin.with(|issuer| issuer.snapshot().1)
}

async fn batches(
    State(origin): State<Origin>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, StatusCode> {
    let after: usize = query["after"].parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    origin.with(|issuer| {
        if query["epoch"] != issuer.epoch.to_string() || after > issuer.batches.len() {
            return Err(StatusCode::GONE);
        }
        let texts: Vec<_> = issuer.batches[after..].iter().map(|(_, jws)| jws.clone()).collect();
        let (batches, more) =
            if texts.len() > 2 { (&texts[..2], true) } else { (&texts[..], false) };
        let heartbeat = issuer.heartbeat();
        let epoch = issuer.epoch;
        let reply =
            json!({"epoch": epoch, "batches": batches, "heartbeat": heartbeat, "more": more});
        Ok(Json(reply).into_response())
    })
}

async fn acks(State(origin): State<Origin>, Json(ack): Json<Value>) -> StatusCode {
    let status = origin.with(|issuer| {
        if let Some(status) = *origin.0.refusal.lock().unwrap() {
            return status;
        }
        if ack["epoch"] != issuer.epoch.to_string() {
            return StatusCode::CONFLICT;
        }
        if ack["seq"].as_u64().unwrap() > issuer.seq() {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::NO_CONTENT
        }
    });
    origin.0.acks.lock().unwrap().push((status.as_u16(), ack));
    status
}

async fn stream(State(origin): State<Origin>, headers: HeaderMap) -> Result<Response, StatusCode> {
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let (epoch, after) =
        resumed.and_then(|id| id.split_once(':')).ok_or(StatusCode::BAD_REQUEST)?;
    let after: usize = after.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    // Whoever sees a listener may rely on what the stream begins with.
    let (first, live) = origin.with(|issuer| {
        let known = epoch == issuer.epoch.to_string() && after <= issuer.batches.len();
        let first = if known {
            let missed = issuer.batches[after..].iter().map(|(_, jws)| event("batch", jws));
            missed.chain([event("heartbeat", &issuer.heartbeat())]).collect()
        } else {
            event("reset", r#"{"reason":"epoch"}"#)
        };
        (first, origin.0.live.subscribe())
    });
    let first = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from(first))]);
    let rest = futures_util::stream::unfold(live, |mut live| async {
        match live.recv().await {
            Ok(Frame::Bytes(bytes)) => Some((Ok(bytes), live)),
            Ok(Frame::End) | Err(_) => None,
        }
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    Ok(([("content-type", "text/event-stream")], body).into_response())
}
