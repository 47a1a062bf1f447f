//! The feed as a person sees it, and as files that anybody can serve.

use crate::harness::acme::Acme;
use crate::harness::follower::Follower;
use crate::harness::process::Process;
use crate::harness::service::Installation;
use crate::harness::until::until;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use scrip_token::keys::PublishedKeys;
use scrip_token::{Claims, compact::Compact, limits::MAX_TOKEN_BYTES};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_gateway_that_reaches_nothing_but_files_refuses_what_is_revoked() {
    let acme = Acme::found(Installation::on_sqlite().set("SCRIP_HEARTBEAT", "1")).await;
    let billing = acme.embedded("acme/billing").await;
    let (leaked, later, kept) =
        (billing.token(&[]).await, billing.token(&[]).await, billing.token(&[]).await);
    let tail = Process::start(acme.gateway.command(&["feed", "tail", "--json"]));
    let seen = |event: &str, member: &str| {
        let lines: Vec<Value> =
            tail.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let last = lines.into_iter().rfind(|line| line["event"] == event);
        last.map(|line| line[member].clone())
    };
    until("the tail is in step", PATIENCE, async || seen("heartbeat", "age")).await;
    let mut live = Follower::start(&acme.gateway, &["--verifier", "gw-1a"]).await;
    live.accepts(&leaked).await;

    // Revoked, and the answer comes when the gateway that has a name enforces it.
    let revoke = ["revoke", "--jti", &jti(&leaked), "--wait", "20"];
    let revoked = acme.operator.json(&revoke).await;
    assert_eq!(revoked["enforced"]["all"], true, "{revoked}");
    live.refuses(&leaked).await;
    let entries = until("the tail shows it", PATIENCE, async || seen("batch", "entries")).await;
    assert_eq!(entries[0]["jti"], jti(&leaked));

    // Copied into files, served by what knows nothing of it.
    let site = acme.installation.folder.path().join("site");
    let mirror = |seq: u64| {
        let (gateway, site) = (acme.gateway.clone(), site.clone());
        until("the copy is new", PATIENCE, async move || {
            let copy = ["feed", "mirror", site.to_str().expect("a plain name"), "--once"];
            let copied = gateway.json(&copy).await;
            (copied["seq"] == seq).then_some(())
        })
    };
    mirror(1).await;
    let files = serve(site.clone()).await;
    let document = std::fs::read_to_string(site.join(".well-known/scrip-keys"));
    let document = document.expect("the mirror wrote it");
    let document = Compact::parse(document.as_bytes(), 1 << 20).expect("a JWS").payload;
    let root =
        PublishedKeys::parse(&document).expect("a keys document").roots.keys[0].0.kid.clone();
    let cut_off = ["--origin", "http://127.0.0.1:9", "--mirror", &files, "--root", &root];
    let mut cut_off = Follower::start(&acme.gateway, &cut_off).await;
    assert_eq!((&cut_off.start["event"], &cut_off.start["seq"]), (&"synced".into(), &1.into()));
    cut_off.refuses(&leaked).await;
    cut_off.accepts(&later).await;

    acme.operator.run(&["revoke", "--jti", &jti(&later)]).await;
    mirror(2).await;
    cut_off.learns_of(&later).await;
    cut_off.accepts(&kept).await;
}

pub(super) fn jti(token: &str) -> String {
    let payload = Compact::parse(token.as_bytes(), MAX_TOKEN_BYTES).expect("a token").payload;
    Claims::parse(&payload).expect("claims").jti.to_string()
}

/// Serves files, and passes over queries as such servers do.
async fn serve(dir: PathBuf) -> String {
    async fn file(State(dir): State<PathBuf>, request: Request) -> Result<Vec<u8>, StatusCode> {
        let path = dir.join(request.uri().path().trim_start_matches('/'));
        std::fs::read(Path::new(&path)).map_err(|_| StatusCode::NOT_FOUND)
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let router = Router::new().fallback(file).with_state(dir);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
