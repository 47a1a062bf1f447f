use std::io;
use std::sync::{Arc, Mutex};

use scrip_client::MasterCredential;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::issuer::{Answer, Issuer, SECRET, TOKEN_CANARY, error};

/// All that is logged on this thread, where a single-threaded runtime does everything.
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn catch() -> Self {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(lines.clone())
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.0.lock().unwrap()).into_owned()
    }
}

#[tokio::test]
async fn n134_no_log_no_debug_and_no_error_shows_a_secret() {
    let log = Log::catch();
    let mut shown = String::new();
    let echo = |status| {
        let body = format!(r#"{{"error":"invalid_grant","access_token":"{TOKEN_CANARY}.x.y"}}"#);
        Answer::Raw(status, vec![], body)
    };
    for answer in [
        Answer::Token { expires_in: 300 },
        error(401, None, "invalid_client"),
        echo(400),
        echo(200),
        echo(302),
    ] {
        let issuer = Issuer::start([answer]).await;
        let credential = MasterCredential::Text(SECRET.into());
        let builder = issuer.source_with(credential.clone());
        shown += &format!("{credential:?} {builder:?}");
        let source = builder.build().unwrap();
        match source.token().await {
            Ok(token) => {
                assert!(token.expose().contains(TOKEN_CANARY));
                shown += &format!("{token:?} {source:?}");
            }
            Err(error) => shown += &format!("{error} {error:?}"),
        }
    }
    shown += &log.text();
    assert!(shown.contains("token minted"), "the log was caught");
    assert!(shown.contains("hyper"), "and that of the HTTP library too");
    assert!(shown.contains("Token(0"), "{shown}");
    let basic = &base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD,
        format!("acme%2Fbilling:{SECRET}"),
    )[..30];
    for secret in [SECRET, "CANARYMASTER", TOKEN_CANARY, basic] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
