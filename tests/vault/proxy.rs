//! What stands between Scrip and Vault, and can be told to misbehave.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

/// What happens to an answer on its way back. Holds for connections that are open already.
#[derive(Clone, PartialEq)]
pub enum Mode {
    Forward,
    /// Connections are accepted, and nobody ever answers.
    Hang,
    /// One byte a second.
    Drip,
    /// So much later.
    Slow(Duration),
    /// This instead of what Vault says.
    Answer(String),
    /// A body that begins like this and never ends.
    Flood(String),
}

pub struct Proxy {
    pub address: String,
    mode: watch::Sender<Mode>,
    seen: Arc<Seen>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<String>,
    connections: AtomicUsize,
    flooded: AtomicUsize,
}

impl Proxy {
    /// In front of `upstream`, `http://<host>:<port>`.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let (mode, modes) = watch::channel(Mode::Forward);
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(carry(client, upstream.clone(), modes.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, mode, seen, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub fn switch(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> String {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Bytes that somebody took of floods so far.
    pub fn flooded(&self) -> usize {
        self.seen.flooded.load(Ordering::Relaxed)
    }
}

/// Ends with either side, or with the proxy.
async fn carry(
    mut client: TcpStream,
    upstream: String,
    mut modes: watch::Receiver<Mode>,
    seen: Arc<Seen>,
) -> Option<()> {
    let mut server = TcpStream::connect(upstream).await.ok()?;
    let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        select! {
            read = client.read(&mut asked) => {
                let bytes = asked.get(..read.ok().filter(|read| *read > 0)?)?;
                seen.requests.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
                let mode = modes.borrow().clone();
                match mode {
                    Mode::Answer(text) => return client.write_all(text.as_bytes()).await.ok(),
                    Mode::Flood(head) => return flood(&mut client, &head, &seen.flooded).await,
                    Mode::Forward | Mode::Hang | Mode::Drip | Mode::Slow(_) => server.write_all(bytes).await.ok()?,
                }
            }
            read = server.read(&mut answered) => {
                let bytes = answered.get(..read.ok().filter(|read| *read > 0)?)?;
                let mode = modes.wait_for(|mode| *mode != Mode::Hang).await.ok()?.clone();
                if let Mode::Slow(delay) = mode {
                    sleep(delay).await;
                }
                if mode != Mode::Drip {
                    client.write_all(bytes).await.ok()?;
                    continue;
                }
                for byte in bytes {
                    client.write_all(std::slice::from_ref(byte)).await.ok()?;
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn flood(client: &mut TcpStream, head: &str, flooded: &AtomicUsize) -> Option<()> {
    client.write_all(head.as_bytes()).await.ok()?;
    // A chunk of 4096 bytes, for those who read chunks; for others just bytes.
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
    loop {
        client.write_all(chunk.as_bytes()).await.ok()?;
        flooded.fetch_add(chunk.len(), Ordering::Relaxed);
    }
}
