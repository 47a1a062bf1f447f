//! Closes connections on which nothing is said: hyper's own limits begin once it knows which version
//! of HTTP is spoken, and until then it waits for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// As long as the preface of HTTP/2 (RFC 9113 section 3.4): any request of a client of ours is longer.
const OPENING: usize = 24;

/// Accepts as `inner` does; a client has so long for its first bytes.
#[derive(Clone)]
pub(super) struct Prompt<A> {
    pub(super) inner: A,
    pub(super) within: Duration,
}

impl<A, I, S> Accept<I, S> for Prompt<A>
where
    A: Accept<I, S, Future: Send + 'static>,
{
    type Stream = Opening<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepting = self.inner.accept(stream, service);
        let within = self.within;
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let deadline = Some(Box::pin(tokio::time::sleep(within)));
            Ok((Opening { stream, deadline, read: 0 }, service))
        })
    }
}

/// A connection that fails to be read where its first bytes are late.
pub(super) struct Opening<T> {
    stream: T,
    /// Until the first bytes have arrived.
    deadline: Option<Pin<Box<Sleep>>>,
    read: usize,
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    async fn accepted() -> (Opening<DuplexStream>, DuplexStream) {
        let (server, client) = duplex(64);
        let prompt = Prompt { inner: DefaultAcceptor::new(), within: Duration::from_millis(20) };
        let (stream, ()) = prompt.accept(server, ()).await.unwrap();
        (stream, client)
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
