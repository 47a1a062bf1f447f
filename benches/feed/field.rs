//! A service with everybody who follows it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scrip::clock;
use scrip_feed::{Config, Credential, Follower, Handle, Reader};
use scrip_verify::{Rejection, Verifier};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::drains::Drains;
use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::until::until;

/// Followers that verify.
pub(crate) const REAL: usize = 10;
/// How often their verdicts are looked at.
const LOOK: Duration = Duration::from_micros(50);

pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) acme: Acme,
    pub(crate) http: Http,
    pub(crate) drains: Drains,
    billing: Cli,
    followers: Vec<(Handle, Gateway)>,
}

/// A follower as a gateway has it: with a verifier that is built once.
type Gateway = (Reader, Verifier);

/// One revocation, from the request on.
pub(crate) struct Revoked {
    /// Until each real follower refused the token.
    pub(crate) refused: Vec<Duration>,
    /// Until it was acknowledged.
    pub(crate) acknowledged: Duration,
    pub(crate) sent: Instant,
}

impl Field {
    pub(crate) async fn new(name: &'static str, installation: Installation) -> Self {
        let acme = Acme::found(installation).await;
        let billing = acme.embedded("acme/billing").await;
        let mut followers = Vec::new();
        for _ in 0..REAL {
            let (id, secret) = (acme.gateway.id.clone(), acme.gateway.secret.clone().into());
            let credential = Some(Credential::Basic { id, secret });
            let config = Config { credential, ..Config::new(acme.installation.url()) };
            let (handle, reader) = Follower::start(config).await.expect("a loopback issuer");
            handle.synced().await.expect("nobody stops it");
            followers.push((handle, (reader, Verifier::new("llm-gateway", "prod"))));
        }
        Self { name, http: acme.http(), acme, drains: Drains::new(), billing, followers }
    }

    /// Followers and drains together.
    pub(crate) async fn grow(&mut self, subscribers: usize) {
        self.drains.grow(self.address(), &self.acme.gateway, subscribers - REAL).await;
    }

    /// Where the service listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.acme.installation.setting("SCRIP_LISTEN").parse().expect("an address")
    }

    /// Revokes a token that is minted for it, and waits until it is refused everywhere.
    pub(crate) async fn revoke(&self) -> Revoked {
        // Under load a mint may be asked to come again; it is not what is timed.
        let minted = until("a token", Duration::from_secs(60), async || {
            self.http
                .mint(&self.billing, &[], None)
                .await
                .ok()
                .filter(|minted| minted.status == 200)
        });
        let minted = minted.await;
        let token: Arc<str> = minted.body["access_token"].as_str().expect("a token").into();
        let gateways: Vec<Gateway> =
            self.followers.iter().map(|(_, gateway)| gateway.clone()).collect();
        // Each has had the token before, as where it is worth revoking.
        assert!(gateways.iter().all(|gateway| accepts(gateway, &token)), "it is not revoked yet");
        let watching = spawn_blocking(move || watch(&gateways, &token));
        let sent = clock::monotonic();
        let revoked = self.http.revoke(&self.acme.operator, json!({"jti": minted.body["jti"]}));
        let answer = revoked.await.expect("the service answers");
        let acknowledged = sent.elapsed();
        assert_eq!(answer.status, 201, "{answer:?}");
        let refused = watching.await.expect("all refuse it");
        Revoked { refused: refused.into_iter().map(|at| at - sent).collect(), acknowledged, sent }
    }
}

/// When each of them came to refuse the token.
fn watch(gateways: &[Gateway], token: &str) -> Vec<Instant> {
    let mut waiting: Vec<_> = gateways.iter().collect();
    let mut refused = Vec::new();
    let begun = clock::monotonic();
    while !waiting.is_empty() {
        waiting.retain(|gateway| {
            let accepts = accepts(gateway, token);
            if !accepts {
                refused.push(clock::monotonic());
            }
            accepts
        });
        assert!(begun.elapsed() < Duration::from_secs(60), "it never arrived");
        std::thread::sleep(LOOK);
    }
    refused
}

/// Whether it accepts the token; revoked is the only reason not to.
fn accepts((reader, verifier): &Gateway, token: &str) -> bool {
    let view = reader.view();
    match verifier.authenticate(token.as_bytes(), view.now(), &view.trust()) {
        Ok(_) => true,
        Err(Rejection::Revoked(_)) => false,
        Err(other) => panic!("{other}"),
    }
}
