use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use futures_util::stream;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;

/// Whoever is told of alerts, and how it takes that.
pub struct Hook {
    /// Where it is told of them.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    Fails,
    /// Sends whoever comes to another path of its own.
    Redirects,
    /// Takes the request, and says nothing.
    Hangs,
    /// Fails with an answer that does not end.
    Babbles,
}

/// What it was sent.
#[derive(Debug, Clone)]
pub struct Told {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub mood: Mood,
}

struct Shared {
    mood: Mood,
    told: Vec<Told>,
}

/// What its messages are signed with.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

impl Hook {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url =
            format!("http://{}/alerts?key=hidden", listener.local_addr().expect("it is bound"));
        let shared = Arc::new(Mutex::new(Shared { mood, told: Vec::new() }));
        let routes = Router::new().fallback(routing::any(take)).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, shared }
    }

    pub fn turn(&self, mood: Mood) {
        self.shared().mood = mood;
    }

    /// All that it was sent, in order.
    pub fn told(&self) -> Vec<Told> {
        self.shared().told.clone()
    }

    /// The ids of what it took.
    pub fn taken(&self) -> Vec<String> {
        let told = self.told();
        told.iter().filter(|told| told.mood == Mood::Takes).map(Told::id).collect()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics with it")
    }
}

impl Told {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("headers are ASCII")
    }

    pub fn id(&self) -> String {
        self.header("webhook-id").to_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

async fn take(
    State(shared): State<Arc<Mutex<Shared>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mood = {
        let mut shared = shared.lock().expect("nobody panics with it");
        let mood = shared.mood;
        shared.told.push(Told { path: uri.to_string(), headers, body, mood });
        mood
    };
    match mood {
        Mood::Takes => StatusCode::NO_CONTENT.into_response(),
        Mood::Fails => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Redirects => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response()
        }
        Mood::Hangs => std::future::pending().await,
        Mood::Babbles => {
            let words =
                stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4096])));
            (StatusCode::BAD_GATEWAY, Body::from_stream(words)).into_response()
        }
    }
}
