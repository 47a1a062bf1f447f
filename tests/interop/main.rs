//! What others wrote against us. Needs Python, node, Go and Java, hence not part of `cargo test`: `make interop`.

#[allow(dead_code, unreachable_pub, reason = "the other test binary uses the rest")]
#[path = "../harness/mod.rs"]
mod harness;

mod differential;
mod sdks;

use harness::api::Api;
use harness::hook::{self, Hook, Mood};
use harness::process::Process;
use harness::service::{Installation, Operator, Service};
use harness::until::until;
use scrip::audit::Event;
use scrip::clock;
use scrip::store::{Lock, Store, audit};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

#[tokio::test]
async fn pyjwt_accepts_and_refuses_as_it_should() {
    resource_server(python("test_pyjwt.py")).await;
}

#[tokio::test]
async fn authlib_obtains_accepts_and_refuses_as_it_should() {
    resource_server(python("test_authlib.py")).await;
}

#[tokio::test]
async fn jose_accepts_and_refuses_as_it_should() {
    resource_server(node("jose.test.mjs")).await;
}

#[tokio::test]
async fn a_receiver_in_python_checks_a_webhook_as_the_readme_says() {
    let hook = Hook::start(Mood::Takes).await;
    let told_of = Installation::on_sqlite()
        .set("SCRIP_WEBHOOK_URL", &hook.url)
        .set("SCRIP_WEBHOOK_SECRET", hook::SECRET);
    told_of.bootstrap().await;
    raise(&told_of).await;
    let service = told_of.serve().await;
    let told = until("the alert is told", Duration::from_secs(20), async || {
        hook.told().into_iter().next()
    })
    .await;
    let mut receiver = python("test_webhook.py");
    receiver
        .env("WEBHOOK_SECRET", hook::SECRET)
        .env("WEBHOOK_BODY", str::from_utf8(&told.body).expect("JSON is UTF-8"));
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        receiver.env(name.to_uppercase().replace('-', "_"), told.header(name));
    }
    succeeds(Process::start(receiver)).await;
    service.stop().await;
}

/// Puts an alert into the audit log, before anybody has the database open.
async fn raise(installation: &Installation) {
    let url = installation.setting("SCRIP_DATABASE_URL").as_str().into();
    let store = Store::connect(&url).await.expect("it was bootstrapped");
    let alert = Event::new("test.raised", "alert").target("caf\u{e9}").at(clock::now_ms());
    let mut tx = store.begin(Lock::Admin).await.expect("nobody else writes");
    audit::insert_many(&mut tx, &[alert]).await.expect("a row");
    tx.commit().await.expect("a commit");
    store.close().await;
}

#[tokio::test]
async fn the_contract_is_openapi() {
    succeeds(Process::start(python("test_openapi.py"))).await;
}

/// Runs a client and resource server of somebody else's between two issuers: ours, whose keys are rotated when it
/// says so, and a stranger, whose tokens it must refuse. It is told where the metadata are, and nothing else.
async fn resource_server(mut command: Command) {
    let algorithms = "gateway-ed=EdDSA,gateway-rs=RS256";
    let ours = Installation::on_sqlite()
        .set("SCRIP_AUDIENCE_ALG", algorithms)
        // So that keys may be rotated at once, which no verifier's cache would survive without a refetch.
        .set("SCRIP_KEY_LEAD", "0");
    let (issuer, _running) = start(&ours, "SCRIP", &mut command).await;
    let (_, _stranger) = start(&Installation::on_sqlite(), "STRANGER", &mut command).await;
    // For a loopback issuer's sake; Authlib and node insist on https or on being told.
    command.env("AUTHLIB_INSECURE_TRANSPORT", "1");

    let mut process = Process::start(command);
    process.line(|line| line == "rotate").await;
    // Twice: the next key has been published all along, the one after it nobody has seen.
    for _ in 0..2 {
        let rotate = issuer.http.post(format!("{}/v1/keys/ES256/rotate", issuer.url));
        let Operator { id, secret } = &issuer.operator;
        let reply = rotate.basic_auth(id, Some(secret)).send().await.expect("the service answers");
        assert_eq!(reply.status(), 200);
    }
    process.write_line("rotated");
    succeeds(process).await;
}

/// Starts an issuer with a client, and tells `command` of both.
async fn start(installation: &Installation, name: &str, command: &mut Command) -> (Api, Service) {
    let operator = installation.bootstrap().await;
    let service = installation.serve().await;
    let api = Api::new(installation, operator);
    let policy = json!({
        "audiences": ["gateway-es", "gateway-ed", "gateway-rs"], "scopes": ["llm:chat"],
        "models": ["gpt-4o-mini"], "env": "test",
    });
    let secret = api.client("acme/billing", policy).await;
    let metadata = format!("{}/.well-known/oauth-authorization-server", api.url);
    command
        .env(format!("{name}_METADATA"), metadata)
        .env(format!("{name}_CLIENT_ID"), "acme/billing")
        .env(format!("{name}_CLIENT_SECRET"), secret);
    (api, service)
}

async fn succeeds(mut process: Process) {
    let status = process.exit().await;
    assert!(status.success(), "{status}\n{process}");
}

/// `file` for the Python that `.ci/prepare python` furnished.
fn python(file: &str) -> Command {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/python");
    let mut command = Command::new(format!("{folder}/.venv/bin/python"));
    command.args(["-B", "-W", "error", file]).current_dir(folder);
    command
}

/// `file` for node, with what `.ci/prepare node` installed.
fn node(file: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(file).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/node"));
    command
}
