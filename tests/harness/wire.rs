use std::sync::{Arc, Mutex};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A way to a server that can lose what is on it: a primary without power, a dropped route.
pub struct Wire {
    pub port: u16,
    current: Arc<Mutex<CancellationToken>>,
}

impl Wire {
    /// Leads to `server`, for as long as the runtime lives.
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let current = Arc::new(Mutex::new(CancellationToken::new()));
        let shared = current.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let silent = shared.lock().expect("nobody panics with it").clone();
                tokio::spawn(forward(client, server.clone(), silent));
            }
        });
        Self { port, current }
    }

    /// From now on nothing passes on the connections that there are, and none of them breaks.
    /// Those that are made later work.
    pub fn fall_silent(&self) {
        let mut current = self.current.lock().expect("nobody panics with it");
        std::mem::take(&mut *current).cancel();
    }
}

async fn forward(mut client: TcpStream, server: String, silent: CancellationToken) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = silent.cancelled() => std::future::pending().await,
    }
}
