//! A token endpoint on loopback whose answers a test chooses, one by one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use scrip_client::{ClientError, MasterCredential, TokenSource, TokenSourceBuilder};
use scrip_token::Jti;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub(crate) const CLIENT: &str = "acme/billing";
pub(crate) const SECRET: &str = "scrip_mc_acme_CANARYMASTER0123456789abcdefghijklmnopq_a1B2c3";
pub(crate) const TOKEN_CANARY: &str = "CANARYTOKEN";

/// One answer of the token endpoint. Without any, it mints tokens of 100 seconds.
pub(crate) enum Answer {
    Token {
        expires_in: u64,
    },
    /// Status, headers, body.
    Raw(u16, Vec<(&'static str, String)>, String),
    /// Accepts and says nothing.
    Never,
    /// The usual token, once the test lets it go.
    Held(Arc<Semaphore>),
    /// 401 `invalid_client`, once the test lets it go.
    HeldRefusal(Arc<Semaphore>),
}

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) password: String,
    pub(crate) idempotency_key: String,
    pub(crate) form: HashMap<String, String>,
}

#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    script: Arc<Mutex<VecDeque<Answer>>>,
    metadata: Arc<Mutex<Option<String>>>,
    seen: Arc<watch::Sender<Vec<Request>>>,
    pub(crate) strayed: Arc<watch::Sender<u32>>,
}

impl Issuer {
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let issuer = Self {
            url: format!("http://{}", listener.local_addr().expect("bound")),
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            metadata: Arc::default(),
            seen: Arc::new(watch::Sender::default()),
            strayed: Arc::new(watch::Sender::default()),
        };
        let app = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/oauth2/token", post(token))
            .fallback(stray)
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        issuer
    }

    pub(crate) fn source(&self) -> TokenSourceBuilder {
        self.source_with(MasterCredential::Text(SECRET.into()))
    }

    pub(crate) fn source_with(&self, credential: MasterCredential) -> TokenSourceBuilder {
        TokenSource::builder(&self.url, CLIENT, credential)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.script.lock().expect("not poisoned").push_back(answer);
    }

    pub(crate) fn publish(&self, metadata: String) {
        *self.metadata.lock().expect("not poisoned") = Some(metadata);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.borrow().clone()
    }

    /// Waits until so many requests have come in all.
    pub(crate) async fn seen(&self, requests: usize) -> Vec<Request> {
        let mut seen = self.seen.subscribe();
        let seen = tokio::time::timeout(
            Duration::from_secs(20),
            seen.wait_for(|seen| seen.len() >= requests),
        );
        seen.await.expect("the requests come").expect("the issuer lives").clone()
    }

    /// Lets everything that is due happen: a full exchange with this server comes after it.
    pub(crate) async fn settle(&self) {
        for _ in 0..3 {
            let reply =
                reqwest::get(format!("{}/.well-known/oauth-authorization-server", self.url));
            reply.await.expect("the issuer lives");
        }
    }
}

/// Moves Tokio's clock and then lets it run, because sockets get no further while it stands still.
pub(crate) async fn pass(seconds: f64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
    tokio::time::resume();
}

/// Why there is no token, once an attempt has failed.
pub(crate) async fn failure(source: TokenSourceBuilder) -> (TokenSource, ClientError) {
    let source = source.patience(Duration::from_millis(100)).build().expect("a source");
    let failure = failure_of(&source).await;
    (source, failure)
}

pub(crate) async fn failure_of(source: &TokenSource) -> ClientError {
    let failed = async {
        loop {
            match source.token().await {
                Err(ClientError::Away { reason, .. }) if reason == "no answer yet" => {}
                outcome => return outcome.expect_err("a failure"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failed).await.expect("an outcome")
}

pub(crate) fn error(status: u16, retry_after: Option<u64>, code: &str) -> Answer {
    let headers = retry_after.map(|seconds| ("retry-after", seconds.to_string()));
    let body =
        format!(r#"{{"error":"{code}","error_description":"for a reason","request_id":"r-1"}}"#);
    Answer::Raw(status, headers.into_iter().collect(), body)
}

async fn metadata(State(issuer): State<Issuer>) -> String {
    let url = &issuer.url;
    let published = issuer.metadata.lock().expect("not poisoned").clone();
    published.unwrap_or_else(|| {
        format!(
            r#"{{"issuer":"{url}","token_endpoint":"{url}/oauth2/token","jwks_uri":"{url}/k"}}"#
        )
    })
}

async fn token(State(issuer): State<Issuer>, headers: HeaderMap, body: String) -> Response<Body> {
    let header = |name| headers.get(name).map_or("", |value| value.to_str().expect("ASCII"));
    let basic = header("authorization").strip_prefix("Basic ").expect("Basic");
    let basic = BASE64_STANDARD.decode(basic).expect("base64");
    let basic = String::from_utf8(basic).expect("ASCII");
    let (id, password) = basic.split_once(':').expect("a colon");
    let number = {
        let mut number = 0;
        issuer.seen.send_modify(|seen| {
            seen.push(Request {
                id: id.to_owned(),
                password: password.to_owned(),
                idempotency_key: header("idempotency-key").to_owned(),
                form: form_urlencoded::parse(body.as_bytes()).into_owned().collect(),
            });
            number = seen.len();
        });
        number
    };
    let answer = issuer.script.lock().expect("not poisoned").pop_front();
    match answer.unwrap_or(Answer::Token { expires_in: 100 }) {
        Answer::Token { expires_in } => minted(number, expires_in),
        Answer::Raw(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).expect("a response")
        }
        Answer::Never => std::future::pending().await,
        Answer::Held(gate) => {
            gate.acquire().await.expect("open").forget();
            minted(number, 100)
        }
        Answer::HeldRefusal(gate) => {
            gate.acquire().await.expect("open").forget();
            let body = Body::from(r#"{"error":"invalid_client"}"#);
            Response::builder().status(401).body(body).expect("a response")
        }
    }
}

async fn stray(State(issuer): State<Issuer>) -> &'static str {
    issuer.strayed.send_modify(|strayed| *strayed += 1);
    "where nobody should be"
}

fn minted(number: usize, expires_in: u64) -> Response<Body> {
    let jti = Jti::new(number as u64, [7; 10]);
    Response::new(Body::from(format!(
        r#"{{"access_token":"{TOKEN_CANARY}.{number}.sig","token_type":"Bearer",
            "expires_in":{expires_in},"jti":"{jti}","audience":"llm-gateway","scope":"llm:chat",
            "models":["gpt-4o-mini"],"budget":{{"tokens":5000}}}}"#
    )))
}
