use super::dice::Dice;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Events that may be sent again later.
const REMEMBERED: usize = 64;

/// A relay of the feed that knows what it forwards, and lies about it when it is told to. It has
/// no keys.
pub struct Relay {
    pub url: String,
    shared: Arc<Shared>,
}

/// What it does with what it forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Honest,
    /// Loses, repeats, reorders, delays, garbles and truncates, and answers with what was true once.
    Lying,
    /// Lets signs of life pass, and nothing else.
    Withholding,
    /// Gives the same sign of life again and again, and nothing else.
    Repeating,
}

struct Shared {
    origin: String,
    http: reqwest::Client,
    dice: Mutex<Dice>,
    mood: Mutex<Mood>,
    /// The first body of each path.
    old: Mutex<HashMap<String, Bytes>>,
}

impl Relay {
    /// An honest one.
    pub async fn of(origin: String, dice: Dice) -> Self {
        let http =
            reqwest::Client::builder().no_proxy().build().expect("a client without certificates");
        let (dice, mood, old) = (Mutex::new(dice), Mutex::new(Mood::Honest), Mutex::default());
        let shared = Arc::new(Shared { origin, http, dice, mood, old });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let routes = Router::new().fallback(relay).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, shared }
    }

    pub fn turn(&self, mood: Mood) {
        *self.shared.mood.lock().expect("nobody panics with it") = mood;
    }
}

impl Shared {
    fn mood(&self) -> Mood {
        *self.mood.lock().expect("nobody panics with it")
    }

    /// A number below `sides`; 0 where it does not lie.
    fn roll(&self, sides: u64) -> u64 {
        match self.mood() {
            Mood::Lying => self.dice.lock().expect("nobody panics with it").roll(0..sides),
            Mood::Honest | Mood::Withholding | Mood::Repeating => 0,
        }
    }
}

async fn relay(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a small body");
    let uri = format!("{}{}", shared.origin, parts.uri);
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    let forwarded = shared.http.request(parts.method, uri).headers(headers).body(body).send().await;
    let Ok(reply) = forwarded else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (reply.status(), reply.headers().clone());
    if path == "/v1/deny/stream" && status == StatusCode::OK {
        return tampered_stream(shared, reply);
    }
    if matches!(shared.mood(), Mood::Withholding | Mood::Repeating) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Ok(honest) = reply.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let old = {
        let mut old = shared.old.lock().expect("nobody panics with it");
        old.entry(path).or_insert_with(|| honest.clone()).clone()
    };
    let half = honest.slice(..honest.len() / 2);
    let content = |name| headers.get(&name).cloned().map(|value| (name, value));
    let kept: HeaderMap =
        [content(header::CONTENT_TYPE), content(header::ETAG)].into_iter().flatten().collect();
    match shared.roll(8) {
        1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        2 => "<html><title>Sign in</title></html>".into_response(),
        3 => (status, kept, half).into_response(),
        4 => (status, kept, old).into_response(),
        5 => (status, kept, garbled(&honest, honest.len() / 2)).into_response(),
        _ => (status, kept, honest).into_response(),
    }
}

/// The stream of events, with whatever can be done to it without a key.
fn tampered_stream(shared: Arc<Shared>, reply: reqwest::Response) -> Response {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(16);
    tokio::spawn(async move {
        let mut upstream = reply.bytes_stream();
        let (mut buffer, mut held, mut past) = (Vec::new(), None, Vec::<Bytes>::new());
        while let Some(Ok(bytes)) = upstream.next().await {
            buffer.extend_from_slice(&bytes);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let mut event = Bytes::from(buffer.drain(..end + 2).collect::<Vec<_>>());
                let is_beat = event.starts_with(b"event: heartbeat");
                match shared.mood() {
                    Mood::Honest | Mood::Lying => past.push(event.clone()),
                    Mood::Withholding | Mood::Repeating if !is_beat => continue,
                    Mood::Withholding => {}
                    Mood::Repeating => {
                        let beats = past.iter().filter(|old| old.starts_with(b"event: heartbeat"));
                        event = beats.last().cloned().unwrap_or(event);
                    }
                }
                let past = &past[past.len().saturating_sub(REMEMBERED)..];
                let mut out = Vec::new();
                match shared.roll(10) {
                    // Lost.
                    1 => {}
                    // Repeated.
                    2 => out.extend([event.clone(), event]),
                    // After the next one.
                    3 => held = Some(event),
                    4 => out.push(garbled(&event, event.len() - 20)),
                    // Again, after those that came since.
                    5 => out.extend([event].into_iter().chain(past.first().cloned())),
                    6 => {
                        tokio::time::sleep(Duration::from_millis(shared.roll(400))).await;
                        out.push(event);
                    }
                    // The end in the middle of an event.
                    7 => {
                        let _ = sender.send(Ok(event.slice(..event.len() / 2))).await;
                        return;
                    }
                    _ => {
                        out.push(event);
                        out.extend(held.take());
                    }
                }
                for event in out {
                    if sender.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    let events =
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

/// With another character at `at`.
fn garbled(honest: &Bytes, at: usize) -> Bytes {
    let mut garbled = honest.to_vec();
    if let Some(byte) = garbled.get_mut(at) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
    garbled.into()
}
