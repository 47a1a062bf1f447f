use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use scrip_feed::{Alarm, Config, Copied, Follower, Handle, Mirror, Reader};
use scrip_token::Digest;
use tokio::net::TcpListener;

use crate::issuer::key;
use crate::origin::{Fault, Origin};
use crate::{config, revoked, seq, synced, until, until_alarm};

/// A server of files that knows nothing of the feed: it ignores queries, and takes no POST.
#[derive(Clone)]
struct Files {
    dir: PathBuf,
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Files {
    async fn serve(dir: &Path) -> (Self, String) {
        let files = Self { dir: dir.to_owned(), asked: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(file).with_state(files.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (files, url)
    }

    fn authorized(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|(_, authorized)| *authorized).count()
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| asked.starts_with(path)).count()
    }
}

async fn file(State(files): State<Files>, headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path();
    let authorized = headers.contains_key("authorization");
    files.asked.lock().unwrap().push((path.to_owned(), authorized));
    if request.method() != "GET" {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Ok(bytes) = std::fs::read(files.dir.join(path.trim_start_matches('/'))) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", Digest::of(&bytes));
    if headers.get("if-none-match").is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([("etag", tag)], bytes).into_response()
}

/// A mirror of `origin`, and its directory.
async fn mirror(origin: &Origin) -> (Mirror, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mirror = Mirror::open(config(origin), dir.path().to_owned()).await.unwrap();
    (mirror, dir)
}

/// A follower that has never reached anything but files, and knows the root.
async fn follow_files(origin: &Origin, root: String, files: &str) -> (Handle, Reader) {
    let dead = origin.relay().await;
    dead.fault("/", Fault::Status(503));
    Follower::start(cut_off(origin, &dead, root, files)).await.unwrap()
}

fn cut_off(origin: &Origin, front: &Origin, root: String, files: &str) -> Config {
    Config {
        origins: vec![front.url().parse().unwrap()],
        mirrors: vec![files.parse().unwrap()],
        root: Some(root),
        verifier: Some("gw-1a".to_owned()),
        ..config(origin)
    }
}

fn root(origin: &Origin) -> String {
    origin.with(|issuer| issuer.root.kid().to_owned())
}

#[tokio::test]
async fn a_directory_that_anybody_serves_is_an_origin() {
    let origin = Origin::start().await;
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    let (mut mirror, dir) = mirror(&origin).await;
    let Copied { position, keys, .. } = mirror.copy().await.unwrap();
    assert_eq!((position.seq, keys), (1, 1));
    let (files, url) = Files::serve(dir.path()).await;
    let (feed, reader) = follow_files(&origin, root(&origin), &url).await;
    synced(&feed).await;
    assert_eq!((seq(&reader.view()), reader.view().issuer().deny().len()), (1, 1));

    origin.with(|issuer| issuer.revoke(vec![revoked(2)]));
    let copied = mirror.copy().await.unwrap();
    let view = until(&reader, "the second revocation", |view| seq(view) == 2).await;
    assert_eq!(view.issuer().deny().len(), 2);
    assert_eq!(view.position(), Some(copied.position));
    synced(&feed).await;
    // Nothing was revoked since; a later manifest says so.
    let as_of = |view: &scrip_feed::View| view.now() - view.age().unwrap();
    let before = as_of(&view);
    while mirror.copy().await.unwrap().as_of <= before {
        tokio::task::yield_now().await;
    }
    until(&reader, "a younger view", |view| as_of(view) > before).await;
    assert_eq!(files.authorized(), 0, "files are for everybody, secrets are not");
    assert_eq!(files.asked("/v1/deny/acks"), 0, "files listen to nobody");
    for alarm in Alarm::ALL {
        assert_eq!(feed.alarms().count(alarm), 0, "{alarm:?}");
    }
}

#[tokio::test]
async fn n82_n93_a_lying_copy_changes_nothing_and_grows_old() {
    let origin = Origin::start().await;
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    let (mut mirror, dir) = mirror(&origin).await;
    mirror.copy().await.unwrap();
    let manifest = dir.path().join("v1/deny/snapshot");
    let old = std::fs::read(&manifest).unwrap();
    let (files, url) = Files::serve(dir.path()).await;
    let front = origin.relay().await;
    let config = cut_off(&origin, &front, root(&origin), &url);
    let (feed, reader) = Follower::start(config).await.unwrap();
    synced(&feed).await;
    until(&reader, "an open stream", |_| front.listeners() > 0).await;
    front.fault("/", Fault::Status(503));
    front.end_streams();
    let html = b"<html>please log in</html>".to_vec();
    let half = std::fs::read(&manifest).unwrap().len() / 2;
    for (n, lie) in (2..).zip([old.clone(), html, old[..half].to_vec(), Vec::new()]) {
        origin.with(|issuer| issuer.revoke(vec![revoked(n)]));
        mirror.copy().await.unwrap();
        until(&reader, "the truth", |view| seq(view) == u64::from(n)).await;
        let known = feed.alarms().count(Alarm::Unproven);
        std::fs::write(&manifest, &lie).unwrap();
        // An old manifest is late, as any copy may be; the others are no manifests.
        let expected = known + u64::from(lie != old);
        let reread = files.asked("/v1/deny/snapshot") + 2;
        until(&reader, "the lie is read", |_| {
            files.asked("/v1/deny/snapshot") >= reread
                && feed.alarms().count(Alarm::Unproven) >= expected
        })
        .await;
        let entries = reader.view().issuer().deny().len();
        assert_eq!((seq(&reader.view()), entries), (u64::from(n), usize::from(n)));
    }
    // A manifest that is believed, and a blob that is not what it promises.
    origin.with(|issuer| issuer.revoke(vec![revoked(6)]));
    mirror.copy().await.unwrap();
    for blob in std::fs::read_dir(dir.path().join("v1/deny/blobs")).unwrap() {
        std::fs::write(blob.unwrap().path(), b"SCRIPDN1").unwrap();
    }
    until_alarm(&feed, Alarm::Origin).await;
    assert_eq!(seq(&reader.view()), 5);
    origin.with(|issuer| issuer.revoke(vec![revoked(7)]));
    mirror.copy().await.unwrap();
    until(&reader, "the whole of it", |view| seq(view) == 7).await;
}

#[tokio::test]
async fn n95_an_old_pin_walks_to_the_new_root_through_files() {
    let origin = Origin::start().await;
    let pin = root(&origin);
    let (mut mirror, dir) = mirror(&origin).await;
    mirror.copy().await.unwrap();
    for _ in 0..2 {
        let next = key();
        origin.rotate(|issuer| {
            issuer.keys_naming(&[&issuer.root, &next], &[&issuer.feed], &[&issuer.token])
        });
        origin.rotate(|issuer| {
            issuer.root = next;
            issuer.keys()
        });
    }
    origin.rotate(|issuer| issuer.keys());
    while mirror.copy().await.unwrap().keys < 6 {
        tokio::task::yield_now().await;
    }
    let versions = std::fs::read_dir(dir.path().join(".well-known/scrip-keys-versions")).unwrap();
    assert!(versions.count() >= 3, "those that lead from root to root");
    let (_, url) = Files::serve(dir.path()).await;
    let (feed, _) = follow_files(&origin, pin, &url).await;
    synced(&feed).await;
    let (stranger, _) = follow_files(&origin, key().kid().to_owned(), &url).await;
    until_alarm(&stranger, Alarm::Keys).await;
}

#[tokio::test]
async fn n82_a_mirror_writes_nothing_that_is_not_proven_and_never_goes_back() {
    let origin = Origin::start().await;
    let (mut mirror, dir) = mirror(&origin).await;
    let old = origin.with(|issuer| issuer.snapshot().0);
    for n in 1..=3 {
        origin.with(|issuer| issuer.revoke(vec![revoked(n)]));
        mirror.copy().await.unwrap();
    }
    let blobs = || std::fs::read_dir(dir.path().join("v1/deny/blobs")).unwrap().count();
    assert_eq!(blobs(), 2, "the newest, and the one before for who is still fetching it");
    let manifest = || std::fs::read(dir.path().join("v1/deny/snapshot")).unwrap();
    let before = manifest();
    origin.with(|issuer| issuer.revoke(vec![revoked(4)]));
    let forged = origin.with(|issuer| {
        let (manifest, _) = issuer.manifest();
        crate::issuer::sign(&key(), scrip_token::Typ::DenySnapshot, &manifest)
    });
    for lie in [old.clone(), forged, "<html>".to_owned(), String::new()] {
        origin.fault("/v1/deny/snapshot", Fault::Body(lie.into()));
        assert!(mirror.copy().await.is_err());
        assert_eq!(manifest(), before);
    }
    origin.heal();
    origin.fault("/v1/deny/blobs", Fault::Body("SCRIPDN1".into()));
    assert!(mirror.copy().await.is_err());
    assert_eq!((manifest() == before, blobs()), (true, 2));

    let busy = Mirror::open(config(&origin), dir.path().to_owned()).await;
    assert!(busy.is_err(), "one mirror for one directory");
    drop(mirror);
    origin.heal();
    origin.fault("/v1/deny/snapshot", Fault::Body(old.into()));
    let mut again = Mirror::open(config(&origin), dir.path().to_owned()).await.unwrap();
    assert!(again.copy().await.is_err(), "it knows after a restart how far it was");
    assert_eq!(manifest(), before);
    origin.heal();
    assert_eq!(again.copy().await.unwrap().position.seq, 4);
}

#[tokio::test]
async fn a_copy_stands_in_for_the_origin_until_it_is_back() {
    let origin = Origin::start().await;
    let (mut mirror, dir) = mirror(&origin).await;
    mirror.copy().await.unwrap();
    let (files, url) = Files::serve(dir.path()).await;
    let front = origin.relay().await;
    let config = cut_off(&origin, &front, root(&origin), &url);
    let (feed, reader) = Follower::start(config).await.unwrap();
    synced(&feed).await;
    until(&reader, "an open stream", |_| front.listeners() > 0).await;
    assert_eq!(files.asked("/"), 0);

    front.fault("/", Fault::Status(503));
    front.end_streams();
    origin.with(|issuer| issuer.revoke(vec![revoked(1)]));
    mirror.copy().await.unwrap();
    until(&reader, "the copy's revocation", |view| seq(view) == 1).await;
    front.heal();
    until(&reader, "the stream again", |_| {
        front.beat();
        front.listeners() > 0
    })
    .await;
    front.revoke(vec![revoked(2)]);
    until(&reader, "the live revocation", |view| seq(view) == 2).await;
}
