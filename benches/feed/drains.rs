//! Subscribers that read and throw away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{StreamExt, stream};
use scrip::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::cli::Cli;

/// How many connect at a time.
const AT_A_TIME: usize = 32;
/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// By what a batch is known, and within how many bytes: a heartbeat may come before it.
const BATCH: &[u8] = b"event: batch";
const HEAD: usize = 2048;

/// Connections that drain.
pub(crate) struct Drains {
    tasks: JoinSet<()>,
    seen: Arc<Seen>,
}

struct Seen {
    bytes: AtomicU64,
    /// Frames with a batch, of all connections together.
    frames: AtomicU64,
    /// How many there have been, and when the last of them came, each time that all had theirs.
    all: watch::Sender<(u64, Instant)>,
    size: AtomicU64,
}

impl Drains {
    pub(crate) fn new() -> Self {
        let seen = Seen {
            bytes: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            all: watch::Sender::new((0, clock::monotonic())),
            size: AtomicU64::new(0),
        };
        Self { tasks: JoinSet::new(), seen: Arc::new(seen) }
    }

    /// Adds subscribers of the service at `address` until there are so many. Nothing may be
    /// published meanwhile.
    pub(crate) async fn grow(&mut self, address: SocketAddr, who: &Cli, size: usize) {
        let missing = size.saturating_sub(self.tasks.len());
        let connecting = (0..missing).map(|_| subscribe(address, who));
        let mut connected = stream::iter(connecting).buffer_unordered(AT_A_TIME);
        while let Some(stream) = connected.next().await {
            self.add(stream);
        }
    }

    pub(crate) fn add(&mut self, stream: TcpStream) {
        self.tasks.spawn(drain(stream, self.seen.clone()));
        self.seen.frames.store(0, Ordering::Relaxed);
        self.seen.size.store(self.tasks.len() as u64, Ordering::Relaxed);
    }

    /// Bytes received so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.seen.bytes.load(Ordering::Relaxed)
    }

    /// To be called before something is published: when the last one has received it.
    pub(crate) fn last_byte(&self) -> impl Future<Output = Instant> + use<> {
        let mut all = self.seen.all.subscribe();
        all.borrow_and_update();
        async move {
            let received = tokio::time::timeout(PATIENCE, all.changed()).await;
            received.expect("all receive it").expect("they are still there");
            all.borrow().1
        }
    }
}

/// A subscriber that keeps what it receives.
pub(crate) struct Probe(TcpStream);

impl Probe {
    pub(crate) async fn new(address: SocketAddr, who: &Cli) -> Self {
        Self(subscribe(address, who).await)
    }

    /// The next batch, as it comes over the wire: one chunk (RFC 9112 section 7.1).
    pub(crate) async fn batch(&mut self) -> Vec<u8> {
        let receiving = async {
            loop {
                let mut some = vec![0; 16 * 1024];
                let read = self.0.read(&mut some).await.expect("open until the end");
                assert!(read > 0, "the service has ended");
                some.truncate(read);
                if is_batch(&some) {
                    return some;
                }
            }
        };
        tokio::time::timeout(PATIENCE, receiving).await.expect("a batch is on its way")
    }
}

fn is_batch(received: &[u8]) -> bool {
    received[..received.len().min(HEAD)].windows(BATCH.len()).any(|here| here == BATCH)
}

async fn subscribe(address: SocketAddr, who: &Cli) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the service accepts");
    let id: String = form_urlencoded::byte_serialize(who.id.as_bytes()).collect();
    let basic = BASE64_STANDARD.encode(format!("{id}:{}", who.secret));
    let request =
        format!("GET /v1/deny/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the service reads");
    let mut opening = Vec::new();
    while !opening.windows(4).any(|end| end == b"\n\n\r\n") {
        let mut some = [0; 4096];
        let read = stream.read(&mut some).await.expect("the service answers");
        assert!(read > 0, "{}", String::from_utf8_lossy(&opening));
        opening.extend_from_slice(&some[..read]);
    }
    assert!(opening.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&opening));
    stream
}

async fn drain(stream: TcpStream, seen: Arc<Seen>) {
    loop {
        stream.readable().await.expect("open until the end");
        // Not across the wait: ten thousand share the stack of two threads.
        let mut some = [0; 16 * 1024];
        let Ok(read) = stream.try_read(&mut some) else { continue };
        if read == 0 {
            return;
        }
        seen.bytes.fetch_add(read as u64, Ordering::Relaxed);
        if is_batch(&some[..read]) {
            let frames = seen.frames.fetch_add(1, Ordering::Relaxed) + 1;
            if frames.is_multiple_of(seen.size.load(Ordering::Relaxed)) {
                seen.all.send_replace((frames, clock::monotonic()));
            }
        }
    }
}
