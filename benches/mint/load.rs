//! Whoever asks: 64 connections, one request at a time on each, as fast as they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scrip::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_blocking};

const CONNECTIONS: usize = 64;
/// Longer than any answer.
const MOST_BYTES: usize = 16 * 1024;

/// Requests as they go over the wire, asked in turn.
pub(crate) type Requests = Arc<[Vec<u8>]>;

/// What came of a load.
#[derive(Default)]
pub(crate) struct Answered {
    /// From the first byte of each request to the last of its answer, where that was a 200.
    pub(crate) granted: Vec<Duration>,
    /// Other answers.
    pub(crate) refused: usize,
    pub(crate) took: Duration,
}

/// Asks for so long. One thread, so that most of the machine is left to whoever answers.
pub(crate) async fn run(address: SocketAddr, requests: &Requests, time: Duration) -> Answered {
    let requests = requests.clone();
    let asking = spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(ask(address, requests, time))
    });
    asking.await.expect("it does not panic")
}

async fn ask(address: SocketAddr, requests: Requests, time: Duration) -> Answered {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        streams.push(stream);
    }
    let begun = clock::monotonic();
    let mut connections = JoinSet::new();
    for (n, stream) in streams.into_iter().enumerate() {
        // Each begins elsewhere.
        let first = n * requests.len() / CONNECTIONS;
        connections.spawn(keep_asking(stream, requests.clone(), first, begun + time));
    }
    let mut all = Answered::default();
    while let Some(one) = connections.join_next().await {
        let one = one.expect("the server answers");
        all.granted.extend(one.granted);
        all.refused += one.refused;
    }
    all.took = begun.elapsed();
    all
}

async fn keep_asking(
    mut stream: TcpStream,
    requests: Requests,
    first: usize,
    end: Instant,
) -> Answered {
    let mut answered = Answered::default();
    let mut answer = vec![0; MOST_BYTES];
    let mut sent = clock::monotonic();
    for request in requests.iter().cycle().skip(first) {
        if sent >= end {
            break;
        }
        stream.write_all(request).await.expect("the server reads");
        let granted = read(&mut stream, &mut answer).await;
        let now = clock::monotonic();
        if granted {
            answered.granted.push(now - sent);
        } else {
            answered.refused += 1;
        }
        sent = now;
    }
    answered
}

/// Reads one answer to its end; whether it is a 200.
async fn read(stream: &mut TcpStream, answer: &mut [u8]) -> bool {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut answer[filled..]).await.expect("the server answers");
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&answer[..filled]));
        filled += read;
        let so_far = &answer[..filled];
        let Some(head) = so_far.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&so_far[..head]).expect("a head is text");
        if filled == head.len() + 4 + content_length(head) {
            return head.starts_with("HTTP/1.1 200");
        }
    }
}

fn content_length(head: &str) -> usize {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value.trim())
    });
    value.and_then(|length| length.parse().ok()).expect("an answer has a length")
}
