//! Followers against an origin that does its worst. It signs what the service would sign; what it
//! then does to that is the fault under test.

mod acks;
mod copies;
mod epochs;
mod issuer;
mod journey;
mod keys;
mod origin;
mod restart;
mod stream;

use std::time::Duration;

use scrip_feed::{Alarm, Config, Credential, Follower, Handle, Reader, View};
use scrip_token::deny::Entry;

use crate::origin::{Origin, now};

/// Long enough for anything that happens at all; no test waits that long for a good outcome.
const PATIENCE: Duration = Duration::from_secs(30);

const SECRET: &str = "canary of the/feed";

fn config(origin: &Origin) -> Config {
    let credential =
        Credential::Basic { id: "acme/gateway".to_owned(), secret: SECRET.to_owned().into() };
    Config { credential: Some(credential), ..Config::new(origin.url()) }
}

async fn follow(origin: &Origin) -> (Handle, Reader) {
    Follower::start(config(origin)).await.unwrap()
}

async fn synced(feed: &Handle) {
    tokio::time::timeout(PATIENCE, feed.synced()).await.expect("synced in time").unwrap();
}

/// A follower that is synced, and whose stream is open.
async fn listening(origin: &Origin) -> (Handle, Reader) {
    let (feed, reader) = follow(origin).await;
    synced(&feed).await;
    until(&reader, "an open stream", |_| origin.listeners() > 0).await;
    (feed, reader)
}

/// The revocation of some token that is still alive.
fn revoked(n: u8) -> Entry {
    Entry::Jti { jti: issuer::jti(now(), n), until: now() + 905 }
}

/// Waits for a condition on the reader's view.
async fn until(reader: &Reader, what: &str, condition: impl Fn(&View) -> bool) -> View {
    let reached = async {
        loop {
            let view = reader.view();
            if condition(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn until_alarm(feed: &Handle, alarm: Alarm) {
    let reached = async {
        while feed.alarms().count(alarm) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("no {alarm:?}"));
}

fn seq(view: &View) -> u64 {
    view.position().map_or(0, |position| position.seq)
}
