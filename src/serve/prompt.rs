//! Closes connections that are too many, and those on which nothing is said: hyper's own limits begin
//! once it knows which version of HTTP is spoken, and until then it waits for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::guests::{Guest, Guests};

/// As long as the preface of HTTP/2 (RFC 9113 section 3.4): any request of a client of ours is longer.
const OPENING: usize = 24;

/// Accepts as `inner` does whom `guests` let in; a client has so long for its first bytes.
#[derive(Clone)]
pub(super) struct Prompt<A> {
    pub(super) inner: A,
    pub(super) guests: Arc<Guests>,
    pub(super) within: Duration,
}

impl<A, S> Accept<TcpStream, S> for Prompt<A>
where
    A: Accept<TcpStream, S, Future: Send + 'static>,
{
    type Stream = Opening<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let from = stream.peer_addr().map(|peer| peer.ip());
        let guest = from.map(|from| self.guests.admit(from));
        let accepting = self.inner.accept(stream, service);
        let within = self.within;
        Box::pin(async move {
            let Some(guest) = guest? else { return Err(io::ErrorKind::QuotaExceeded.into()) };
            let (stream, service) = accepting.await?;
            let deadline = Some(Box::pin(tokio::time::sleep(within)));
            Ok((Opening { stream, deadline, read: 0, _guest: guest }, service))
        })
    }
}

/// A connection whose reading fails if its first bytes are late.
pub(super) struct Opening<T> {
    stream: T,
    /// Until the first bytes have arrived.
    deadline: Option<Pin<Box<Sleep>>>,
    read: usize,
    _guest: Guest,
}

impl<T: AsyncRead + Unpin> AsyncRead for Opening<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some(deadline) = &mut self.deadline else { return polled };
        if polled.is_pending() {
            return deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.read += buf.filled().len() - before;
        if self.read >= OPENING {
            self.deadline = None;
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opening<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum_server::accept::DefaultAcceptor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    fn prompt(most: usize) -> Prompt<DefaultAcceptor> {
        let guests = Guests::new(most, Vec::new());
        Prompt { inner: DefaultAcceptor::new(), guests, within: Duration::from_millis(20) }
    }

    async fn accepted() -> (Opening<TcpStream>, TcpStream) {
        let (server, client) = connected().await;
        let (stream, ()) = prompt(1).accept(server, ()).await.unwrap();
        (stream, client)
    }

    #[tokio::test]
    async fn n149_a_connection_too_many_is_closed_and_one_that_ends_makes_room() {
        let prompt = prompt(1);
        let (first, _client) = connected().await;
        let (first, ()) = prompt.accept(first, ()).await.unwrap();
        let (second, mut refused) = connected().await;
        assert!(prompt.accept(second, ()).await.is_err());
        assert_eq!(refused.read(&mut [0]).await.unwrap(), 0, "closed");
        drop(first);
        let (third, _client) = connected().await;
        prompt.accept(third, ()).await.unwrap();
    }

    #[tokio::test]
    async fn n149_silence_ends_a_connection_and_a_request_does_not() {
        let (mut silent, _client) = accepted().await;
        let error = silent.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (mut slow, mut client) = accepted().await;
        client.write_all(b"PRI").await.unwrap();
        assert_eq!(slow.read(&mut [0; 64]).await.unwrap(), 3);
        let error = slow.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (mut prompt, mut client) = accepted().await;
        client.write_all(&[b'x'; OPENING]).await.unwrap();
        assert_eq!(prompt.read(&mut [0; 64]).await.unwrap(), OPENING);
        let quiet = tokio::time::timeout(Duration::from_millis(60), prompt.read_u8()).await;
        assert!(quiet.is_err(), "what follows is hyper's to judge");
    }
}
