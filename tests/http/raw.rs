//! Bytes on a connection, for what no HTTP library would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::api::Api;

/// Longer than the service waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the API.
pub async fn connect(api: &Api) -> TcpStream {
    let url = api.installation.url();
    TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends `bytes`, then reads until the service closes the connection. What it will not read may be lost.
pub async fn exchange(api: &Api, bytes: &[u8]) -> String {
    let mut stream = connect(api).await;
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

/// Reads until the service closes the connection.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "still open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the first answer.
pub fn status(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.unwrap_or_else(|| panic!("not an answer: {answer:?}"))
}
