//! The limit: the same bytes, written to as many sockets by one loop that knows nothing.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use scrip::clock;
use tokio::task::spawn_blocking;

use crate::drains::Drains;

pub(crate) struct Raw {
    listener: TcpListener,
    sockets: Arc<Vec<TcpStream>>,
    drains: Drains,
}

impl Raw {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        Self { listener, sockets: Arc::default(), drains: Drains::new() }
    }

    pub(crate) async fn grow(&mut self, size: usize) {
        let address = self.listener.local_addr().expect("it is bound");
        let sockets = Arc::get_mut(&mut self.sockets).expect("nobody writes");
        while sockets.len() < size {
            let drain = tokio::net::TcpStream::connect(address).await.expect("it listens");
            let (socket, _) = self.listener.accept().expect("it was just connected");
            socket.set_nodelay(true).expect("a TCP socket");
            sockets.push(socket);
            self.drains.add(drain);
        }
    }

    /// From the first write to the last byte received.
    pub(crate) async fn write(&self, frame: Arc<Vec<u8>>) -> Duration {
        let last_byte = self.drains.last_byte();
        let sockets = self.sockets.clone();
        let writing = spawn_blocking(move || {
            let begun = clock::monotonic();
            for mut socket in &*sockets {
                socket.write_all(&frame).expect("the drain reads");
            }
            begun
        });
        let last = last_byte.await;
        last - writing.await.expect("it does not panic")
    }
}
