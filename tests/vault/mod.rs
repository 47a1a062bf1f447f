//! Master credentials held in a real Vault, and what becomes of them when it misbehaves.

mod canary;
mod credentials;
mod login;
mod outages;
pub mod proxy;
mod transport;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use ring::hmac;
use scrip::{
    clock,
    vault::{Auth, Ended, MasterCredentials, Proof, Settings, Source, Vault},
};
use scrip_token::QualifiedName;
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::harness::{until::until, vault::admin::Admin};

const DAY: Duration = Duration::from_secs(86_400);
const FIRST: &str = "the-first-secret-of-billing-0123456789";
const SECOND: &str = "the-second-secret-of-billing-0123456789";
const WRONG: &str = "somebody-else's-secret-altogether-0123456789";

/// A client's path below the KV mount, and its name.
const PATH: &str = "scrip/acme/billing";

fn billing() -> QualifiedName {
    QualifiedName::parse("acme/billing").unwrap()
}

fn settings(address: &str, auth: Auth) -> Settings {
    Settings {
        addr: address.parse().unwrap(),
        mount: "secret".to_owned(),
        prefix: "scrip".to_owned(),
        namespace: None,
        ca: None::<PathBuf>,
        auth,
        refresh: Duration::from_secs(60),
        grace: Duration::from_secs(900),
    }
}

fn token(text: &str) -> Auth {
    Auth::Token(Source::Value(SecretString::from(text)))
}

/// Logged in with the administrator's token, by way of `address`.
fn connect(admin: &Admin, address: &str) -> Fixture {
    Fixture::new(settings(address, token(&admin.token)))
}

struct Fixture {
    credentials: MasterCredentials,
    ended: mpsc::Receiver<Ended>,
}

impl Fixture {
    fn new(settings: Settings) -> Self {
        let (sender, ended) = mpsc::channel(16);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let vault = Vault::start(settings).unwrap();
        Self { credentials: MasterCredentials::new(vault, key, sender), ended }
    }

    async fn refresh(&self) {
        self.credentials.refresh([billing()], clock::now_seconds()).await;
    }

    /// With a deadline that a loaded machine keeps.
    async fn prove(&self, secret: &str) -> Proof {
        self.prove_at(secret, clock::now_seconds()).await
    }

    async fn prove_at(&self, secret: &str, now: u64) -> Proof {
        self.prove_before(secret, now, Duration::from_secs(10)).await
    }

    async fn prove_before(&self, secret: &str, now: u64, limit: Duration) -> Proof {
        let presented = SecretString::from(secret);
        let deadline: Instant = clock::monotonic() + limit;
        self.credentials.prove(&billing(), DAY, &presented, now, deadline).await
    }

    async fn becomes_away(&self) {
        until("Vault is away", Duration::from_secs(10), async || {
            self.credentials.is_away().then_some(())
        })
        .await;
    }

    async fn comes_back(&self) {
        until("Vault is back", Duration::from_secs(5), async || {
            (!self.credentials.is_away()).then_some(())
        })
        .await;
    }
}

/// The number of the version that was proved.
fn good(proof: &Proof) -> Option<u64> {
    match proof {
        Proof::Good { version } => Some(version.number),
        Proof::Bad | Proof::Away => None,
    }
}
