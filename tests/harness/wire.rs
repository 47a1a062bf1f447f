use super::dice::Dice;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server on which everything can happen that happens to bytes on a network.
pub struct Wire {
    port: u16,
    server: Arc<Mutex<String>>,
    weather: Arc<Mutex<watch::Sender<Weather>>>,
}

/// What becomes of the bytes, on all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Connections are reset, and so are new ones.
    Cut,
    /// The next bytes from the server are cut short, then the connection is reset.
    Torn,
    /// Nothing passes and nothing breaks: a dropped route.
    Silent,
    /// Nothing comes back from the server, nothing breaks: a half-open connection.
    OneWay,
    /// So many bytes a second, each way.
    Slow(u32),
    /// Everything arrives, so much later for each piece.
    Late(Duration),
}

impl Weather {
    /// One of those in which nobody can follow for long.
    pub fn bad(dice: &mut Dice) -> Self {
        let bad = [
            Self::Cut,
            Self::Torn,
            Self::Silent,
            Self::OneWay,
            Self::Slow(2_000),
            Self::Late(Duration::from_millis(700)),
        ];
        bad[dice.roll(0..bad.len() as u64) as usize]
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Wire {
    /// Leads to `server`, for as long as the runtime lives.
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let server = Arc::new(Mutex::new(server));
        let weather = Arc::new(Mutex::new(watch::Sender::new(Weather::Clear)));
        let wire = Self { port, server: server.clone(), weather: weather.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = server.lock().expect("nobody panics with it").clone();
                let weather = weather.lock().expect("nobody panics with it").subscribe();
                tokio::spawn(forward(client, server, weather));
            }
        });
        wire
    }

    /// From now on it leads to `server`; connections that there are end where they led.
    pub fn lead_to(&self, server: String) {
        *self.server.lock().expect("nobody panics with it") = server;
        self.leave(Weather::Cut);
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As an HTTP origin.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn turn(&self, weather: Weather) {
        self.weather.lock().expect("nobody panics with it").send_replace(weather);
    }

    /// From now on nothing passes on the connections that there are, and none of them breaks: a
    /// primary without power. Those that are made later work.
    pub fn fall_silent(&self) {
        self.leave(Weather::Silent);
    }

    /// Leaves the connections that there are to this weather; it is clear for those to come.
    fn leave(&self, last: Weather) {
        let mut weather = self.weather.lock().expect("nobody panics with it");
        std::mem::replace(&mut *weather, watch::Sender::new(Weather::Clear)).send_replace(last);
    }
}

/// Until either side ends, or the weather breaks it.
async fn forward(mut client: TcpStream, server: String, mut weather: watch::Receiver<Weather>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut cut = weather.clone();
        tokio::select! {
            _ = pass(from_client, to_server, Direction::Up, weather.clone()) => {}
            _ = pass(from_server, to_client, Direction::Down, weather.clone()) => {}
            Ok(_) = cut.wait_for(|weather| *weather == Weather::Cut) => {}
        }
    }
    if matches!(*weather.borrow_and_update(), Weather::Cut | Weather::Torn) {
        // Closing then sends RST in place of FIN.
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        let bytes = &buffer[..count];
        if bytes.is_empty() {
            return Ok(());
        }
        loop {
            let now = *weather.borrow_and_update();
            match now {
                Weather::Silent => until_it_turns(&mut weather).await,
                Weather::OneWay if direction == Direction::Down => {
                    until_it_turns(&mut weather).await;
                }
                Weather::Cut => return Ok(()),
                Weather::Torn if direction == Direction::Down => {
                    return to.write_all(&bytes[..count / 2]).await;
                }
                Weather::Slow(rate) => {
                    for byte in bytes.chunks(rate.div_ceil(20) as usize) {
                        to.write_all(byte).await?;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    break;
                }
                Weather::Late(delay) => {
                    tokio::time::sleep(delay).await;
                    to.write_all(bytes).await?;
                    break;
                }
                Weather::Clear | Weather::OneWay | Weather::Torn => {
                    to.write_all(bytes).await?;
                    break;
                }
            }
        }
    }
}

/// For ever, where it never will.
async fn until_it_turns(weather: &mut watch::Receiver<Weather>) {
    if weather.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
