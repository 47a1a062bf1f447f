//! The limit: a handler that knows nobody, asks nobody and keeps nothing; it signs.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::field::WORKERS;
use crate::harness::process::Process;

/// The argument by which this program is the server.
pub(crate) const COMMAND: &str = "bare";

pub(crate) struct Bare {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Bare {
    /// Starts one that signs what `token` says.
    pub(crate) async fn start(token: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([COMMAND, token]).env(WORKERS.0, WORKERS.1);
        let mut process = Process::start(command);
        let address = process.line(|_| true).await.parse().expect("an address");
        Self { process, address }
    }
}

struct Signer {
    message: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

pub(crate) async fn serve(token: &str) {
    let (message, _) = token.rsplit_once('.').expect("a JWS");
    #[expect(clippy::disallowed_methods, reason = "a program of its own, with nothing to repeat")]
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let signer = Arc::new(Signer { message: message.to_owned(), key, random });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    println!("{}", listener.local_addr().expect("it is bound"));
    let routes = Router::new().route("/oauth2/token", post(sign)).with_state(signer);
    axum::serve(listener, routes).await.expect("it is ended from outside");
}

async fn sign(State(signer): State<Arc<Signer>>, _: Bytes) -> Json<Value> {
    let signature = signer.key.sign(&signer.random, signer.message.as_bytes()).expect("a key");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    Json(json!({"access_token": format!("{}.{signature}", signer.message)}))
}
