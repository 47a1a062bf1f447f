//! TLS 1.2 and 1.3 through rustls, with a certificate that is read again when its file changes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{cert} and {key}: {source}")]
pub struct TlsError {
    cert: PathBuf,
    key: PathBuf,
    source: std::io::Error,
}

/// Accepts TLS connections with what `cert` and `key` hold, now and, by a task of its own, after they
/// change. A pair that cannot be used leaves the one before in place.
///
/// # Errors
/// [`TlsError`] where the pair cannot be used from the start.
pub async fn acceptor(
    cert: &Path,
    key: &Path,
    shutdown: CancellationToken,
) -> Result<(RustlsAcceptor, AbortHandle), TlsError> {
    // There is one provider in this process; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = RustlsConfig::from_pem_file(cert, key).await.map_err(|source| TlsError {
        cert: cert.to_owned(),
        key: key.to_owned(),
        source,
    })?;
    let reloading = reload(config.clone(), cert.to_owned(), key.to_owned(), shutdown);
    Ok((RustlsAcceptor::new(config), tokio::spawn(reloading).abort_handle()))
}

async fn reload(config: RustlsConfig, cert: PathBuf, key: PathBuf, shutdown: CancellationToken) {
    let mut loaded = modified(&cert, &key);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = modified(&cert, &key);
        if now == loaded {
            continue;
        }
        match config.reload_from_pem_file(&cert, &key).await {
            Ok(()) => {
                tracing::info!(cert = %cert.display(), "certificate reloaded");
                loaded = now;
            }
            Err(error) => tracing::error!(%error, cert = %cert.display(), "certificate refused"),
        }
    }
}

fn modified(cert: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    [cert, key].map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
}
