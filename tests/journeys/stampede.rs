use crate::harness::acme::Acme;
use crate::harness::cli::Cli;
use crate::harness::dice::{Dice, Size};
use crate::harness::http::Http;
use crate::harness::service::Installation;
use crate::harness::until::until;
use futures_util::future::join_all;
use scrip::bootstrap;
use scrip::clock;
use scrip::signer::Signer;
use scrip::store::{Lock, Store, tokens};
use scrip_token::Jti;
use secrecy::ExposeSecret;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Within this time more are served, on a machine that has other things to do: twice as long as anybody
/// is sent away for.
const PATIENCE: Duration = Duration::from_secs(120);
const REVOCATIONS: usize = 20;
/// Within this one revocation of two is answered meanwhile: it is the longest wait for a lock.
const PROMPT: Duration = Duration::from_secs(5);
/// What a connection can buffer, and a mint hold, with room to spare; and what there is once.
const EACH: usize = 128 << 10;
const ONCE: usize = 128 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n149_a_stampede_is_served_or_told_when_to_come_back_on_sqlite() {
    stampede(Installation::on_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n149_a_stampede_is_served_or_told_when_to_come_back_on_postgres() {
    stampede(Installation::on_postgres().await).await;
}

/// All start within one second. None of them is turned away for good, none of their tokens is
/// lost, the service stays small, and revoking goes on.
async fn stampede(installation: Installation) {
    let many = Size::asked_for().of(1000, 10_000);
    allow_connections(many);
    let mut dice = Dice::new();
    let mut acme = Acme::found(installation).await;
    acme.stop().await;
    let clients = register(&acme.installation, many).await;
    acme.start().await;
    let (http, pid) = (acme.http(), acme.service.process.pid());
    let before = memory(pid, "VmRSS");

    let (began, done) = (clock::monotonic(), AtomicUsize::new(0));
    let minting = clients.iter().map(|client| {
        let start = dice.ms(0..1000);
        let (http, done) = (&http, &done);
        async move {
            tokio::time::sleep(start).await;
            let served = come_back_as_told(http, client).await;
            done.fetch_add(1, Ordering::Relaxed);
            served
        }
    });
    let revoking = async {
        let mut took = Vec::new();
        for n in 0..REVOCATIONS {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let version = json!({"client": "acme/gateway", "version": format!("embedded:99.{n}")});
            let asked = clock::monotonic();
            until("a revocation", PATIENCE, async || {
                let revoked = http.revoke(&acme.operator, json!({"cred": version})).await.ok()?;
                // 200: it was, by a request whose answer did not come.
                assert!(matches!(revoked.status, 200 | 201 | 503), "{revoked:?}");
                (revoked.status != 503).then_some(())
            })
            .await;
            took.push(asked.elapsed());
        }
        took.sort_unstable();
        took
    };
    let standstill = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(PATIENCE).await;
            let now = done.load(Ordering::Relaxed);
            assert!(now > before, "nobody was served for {PATIENCE:?}, after {now} of {many}");
            before = now;
        }
    };
    let served = async {
        tokio::select! {
            served = join_all(minting) => served,
            () = standstill => unreachable!("it ends by a panic"),
        }
    };
    let (served, revoked) = tokio::join!(served, revoking);
    let took = began.elapsed();
    let tries: u32 = served.iter().map(|(_, tries)| tries).sum();
    let peak = memory(pid, "VmHWM");
    println!(
        "stampede of {many}: all served after {took:?} and {tries} requests; revoked within {:?}, at \
         most {:?}; memory {} MiB, at most {} MiB",
        revoked[REVOCATIONS / 2],
        revoked[REVOCATIONS - 1],
        before >> 20,
        peak >> 20,
    );
    assert!(revoked[REVOCATIONS / 2] <= PROMPT, "{revoked:?}");
    assert!(peak <= before + ONCE + many * EACH, "{peak} bytes, {before} before");

    acme.stop().await;
    let store = store(&acme.installation).await;
    let mut reader = store.read().await.unwrap();
    for (jti, _) in &served {
        assert!(tokens::by_jti(&mut reader, *jti).await.unwrap().is_some(), "{jti} is lost");
    }
}

/// The token's id, and how many requests it took.
async fn come_back_as_told(http: &Http, client: &Cli) -> (Jti, u32) {
    let mut tries = 0;
    loop {
        tries += 1;
        // Where even the head of a request came too late, the connection is closed.
        let Ok(answer) = http.mint(client, &[], None).await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        match answer.status {
            200 => return (answer.body["jti"].as_str().unwrap().parse().unwrap(), tries),
            429 | 503 => {
                let wait = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=61).contains(&wait), "{answer:?}");
                tokio::time::sleep(Duration::from_secs(wait)).await;
            }
            _ => panic!("{answer:?}"),
        }
    }
}

/// Straight into the database, as bootstrap makes the operator: that many requests would take longer
/// than the test.
async fn register(installation: &Installation, many: usize) -> Vec<Cli> {
    let store = store(installation).await;
    let signer = Signer::open(Path::new(installation.setting("SCRIP_KEYS_DIR"))).unwrap();
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    let digest_key = bootstrap::digest_key(&mut tx, &signer).await.unwrap().unwrap();
    let now = clock::now_ms() / 1000;
    let mut clients = Vec::with_capacity(many);
    for n in 0..many {
        let id = format!("acme/worker-{n}");
        let policy = "acme/chat-assistant";
        let made = bootstrap::make_embedded(&mut tx, &digest_key, &id, policy, now).await.unwrap();
        clients.push(Cli::new(installation, &id, made.unwrap().expose_secret()));
    }
    tx.commit().await.unwrap();
    store.close().await;
    clients
}

async fn store(installation: &Installation) -> Store {
    Store::connect(&installation.setting("SCRIP_DATABASE_URL").as_str().into()).await.unwrap()
}

/// Bytes of a process, as the kernel counts them (proc(5)).
fn memory(pid: u32, what: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kib: usize = line.unwrap().trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib << 10
}

/// Each of them has a connection of its own.
fn allow_connections(many: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = many as u64 + 1000;
    if current.is_some_and(|current| current < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    }
}
